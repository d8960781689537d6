"""A chart of the comparison page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from lightning_nas.runs.candidate import Candidate
from lightning_nas.runs.measures import DEVICE_DAYS, QUALITY_ENDINGS, is_share, title_of
from lightning_nas.runs.summary import format_value

WIDE = 20  # an axis on which the largest value is so many times the smallest is logarithmic
MOST_TICKS = 7  # powers of ten on a logarithmic axis
INK, GRID, LINE = "#1f2933", "#e4e8ec", "#8d99a8"


@dataclass(frozen=True)
class Chart:
    """A chart of the comparison page.

    Args:
        title: What stands above it.
        note: How to read it or, where there are no traces, why.
        traces: Traces as plotly.js takes them; ``legendgroup`` tells whose they are.
        layout: The layout as plotly.js takes it.
    """

    title: str
    note: str
    traces: Sequence[dict[str, Any]] = ()
    layout: dict[str, Any] = field(default_factory=dict)


def make_trace(
    group: str, points: Sequence[Candidate], x: str, y: str, marker: Mapping[str, Any], *, step: bool = False
) -> dict[str, Any]:
    """Return points as plotly.js takes them.

    Args:
        group: Whose they are, for the legend.
        points: The points; all they hold is shown when the mouse is over one.
        x: Measure of the horizontal axis.
        y: Measure of the vertical axis.
        marker: What a point looks like, as plotly.js takes it.
        step: Whether the points are joined, so that each value holds until the next.
    """
    return {
        "type": "scatter",
        "mode": "lines+markers" if step else "markers",
        "line": {"shape": "hv", "color": marker["color"], "width": 2},
        "legendgroup": group,
        "x": [_shown(x, point.values[x]) for point in points],
        "y": [_shown(y, point.values[y]) for point in points],
        "hovertext": [_hover(point, (y, x)) for point in points],
        "hovertemplate": "%{hovertext}<extra></extra>",
        "marker": dict(marker),
    }


def make_layout(x: str, y: str, traces: Sequence[dict[str, Any]], *, log_x: bool = False) -> dict[str, Any]:
    """Return the layout of a chart of two measures; the horizontal axis is logarithmic where values differ widely."""
    values = [value for trace in traces for value in trace["x"]]
    is_log = log_x or 0 < WIDE * min(values) < max(values)
    return {
        "xaxis": {**_axis(x), **(_log_ticks(max(values) / min(values)) if is_log else {})},
        "yaxis": _axis(y),
        "margin": {"l": 60, "r": 20, "t": 10, "b": 50},
        "height": 360,
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": INK},
        "hoverlabel": {"align": "left", "bgcolor": "white", "font": {"size": 13, "color": INK}},
        "hovermode": "closest",
        "showlegend": False,
    }


def _log_ticks(ratio: float) -> dict[str, Any]:
    """Return ticks at 1, 2, 5, 10, ..., or at powers of ten where the axis is long: as many as do not overlap."""
    powers = max(1, math.ceil(math.log10(ratio) / MOST_TICKS))
    return {"type": "log", "dtick": "D2" if ratio < 100 else powers}


def _axis(name: str) -> dict[str, Any]:
    style = {"gridcolor": GRID, "linecolor": LINE, "tickcolor": LINE, "ticks": "outside", "zeroline": False}
    unit = " (%)" if is_share(name) else ""
    tick_format = "~g" if name.endswith((*QUALITY_ENDINGS, "latency", DEVICE_DAYS)) else "~s"
    return {**style, "title": {"text": escape(title_of(name)) + unit}, "tickformat": tick_format, "automargin": True}


def _shown(name: str, value: float) -> float:
    return round(100 * value, 6) if is_share(name) else value


def _hover(point: Candidate, first: Sequence[str]) -> str:
    names = [*first, *sorted(set(point.values) - {*first})]
    lines = [f"{escape(title_of(name))}: {format_value(name, point.values[name])}" for name in names]
    return "<br>".join([f"<b>{escape(point.name)}</b>", *lines])
