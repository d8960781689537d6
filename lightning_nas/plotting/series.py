"""Numbers that a plot of trajectories shows."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Series:
    """Values over something that grows.

    Args:
        name: What the legend calls it; series of one name are repetitions of one experiment.
        x: Places, not falling.
        y: The value that holds from each place to the next.

    Raises:
        ValueError: If ``x`` and ``y`` differ in length, are empty, or ``x`` falls.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]

    def __post_init__(self) -> None:
        if not 0 < len(self.x) == len(self.y):
            raise ValueError(
                f"Expected as many `y` as `x`, at least one, but got {len(self.y)} and {len(self.x)} in {self.name!r}"
            )
        if any(after < before for before, after in zip(self.x, self.x[1:], strict=False)):
            raise ValueError(f"Expected `x` not to fall but got {list(self.x)} in {self.name!r}; sort them first")
