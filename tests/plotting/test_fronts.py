from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from numpy.typing import NDArray

from lightning_nas.objective import Objective
from lightning_nas.pareto import non_dominated
from lightning_nas.plotting import FrontPoints, plot_fronts, save_figure
from lightning_nas.plotting.palette import COLORS, LITERATURE
from tests.plotting.legibility import assert_legible, visible_texts

ERROR, PARAMS, MACS, LATENCY = (Objective(name) for name in ("val/error", "params", "macs", "latency"))
ALL = (ERROR, PARAMS, MACS, LATENCY)


def random_front(seed: int, columns: int, name: str = "evolution", size: int = 60) -> FrontPoints:
    rng = np.random.default_rng(seed)
    params = 10 ** rng.uniform(5, 7, size)
    error = 0.04 + 0.1 * rng.random(size) + 2e4 / params
    table = np.stack([error, params, params * rng.uniform(5, 80, size), params * 1e-9], axis=1)[:, :columns]
    labels = [f"child {k} of {name}" for k in range(size)]
    return FrontPoints(name, table.tolist(), non_dominated(table).tolist(), labels)


def points(axes: Axes) -> list[list[tuple[float, float]]]:
    """Return the points of every layer: the dominated ones and the members, front by front."""
    layers = [layer for layer in axes.collections if isinstance(layer, PathCollection)]
    return [[(float(x), float(y)) for x, y in np.asarray(layer.get_offsets())] for layer in layers]


def staircase(figure: Figure) -> NDArray[np.float64]:
    (line,) = (line for line in figure.axes[0].lines if line.get_linestyle() == "-")
    return np.asarray(line.get_xydata())


class TestPoints:
    FRONT = FrontPoints(
        "darts", [(0.25, 10.0), (0.5, 5.0), (0.5, 20.0), (0.1, float("nan"))], [True, True, False, True]
    )

    def test_members_and_dominated_points_are_apart(self) -> None:
        dominated, members = points(plot_fronts([self.FRONT], (ERROR, PARAMS)).axes[0])
        assert dominated == [(20, 50)]
        assert members == [(10, 25), (5, 50)]  # errors in percent

    def test_dominated_points_are_faded(self) -> None:
        dominated, members = plot_fronts([self.FRONT], (ERROR, PARAMS)).axes[0].collections
        assert (dominated.get_alpha(), members.get_alpha()) == (0.35, 1)

    def test_every_further_objective_has_a_panel(self) -> None:
        front = FrontPoints("darts", [(0.25, 1.0, 2.0, 0.003)], [True])
        panels = plot_fronts([front], ALL).axes
        assert [points(axes)[1] for axes in panels] == [[(1, 25)], [(2, 25)], [(3, 25)]]  # seconds in milliseconds
        assert [axes.get_xlabel() for axes in panels] == ["parameters", "multiply-adds", "latency (ms)"]
        assert {axes.get_ylabel() for axes in panels} == {"validation error (%)"}

    def test_a_point_is_left_out_of_the_panels_that_cannot_show_it(self) -> None:
        front = FrontPoints("darts", [(0.25, float("nan"), 2.0), (0.5, 4.0, float("inf"))], [True, True])
        first, second = plot_fronts([front], (ERROR, PARAMS, MACS)).axes
        assert (points(first)[1], points(second)[1]) == ([(4, 50)], [(2, 25)])

    def test_the_background_is_grey_and_behind(self) -> None:
        known = FrontPoints("published", [(0.3, 7.0)], [True])
        axes = plot_fronts([self.FRONT], (ERROR, PARAMS), background=known).axes[0]
        assert points(axes)[:2] == [[], [(7, 30)]]
        colors = [matplotlib.colors.to_hex(np.asarray(layer.get_facecolor())[0]) for layer in axes.collections[1:]]
        assert colors == [LITERATURE, COLORS[0], COLORS[0]]

    def test_no_points_at_all(self) -> None:
        assert_legible(plot_fronts([FrontPoints("empty", [], [])], (ERROR, PARAMS)))
        assert_legible(plot_fronts([], ALL))


STAIRCASES: dict[tuple[Any, Any], tuple[list[tuple[int, int]], Callable[[Any, Any], Any]]] = {
    ("min", "min"): ([(1, 3), (2, 1)], lambda x, y: [(1, y[1]), (1, 3), (2, 3), (2, 1), (x[1], 1)]),
    ("max", "min"): ([(2, 3), (1, 1)], lambda x, y: [(2, y[1]), (2, 3), (1, 3), (1, 1), (x[0], 1)]),
    ("min", "max"): ([(1, 1), (2, 3)], lambda x, y: [(1, y[0]), (1, 1), (2, 1), (2, 3), (x[1], 3)]),
    ("max", "max"): ([(2, 1), (1, 3)], lambda x, y: [(2, y[0]), (2, 1), (1, 1), (1, 3), (x[0], 3)]),
}


