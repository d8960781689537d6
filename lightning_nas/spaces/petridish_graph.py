"""Drawings of what Petridish has grown."""

from collections.abc import Sequence

from lightning_nas.spaces.graph import CellGraph
from lightning_nas.spaces.petridish_cell import SEED
from lightning_nas.spaces.petridish_plan import FIRST_NODE, Growth, Place, Terms, count_layers, is_reduction

Edges = list[tuple[str, str, str]]


def cell_graph(place: Place, increments: Sequence[Terms]) -> CellGraph:
    """Return the graph of a cell; an input that nothing reads is not there."""
    names = ["c_{k-2}", "c_{k-1}", *(str(FIRST_NODE + k) for k in range(len(increments)))]
    edges = _edges(increments, names, "c_{k}")
    read = {source for source, _, _ in edges}
    return CellGraph(place, (*(name for name in names if name in read), "c_{k}"), tuple(edges))


def network_graph(growth: Growth, cells: int) -> CellGraph:
    """Return the graph of all layers; those that halve height and width are marked."""
    before_last = last = "stem"
    nodes, edges = ["image", "stem"], [("image", "stem", "conv_3x3")]
    for layer in range(count_layers(cells)):
        increments = growth.get(f"layer{layer}", ())
        output = f"{layer} (reduce)" if is_reduction(layer, cells) else str(layer)
        own = [f"{layer}.{FIRST_NODE + k}" for k in range(len(increments))]
        edges += _edges(increments, [before_last, last, *own], output)
        nodes += [*own, output]
        before_last, last = last, output
    return CellGraph("network", (*nodes, "head"), (*edges, (last, "head", "")))


def _edges(increments: Sequence[Terms], names: Sequence[str], output: str) -> Edges:
    """Return the edges of one cell, whose inputs and nodes have these names."""
    edges = [(names[source], output, operation) for source, operation in SEED]
    for name, terms in zip(names[FIRST_NODE:], increments, strict=True):
        edges += [(names[source], name, operation) for source, operation in terms]
        edges.append((name, output, ""))
    return edges
