"""Drawings of cells: a layered layout in which every operation has a place of its own.

The layout follows Sugiyama et al. (1981). Nodes stand in columns by depth, operations in the columns between them, and
a line that passes a column gets a free row there. Lines bend only between columns, so nothing can cover a label.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate, combinations, pairwise
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path as Curve

from lightning_nas.spaces.graph import CellGraph

_DPI = 150
_ROW_WIDTH = 11.5  # cells stand side by side up to this width: 9 pt text is then 9.8 px high in an image of 900 px
_MARGIN = 0.16  # this and all lengths below in inches
_TITLE_HEIGHT = 0.28
_NODE_SIZE = 0.32
_ARROW = 0.075
_LINE = "#8d99a8"
_INK = "#1f2933"

# The bundled font gives the same picture on every machine, whatever the user's matplotlib style says.
_FONT = FontProperties(family="DejaVu Sans", size=9, math_fontfamily="dejavusans")
_TITLE_FONT = FontProperties(family="DejaVu Sans", size=11, weight="bold", math_fontfamily="dejavusans")
_SUBSCRIPT = re.compile(r"\w+_\{[\w+-]+\}")  # names such as c_{k-1} are set as mathematics

_NODES = {  # fill, border, text
    "input": ("#4a6fa5", "#4a6fa5", "#ffffff"),
    "inner": ("#ffffff", "#52606d", _INK),
    "output": ("#3e4c59", "#3e4c59", "#ffffff"),
}
_OPERATIONS = {  # the first key found in an operation's name decides
    "dil": ("#e9e1f7", "#a48bd3", _INK),
    "conv": ("#dbeafb", "#7fb0e3", _INK),
    "pool": ("#fdebcf", "#e5b15f", _INK),
    "skip": ("#daf2e3", "#7cc498", _INK),
    "": ("#eceff2", "#b4bdc7", _INK),
}


@dataclass(frozen=True)
class _Item:
    """What takes room in a column: a node, an operation, or the bend of a line that passes the column."""

    kind: str  # "input", "inner", "output", "operation" or "bend"
    text: str
    column: int
    edge: int = -1  # tells parallel edges apart

    @property
    def height(self) -> float:
        if self.kind == "operation":
            return 0.25 + 0.14 * self.text.count("\n")
        return 0.0 if self.kind == "bend" else _NODE_SIZE


_Columns = list[list[_Item]]
_Segments = list[tuple[_Item, _Item]]


@dataclass(frozen=True)
class _Layout:
    """Where everything goes, in inches from the top left corner: the middle of items, the sides of columns."""

    rows: dict[_Item, float]
    spans: list[tuple[float, float]]
    segments: _Segments

    @property
    def width(self) -> float:
        return self.spans[-1][1] + _MARGIN

    @property
    def height(self) -> float:
        return max(row + item.height / 2 for item, row in self.rows.items()) + _MARGIN


def plot_cells(graphs: Sequence[CellGraph]) -> Figure:
    """Draw cells, side by side where they fit and below each other where they do not.

    All lines that leave a node run together until they branch off to their operations. The figure belongs to no
    backend and is not known to pyplot: it needs no display and no closing.

    Args:
        graphs: The cells, one panel each.

    Returns:
        The figure, with one axes per cell.

    Raises:
        ValueError: If there is no cell, or an edge does not lead from an earlier node to a later one.
    """
    if not graphs:
        raise ValueError("Expected at least one cell to draw but got none.")
    layouts = [_layout(graph) for graph in graphs]
    beside = sum(layout.width for layout in layouts) <= _ROW_WIDTH
    width = (sum if beside else max)(layout.width for layout in layouts)
    height = (max if beside else sum)(layout.height for layout in layouts)
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    left, top = 0.0, height
    for graph, layout in zip(graphs, layouts, strict=True):
        bounds = (left / width, (top - layout.height) / height, layout.width / width, layout.height / height)
        _draw(figure.add_axes(bounds, label=graph.name), graph.name, layout)
        left, top = (left + layout.width, top) if beside else (left, top - layout.height)
    return figure


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure so that the same drawing always gives the same bytes.

    Args:
        figure: The figure to write.
        path: Where to, ending in ``.png`` or ``.svg``.

    Raises:
        ValueError: If the path has another suffix.
    """
    suffix = Path(path).suffix.lower()
    metadata = {".png": {"Software": None}, ".svg": {"Date": None, "Creator": None}}
    if suffix not in metadata:
        raise ValueError(f"Expected a path that ends in .png or .svg but got {str(path)!r}.")
    with matplotlib.rc_context({"svg.hashsalt": "lightning-nas", "svg.fonttype": "path", "savefig.bbox": None}):
        figure.savefig(path, format=suffix[1:], dpi=_DPI, metadata=metadata[suffix], facecolor=figure.get_facecolor())


