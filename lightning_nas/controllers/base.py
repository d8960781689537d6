"""The interface of a controller."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lightning_nas.architecture import Architecture
from lightning_nas.controllers.samples import Samples
from lightning_nas.spaces.base import SearchSpace


class Controller(nn.Module, ABC):
    """A distribution over the architectures of a space.

    Args:
        space: The space; its architectures are the rows of tables of indices, a column per decision.
    """

    def __init__(self, space: SearchSpace) -> None:
        super().__init__()
        self.space = space

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator) -> Samples:
        """Draw ``n`` architectures.

        Args:
            n: How many.
            generator: A CPU generator whatever the device, so that all devices draw the same.
        """

    @abstractmethod
    def evaluate(self, choices: Tensor) -> Samples:
        """Return what ``sample`` would have returned with these choices.

        Args:
            choices: ``[n, decisions]``: for each decision of the space the index of what is chosen.
        """

    def log_prob(self, architectures: Sequence[Architecture]) -> Tensor:
        """Return the logarithm of the probability of each architecture."""
        return self.evaluate(self.choices(architectures)).log_prob

    def choices(self, architectures: Sequence[Architecture]) -> Tensor:
        """Return architectures as a table of indices.

        Raises:
            ValueError: If one is not of the space.
        """
        decisions = self.space.decisions
        for architecture in architectures:
            self.space.validate(architecture)
        rows = [[d.choices.index(a.values[d.name]) for d in decisions] for a in architectures]
        return torch.tensor(rows, dtype=torch.int64).reshape(len(rows), len(decisions))

    def architectures(self, choices: Tensor) -> list[Architecture]:
        """Return the architectures that a table of indices stands for."""
        decisions = self.space.decisions
        return [
            Architecture(self.space.name, {d.name: d.choices[k] for d, k in zip(decisions, row, strict=True)})
            for row in choices.tolist()
        ]

    def _check(self, choices: Tensor) -> None:
        counts = torch.tensor([len(decision.choices) for decision in self.space.decisions])
        if choices.ndim != 2 or choices.shape[1] != len(counts) or choices.is_floating_point():
            got = f"{choices.dtype} of shape {tuple(choices.shape)}"
            raise ValueError(f"Expected `choices` to be indices of shape (n, {len(counts)}) but got {got}")
        if ((choices < 0) | (choices >= counts.to(choices.device))).any():
            raise ValueError(f"Expected `choices` to be indices below {counts.tolist()} but got {choices.tolist()}")
