"""Pictures of trade-offs."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from math import ceil
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from lightning_nas.objective import Objective
from lightning_nas.plotting.front_points import FrontPoints
from lightning_nas.plotting.labels import Label, write_labels
from lightning_nas.plotting.palette import INK, LITERATURE, marker_look
from lightning_nas.plotting.quantities import Quantity, write_axis
from lightning_nas.plotting.style import add_legend, own_style, settle

_REFERENCE = "reference"  # also the name of its lines, by which the legend finds them
_Array = NDArray[np.float64]


class _Cloud(NamedTuple):
    """The points of a front in the units of the axes, and what they look like."""

    front: FrontPoints
    table: _Array
    color: str
    marker: str
    is_background: bool = False

    def masks(self, column: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which points are members of the front, and which are dominated, among those that can be drawn."""
        drawn = np.isfinite(self.table[:, [0, column]]).all(axis=1)
        on_front = np.array(self.front.on_front, bool)
        return drawn & on_front, drawn & ~on_front


def plot_fronts(
    fronts: Sequence[FrontPoints], objectives: Sequence[Objective], *, background: FrontPoints | None = None
) -> Figure:
    """Draw the first objective over each of the others.

    Members of a front are solid, all others faded. With two objectives a line parts what the members dominate from what
    nobody has reached. Points with NaN or an infinite value in a panel are not in it. Labels stand where they cover
    nothing: those of the members first, then those of the background.

    Fractions of errors and accuracies are shown in percent, latencies in seconds as milliseconds. A reference is shown
    unless the points would fill less than a third of the axis then.

    Args:
        fronts: The fronts, each with all of its candidates.
        objectives: What the columns of the values are, two or more.
        background: What was known before, in grey.

    Raises:
        ValueError: If there are fewer than two objectives, or a row has another number of values.
    """
    if len(objectives) < 2:
        raise ValueError(f"Expected at least two objectives but got {[objective.name for objective in objectives]}")
    known = [background] if background else []
    tables = [_table(front, objectives) for front in (*known, *fronts)]
    joined = np.concatenate([np.empty((0, len(objectives))), *tables])
    quantities = [Quantity.of(objective.name, joined[:, k]) for k, objective in enumerate(objectives)]
    looks = [(LITERATURE, "o", True)] * len(known) + [(*marker_look(k), False) for k in range(len(fronts))]
    scales = [quantity.scale for quantity in quantities]
    clouds = [_Cloud(f, t * scales, *look) for f, t, look in zip((*known, *fronts), tables, looks, strict=True)]
    return _draw(clouds, objectives, quantities)


def _table(front: FrontPoints, objectives: Sequence[Objective]) -> _Array:
    for row in front.values:
        if len(row) != len(objectives):
            names = [objective.name for objective in objectives]
            raise ValueError(f"Expected one value per objective of {names} but got {list(row)} in {front.name!r}")
    return np.array(front.values, float).reshape(-1, len(objectives))


def _draw(clouds: Sequence[_Cloud], objectives: Sequence[Objective], quantities: Sequence[Quantity]) -> Figure:
    panels = range(1, len(objectives))
    rows = ceil(len(panels) / 2)
    with own_style():
        figure = Figure((8.0, 5.6) if len(panels) == 1 else (11.0, 5.2 * rows), layout="constrained")
        for column in panels:
            axes = figure.add_subplot(rows, min(len(panels), 2), column)
            _draw_points(axes, clouds, column)
            _write_axes(axes, clouds, objectives, quantities, column)
            if len(panels) == 1:
                _draw_staircases(axes, clouds, objectives)
        _write_legend(figure, clouds)
        settle(figure)
        for column, axes in zip(panels, figure.axes, strict=True):
            points = [cloud.table[mask][:, [column, 0]] for cloud in clouds for mask in cloud.masks(column)]
            better = (-objectives[column].sign, -objectives[0].sign)  # where no line of the front is in the way
            write_labels(axes, _labels(clouds, column), np.concatenate([np.empty((0, 2)), *points]), better)
    return figure


