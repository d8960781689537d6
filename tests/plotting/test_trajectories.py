import re
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import FillBetweenPolyCollection
from matplotlib.figure import Figure

from lightning_nas.plotting import Series, plot_trajectories
from tests.plotting.legibility import assert_legible


def curves(figure: Figure) -> dict[str, list[list[float]]]:
    return {str(line.get_label()): np.asarray(line.get_xydata()).tolist() for line in figure.axes[0].lines}


def test_a_single_series_is_drawn_in_steps_and_without_a_band() -> None:
    figure = plot_trajectories([Series("darts", [1, 3, 7], [5, 4, 2])], "examples seen", "perplexity")
    assert curves(figure) == {"darts": [[1, 5], [3, 4], [7, 2]]}
    assert figure.axes[0].lines[0].get_drawstyle() == "steps-post"
    assert not figure.axes[0].collections


def test_repetitions_become_their_mean_in_a_band() -> None:
    runs = [Series("darts", [1, 3, 7], [5, 4, 2]), Series("darts", [2, 3], [9, 6])]
    figure = plot_trajectories(runs, "examples seen", "perplexity")
    # From 2 on both have begun: (5, 9), (4, 6), and the second one keeps its 6.
    assert curves(figure) == {"darts": [[2, 7], [3, 5], [7, 4]]}
    (band,) = figure.axes[0].collections
    assert isinstance(band, FillBetweenPolyCollection)
    corners = {(float(x), float(y)) for x, y in np.asarray(band.get_paths()[0].vertices)}
    assert corners == {(2, 5), (2, 9), (3, 5), (3, 9), (3, 4), (3, 6), (7, 4), (7, 6), (7, 2)}


def test_a_metric_is_shown_in_its_words_and_in_percent() -> None:
    figure = plot_trajectories([Series("darts", [1], [0.25])], "examples seen", "search/best_error")
    assert curves(figure) == {"darts": [[1, 25]]}
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("examples seen", "best error (%)")
    assert figure.axes[0].lines[0].get_marker() == "o"  # a line of one point would not be seen


def test_numbers_that_cannot_be_drawn_are_left_out() -> None:
    nan, inf = float("nan"), float("inf")
    series = [Series("a", [0, 1, 2, 3], [9, nan, 7, inf]), Series("b", [1], [nan])]
    assert curves(plot_trajectories(series, "x", "y")) == {"a": [[0, 9], [2, 7]]}
    assert curves(plot_trajectories(series, "x", "y", log_x=True)) == {"a": [[2, 7]]}
    assert curves(plot_trajectories(series[1:], "x", "y", log_x=True)) == {}


@pytest.mark.parametrize("log_x", [False, True])
def test_scale(log_x: bool) -> None:
    figure = plot_trajectories([Series("a", [10, 1000], [1, 2])], "x", "y", log_x=log_x)
    assert figure.axes[0].get_xscale() == ("log" if log_x else "linear")


@pytest.mark.parametrize("count", [1, 3, 20])
@pytest.mark.parametrize("log_x", [False, True])
def test_pictures_are_legible(count: int, log_x: bool) -> None:
    series = []
    for k in range(3 * count):
        rng = np.random.default_rng(k)
        x, y = np.sort(rng.integers(100, 2_000_000, 50)), np.minimum.accumulate(rng.random(50))
        series.append(Series(f"search number {k // 3}", x.tolist(), y.tolist()))
    figure = plot_trajectories(series, "examples seen", "val/error", log_x=log_x)
    assert_legible(figure)
    assert len(figure.legends[0].get_texts()) == count
    assert len({(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines}) == count


def test_no_series_is_an_error() -> None:
    with pytest.raises(ValueError, match="Expected at least one series"):
        plot_trajectories([], "x", "y")


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([1, 2], [1], "Expected as many `y` as `x`, at least one, but got 1 and 2 in 'a'"),
        ([], [], "Expected as many `y` as `x`, at least one, but got 0 and 0 in 'a'"),
        ([2, 1], [1, 1], "Expected `x` not to fall but got [2, 1] in 'a'"),
    ],
)
def test_a_series_that_is_none(x: list[Any], y: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Series("a", x, y)