def to_dot(graphs: Sequence[CellGraph]) -> str:
    """Write cells in the language of Graphviz, one cluster per cell.

    Args:
        graphs: The cells.

    Returns:
        The text of one ``digraph``.

    Example:
        >>> print(to_dot([CellGraph("normal", ("in", "out"), (("in", "out", "sep_conv_3x3"),))]))
        digraph cells {
          rankdir=LR;
          node [shape=box, style=rounded];
          subgraph "cluster_0" {
            label="normal";
            "0/in" [label="in"];
            "0/out" [label="out"];
            "0/in" -> "0/out" [label="sep_conv_3x3"];
          }
        }
    """
    lines = ["digraph cells {", "  rankdir=LR;", "  node [shape=box, style=rounded];"]
    for index, graph in enumerate(graphs):
        lines += [f'  subgraph "cluster_{index}" {{', f"    label={json.dumps(graph.name)};"]
        ids = {node: json.dumps(f"{index}/{node}") for node in graph.nodes}
        lines += [f"    {ids[node]} [label={json.dumps(node)}];" for node in graph.nodes]
        for source, target, label in graph.edges:
            attributes = f" [label={json.dumps(label)}]" if label else ""
            lines.append(f"    {ids[source]} -> {ids[target]}{attributes};")
        lines.append("  }")
    return "\n".join([*lines, "}"])


def _layout(graph: CellGraph) -> _Layout:
    """Arrange a cell; one too wide for a row gets its operations in several lines, ``sep_conv`` above ``3x3``."""
    nodes = _nodes(graph)
    segments = list(dict.fromkeys(pair for index in range(len(graph.edges)) for pair in _line(graph, nodes, index)))
    items = dict.fromkeys([*nodes.values(), *(item for pair in segments for item in pair)])
    numbers = range(nodes[graph.nodes[-1]].column + 1)
    columns = _untangle([[item for item in items if item.column == number] for number in numbers], segments)
    rows = _align(columns, segments)
    spans = _spread(columns, segments, rows)
    folded = tuple((source, target, "\n".join(label.rsplit("_", 1))) for source, target, label in graph.edges)
    if spans[-1][1] + _MARGIN > _ROW_WIDTH and folded != graph.edges:
        return _layout(replace(graph, edges=folded))
    return _Layout(rows, spans, segments)


def _nodes(graph: CellGraph) -> dict[str, _Item]:
    """Put every node two columns behind the last one it takes an operation from, and the output behind all."""
    position = {node: index for index, node in enumerate(graph.nodes)}
    columns = dict.fromkeys(graph.nodes, 0)
    for source, target, _ in graph.edges:
        if not position.get(source, len(position)) < position.get(target, -1):
            raise ValueError(f"Expected edges from earlier to later nodes of {graph.nodes} but got {source}->{target}.")
    for source, target, label in sorted(graph.edges, key=lambda edge: position[edge[0]]):
        columns[target] = max(columns[target], columns[source] + (2 if label else 1))
    output, targets = graph.nodes[-1], {target for _, target, _ in graph.edges}
    columns[output] = max([columns[output], *(columns[node] + 1 for node in graph.nodes[:-1])])
    kinds = {node: "inner" if node in targets else "input" for node in graph.nodes} | {output: "output"}
    return {node: _Item(kinds[node], node, columns[node]) for node in graph.nodes}


