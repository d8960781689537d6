"""Pictures of where a grown model comes from."""

from collections.abc import Iterable, Sequence
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter
from numpy.typing import NDArray

from lightning_nas.plotting.grown_model import GrownModel, check_grown
from lightning_nas.plotting.palette import LINE, LITERATURE, marker_look
from lightning_nas.plotting.quantities import Quantity, short_number, write_axis
from lightning_nas.plotting.style import add_legend, own_style, settle, text_width

_LINE, _SEED = marker_look(0), marker_look(1)  # colour and marker
_WIDTH = 11.0  # inches
_ROW_HEIGHT, _MARGIN = 0.66, 1.5
_GAP = 0.3  # between the columns of the table
_LONGEST_NAME, _LONGEST_LABEL = 24, 70  # letters
Place = tuple[float, int]  # error and generation


def plot_family(models: Sequence[GrownModel], name: str, *, cost: str = "macs", error: str = "val/error") -> Figure:
    """Draw the family tree of a model: all that has grown from its seed, a row for each generation.

    The model and its forebears, the line of descent, stand out; beside each is its cost, its error and what was added.
    Fractions of errors are shown in percent.

    Args:
        models: In the order in which they were trained; those of other seeds are left out.
        name: Name of the model.
        cost: Name of the cost, such as ``"macs"`` or ``"params"``.
        error: Name of the error, such as ``"val/error"`` or ``"val/perplexity"``.

    Raises:
        ValueError: If there is no model, or none of this name, two have one name, or one stands before its parent or
            lacks it.
    """
    check_grown(models)
    by_name = {model.name: model for model in models}
    if name not in by_name:
        raise ValueError(f"Expected the name of a model but got {name!r}; there are {list(by_name)}")
    line = _line(by_name, name)
    family = _family(models, line[0])
    x, costs = Quantity.of(error, [m.error for m in models]), Quantity.of(cost, [m.cost for m in models])
    generations = _generations(family)
    places = {model.name: (model.error * x.scale, generations[model.name]) for model in family}
    with own_style():
        rows = max(generations.values()) + 1
        figure = Figure((_WIDTH, _ROW_HEIGHT * rows + _MARGIN), layout="constrained")
        axes = figure.add_subplot()
        _draw(axes, family, line, places)
        write_axis(axes, "x", x)
        _number_rows(axes, rows)
        _write_table(axes, line, costs, x)
        add_legend(figure, _legend(len(line), len(family)))
        settle(figure)
    return figure


def _line(by_name: dict[str, GrownModel], name: str) -> list[GrownModel]:
    """Return a model and its forebears, the seed first."""
    line = [by_name[name]]
    while line[-1].parent is not None:
        line.append(by_name[line[-1].parent])
    return line[::-1]


def _family(models: Iterable[GrownModel], seed: GrownModel) -> list[GrownModel]:
    """Return a seed and all that has grown from it."""
    names = {seed.name}
    for model in models:
        if model.parent in names:
            names.add(model.name)
    return [model for model in models if model.name in names]


def _generations(family: Iterable[GrownModel]) -> dict[str, int]:
    generations: dict[str, int] = {}
    for model in family:
        generations[model.name] = 0 if model.parent is None else generations[model.parent] + 1
    return generations


def _draw(axes: Axes, family: Sequence[GrownModel], line: Sequence[GrownModel], places: dict[str, Place]) -> None:
    others = [model for model in family if model not in line]
    branches = [[places[model.parent], places[model.name]] for model in others if model.parent is not None]
    axes.add_collection(LineCollection(branches, colors=LINE, linewidths=0.6, alpha=0.5, zorder=2))
    x, y = _columns(others, places)
    axes.scatter(x, y, s=16, color=LINE, marker=_LINE[1], linewidths=0, alpha=0.7, zorder=3)
    x, y = _columns(line, places)
    axes.plot(x, y, color=_LINE[0], linewidth=2.0, zorder=4)
    for k, (color, marker) in ((slice(1, None), _LINE), (slice(1), _SEED)):
        axes.scatter(x[k], y[k], s=60, color=color, marker=marker, edgecolors="white", linewidths=0.8, zorder=5)


def _columns(models: Iterable[GrownModel], places: dict[str, Place]) -> NDArray[np.float64]:
    return np.reshape([places[model.name] for model in models], (-1, 2)).T


def _number_rows(axes: Axes, rows: int) -> None:
    """Let the generations go down, from the seed."""
    axes.set(ylim=(rows - 0.4, -0.6), ylabel="generation")
    axes.yaxis.set_major_locator(FixedLocator(range(rows)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda row, _: f"{row:.0f}" if row else "seed"))
    axes.margins(x=0.06)


def _write_table(axes: Axes, line: Sequence[GrownModel], cost: Quantity, error: Quantity) -> None:
    """Write name, cost and error of each model to the right of its row, and below it what was added."""
    head = ("model", cost.title, error.title)
    rows = [
        (_short(model.name), _number(model.cost * cost.scale), _number(model.error * error.scale)) for model in line
    ]
    widths = [max(map(text_width, column)) + _GAP for column in zip(head, *rows, strict=True)]
    starts = np.cumsum([_GAP, *widths[:-1]]) * 72  # points from the axes
    for text, start in zip(head, starts, strict=True):
        _write(axes, text, (start, 4.0), 1.0, axes.transAxes, va="bottom", color=LITERATURE)
    for row, (model, texts) in enumerate(zip(line, rows, strict=True)):
        for text, start in zip(texts, starts, strict=True):
            _write(axes, text, (start, 2.0), row, axes.get_yaxis_transform(), va="bottom")
        added = "\n".join(wrap(f"+ {model.label}", _LONGEST_LABEL, max_lines=2, placeholder=" …"))
        if model.label:
            _write(axes, added, (starts[0], -1.0), row, axes.get_yaxis_transform(), va="top", color=LITERATURE)


def _write(axes: Axes, text: str, offset: tuple[float, float], y: float, transform: Any, **look: Any) -> None:
    axes.annotate(text, (1.0, y), offset, xycoords=transform, textcoords="offset points", annotation_clip=False, **look)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1].rstrip()}…"


def _number(value: float) -> str:
    return short_number(float(f"{value:.4g}"))


def _legend(ancestors: int, family: int) -> list[Line2D]:
    handles = [Line2D([], [], color=_SEED[0], marker=_SEED[1], linestyle="none", label="seed")]
    if ancestors > 1:
        handles.append(Line2D([], [], color=_LINE[0], marker=_LINE[1], linewidth=2.0, label="line of descent"))
    if family > ancestors:
        handles.append(Line2D([], [], color=LINE, marker=_LINE[1], ms=4, lw=0.6, label="other descendants of the seed"))
    return handles
