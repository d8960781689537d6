"""Drawings of cells: a layered layout in which every operation has a place of its own.

The layout follows Sugiyama et al. (1981). Nodes stand in columns by depth, operations in the columns between them, and
a line that passes a column gets a free row there. Lines bend only between columns, so nothing can cover a label.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import accumulate, combinations, pairwise
from math import inf
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path as Curve
from matplotlib.text import Text

from lightning_nas.plotting.networks import plot_network
from lightning_nas.plotting.palette import INK, LINE, box_look
from lightning_nas.plotting.save import DPI
from lightning_nas.spaces.graph import CellGraph

_ROW_WIDTH = 11.5  # cells stand side by side up to this width: 9 pt text is then 9.8 px high in an image of 900 px
_LEGIBLE_WIDTH = 12.5  # a single graph that is wider is drawn as a column
_MARGIN, _GAP, _NODE_SIZE = 0.16, 0.11, 0.32  # inches, as all lengths below
# The bundled font gives the same picture on every machine, whatever the user's matplotlib style says.
_FONT = FontProperties(family="DejaVu Sans", size=9, math_fontfamily="dejavusans")
_TITLE_FONT = FontProperties(family="DejaVu Sans", size=11, weight="bold", math_fontfamily="dejavusans")
_Columns = list[list["_Item"]]
_Segments = list[tuple["_Item", "_Item"]]


class _Item(NamedTuple):
    """What takes room in a column: a node, an operation, or the bend of a line that passes the column."""

    kind: str  # "input", "inner", "output", "operation" or "bend"
    text: str
    column: int
    room: float  # height, with the gap to the next item
    edge: int = -1  # tells parallel edges apart


class _Layout(NamedTuple):
    """Where everything goes, in inches from the top left corner: the middle of items, the sides of columns."""

    rows: dict[_Item, float]
    spans: list[tuple[float, float]]
    segments: _Segments
    width: float
    height: float


def plot_cells(graphs: Sequence[CellGraph]) -> Figure:
    """Draw cells, side by side where they fit and below each other where they do not.

    All lines that leave a node run together until they branch off to their operations. The figure belongs to no
    backend and is not known to pyplot: it needs no display and no closing.

    A graph whose first node has the graph's own name is a tree of decisions: what is on an edge was chosen for the node
    that the edge leads to, and stands behind it.

    One graph that is too wide to be legible, such as a network of many layers, is drawn by ``plot_network``.

    Args:
        graphs: The cells, one panel each.

    Returns:
        The figure, with one axes per cell.

    Raises:
        ValueError: If there is no cell, or an edge does not lead from an earlier node to a later one.
    """
    if not graphs:
        raise ValueError("Expected at least one cell to draw but got none.")
    if len(graphs) == 1 and not _is_tree(graphs[0]) and _least_width(graphs[0]) > _LEGIBLE_WIDTH:
        return plot_network(graphs[0])
    layouts = [_layout(graph) for graph in graphs]
    beside = sum(layout.width for layout in layouts) <= _ROW_WIDTH
    width = (sum if beside else max)(layout.width for layout in layouts)
    height = (max if beside else sum)(layout.height for layout in layouts)
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    left, top = 0.0, height
    for graph, layout in zip(graphs, layouts, strict=True):
        bounds = (left / width, (top - layout.height) / height, layout.width / width, layout.height / height)
        _draw(figure.add_axes(bounds, label=graph.name), graph.name, layout)
        left, top = (left + layout.width, top) if beside else (left, top - layout.height)
    return figure


def _layout(graph: CellGraph) -> _Layout:
    """Arrange a cell; one too wide for a row gets its operations in two lines, ``sep_conv`` above ``3x3``."""
    nodes = _nodes(graph)
    segments = (_branches if _is_tree(graph) else _segments)(graph, nodes)
    items = dict.fromkeys([*nodes.values(), *(item for pair in segments for item in pair)])
    numbers = range(max(item.column for item in items) + 1)
    columns = _untangle([[item for item in items if item.column == number] for number in numbers], segments)
    rows = _straighten(columns, _straighten(columns, _align(columns, segments)))
    top = min(row - item.room / 2 for item, row in rows.items()) - 2.4 * _MARGIN  # below the title
    rows = {item: row - top for item, row in rows.items()}
    spans = _spread(columns, segments, rows)
    width = max(spans[-1][1], _MARGIN + _text_width(graph.name, _TITLE_FONT)) + _MARGIN
    folded = tuple((source, target, _fold(label)) for source, target, label in graph.edges)
    if spans[-1][1] + _MARGIN > _ROW_WIDTH and folded != graph.edges:
        return _layout(CellGraph(graph.name, graph.nodes, folded))
    return _Layout(rows, spans, segments, width, max(row + item.room / 2 for item, row in rows.items()) + _MARGIN)


def _least_width(graph: CellGraph) -> float:
    """Return a width that no layout is below, from the texts of every column alone."""
    nodes = _nodes(graph)
    texts = [(node.column, node.text) for node in nodes.values()]
    texts += [(nodes[target].column - 1, _fold(label)) for _, target, label in graph.edges if label]
    widths = {column: 0.0 for column, _ in texts}
    for column, text in texts:
        widths[column] = max(widths[column], _NODE_SIZE, _text_width(text, _FONT) + 0.15)
    return sum(widths.values()) + 0.17 * (len(widths) - 1) + 2 * _MARGIN


def _fold(label: str) -> str:
    return re.sub(r"^(.+)_(.+)$", r"\1\n\2", label)


def _is_tree(graph: CellGraph) -> bool:
    return graph.name == graph.nodes[0]


def _nodes(graph: CellGraph) -> dict[str, _Item]:
    """Put every node two columns behind the last one it takes an operation from, and the output behind all."""
    position = {node: index for index, node in enumerate(graph.nodes)}
    columns = dict.fromkeys(graph.nodes, 0)
    for source, target, label in sorted(graph.edges, key=lambda edge: position.get(edge[0], -1)):
        if not -1 < position.get(source, -1) < position.get(target, -1):
            raise ValueError(f"Expected edges from earlier to later nodes of {graph.nodes} but got {source}->{target}.")
        columns[target] = max(columns[target], columns[source] + (2 if label else 1))
    if _is_tree(graph):  # names stand before what was chosen: one column less
        return {node: _decision(graph, node, columns[node] - 1) for node in graph.nodes}
    output, targets = graph.nodes[-1], {target for _, target, _ in graph.edges}
    columns[output] = max([columns[output], *(columns[node] + 1 for node in graph.nodes[:-1])])
    kinds = {node: "inner" if node in targets else "input" for node in graph.nodes} | {output: "output"}
    return {node: _Item(kinds[node], node, columns[node], _NODE_SIZE + _GAP) for node in graph.nodes}


def _decision(graph: CellGraph, node: str, column: int) -> _Item:
    kind = "input" if node == graph.name else "inner"
    return _Item(kind, node, max(column, 0), 0.25 + _GAP)  # as high as what was chosen: a straight line between them


def _branches(graph: CellGraph, nodes: Mapping[str, _Item]) -> _Segments:
    """Lead from what was chosen to the decisions in it, and from each of them to what was chosen there."""
    ends = {graph.name: nodes[graph.name]}
    segments: _Segments = []
    for index, (source, target, label) in enumerate(graph.edges):
        ends[target] = _operation(label, nodes[target].column + 1, index)
        segments += [(ends[source], nodes[target]), (nodes[target], ends[target])]
    return segments


def _operation(label: str, column: int, edge: int) -> _Item:
    return _Item("operation", label, column, 0.25 + 0.14 * label.count("\n") + _GAP, edge)


def _segments(graph: CellGraph, nodes: Mapping[str, _Item]) -> _Segments:
    """Cut the edges at every column; edges with the same source share their bends."""
    segments: dict[tuple[_Item, _Item], None] = {}
    for index, (source, target, label) in enumerate(graph.edges):
        end = nodes[target].column - (1 if label else 0)
        bends = [_Item("bend", source, column, 1.5 * _GAP) for column in range(nodes[source].column + 1, end)]
        operation = [_operation(label, end, index)] if label else []
        segments |= dict.fromkeys(pairwise([nodes[source], *bends, *operation, nodes[target]]))
    return list(segments)


def _untangle(columns: _Columns, segments: _Segments) -> _Columns:
    """Sort every column by the mean place of its neighbours, to and fro, and keep the order with fewest crossings."""
    orders = [columns]
    for step in [1, -1] * 6:
        columns = list(columns)
        for index in range(len(columns))[::step]:
            places = {item: (row + 0.5) / len(column) for column in columns for row, item in enumerate(column)}
            columns[index] = sorted(columns[index], key=lambda item: _wish(item, segments, places, {step}))
        orders.append(columns)
    return min(orders, key=lambda order: _crossings(order, segments))


def _crossings(columns: _Columns, segments: _Segments) -> int:
    row = {item: index for column in columns for index, item in enumerate(column)}
    pairs = (pair for pair in combinations(segments, 2) if pair[0][0].column == pair[1][0].column)
    return sum((row[a] - row[c]) * (row[b] - row[d]) < 0 for (a, b), (c, d) in pairs)


def _wish(item: _Item, segments: _Segments, places: Mapping[_Item, float], steps: set[int]) -> float:
    """Return the mean place of the item's neighbours in the column before (1), after (-1), or both."""
    near = [a if b == item else b for a, b in segments if (b == item and 1 in steps) or (a == item and -1 in steps)]
    weights = [4 if item.kind == other.kind == "bend" else 1 for other in near]  # passing lines run straight
    return sum(w * places[x] for w, x in zip(weights, near, strict=True)) / sum(weights) if near else places[item]


