"""The baseline: architectures at random."""

import math

import torch
from torch import Tensor

from lightning_nas.checks import check_at_least
from lightning_nas.controllers.base import Controller
from lightning_nas.controllers.samples import Samples
from lightning_nas.spaces.base import SearchSpace


class UniformController(Controller):
    """Draws as the space itself does; there is nothing to train.

    Losses made of its log-probabilities can be differentiated like those of any controller, to no effect. They say that
    all architectures are equally likely: only nearly so where ``space.sample`` prefers some (``DartsSpace`` with
    ``distinct_inputs=False``).

    Args:
        space: The space.

    Example:
        >>> from lightning_nas.spaces import NasBench201Space
        >>> samples = UniformController(NasBench201Space()).sample(2, torch.Generator().manual_seed(0))
        >>> samples.choices.shape, samples.entropy.exp().round()
        (torch.Size([2, 6]), tensor([15625., 15625.]))
    """

    def __init__(self, space: SearchSpace) -> None:
        super().__init__(space)
        self.register_buffer("place", torch.zeros(()), persistent=False)  # knows the device
        self.place: Tensor

    def sample(self, n: int, generator: torch.Generator) -> Samples:
        """Draw ``n`` architectures with ``space.sample``."""
        check_at_least("n", n, 1)
        return self.evaluate(self.choices([self.space.sample(generator) for _ in range(n)]))

    def evaluate(self, choices: Tensor) -> Samples:
        """Return the same probability for all architectures."""
        self._check(choices)
        entropy = torch.full((len(choices),), math.log(self.space.size), device=self.place.device)
        log_prob = (-entropy).requires_grad_()
        return Samples(choices.to(self.place.device), log_prob, entropy, torch.zeros_like(entropy))
