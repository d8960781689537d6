"""What a drawing of a cell needs to know."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CellGraph:
    """A directed acyclic graph with operations on its edges.

    Args:
        name: Title of the drawing, e.g. ``"normal"``.
        nodes: Node names in topological order: the inputs first, the output last.
        edges: ``(source, target, label)`` triples; an empty label is a plain connection (a concatenation, say).
    """

    name: str
    nodes: tuple[str, ...]
    edges: tuple[tuple[str, str, str], ...]
