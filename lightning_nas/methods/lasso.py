"""What makes the weights of weak learners few."""

from typing import Any

import torch
from torch import Tensor

from lightning_nas.spaces.petridish_network import PetridishNetwork

COLLAPSED = 1e-3  # of what the largest alpha was at first


class Lasso:
    """The penalty on the alphas of a hallucination, and how it compares with what the data ask for.

    Where the penalty is far stronger than the data, all alphas shrink to nothing, and their order says nothing.

    Args:
        network: The hallucination, before its training.
        strength: What the sum of absolute values is multiplied by, lambda.
    """

    def __init__(self, network: PetridishNetwork, strength: float) -> None:
        self._network = network
        self.strength = strength
        self._initial = float(self._alphas().abs().max())
        self._pull = torch.zeros(())

    def _alphas(self) -> Tensor:
        return torch.cat([alpha.detach() for alpha in self._network.alphas])

    def penalty(self) -> Tensor:
        """Return what is added to the loss."""
        return self.strength * self._network.penalty()

    def observe(self) -> None:
        """Measure the gradient that the loss without the penalty has for the alphas, right after the backward pass."""
        gradients = [alpha.grad for alpha in self._network.alphas if alpha.grad is not None]
        self._pull = (torch.cat(gradients) - self.strength * self._alphas().sign()).abs().mean()

    @property
    def collapsed(self) -> bool:
        """Whether the largest alpha is below a thousandth of what it was at first."""
        return float(self._alphas().abs().max()) < COLLAPSED * self._initial

    def summary(self) -> dict[str, float]:
        """Return the largest absolute value, and how many times stronger than the penalty the data pull on average."""
        summary = {"search/largest_alpha": float(self._alphas().abs().max())}
        if self.strength:
            summary["search/alpha_gradient_ratio"] = float(self._pull) / self.strength
        return summary

    def state_dict(self) -> dict[str, Any]:
        """Return what is needed to go on: the alphas are the network's."""
        return {"pull": self._pull}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self._pull = state["pull"]
