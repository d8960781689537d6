"""The notation of the field for a pair of cells."""

from typing import NamedTuple


class Genotype(NamedTuple):
    """The field's notation of a pair of cells: two ``(operation, input)`` pairs a node, and the nodes put out."""

    normal: list[tuple[str, int]]
    normal_concat: range | list[int]
    reduce: list[tuple[str, int]]
    reduce_concat: range | list[int]