def _line(graph: CellGraph, nodes: Mapping[str, _Item], index: int) -> Iterator[tuple[_Item, _Item]]:
    """Yield the pieces of an edge; its bends are those of all edges with the same source."""
    source, target, label = graph.edges[index]
    end = nodes[target].column - (1 if label else 0)
    bends = [_Item("bend", source, column) for column in range(nodes[source].column + 1, end)]
    operation = [_Item("operation", label, end, index)] if label else []
    return pairwise([nodes[source], *bends, *operation, nodes[target]])


def _untangle(columns: _Columns, segments: _Segments) -> _Columns:
    """Sort every column by the mean place of its neighbours, to and fro, and keep the order with fewest crossings."""
    best, fewest = columns, _crossings(columns, segments)
    for sweep in range(24):
        step = 1 if sweep % 2 == 0 else -1
        columns = list(columns)
        for index in range(len(columns))[::step]:
            places = {item: (row + 0.5) / len(column) for column in columns for row, item in enumerate(column)}
            wishes = {item: _wish(item, segments, places, {step}) for item in columns[index]}
            columns[index] = sorted(columns[index], key=wishes.__getitem__)
        if (crossings := _crossings(columns, segments)) < fewest:
            best, fewest = columns, crossings
    return best


def _crossings(columns: _Columns, segments: _Segments) -> int:
    row = {item: index for column in columns for index, item in enumerate(column)}
    return sum(
        a.column == c.column and (row[a] - row[c]) * (row[b] - row[d]) < 0
        for (a, b), (c, d) in combinations(segments, 2)
    )


def _wish(item: _Item, segments: _Segments, places: Mapping[_Item, float], steps: set[int]) -> float:
    """Return the mean place of the neighbours that lie a step before the item."""
    near = [a if b == item else b for a, b in segments if (b == item and 1 in steps) or (a == item and -1 in steps)]
    weights = [4 if item.kind == other.kind == "bend" else 1 for other in near]  # passing lines run straight
    total = sum(weight * places[other] for weight, other in zip(weights, near, strict=True))
    return total / sum(weights) if near else places[item]


def _align(columns: _Columns, segments: _Segments) -> dict[_Item, float]:
    """Draw items towards their neighbours, with the order and distances in a column kept, and lines straight."""
    rows = {item: row for column in columns for item, row in _separate(dict.fromkeys(column, 0.0)).items()}
    for sweep in range(160):
        steps = {1, -1}
        for column in columns[:: 1 if sweep % 2 == 0 else -1]:
            wishes = {item: _wish(item, segments, rows, steps) for item in column}
            for item in column:
                if item.kind == "bend":
                    line = [other for other in rows if other.kind == "bend" and other.text == item.text]
                    near = [c for a, b in segments for c, d in ((a, b), (b, a)) if d in line and c not in line]
                    if sweep > 80: near = []
                    wishes[item] = (4*sum(rows[o] for o in line) + sum(rows[o] for o in near)) / (4*len(line) + len(near))
            rows |= _separate(wishes)
    top = min(row - item.height / 2 for item, row in rows.items()) - _TITLE_HEIGHT - _MARGIN
    return {item: row - top for item, row in rows.items()}


def _separate(wishes: Mapping[_Item, float]) -> dict[_Item, float]:
    """Return the rows nearest to the wishes at which nothing overlaps: isotonic regression by pooling neighbours."""
    offsets = list(accumulate((_distance(*pair) for pair in pairwise(wishes)), initial=0.0))
    pools: list[tuple[float, int]] = []
    for item, offset in zip(wishes, offsets, strict=True):
        mean, size = wishes[item] - offset, 10 if item.kind == "bend" else 1
        while pools and pools[-1][0] > mean:
            other, count = pools.pop()
            mean, size = (mean * size + other * count) / (size + count), size + count
        pools.append((mean, size))
    it = iter(pools)
    means = [mean for mean, size in pools for _ in range(size)]
    # expand per item
    out = {}; k = 0
    for (item, offset) in zip(wishes, offsets, strict=True):
        out[item] = means[k] + offset
        k += 10 if item.kind == "bend" else 1
    return out