class TestStaircase:
    @pytest.mark.parametrize("modes", STAIRCASES)
    @pytest.mark.parametrize("order", [1, -1])
    def test_corners(self, modes: tuple[Any, Any], order: int) -> None:
        members, corners = STAIRCASES[modes]
        front = FrontPoints("front", [(y, x) for x, y in members[::order]], [True, True])
        figure = plot_fronts([front], (Objective("y", modes[1]), Objective("x", modes[0])))
        axes = figure.axes[0]
        np.testing.assert_array_equal(staircase(figure), corners(axes.get_xlim(), axes.get_ylim()))

    def test_equal_members_add_no_step(self) -> None:
        front = FrontPoints("front", [(1, 2), (1, 2)], [True, True])
        figure = plot_fronts([front], (Objective("y", "min"), Objective("x", "min")))
        assert {tuple(corner) for corner in staircase(figure)} == {
            (2.0, figure.axes[0].get_ylim()[1]),
            (2.0, 1.0),
            (figure.axes[0].get_xlim()[1], 1.0),
        }

    @settings(max_examples=15, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=12))
    def test_it_parts_the_dominated_from_the_rest(self, values: list[tuple[int, int]]) -> None:
        mask = non_dominated(values).tolist()
        figure = plot_fronts([FrontPoints("f", values, mask)], (Objective("y", "min"), Objective("x", "min")))
        line = staircase(figure)
        for x in np.arange(-0.5, 30):  # between the integers: the line is level there
            reached = [b for b, a in values if a <= x]
            levels = [start[1] for start, end in pairwise(line) if start[0] <= x < end[0]]
            if x < figure.axes[0].get_xlim()[1]:
                assert levels == ([min(reached)] if reached else [])

    def test_there_is_none_for_more_objectives(self) -> None:
        assert all(not axes.lines for axes in plot_fronts([random_front(0, 3)], ALL[:3]).axes)

    def test_it_leaves_the_limits_as_they_are(self) -> None:
        axes = plot_fronts([FrontPoints("f", [(1, 1), (2, 2)], [True, False])], (Objective("y", "min"), MACS)).axes[0]
        assert axes.get_xlim() == axes.get_ylim() == pytest.approx((0.95, 2.05))


class TestReference:
    def lines(self, reference: float, params: float | None = None, large: float = 4e5) -> list[Any]:
        front = FrontPoints("front", [(0.1, 1e5), (0.2, large)], [True, True])
        figure = plot_fronts([front], (Objective("val/error", reference=reference), Objective("params", None, params)))
        return [np.asarray(line.get_xydata()).tolist() for line in figure.axes[0].lines if line.get_linestyle() == ":"]

    def test_it_is_drawn_in_the_units_of_the_axis(self) -> None:
        assert self.lines(0.3) == [[[0, 30], [1, 30]]]
        assert self.lines(0.3, 5e5) == [[[5e5, 0], [5e5, 1]], [[0, 30], [1, 30]]]

    def test_it_is_left_out_where_it_would_push_the_points_together(self) -> None:
        assert self.lines(0.39) != []
        assert self.lines(0.41) == []  # 0.1 of 0.31 is less than a third

    def test_a_logarithmic_axis_has_room_for_more_but_not_for_zero(self) -> None:
        assert len(self.lines(0.41, 1e8, large=1e7)) == 1
        assert self.lines(0.41, 0.0, large=1e7) == []


