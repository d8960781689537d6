"""What a search that grows networks needs of their space."""

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

from lightning_nas.architecture import Architecture
from lightning_nas.operations.weak_learner import Term
from lightning_nas.spaces.base import SearchSpace


@runtime_checkable
class GrowingSpace(Protocol):
    """A space in which an architecture becomes a larger one by an increment at a place."""

    @property
    def mode(self) -> Literal["cell", "macro"]:
        """Whether places are kinds of cells, which grow alike wherever they stand, or single layers."""

    @property
    def max_growth(self) -> int:
        """How often an architecture can grow."""

    @property
    def terms(self) -> int:
        """How many operations an increment can have."""

    def seed(self) -> Architecture:
        """Return the architecture that has not grown."""

    def places(self, architecture: Architecture) -> Sequence[str]:
        """Return where an architecture can grow."""

    def candidates(self, architecture: Architecture, place: str) -> Sequence[Term]:
        """Return the inputs and operations that an increment at a place may have."""

    def grow(self, architecture: Architecture, place: str, terms: Sequence[Term]) -> Architecture:
        """Return the architecture with an increment more."""

    def growths(self, architecture: Architecture) -> int:
        """Return how often an architecture has grown."""


def as_growing(space: SearchSpace) -> GrowingSpace:
    """Return the same space as one whose networks grow.

    Raises:
        ValueError: If they do not.
    """
    if not isinstance(space, GrowingSpace):
        raise ValueError(f"Expected a space whose networks grow, such as 'petridish', but got {space.name!r}")
    return space
