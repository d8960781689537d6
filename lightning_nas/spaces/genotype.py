"""The notation of the field for a pair of cells."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lightning_nas.architecture import Architecture, Value

CELLS = ("normal", "reduce")
Node = list[tuple[str, int]]  # an (operation, input) pair for each of its two inputs


class Genotype(NamedTuple):
    """The field's notation of a pair of cells: two ``(operation, input)`` pairs a node, and the nodes put out."""

    normal: list[tuple[str, int]]
    normal_concat: range | list[int]
    reduce: list[tuple[str, int]]
    reduce_concat: range | list[int]


def read_cells(architecture: Architecture, nodes: int) -> dict[str, list[Node]]:
    """Return the nodes of both cells of an architecture of ``DartsSpace``."""
    values = architecture.values

    def pair(cell: str, node: int, k: int) -> tuple[str, int]:
        return str(values[f"{cell}/node{node}/operation{k}"]), int(values[f"{cell}/node{node}/input{k}"])

    return {cell: [[pair(cell, node, k) for k in range(2)] for node in range(nodes)] for cell in CELLS}


def write_cells(cells: Mapping[str, Sequence[Node]]) -> dict[str, Value]:
    """Return the decision values that ``read_cells`` reads."""
    values: dict[str, Value] = {}
    for cell, nodes in cells.items():
        for index, node in enumerate(nodes):
            for k, (operation, j) in enumerate(node):
                values[f"{cell}/node{index}/input{k}"] = j
                values[f"{cell}/node{index}/operation{k}"] = operation
    return values