def _distance(upper: _Item, lower: _Item) -> float:
    gap = 0.16 if "bend" in (upper.kind, lower.kind) else 0.11
    return (upper.height + lower.height) / 2 + gap


def _spread(columns: _Columns, segments: _Segments, rows: Mapping[_Item, float]) -> list[tuple[float, float]]:
    """Give every column the width of its text, and the gap before it more room the steeper its lines are."""
    spans, left = [], _MARGIN
    for index, column in enumerate(columns):
        climbs = [abs(rows[a] - rows[b]) for a, b in segments if b.column == index]
        left += min(0.17 + 0.16 * max(climbs), 0.55) if climbs else 0.0
        texts = [_text_width(item.text, _FONT) + 0.15 for item in column if item.kind != "bend"]
        spans.append((left, left + max([_NODE_SIZE, *texts])))
        left = spans[-1][1]
    return spans


@cache
def _text_width(text: str, font: FontProperties) -> float:
    figure = Figure(dpi=_DPI)
    _write(figure, (0, 0), text, fontproperties=font)
    return figure.texts[0].get_window_extent(FigureCanvasAgg(figure).get_renderer()).width / _DPI


def _draw(axes: Axes, title: str, layout: _Layout) -> None:
    axes.set(xlim=(0, layout.width), ylim=(layout.height, 0))
    axes.set_axis_off()
    _write(axes, (_MARGIN, _MARGIN), title, fontproperties=_TITLE_FONT, color=_INK, va="top")
    for source, target in layout.segments:
        _draw_segment(axes, layout, source, target)
    for item in layout.rows:
        if item.kind != "bend":
            _draw_box(axes, layout, item)
        elif [source for source, _ in layout.segments].count(item) > 1:
            place = (layout.spans[item.column][1], layout.rows[item])
            axes.add_patch(Circle(place, 0.028, facecolor=_LINE, linewidth=0, zorder=2))


def _draw_segment(axes: Axes, layout: _Layout, source: _Item, target: _Item) -> None:
    (start, x), y = layout.spans[source.column], layout.rows[source]
    end, row = layout.spans[target.column][0], layout.rows[target]
    if target.kind in _NODES:
        tip = [(end, row), (end - _ARROW, row - _ARROW / 2), (end - _ARROW, row + _ARROW / 2)]
        axes.add_patch(Polygon(tip, facecolor=_LINE, linewidth=0, zorder=2))
        end -= _ARROW
    middle = (x + end) / 2
    points = [(start if source.kind == "bend" else x, y), (x, y), (middle, y), (middle, row), (end, row)]
    path = Curve(points, [Curve.MOVETO, Curve.LINETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4])
    axes.add_patch(PathPatch(path, facecolor="none", edgecolor=_LINE, linewidth=1.2, capstyle="round", zorder=1))


def _draw_box(axes: Axes, layout: _Layout, item: _Item) -> None:
    (left, right), row, height = layout.spans[item.column], layout.rows[item], item.height
    family = next(colors for key, colors in _OPERATIONS.items() if key in item.text)
    fill, border, ink = _NODES.get(item.kind, family)
    style = f"round,pad=0,rounding_size={0.08 if item.kind in _NODES else 0.125}"
    corner = (left, row - height / 2)
    axes.add_patch(FancyBboxPatch(corner, right - left, height, boxstyle=style, fc=fill, ec=border, lw=1, zorder=3))
    center = ((left + right) / 2, row)
    _write(axes, center, item.text, fontproperties=_FONT, color=ink, ha="center", va="center_baseline", zorder=4)


def _write(canvas: Axes | Figure, place: tuple[float, float], text: str, **style: Any) -> None:
    math = _SUBSCRIPT.fullmatch(text) is not None
    canvas.text(*place, f"${text}$" if math else text, parse_math=math, usetex=False, linespacing=1.05, **style)