def _align(columns: _Columns, segments: _Segments) -> dict[_Item, float]:
    """Draw every item towards its neighbours, with the order and the distances in its column kept."""
    rows = {item: 0.0 for column in columns for item in column}
    for step in [1, -1] * 15:
        for column in columns[::step]:
            rows |= _separate({item: _wish(item, segments, rows, {1, -1}) for item in column})
    return rows


def _separate(wishes: Mapping[_Item, float]) -> dict[_Item, float]:
    """Return the rows nearest to the wishes at which nothing overlaps: isotonic regression by the max-min formula."""
    offsets = list(accumulate(((upper.room + lower.room) / 2 for upper, lower in pairwise(wishes)), initial=0.0))
    free = [wish - offset for wish, offset in zip(wishes.values(), offsets, strict=True)]
    ends = range(1, len(free) + 1)
    means = {(i, j): sum(free[i:j]) / (j - i) for j in ends for i in range(j)}
    rows = [max(min(means[i, j] for j in ends[k:]) for i in range(k + 1)) + offsets[k] for k in range(len(free))]
    return dict(zip(wishes, rows, strict=True))


def _straighten(columns: _Columns, rows: dict[_Item, float]) -> dict[_Item, float]:
    """Bring the bends of a line to one row, as far along the line as there is a row that is free in all columns."""
    run: list[_Item] = []
    low, high = -inf, inf
    for bend in sorted((item for item in rows if item.kind == "bend"), key=lambda item: (item.text, item.column)):
        column, index = columns[bend.column], columns[bend.column].index(bend)
        above = max((rows[item] + (item.room + bend.room) / 2 for item in column[:index]), default=-inf)
        below = min((rows[item] - (item.room + bend.room) / 2 for item in column[index + 1 :]), default=inf)
        if not run or run[-1].text != bend.text or max(low, above) > min(high, below):
            run, low, high = [], -inf, inf
        run, low, high = [*run, bend], max(low, above), min(high, below)
        rows = rows | dict.fromkeys(run, min(max(sum(rows[item] for item in run) / len(run), low), high))
    return rows


