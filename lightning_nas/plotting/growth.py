"""Pictures of how the hull of a growing search sinks."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import ceil
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lightning_nas.checks import check_at_least
from lightning_nas.hull import Point, lower_hull
from lightning_nas.plotting.grown_model import GrownModel, check_grown
from lightning_nas.plotting.labels import Label, write_labels
from lightning_nas.plotting.palette import LINE, marker_look
from lightning_nas.plotting.quantities import Quantity, write_axis
from lightning_nas.plotting.style import add_legend, own_style, settle

_GROWN, _SEED = marker_look(0), marker_look(1)  # colour and marker
_ROW = 4  # pictures side by side
_WIDTH, _HEIGHT = {1: 6.4, 2: 9.0}, {1: 4.6, 2: 4.2}  # of a row, by the number of pictures in it
_FAINT = 0.35
_BELOW_RIGHT = (1, -1)  # where nothing is next to the best model; at other corners the hull is in the way


def plot_hull_growth(
    models: Sequence[GrownModel], *, moments: int = 4, cost: str = "macs", error: str = "val/error"
) -> Figure:
    """Draw the models and their lower convex hull at several moments of a search, the last one at its end.

    Models on the hull are solid, others faded; a line leads from each model to those that have grown from it. The hull
    of the picture before is drawn faintly. In the last picture the models on the hull have their names, where there is
    room. Fractions of errors are shown in percent.

    Args:
        models: In the order in which they were trained.
        moments: Number of pictures: after equal numbers of models. There are fewer where there are fewer models.
        cost: Name of the cost, such as ``"macs"`` or ``"params"``.
        error: Name of the error, such as ``"val/error"`` or ``"val/perplexity"``.

    Raises:
        ValueError: If there is no model, two have one name, one stands before its parent or lacks it, or ``moments`` is
            not positive.
    """
    check_at_least("moments", moments, 1)
    check_grown(models)
    counts = sorted({ceil(len(models) * k / moments) for k in range(1, moments + 1)})
    x = replace(Quantity.of(cost, [model.cost for model in models]), log=False)  # a hull is straight in linear axes
    y = Quantity.of(error, [model.error for model in models])
    scaled = [replace(model, cost=model.cost * x.scale, error=model.error * y.scale) for model in models]
    hulls = [_hull(scaled[:count]) for count in counts]
    with own_style():
        figure = _pictures(len(counts))
        for axes, count, hull, before in zip(figure.axes, counts, hulls, [[], *hulls[:-1]], strict=True):
            _draw(axes, scaled[:count], hull, before)
            axes.set_title(f"{count} of {len(models)} models")
            write_axis(axes, "x", x)
            write_axis(axes, "y", y)
        _share_titles(figure.axes)
        add_legend(figure, _legend(scaled, len(counts)))
        settle(figure)
        _name_hull(figure.axes[-1], scaled, hulls[-1])
    return figure


def _hull(models: Iterable[GrownModel]) -> list[Point]:
    return lower_hull([(model.cost, model.error) for model in models])


def _pictures(count: int) -> Figure:
    """Return a figure with so many axes, all of one scale."""
    rows, columns = ceil(count / _ROW), min(count, _ROW)
    figure = Figure((_WIDTH.get(columns, 11.0), _HEIGHT.get(columns, 3.6) * rows), layout="constrained")
    first: Any = None
    for k in range(count):
        axes = figure.add_subplot(rows, columns, k + 1, sharex=first, sharey=first)
        axes.margins(0.1, 0.14)  # room for names
        first = first or axes
    return figure


def _share_titles(pictures: Sequence[Axes]) -> None:
    """Leave titles and numbers of axes at the left and below, where nothing follows."""
    for k, axes in enumerate(pictures):
        if k % _ROW:
            axes.set_ylabel("")
            axes.tick_params(labelleft=False)
        if k + _ROW < len(pictures):
            axes.set_xlabel("")
            axes.tick_params(labelbottom=False)


def _draw(axes: Axes, models: Sequence[GrownModel], hull: list[Point], before: list[Point]) -> None:
    axes.add_collection(LineCollection(_descents(models), colors=LINE, linewidths=0.6, alpha=0.5, zorder=2))
    if before:
        axes.plot(*np.transpose(before), color=_GROWN[0], linewidth=1.4, alpha=_FAINT, zorder=3)
    axes.plot(*np.transpose(hull), color=_GROWN[0], linewidth=1.4, zorder=4)
    for is_seed, look in ((False, _GROWN), (True, _SEED)):
        points = [(model.cost, model.error) for model in models if (model.parent is None) == is_seed]
        _draw_points(axes, [point for point in points if point not in hull], look, size=16, alpha=_FAINT, zorder=5)
        _draw_points(axes, [point for point in points if point in hull], look, size=40, alpha=1.0, zorder=6)


def _descents(models: Iterable[GrownModel]) -> list[list[Point]]:
    """Return the ends of a line from each parent to its child, in cost and error."""
    place = {model.name: (model.cost, model.error) for model in models}
    return [[place[model.parent], place[model.name]] for model in models if model.parent is not None]


def _draw_points(
    axes: Axes, points: Sequence[Point], look: tuple[str, str], *, size: float, alpha: float, zorder: float
) -> None:
    x, y = np.reshape(points, (-1, 2)).T
    color, marker = look
    axes.scatter(
        x, y, s=size, color=color, marker=marker, alpha=alpha, edgecolors="white", linewidths=0.6, zorder=zorder
    )


def _legend(models: Sequence[GrownModel], pictures: int) -> list[Line2D]:
    def handle(label: str, **look: Any) -> Line2D:
        return Line2D([], [], label=label, **look)

    handles = [handle("seed", color=_SEED[0], marker=_SEED[1], linestyle="none")]
    if any(model.parent is not None for model in models):
        handles += [
            handle("grown", color=_GROWN[0], marker=_GROWN[1], linestyle="none"),
            handle("parent to child", color=LINE, linewidth=0.6),
        ]
    handles.append(handle("convex hull", color=_GROWN[0], linewidth=1.4))
    if pictures > 1:
        handles.append(handle("previous hull", color=_GROWN[0], linewidth=1.4, alpha=_FAINT))
    return handles


def _name_hull(axes: Axes, models: Sequence[GrownModel], hull: list[Point]) -> None:
    """Write the names of the models on the hull, the best first."""
    named = {(model.cost, model.error): model for model in reversed(models)}  # of equal ones the first
    labels = [
        Label(named[corner].name, corner, _SEED[0] if named[corner].parent is None else _GROWN[0])
        for corner in reversed(hull)
    ]
    write_labels(axes, labels, np.array([(model.cost, model.error) for model in models]), _BELOW_RIGHT)
