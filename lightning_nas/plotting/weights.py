"""Pictures of mixture weights."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from lightning_nas.plotting.palette import INK
from lightning_nas.plotting.style import TEXT_SIZE, own_style, settle, text_width
from lightning_nas.spaces.decision_group import DecisionGroup

_SHADES = LinearSegmentedColormap.from_list("weights", ["#ffffff", "#56b4e9", "#0072b2", "#00263d"])
_COLORS = _SHADES.with_extremes(bad="#d9d9d9")
_WIDEST = 11.0  # inches, as all lengths below
_CELL, _NARROW, _ROW, _LINE = 0.4, 0.24, 0.24, 0.15  # a cell with a value, one without; a row, a line of text
_MARGIN, _BAR = 0.16, 0.7
_Array = NDArray[np.float64]


class _Panel(NamedTuple):
    """A table, the names around it and the room that all of it takes."""

    group: DecisionGroup
    table: _Array
    names: tuple[str, ...]
    upright: bool
    cell: float
    left: float
    top: float

    @property
    def width(self) -> float:
        title = text_width(self.group.name, TEXT_SIZE + 1)
        return max(self.left + self.cell * len(self.names), title) + 2 * _MARGIN

    @property
    def height(self) -> float:
        return self.top + _ROW * len(self.group.rows) + _MARGIN


def plot_weights(groups: Sequence[DecisionGroup], tables: Sequence[Tensor | ArrayLike]) -> Figure:
    """Draw a heat map per group, with a row per mixed place and a column per candidate.

    All share one scale of colours from 0 to 1; NaN is grey. Values are written into the cells unless there are too many
    columns.

    Args:
        groups: What the rows and columns are called.
        tables: The weights of each group, ``[rows, candidates]``.

    Raises:
        ValueError: If there is no group or not one table for each, or a table has not the shape of its group or holds
            what is not from 0 to 1.
    """
    if not groups or len(groups) != len(tables):
        raise ValueError(f"Expected groups and a table for each but got {len(groups)} groups and {len(tables)} tables")
    with own_style():
        panels = [_panel(group, _array(group, table)) for group, table in zip(groups, tables, strict=True)]
        rows = _flow(panels)
        height = _MARGIN + sum(max(panel.height for panel in row) for row in rows)
        width = max(sum(panel.width for panel in row) for row in rows)
        figure = Figure((width + _BAR, height))
        top = height - _MARGIN
        for row in rows:
            left = 0.0
            for panel in row:
                _draw(figure, panel, left + _MARGIN, top)
                left += panel.width
            top -= max(panel.height for panel in row)
        _draw_bar(figure, width + 0.05, height)
        settle(figure)
    return figure


def _array(group: DecisionGroup, table: Tensor | ArrayLike) -> _Array:
    plain = table.detach().double().cpu().numpy() if isinstance(table, Tensor) else np.asarray(table, float)
    shape = (len(group.rows), len(group.candidates))
    if plain.shape != shape:
        raise ValueError(f"Expected a table of shape {shape} for the group {group.name!r} but got {plain.shape}")
    if ((plain < 0) | (plain > 1)).any():
        raise ValueError(
            f"Expected weights from 0 to 1 for the group {group.name!r} but got values from {np.nanmin(plain):.3g} to "
            f"{np.nanmax(plain):.3g}; take the softmax of logits first"
        )
    return plain


def _panel(group: DecisionGroup, table: _Array) -> _Panel:
    """Write names of candidates in lines, ``sep_conv`` above ``3x3``, or upright if that is too wide."""
    left = max(map(text_width, group.rows)) + 0.1
    folded = tuple(re.sub(r"^(.+)_(.+)$", r"\1\n\2", name) for name in group.candidates)
    cell = max(_CELL, max(map(text_width, folded)) + 0.1)
    if left + cell * len(folded) + 2 * _MARGIN + _BAR <= _WIDEST:
        lines = 1 + max(name.count("\n") for name in folded)
        return _Panel(group, table, folded, False, cell, left, 0.3 + _LINE * lines)
    cell = _CELL if left + _CELL * len(folded) + 2 * _MARGIN + _BAR <= _WIDEST else _NARROW
    return _Panel(group, table, group.candidates, True, cell, left, 0.35 + max(map(text_width, group.candidates)))


def _flow(panels: Sequence[_Panel]) -> list[list[_Panel]]:
    """Put panels side by side as long as they fit."""
    rows: list[list[_Panel]] = [[]]
    for panel in panels:
        if rows[-1] and sum(other.width for other in [*rows[-1], panel]) + _BAR > _WIDEST:
            rows.append([])
        rows[-1].append(panel)
    return rows


def _draw(figure: Figure, panel: _Panel, left: float, top: float) -> None:
    rows, columns = panel.table.shape
    size, height = figure.get_size_inches(), _ROW * rows
    corner = (left + panel.left, top - panel.top - height)
    axes = figure.add_axes((*(corner / size), *((panel.cell * columns, height) / size)), label=panel.group.name)
    axes.imshow(panel.table, cmap=_COLORS, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    axes.set_xticks(range(columns), panel.names, rotation=90 if panel.upright else 0)
    axes.set_yticks(range(rows), panel.group.rows)
    axes.tick_params(length=0, pad=3, top=False, bottom=False, labeltop=True, labelbottom=False)
    axes.grid(False)
    axes.spines[:].set_visible(True)
    figure.text(left / size[0], top / size[1], panel.group.name, va="top", weight="bold", size=TEXT_SIZE + 1)
    if panel.cell >= _CELL:
        _write_values(axes, panel.table)


def _write_values(axes: Axes, table: _Array) -> None:
    for (row, column), value in np.ndenumerate(table):
        ink = "white" if value > 0.45 else INK
        axes.text(column, row, f"{value:.2f}", color=ink, size=8, ha="center", va="center_baseline")


def _draw_bar(figure: Figure, left: float, height: float) -> None:
    tall = min(height - 2 * _MARGIN, 2.4)
    size = figure.get_size_inches()
    axes = figure.add_axes((*((left, height - _MARGIN - tall) / size), *((0.14, tall) / size)), label="scale")
    figure.colorbar(ScalarMappable(Normalize(0, 1), _COLORS), axes, ticks=[0, 0.5, 1])
