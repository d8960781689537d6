"""Pictures of how searches went."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from lightning_nas.plotting.palette import line_look
from lightning_nas.plotting.quantities import Quantity, write_axis
from lightning_nas.plotting.series import Series
from lightning_nas.plotting.style import add_legend, own_style, settle

_Array = NDArray[np.float64]


def plot_trajectories(series: Sequence[Series], x_label: str, y_label: str, *, log_x: bool = False) -> Figure:
    """Draw values that hold until the next, such as the best error so far over examples seen.

    Series of one name are repetitions: their mean is drawn, in a band from the smallest to the largest, from where all
    of them have begun. One that ends before the others keeps its last value. NaN and infinite values are left out.

    Args:
        series: What to draw.
        x_label: Title of the x axis.
        y_label: Title of the y axis, or the name of a metric: fractions of errors and accuracies are shown in percent.
        log_x: Whether the x axis is logarithmic.

    Raises:
        ValueError: If there is no series.
    """
    if not series:
        raise ValueError("Expected at least one series to draw but got none")
    groups: dict[str, list[tuple[_Array, _Array]]] = {}
    for one in series:
        groups.setdefault(one.name, []).append(_finite(one, positive=log_x))
    pairs = [pair for group in groups.values() for pair in group]
    x_quantity = Quantity(x_label, log=log_x and any(len(x) for x, _ in pairs))
    y_quantity = Quantity.of(y_label, np.concatenate([y for _, y in pairs]))
    with own_style():
        figure = Figure((8.0, 5.0), layout="constrained")
        axes = figure.add_subplot()
        lines = [_draw(axes, index, *item, y_quantity.scale) for index, item in enumerate(groups.items())]
        write_axis(axes, "x", x_quantity)
        write_axis(axes, "y", y_quantity)
        add_legend(figure, list(chain.from_iterable(lines)))
        settle(figure)
    return figure


def _finite(series: Series, positive: bool) -> tuple[_Array, _Array]:
    x, y = np.array(series.x, float), np.array(series.y, float)
    kept = np.isfinite(x) & np.isfinite(y) & ((x > 0) | (not positive))
    return x[kept], y[kept]


def _draw(axes: Axes, index: int, name: str, group: Sequence[tuple[_Array, _Array]], scale: float) -> list[Line2D]:
    """Draw the repetitions of one name, and return the line for the legend, if there is anything to see."""
    color, style = line_look(index)
    x, table = _on_common_places([pair for pair in group if len(pair[0])])
    if not len(x):
        return []
    if len(table) > 1:
        low, high = scale * table.min(axis=0), scale * table.max(axis=0)
        axes.fill_between(x, low, high, step="post", color=color, alpha=0.18, linewidth=0)
    look: dict[str, Any] = {"linestyle": style, "marker": "o" if len(x) == 1 else None}
    return axes.plot(x, scale * table.mean(axis=0), color=color, drawstyle="steps-post", label=name, lw=1.8, **look)


def _on_common_places(group: Sequence[tuple[_Array, _Array]]) -> tuple[_Array, _Array]:
    """Return all places from where the last series begins, and the value of every series at each."""
    if not group:
        return np.empty(0), np.empty((0, 0))
    places = np.unique(np.concatenate([x for x, _ in group]))
    places = places[places >= max(x[0] for x, _ in group)]
    return places, np.stack([y[np.searchsorted(x, places, side="right") - 1] for x, y in group])
