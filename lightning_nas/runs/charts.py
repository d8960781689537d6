"""What the comparison page draws: fronts, trajectories and costs."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lightning_nas.objective import Objective
from lightning_nas.plotting import palette
from lightning_nas.runs.candidate import Candidate
from lightning_nas.runs.chart import Chart, make_layout, make_trace
from lightning_nas.runs.comparison import Comparison
from lightning_nas.runs.literature import as_candidates
from lightning_nas.runs.measures import DEVICE_DAYS, DEVICE_HOURS, EXAMPLES, title_of
from lightning_nas.runs.points import cost_point, front_mask, front_points, trajectory_points

# plotly.js's names of the markers that plots have, and what stands for them in the legend
SYMBOLS = {
    "circle": "●",
    "square": "■",
    "diamond": "◆",
    "triangle-up": "▲",
    "triangle-down": "▼",
    "cross": "✚",
    "x": "✖",
    "triangle-left": "◀",
}
LITERATURE = "literature"
LITERATURE_LOOK = {"color": palette.LITERATURE, "symbol": "circle-open", "size": 7}


def look_of(index: int) -> tuple[str, str]:
    """Return colour and symbol of a run; 56 look different."""
    return palette.COLORS[index % len(palette.COLORS)], list(SYMBOLS)[index % len(SYMBOLS)]


def all_charts(comparison: Comparison) -> list[Chart]:
    """Return the charts of the page, in order."""
    fronts = [front_chart(comparison, cost) for cost in comparison.costs or [Objective("params")]]
    return [*fronts, trajectory_chart(comparison), *(cost_chart(comparison, name) for name in (EXAMPLES, DEVICE_DAYS))]


def front_chart(comparison: Comparison, cost: Objective) -> Chart:
    """Return the fronts of all runs, of quality against one cost."""
    quality = comparison.quality
    title = f"{title_of(quality.name).capitalize()} against {title_of(cost.name)}"
    traces = []
    for index, run in enumerate(comparison.runs):
        points = front_points(run, quality, cost)
        mask = front_mask(points, (cost, quality))
        for is_front, look in ((False, {"size": 7, "opacity": 0.35}), (True, {"size": 9})):
            pairs = zip(points, mask, strict=True)
            shown = [replace(p, name=f"{run.name}, {p.name}") for p, on_front in pairs if on_front == is_front]
            if shown:
                traces.append(_trace(comparison, index, shown, cost.name, step=is_front, **look))
    if not traces:
        return Chart(title, "No run kept candidates with their costs; the callback ParetoFront does.")
    note = "Joined: the front of each run. Faded: dominated."
    return _with_literature(comparison, Chart(title, note, traces), cost.name)


def trajectory_chart(comparison: Comparison) -> Chart:
    """Return how the best of each run improved with the examples it had seen."""
    title = f"Best {title_of(comparison.quality.name)} over examples seen"
    found = [trajectory_points(run, comparison.quality) for run in comparison.runs]
    traces = [_trace(comparison, i, points, EXAMPLES, step=True, size=5) for i, points in enumerate(found) if points]
    if not traces:
        return Chart(title, _not_logged(EXAMPLES))
    layout = make_layout(EXAMPLES, comparison.quality.name, traces, log_x=True)
    return Chart(title, "Training examples, counted every time that one is processed.", traces, layout)


def cost_chart(comparison: Comparison, name: str) -> Chart:
    """Return the best of each run against what the whole run cost."""
    title = f"Search cost in {title_of(name)}"
    found = [cost_point(run, comparison.quality) for run in comparison.runs]
    needed = {name, comparison.quality.name}
    traces = [_trace(comparison, i, [p], name, size=12) for i, p in enumerate(found) if needed <= p.values.keys()]
    if not traces:
        return Chart(title, _not_logged(DEVICE_HOURS if name == DEVICE_DAYS else name))
    note = f"The cost of a whole run, and its best {title_of(comparison.quality.name)}."
    return _with_literature(comparison, Chart(title, note, traces), name)


def _not_logged(name: str) -> str:
    return f"No run logged {name} beside its quality; searches of lightning-nas and the callback CostMeter do."


def _trace(
    comparison: Comparison, index: int, points: Sequence[Candidate], x: str, *, step: bool = False, **look: Any
) -> dict[str, Any]:
    color, symbol = look_of(index)
    marker = {"color": color, "symbol": symbol, **look}
    return make_trace(f"run-{index}", points, x, comparison.quality.name, marker, step=step)


def _with_literature(comparison: Comparison, chart: Chart, x: str) -> Chart:
    """Finish a chart: published results go below the runs."""
    y = comparison.quality.name
    points = [point for point in as_candidates(comparison.literature) if {x, y} <= point.values.keys()]
    published = [make_trace(LITERATURE, points, x, y, LITERATURE_LOOK)] if points else []
    note = chart.note + (" Grey: published, on test data." if points else "")
    traces = [*published, *chart.traces]
    return Chart(chart.title, note, traces, make_layout(x, y, traces))