def _draw_points(axes: Axes, clouds: Iterable[_Cloud], column: int) -> None:
    for cloud in clouds:
        solid, faded = (cloud.table[mask][:, [column, 0]].T for mask in cloud.masks(column))
        size, alpha = (16, 0.6) if cloud.is_background else (44, 1.0)
        look: dict[str, Any] = {"color": cloud.color, "marker": cloud.marker}
        axes.scatter(faded[0], faded[1], s=16, alpha=0.35, linewidths=0, zorder=2, **look)
        axes.scatter(solid[0], solid[1], s=size, alpha=alpha, linewidths=0.6, edgecolors="white", zorder=4, **look)


def _write_axes(
    axes: Axes,
    clouds: Sequence[_Cloud],
    objectives: Sequence[Objective],
    quantities: Sequence[Quantity],
    column: int,
) -> None:
    masks = [(cloud, cloud.masks(column)) for cloud in clouds]
    sides: tuple[tuple[Literal["x", "y"], int, Any], ...] = (("x", column, axes.axvline), ("y", 0, axes.axhline))
    for side, k, draw in sides:
        values = np.concatenate([[], *(cloud.table[solid | faded, k] for cloud, (solid, faded) in masks)])
        reference = objectives[k].reference
        if reference is not None and _has_room(values, reference * quantities[k].scale, quantities[k].log):
            draw(reference * quantities[k].scale, color=INK, linestyle=":", linewidth=1.2, label=_REFERENCE)
        write_axis(axes, side, quantities[k])


def _has_room(values: _Array, reference: float, log: bool) -> bool:
    """Return whether the values fill a third of an axis that holds the reference, too."""
    if not len(values) or (log and reference <= 0):
        return False
    low, high, place = np.log([min(values), max(values), reference]) if log else (min(values), max(values), reference)
    return bool(3 * (high - low) >= max(high, place) - min(low, place))


def _draw_staircases(axes: Axes, clouds: Iterable[_Cloud], objectives: Sequence[Objective]) -> None:
    """Draw what each front has reached, up to the ends of the axes where everything is worse."""
    y, x = objectives
    axes.autoscale_view()
    ends = [limits[sign > 0] for limits, sign in ((axes.get_xlim(), x.sign), (axes.get_ylim(), y.sign))]
    for cloud in clouds:
        members = cloud.table[cloud.masks(1)[0]]
        if len(members) and not cloud.is_background:
            line = _staircase(members[:, [1, 0]], (x.sign, y.sign), ends)
            axes.plot(*line, color=cloud.color, linewidth=1.4, zorder=3, scalex=False, scaley=False)
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())


def _staircase(members: _Array, signs: tuple[int, int], ends: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return the corners of the line, from the best ``x`` to the worst: first along ``x``, then along ``y``."""
    ordered = members[np.lexsort((signs[1] * members[:, 1], signs[0] * members[:, 0]))]
    x = [ordered[0, 0], *np.repeat(ordered[1:, 0], 2), ends[0]]
    corners = [ends[1], *np.repeat(ordered[:, 1], 2)]
    return [ordered[0, 0], *x], corners


def _labels(clouds: Iterable[_Cloud], column: int) -> Iterator[Label]:
    """Yield the labels of members, the fronts before the background, then the others of the background."""
    for cloud in sorted(clouds, key=lambda cloud: cloud.is_background):
        for mask in cloud.masks(column)[: 2 if cloud.is_background else 1]:
            for index in np.flatnonzero(mask).tolist() if cloud.front.labels else ():
                x, y = cloud.table[index, [column, 0]]
                yield Label(cloud.front.labels[index], (float(x), float(y)), cloud.color)


def _write_legend(figure: Figure, clouds: Iterable[_Cloud]) -> None:
    handles = [
        Line2D([], [], color=cloud.color, marker=cloud.marker, linestyle="none", label=cloud.front.name)
        for cloud in sorted(clouds, key=lambda cloud: cloud.is_background)
        if len(cloud.table)
    ]
    lines = chain.from_iterable(axes.lines for axes in figure.axes)
    add_legend(figure, [*handles, *[line for line in lines if line.get_label() == _REFERENCE][:1]])
