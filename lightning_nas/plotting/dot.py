"""Cells in the language of Graphviz."""

import json
from collections.abc import Sequence

from lightning_nas.spaces.graph import CellGraph


def to_dot(graphs: Sequence[CellGraph]) -> str:
    """Write cells in the language of Graphviz, one cluster per cell.

    Args:
        graphs: The cells.

    Returns:
        The text of one ``digraph``.

    Example:
        >>> print(to_dot([CellGraph("normal", ("in", "out"), (("in", "out", "sep_conv_3x3"),))]))
        digraph cells {
          rankdir=LR; node [shape=box, style=rounded];
          subgraph "cluster_0" {
            label="normal";
            "0/in" [label="in"];
            "0/out" [label="out"];
            "0/in" -> "0/out" [label="sep_conv_3x3"];
          }
        }
    """
    lines = ["digraph cells {", "  rankdir=LR; node [shape=box, style=rounded];"]
    for index, graph in enumerate(graphs):
        ids = {node: json.dumps(f"{index}/{node}") for node in graph.nodes}
        lines += [f'  subgraph "cluster_{index}" {{', f"    label={json.dumps(graph.name)};"]
        lines += [f"    {ids[node]} [label={json.dumps(node)}];" for node in graph.nodes]
        for source, target, label in graph.edges:
            lines += [f"    {ids[source]} -> {ids[target]}" + (f" [label={json.dumps(label)}];" if label else ";")]
        lines += ["  }"]
    return "\n".join([*lines, "}"])
