"""A choice among tensors."""

import operator
from collections.abc import Sequence
from functools import reduce
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from lightning_nas.architecture import Value
from lightning_nas.checks import check_at_least, check_choice
from lightning_nas.spaces.choices.base import Choice

Reduction = Literal["sum", "concat"]


def _combine(tensors: Sequence[Tensor], reduction: Reduction, dim: int) -> Tensor:
    return reduce(operator.add, tensors) if reduction == "sum" else torch.cat(list(tensors), dim)


class Selection(nn.Module):
    """Takes some of several tensors, always the same: what an ``InputChoice`` becomes.

    Args:
        indices: Which tensors.
        reduction: ``"sum"`` or ``"concat"``.
        dim: Dimension along which to concatenate.
    """

    def __init__(self, indices: Sequence[int], reduction: Reduction, dim: int) -> None:
        super().__init__()
        self.indices = tuple(indices)
        self.reduction = reduction
        self.dim = dim

    def forward(self, tensors: Sequence[Tensor]) -> Tensor:
        """Return the sum or the concatenation of the chosen tensors."""
        return _combine([tensors[k] for k in self.indices], self.reduction, self.dim)

    def extra_repr(self) -> str:
        """Return what is chosen, for printing."""
        return f"{self.indices}, reduction={self.reduction!r}"


class InputChoice(Choice):
    """Some of several tensors, summed or concatenated.

    It is called with a list of tensors of one shape. In a search each of the ``n_chosen`` slots is a weighted sum of
    all tensors. The model computes tensors that are not chosen all the same: what should vanish with its parameters
    when it is not chosen belongs into an ``OpChoice``. What computes nothing else gets no gradient in the built model,
    so several processes train it with ``strategy="ddp_find_unused_parameters_true"``.

    Args:
        n_candidates: How many tensors there are.
        n_chosen: How many different ones are chosen.
        key: Choices of equal key share one decision; see ``Choice``.
        reduction: ``"sum"``, or ``"concat"`` in the order in which they were chosen.
        dim: Dimension along which to concatenate.

    Raises:
        ValueError: If all or none of the tensors are to be chosen, or ``reduction`` is unknown.

    Example:
        >>> InputChoice(3)([torch.zeros(2), torch.ones(2), torch.full((2,), 5.0)])
        tensor([2., 2.])
    """

    kind = "input"

    def __init__(
        self,
        n_candidates: int,
        n_chosen: int = 1,
        key: str | None = None,
        reduction: Reduction = "sum",
        dim: int = 1,
    ) -> None:
        super().__init__(key)
        check_at_least("n_chosen", n_chosen, 1)
        check_at_least("n_candidates", n_candidates, n_chosen + 1, f"n_chosen={n_chosen} of them are chosen")
        check_choice("reduction", reduction, get_args(Reduction))
        self.n_candidates = n_candidates
        self.n_chosen = n_chosen
        self.reduction: Reduction = reduction
        self.dim = dim

    @property
    def values(self) -> tuple[Value, ...]:
        """Places of the tensors in the list."""
        return tuple(range(self.n_candidates))

    @property
    def slots(self) -> int:
        """How many different tensors are chosen."""
        return self.n_chosen

    @property
    def ordered(self) -> bool:
        """Whether they are concatenated."""
        return self.reduction == "concat"

    def leads_to(self, branch: str) -> tuple[Value, ...]:
        """Return everything: there is no branch."""
        return self.values

    def replacement(self, chosen: Sequence[Value]) -> nn.Module:
        """Return a module without parameters that takes the chosen tensors."""
        return Selection([int(value) for value in chosen], self.reduction, self.dim)

    def forward(self, tensors: Sequence[Tensor]) -> Tensor:
        """Return the sum or the concatenation of all slots.

        Args:
            tensors: ``n_candidates`` tensors of one shape.
        """
        if len(tensors) != self.n_candidates:
            raise self._error(f"{self.n_candidates} tensors but got {len(tensors)}")
        return _combine([self._slot(slot, tensors) for slot in range(self.slots)], self.reduction, self.dim)

    def _slot(self, slot: int, tensors: Sequence[Tensor]) -> Tensor:
        weights, active = self._row(slot)
        mixed: Tensor = self._mix(weights, {k: tensors[k] for k in active})
        return mixed
