"""Candidates that a plot of fronts shows."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class FrontPoints:
    """Candidates, and which of them no other candidate dominates.

    Args:
        name: What the legend calls them.
        values: A row per candidate, in the order of the objectives and in their own units.
        on_front: For each candidate whether it is a member of the front.
        labels: For each candidate what may be written next to it, or nothing at all.

    Raises:
        ValueError: If ``on_front`` or ``labels`` has another length than ``values``.
    """

    name: str
    values: Sequence[Sequence[float]]
    on_front: Sequence[bool]
    labels: Sequence[str] = ()

    def __post_init__(self) -> None:
        lengths = (len(self.values), len(self.on_front), len(self.labels) or len(self.values))
        if len(set(lengths)) > 1:
            raise ValueError(
                f"Expected one entry of `on_front` and of `labels` per row of `values` but got {lengths[1]} and "
                f"{len(self.labels)} for {lengths[0]} rows of {self.name!r}"
            )
