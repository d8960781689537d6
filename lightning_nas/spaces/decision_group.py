"""The places of a supernet that share one mixture."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DecisionGroup:
    """A table of mixed places: every row chooses among the same candidates.

    Args:
        name: Name of the group, the key of its ``Mixture``.
        rows: Names of the mixed places, e.g. the edges of a cell.
        candidates: Names of the candidates, in the order of the mixture's columns.
    """

    name: str
    rows: tuple[str, ...]
    candidates: tuple[str, ...]
