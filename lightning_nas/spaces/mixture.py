"""What a supernet mixes, and in which proportions."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Mixture:
    """Weights of a supernet's candidates.

    Args:
        weights: ``[rows, candidates]``, one row per mixed place (an edge of a cell, say).
        active: For each row the indices of the candidates to compute, or ``None`` for all of them. Inactive candidates
            are never computed, and their parameters get no gradient.
    """

    weights: Tensor
    active: tuple[tuple[int, ...], ...] | None = None

    def __post_init__(self) -> None:
        if self.weights.dim() != 2:
            raise ValueError(f"Expected `weights` of shape [rows, candidates] but got {tuple(self.weights.shape)}")
        if self.active is not None and len(self.active) != len(self.weights):
            raise ValueError(f"Expected `active` for {len(self.weights)} rows but got {len(self.active)}")

    def row(self, index: int) -> tuple[Tensor, tuple[int, ...]]:
        """Return the weights ``[candidates]`` of one row and the indices of its active candidates."""
        weights = self.weights[index]
        return weights, tuple(range(len(weights))) if self.active is None else self.active[index]

    def computes(self, index: int) -> bool:
        """Return whether anything is active in a row."""
        return self.active is None or bool(self.active[index])
