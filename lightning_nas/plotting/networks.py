"""Drawings of long networks: a column of operations, and beside it a lane for every output that is read further down.

The lines are read as in a circuit diagram: where lines meet in a dot they are connected, where they cross they are not.
"""

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch

from lightning_nas.plotting.palette import COLORS, INK, LINE, box_look
from lightning_nas.plotting.style import TEXT_SIZE, own_style, text_width
from lightning_nas.spaces.graph import CellGraph

_MARGIN, _BOX, _GAP, _LANE = 0.16, 0.26, 0.17, 0.17  # inches, as all lengths below
_SIDE = 0.06  # side lines enter a box above its middle and leave it below
_RADIUS = 0.05  # of a join


class _Stop(NamedTuple):
    """A place in the column: a box with an operation or a name, or, without text, a join of several outputs."""

    text: str
    name: str
    reads: tuple[int, ...]


class _Lane(NamedTuple):
    """The line beside the column that leads from one stop to all further ones that read it."""

    number: int
    source: int
    targets: tuple[int, ...]


class _Layout:
    """Where everything goes, in inches from the top left corner.

    Args:
        stops: The column.
        title: What stands above it.
    """

    def __init__(self, stops: Sequence[_Stop], title: str) -> None:
        self.stops, self.title = stops, title
        self.left = _MARGIN + max(text_width(stop.name) for stop in stops) + 0.08
        self.box = max(text_width(stop.text) for stop in stops) + 0.2
        self.trunk = self.left + self.box / 2
        self.rows = [0.55 + _BOX / 2]
        for above, below in pairwise(stops):
            self.rows.append(self.rows[-1] + _GAP + sum(_BOX / 2 if stop.text else 0.1 for stop in (above, below)))

    @cached_property
    def lanes(self) -> list[_Lane]:
        """Give every output that is read further down the nearest lane that is free."""
        ends: list[int] = []
        lanes = []
        for source in range(len(self.stops)):
            targets = tuple(k for k, stop in enumerate(self.stops) if source in stop.reads and k > source + 1)
            if targets:
                number = next((n for n, end in enumerate(ends) if end <= source), len(ends))
                ends[number : number + 1] = [targets[-1]]
                lanes.append(_Lane(number, source, targets))
        return lanes

    @property
    def size(self) -> tuple[float, float]:
        """Width and height."""
        lanes = 1 + max((lane.number for lane in self.lanes), default=-1)
        width = max(self.left + self.box + _LANE * lanes + 0.1, _MARGIN + text_width(self.title, TEXT_SIZE + 2))
        return width + _MARGIN, self.rows[-1] + _BOX / 2 + _MARGIN

    def x(self, lane: _Lane) -> float:
        return self.left + self.box + 0.12 + _LANE * lane.number

    def entry(self, index: int) -> tuple[float, float]:
        """Return where lines from the side end."""
        if self.stops[index].text:
            return self.left + self.box, self.rows[index] - _SIDE
        return self.trunk + _RADIUS, self.rows[index]

    def exit(self, index: int) -> tuple[float, float]:
        """Return where lines to the side begin."""
        if self.stops[index].text:
            return self.left + self.box, self.rows[index] + _SIDE
        return self.trunk, self.rows[index] + 0.13


def plot_network(graph: CellGraph) -> Figure:
    """Draw a network as a column of boxes from the first node down to the last.

    The name of a node stands left of its operation. A circle is where several outputs meet. The figure belongs to no
    backend and is not known to pyplot.

    Args:
        graph: The network.
    """
    with own_style():
        layout = _Layout(_stops(graph), graph.name)
        width, height = layout.size
        figure = Figure((width, height))
        axes = figure.add_axes((0, 0, 1, 1), label=graph.name, xlim=(0, width), ylim=(height, 0))
        axes.set_axis_off()
        axes.text(_MARGIN, _MARGIN, graph.name, size=TEXT_SIZE + 2, weight="bold", va="top")
        for index in range(len(layout.stops)):
            _draw_stop(axes, layout, index)
        for index, lane in enumerate(layout.lanes):
            _draw_lane(axes, layout, lane, COLORS[index % len(COLORS)])
        for target in sorted({target for lane in layout.lanes for target in lane.targets}):
            side, row = layout.entry(target)
            outer = max(layout.x(lane) for lane in layout.lanes if target in lane.targets)
            _draw_arrow(axes, (outer, row), (side, row))
    return figure


def _stops(graph: CellGraph) -> list[_Stop]:
    """Put operations before the nodes that they lead to; one with a single operation takes its place."""
    stops: list[_Stop] = []
    ends: dict[str, int] = {}

    def add(text: str, name: str, *reads: int) -> int:
        stops.append(_Stop(text, name, tuple(dict.fromkeys(reads))))
        return len(stops) - 1

    for node in graph.nodes:
        edges = [(ends[source], label) for source, target, label in graph.edges if target == node]
        labels = sum(bool(label) for _, label in edges)
        reads = [add(label, node if labels == 1 else "", end) if label else end for end, label in edges]
        if labels == len(reads) == 1:
            ends[node] = reads[0]
        elif len(reads) > 1 and node != graph.nodes[-1]:
            ends[node] = add("", node if labels > 1 else "", *reads)
        else:
            ends[node] = add(node, "", *reads)
    return stops


def _draw_stop(axes: Axes, layout: _Layout, index: int) -> None:
    stop, row, trunk = layout.stops[index], layout.rows[index], layout.trunk
    half = _BOX / 2 if stop.text else _RADIUS
    if index - 1 in stop.reads:
        start = layout.rows[index - 1] + (_BOX / 2 if layout.stops[index - 1].text else _RADIUS)
        _draw_arrow(axes, (trunk, start), (trunk, row - half))
    if stop.text:
        ends = {0: "input", len(layout.stops) - 1: "output"}
        fill, border, ink = box_look(ends.get(index, stop.text) if not stop.name else stop.text)
        corner, style = (layout.left, row - half), "round,pad=0,rounding_size=0.1"
        axes.add_artist(FancyBboxPatch(corner, layout.box, _BOX, boxstyle=style, fc=fill, ec=border, lw=1, zorder=3))
        axes.text(trunk, row, stop.text, color=ink, ha="center", va="center_baseline", zorder=4)
    else:
        axes.add_artist(Circle((trunk, row), _RADIUS, facecolor="white", edgecolor=INK, linewidth=1.2, zorder=3))
    if stop.name:
        axes.text(layout.left - 0.08, row, stop.name, ha="right", va="center_baseline", zorder=4)


def _draw_lane(axes: Axes, layout: _Layout, lane: _Lane, color: str) -> None:
    x, (start, y) = layout.x(lane), layout.exit(lane.source)
    end = layout.entry(lane.targets[-1])[1]
    axes.plot([start, x, x], [y, y, end], color=color, linewidth=1.3, solid_joinstyle="round", zorder=2)
    for target in lane.targets:
        axes.add_artist(Circle((x, layout.entry(target)[1]), 0.03, facecolor=color, linewidth=0, zorder=4))


def _draw_arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    head = "-|>,head_length=3.2,head_width=1.6"
    arrow = FancyArrowPatch(start, end, arrowstyle=head, color=LINE, linewidth=1.2, shrinkA=0, shrinkB=0, zorder=1)
    axes.add_artist(arrow)
