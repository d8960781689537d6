from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_nas.objective import Objective
from lightning_nas.runs import Candidate, Comparison, Run
from lightning_nas.runs.chart import make_layout
from lightning_nas.runs.charts import all_charts, cost_chart, front_chart, look_of, trajectory_chart
from lightning_nas.zoo import PublishedResult

PARAMS = Objective("params")
PUBLISHED = PublishedResult("CIFAR-10", "Table 1", "Net <1>", "test error %", 2.5, params=3_000_000, gpu_days=4.0)


def search(name: str, *points: tuple[float, float], **row: float) -> Run:
    candidates = [Candidate(f"epoch {n}", {"val/error": y, "params": x}) for n, (y, x) in enumerate(points)]
    rows = ({"val/error": 0.5, **{f"search/{key}": value for key, value in row.items()}},)
    return Run(name, Path(name), history=rows, candidates=tuple(candidates))


def points(trace: dict[str, Any]) -> list[tuple[float, float]]:
    return list(zip(trace["x"], trace["y"], strict=True))


def test_the_front_is_joined_and_the_dominated_are_faded() -> None:
    run = search("one", (0.5, 10.0), (0.25, 30.0), (0.75, 20.0), (0.5, 30.0), (0.125, 40.0))
    chart = front_chart(Comparison([run]), PARAMS)
    dominated, front = chart.traces
    assert chart.title == "Validation error against parameters"
    assert points(front) == [(10.0, 50.0), (30.0, 25.0), (40.0, 12.5)]  # in percent
    assert points(dominated) == [(20.0, 75.0), (30.0, 50.0)]
    assert (front["mode"], front["line"]["shape"], dominated["mode"]) == ("lines+markers", "hv", "markers")
    assert dominated["marker"]["opacity"] < 0.5
    assert front["hovertext"][1] == "<b>one, epoch 1</b><br>validation error: 25.00%<br>parameters: 30"


@given(st.lists(st.tuples(st.sampled_from([0.125, 0.25, 0.5]), st.sampled_from([1.0, 2.0, 3.0])), min_size=1))
def test_every_candidate_is_drawn_once_and_the_front_is_not_dominated(pairs: list[tuple[float, float]]) -> None:
    traces = front_chart(Comparison([search("one", *pairs)]), PARAMS).traces
    drawn = [(y / 100, x) for trace in traces for x, y in points(trace)]
    assert sorted(drawn) == sorted(pairs)
    expected = [p for p in pairs if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in pairs)]
    assert sorted((y / 100, x) for x, y in points(traces[-1])) == sorted(expected)


def test_each_run_has_its_own_look_and_group_in_every_chart() -> None:
    runs = [search(name, (0.5, 10.0), examples_seen=100.0, device_hours=24.0) for name in "abc"]
    for chart in all_charts(Comparison(runs)):
        assert [trace["legendgroup"] for trace in chart.traces] == ["run-0", "run-1", "run-2"]
        assert [(t["marker"]["color"], t["marker"]["symbol"]) for t in chart.traces] == [look_of(n) for n in range(3)]
    assert len({look_of(n) for n in range(56)}) == 56


def test_the_trajectory_is_over_examples_on_a_logarithmic_axis() -> None:
    rows = [{"val/error": error, "search/examples_seen": 100.0 * n} for n, error in enumerate((0.9, 0.5, 0.6, 0.25))]
    chart = trajectory_chart(Comparison([Run("one", Path("one"), history=tuple(rows))]))
    assert [points(trace) for trace in chart.traces] == [
        [(100.0, 50.0), (200.0, 50.0), (300.0, 25.0)]
    ]  # 0 has no place
    assert chart.layout["xaxis"]["type"] == "log"


def test_the_cost_is_that_of_the_whole_run() -> None:
    comparison = Comparison([search("one", examples_seen=100.0, device_hours=36.0), search("two", examples_seen=50.0)])
    examples, days = (cost_chart(comparison, f"search/{name}") for name in ("examples_seen", "device_days"))
    assert [points(trace) for trace in examples.traces] == [[(100.0, 50.0)], [(50.0, 50.0)]]
    assert [points(trace) for trace in days.traces] == [[(1.5, 50.0)]]
    assert days.traces[0]["legendgroup"] == "run-0"


def test_published_results_lie_below_the_runs() -> None:
    run = search("one", (0.5, 10.0), examples_seen=100.0, device_hours=24.0)
    other = PublishedResult("CIFAR-10", "Table 2", "Other", "test accuracy %", 96.0, params=1_000_000)
    fronts, trajectory, examples, days = all_charts(Comparison([run], (), (PUBLISHED, other)))
    assert [trace["legendgroup"] for trace in fronts.traces] == ["literature", "run-0"]
    assert points(fronts.traces[0]) == [(3e6, 2.5), (1e6, pytest.approx(4.0))]
    assert points(days.traces[0]) == [(4.0, 2.5)]
    assert fronts.traces[0]["hovertext"][0].startswith("<b>Net &lt;1&gt;; Table 1</b><br>validation error: 2.50%")
    assert "published" in fronts.note
    assert "published" in days.note
    for chart in (trajectory, examples):
        assert [trace["legendgroup"] for trace in chart.traces] == ["run-0"]
        assert "published" not in chart.note


def test_a_chart_without_data_says_what_is_missing() -> None:
    front, trajectory, examples, days = all_charts(Comparison([Run("one", Path("one"), history=({"val/error": 0.5},))]))
    assert "ParetoFront" in front.note
    assert "search/examples_seen" in trajectory.note
    assert "search/examples_seen" in examples.note
    assert "search/device_hours" in days.note
    assert not any(chart.traces for chart in (front, trajectory, examples, days))


@pytest.mark.parametrize(
    ("values", "kind", "ticks"),
    [
        ([1.0, 19.0], "linear", None),
        ([0.0, 100.0], "linear", None),
        ([1.0, 50.0], "log", "D2"),
        ([1.0, 1e4], "log", 1),
        ([1.0, 1e9], "log", 2),
    ],
)
def test_an_axis_is_logarithmic_where_values_differ_widely(values: list[float], kind: str, ticks: object) -> None:
    axis = make_layout("params", "val/error", [{"x": values, "y": values}])["xaxis"]
    assert (axis.get("type", "linear"), axis.get("dtick")) == (kind, ticks)


def test_names_in_axes_are_text() -> None:
    layout = make_layout("<b>", "val/error", [{"x": [1.0]}])
    assert layout["xaxis"]["title"]["text"] == "&lt;b&gt;"
    assert layout["yaxis"]["title"]["text"] == "validation error (%)"
