"""REINFORCE with a moving-average baseline, in pure PyTorch."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from lightning_nas.checks import check_choice, check_fraction
from lightning_nas.controllers.samples import Samples

BaselineOrder = Literal["after_use", "official"]


class Reinforce(nn.Module):
    """The loss whose gradient, on average, raises the expected reward; the baseline is a buffer, part of checkpoints.

    Args:
        decay: Decay of the baseline, an exponential moving average of the rewards.
        order: The baseline is updated ``"after_use"``, from the mean of the first rewards on: it does not depend on the
            rewards that it is subtracted from. Or before use, reward by reward, from zero on: the ``"official"`` code
            of ENAS.
        entropy_weight: Weight of the entropy in the reward; it has no gradient.
        skip_weight: Weight of the skip penalty in the loss.

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> reinforce = Reinforce(order="official", entropy_weight=0.0)
        >>> reinforce.advantages(torch.tensor([0.5, 0.5, 0.6]))
        tensor([0.4950, 0.4900, 0.5841])
    """

    def __init__(
        self,
        decay: float = 0.99,
        order: BaselineOrder = "after_use",
        entropy_weight: float = 1e-4,
        skip_weight: float = 0.8,
    ) -> None:
        super().__init__()
        check_fraction("decay", decay, zero_allowed=True)
        check_choice("order", order, get_args(BaselineOrder))
        self.decay = decay
        self.order = order
        self.entropy_weight = entropy_weight
        self.skip_weight = skip_weight
        self.baseline: Tensor
        self.started: Tensor
        self.register_buffer("baseline", torch.zeros(()))
        self.register_buffer("started", torch.tensor(False))

    def loss(self, samples: Samples, rewards: Tensor) -> Tensor:
        """Return the loss of a batch of samples, and update the baseline.

        Args:
            samples: ``n`` samples of a controller.
            rewards: ``[n]``: the task's reward for each.
        """
        rewards = rewards.detach().to(samples.log_prob) + self.entropy_weight * samples.entropy.detach()
        advantages = self.advantages(rewards)
        return -(samples.log_prob * advantages).mean() + self.skip_weight * samples.skip_penalty.mean()

    @torch.no_grad()
    def advantages(self, rewards: Tensor) -> Tensor:
        """Return the rewards ``[n]`` minus the baseline, and update the baseline by each of them in turn."""
        if self.order == "after_use" and not self.started:
            self.baseline.copy_(rewards.mean())
        self.started.fill_(True)
        before = self.baseline.clone()
        after = torch.stack([self._update(reward) for reward in rewards])
        return rewards - (before if self.order == "after_use" else after.to(rewards))

    def _update(self, reward: Tensor) -> Tensor:
        self.baseline.lerp_(reward.to(self.baseline), 1 - self.decay)
        return self.baseline.clone()