class TestLabels:
    @pytest.mark.parametrize("columns", [2, 3, 4])
    @pytest.mark.parametrize("known", [False, True])
    def test_pictures_are_legible(self, columns: int, known: bool) -> None:
        fronts = [random_front(seed, columns, name) for seed, name in enumerate(("evolution", "darts", "random"))]
        background = random_front(9, columns, "the literature") if known else None
        figure = plot_fronts(fronts, ALL[:columns], background=background)
        assert_legible(figure)
        assert any(isinstance(text, Annotation) for text in visible_texts(figure))

    def test_a_label_is_nearer_to_its_own_point_than_to_others(self) -> None:
        front = random_front(3, 2)
        axes = plot_fronts([front], ALL[:2]).axes[0]
        place = dict(zip(front.labels, front.values, strict=True))
        everything = axes.transData.transform([(x, 100 * y) for y, x in front.values])
        notes = [text for text in axes.texts if isinstance(text, Annotation)]
        assert len(notes) > 5
        for note in notes:
            error, params = place[note.get_text()]
            (own,) = axes.transData.transform([(params, 100 * error)])
            box = note.get_window_extent()
            far = [np.hypot(*(np.clip(p, box.min, box.max) - p)) for p in everything if np.abs(p - own).max() > 1]
            assert min(far) > 10  # pixels

    def test_only_members_and_the_background_have_labels(self) -> None:
        front = FrontPoints("front", [(0.1, 1.0), (0.9, 9.0)], [True, False], ["best", "dominated"])
        known = FrontPoints("known", [(0.5, 2.0), (0.6, 7.0)], [True, False], ["published", "older"])
        axes = plot_fronts([front], (ERROR, PARAMS), background=known).axes[0]
        assert {text.get_text() for text in axes.texts} == {"best", "published", "older"}

    def test_long_labels_are_cut_and_dollars_are_no_mathematics(self) -> None:
        front = FrontPoints("$x$", [(0.1, 1.0), (0.2, 0.5)], [True, True], ["a" * 50, "$y$"])
        figure = plot_fronts([front], (ERROR, PARAMS))
        assert {text.get_text() for text in figure.axes[0].texts} == {"a" * 33 + "…", "$y$"}
        assert not [text for text in visible_texts(figure) if text.get_parse_math()]

    def test_the_legend_names_fronts_background_and_reference(self) -> None:
        fronts = [random_front(0, 2, "evolution"), FrontPoints("empty", [], [])]
        objectives = (Objective("val/error", reference=0.3), PARAMS)
        figure = plot_fronts(fronts, objectives, background=random_front(1, 2, "published"))
        (legend,) = figure.legends
        assert [text.get_text() for text in legend.get_texts()] == ["evolution", "published", "reference"]

    def test_many_fronts_are_legible(self) -> None:
        names = [f"search number {k} with a long name" for k in range(14)]
        assert_legible(plot_fronts([random_front(k, 2, name, 8) for k, name in enumerate(names)], ALL[:2]))


class TestAxes:
    @pytest.mark.parametrize(("largest", "scale"), [(1e6, "linear"), (1.1e6, "log")])
    def test_costs_over_more_than_a_decade_are_logarithmic(self, largest: float, scale: str) -> None:
        front = FrontPoints("front", [(0.1, 1e5), (0.2, largest)], [True, False])
        assert plot_fronts([front], (ERROR, PARAMS)).axes[0].get_xscale() == scale
        assert plot_fronts([front], (ERROR, Objective("size", "min"))).axes[0].get_xscale() == "linear"

    def test_ticks_are_short(self) -> None:
        front = FrontPoints("front", [(0.1, 1e4), (0.2, 1.2e6)], [True, False])
        axes = plot_fronts([front], (ERROR, PARAMS)).axes[0]
        assert {"10k", "100k", "1M"} <= {text.get_text() for text in axes.get_xticklabels()}


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_saved_files_are_identical_whatever_the_style(tmp_path: Path, suffix: str) -> None:
    front = random_front(0, 3)
    save_figure(plot_fronts([front], ALL[:3]), tmp_path / f"first{suffix}")
    user: dict[Any, Any] = {
        "font.size": 20,
        "axes.grid": False,
        "xtick.major.size": 9,
        "text.hinting": "none",
        "axes.linewidth": 3,
    }
    with matplotlib.rc_context(user):
        save_figure(plot_fronts([front], ALL[:3]), tmp_path / f"second{suffix}")
    first, second = ((tmp_path / f"{name}{suffix}").read_bytes() for name in ("first", "second"))
    assert first == second


def test_the_users_style_is_left_alone() -> None:
    with matplotlib.rc_context({"font.size": 20, "axes.grid": True}):
        plot_fronts([random_front(0, 2)], ALL[:2])
        assert (matplotlib.rcParams["font.size"], matplotlib.rcParams["axes.spines.top"]) == (20, True)


def test_one_objective_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"Expected at least two objectives but got \['params'\]"):
        plot_fronts([], [PARAMS])


def test_rows_must_have_a_value_per_objective() -> None:
    with pytest.raises(ValueError, match=r"per objective of \['val/error', 'params'\] but got \[1, 2, 3\] in 'darts'"):
        plot_fronts([FrontPoints("darts", [(1, 2, 3)], [True])], (ERROR, PARAMS))


@pytest.mark.parametrize(("on_front", "labels"), [([True], ()), ([True, False], ["a"])])
def test_lengths_must_agree(on_front: list[bool], labels: list[str]) -> None:
    message = f"per row of `values` but got {len(on_front)} and {len(labels)} for 2 rows of 'darts'"
    with pytest.raises(ValueError, match=message):
        FrontPoints("darts", [(1, 2), (3, 4)], on_front, labels)
