"""A candidate of a search, as its run measured it."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """A point of the pictures: a child, or what a search derived at some time.

    Args:
        name: What the run calls it.
        values: What was measured of it, finite numbers by name.
    """

    name: str
    values: Mapping[str, float]
