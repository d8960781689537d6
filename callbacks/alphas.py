"""The architecture parameters of a user's module, kept outside of it."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from lightning_nas.methods.alphas import check_finite, initial_alphas
from lightning_nas.spaces.choices.choice_map import ChoiceMap
from lightning_nas.spaces.mixture import Mixture


class Alphas:
    """A table ``[slots, candidates]`` for every choice of a module; a softmax over each row weighs the candidates.

    Args:
        choices: The choices.
        seed: Seed of the initial values, which are close to zero.
        like: Has the device and the precision of the tables.
    """

    def __init__(self, choices: ChoiceMap, seed: int, like: Tensor) -> None:
        self.choices = choices
        initial = initial_alphas(choices.groups, seed)
        self.tables = {key: nn.Parameter(table.to(like), requires_grad=False) for key, table in initial.items()}

    def state(self) -> dict[str, Tensor]:
        """Return a copy of the tables."""
        return {key: table.detach().cpu().clone() for key, table in self.tables.items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up tables that ``state`` returned.

        Raises:
            ValueError: If they are those of other choices.
        """
        own, other = ({key: tuple(table.shape) for key, table in tables.items()} for tables in (self.tables, state))
        if own != other:
            raise ValueError(f"Expected alphas of choices {own} but got those of {other}")
        for key, table in self.tables.items():
            table.data.copy_(state[key])

    def mixtures(self, tables: Iterable[Tensor] | None = None) -> dict[str, Mixture]:
        """Return what the tables, or others in their place, stand for."""
        values = self.tables.values() if tables is None else tables
        return {key: Mixture(table.softmax(-1)) for key, table in zip(self.tables, values, strict=True)}

    def show(self) -> None:
        """Let the module compute with the tables as they are."""
        self.choices.set_mixtures(self.mixtures())

    def entropies(self) -> dict[str, Tensor]:
        """Return the entropy of every row of every choice, ``[slots]``."""
        return {key: torch.special.entr(mixture.weights).sum(1) for key, mixture in self.mixtures().items()}

    def check_finite(self, epoch: int) -> None:
        """Raise a FloatingPointError when the search has diverged."""
        check_finite(self.tables.values(), epoch, "clip gradients by Trainer(gradient_clip_val=...)")

    def step(self, optimizer: torch.optim.Optimizer, gradients: Iterable[Tensor]) -> None:
        """Step on gradients of the tables."""
        for table, gradient in zip(self.tables.values(), gradients, strict=True):
            table.grad = gradient
        optimizer.step()
        optimizer.zero_grad()