def _spread(columns: _Columns, segments: _Segments, rows: Mapping[_Item, float]) -> list[tuple[float, float]]:
    """Give every column the width of its text, and the gap before it more room the steeper its lines are."""
    spans: list[tuple[float, float]] = []
    for index, column in enumerate(columns):
        climb = max((abs(rows[a] - rows[b]) for a, b in segments if b.column == index), default=0.0)
        left = spans[-1][1] + min(0.17 + 0.16 * climb, 0.55) if spans else _MARGIN
        widths = [_text_width(item.text, _FONT) + 0.15 for item in column if item.kind != "bend"]
        spans.append((left, left + max([_NODE_SIZE, *widths])))
    return spans


@cache
def _text_width(text: str, font: FontProperties) -> float:
    return _write(Figure(dpi=DPI), (0, 0), text, fontproperties=font).get_window_extent().width / DPI


def _draw(axes: Axes, title: str, layout: _Layout) -> None:
    axes.set(xlim=(0, layout.width), ylim=(layout.height, 0))
    axes.set_axis_off()
    _write(axes, (_MARGIN, _MARGIN), title, fontproperties=_TITLE_FONT, color=INK, va="top")
    for source, target in layout.segments:
        _draw_segment(axes, layout, source, target)
    for item, row in layout.rows.items():
        if item.kind != "bend":
            _draw_box(axes, layout, item)
        elif [source for source, _ in layout.segments].count(item) > 1:  # a line branches
            axes.add_artist(Circle((layout.spans[item.column][1], row), 0.028, facecolor=LINE, linewidth=0, zorder=2))


def _draw_segment(axes: Axes, layout: _Layout, source: _Item, target: _Item) -> None:
    (start, x), y = layout.spans[source.column], layout.rows[source]
    end, row = layout.spans[target.column][0], layout.rows[target]
    points = [(start if source.kind == "bend" else x, y), (x, y), ((x + end) / 2, y), ((x + end) / 2, row), (end, row)]
    path = Curve(points, [Curve.MOVETO, Curve.LINETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4])
    head = "-" if target.kind in ("bend", "operation") else "-|>,head_length=3.5,head_width=1.7"
    axes.add_artist(FancyArrowPatch(path=path, arrowstyle=head, color=LINE, linewidth=1.2, zorder=1))


def _draw_box(axes: Axes, layout: _Layout, item: _Item) -> None:
    (left, right), row, height = layout.spans[item.column], layout.rows[item], item.room - _GAP
    name = item.text if item.kind == "operation" else item.kind
    fill, border, ink = box_look(name)
    style = f"round,pad=0,rounding_size={0.125 if item.kind == 'operation' else 0.08}"
    corner, center = (left, row - height / 2), ((left + right) / 2, row)
    axes.add_artist(FancyBboxPatch(corner, right - left, height, boxstyle=style, fc=fill, ec=border, lw=1, zorder=3))
    _write(axes, center, item.text, fontproperties=_FONT, color=ink, ha="center", va="center_baseline", zorder=4)


def _write(canvas: Axes | Figure, place: tuple[float, float], text: str, **style: Any) -> Text:
    shown = re.sub(r"^\w+_\{[\w+-]+\}$", r"$\g<0>$", text)  # names such as c_{k-1} are mathematics
    return canvas.text(*place, shown, parse_math=shown != text, usetex=False, linespacing=1.05, **style)
