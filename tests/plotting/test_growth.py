from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.text import Annotation

from lightning_nas.plotting import save_figure
from lightning_nas.plotting.grown_model import GrownModel
from lightning_nas.plotting.growth import plot_hull_growth
from lightning_nas.plotting.palette import COLORS
from tests.plotting.families import random_family
from tests.plotting.legibility import assert_legible, visible_texts

Points = list[tuple[float, float]]

# by hand: after two models the hull is a-b, after four a-b-d (c is above), and after six a-b-f (d is above)
MODELS = [
    GrownModel("a", 10, 0.50),
    GrownModel("b", 20, 0.30, "a"),
    GrownModel("c", 30, 0.29, "b"),
    GrownModel("d", 30, 0.15, "b"),
    GrownModel("e", 50, 0.25, "c"),
    GrownModel("f", 36, 0.02, "d"),
]
PERCENT = {model.name: (model.cost, 100 * model.error) for model in MODELS}


def layers(axes: Axes) -> list[Points]:
    """Return the points of grown models, faded and solid, then those of seeds, faded and solid."""
    found = [layer for layer in axes.collections if isinstance(layer, PathCollection)]
    return [[(float(x), float(y)) for x, y in np.asarray(layer.get_offsets())] for layer in found]


def lines(axes: Axes) -> list[Points]:
    return [[(float(x), float(y)) for x, y in np.asarray(line.get_xydata())] for line in axes.lines]


def descents(axes: Axes) -> list[Points]:
    (found,) = (layer for layer in axes.collections if isinstance(layer, LineCollection))
    return [[(float(x), float(y)) for x, y in segment] for segment in found.get_segments()]


def places(names: str) -> Points:
    return [PERCENT[name] for name in names]


class TestPictures:
    def test_models_so_far(self) -> None:
        first, second, third = plot_hull_growth(MODELS, moments=3).axes
        assert layers(first) == [[], places("b"), [], places("a")]
        assert layers(second) == [places("c"), places("bd"), [], places("a")]
        assert layers(third) == [places("cde"), places("bf"), [], places("a")]

    def test_hulls_and_those_before(self) -> None:
        first, second, third = plot_hull_growth(MODELS, moments=3).axes
        assert lines(first) == [places("ab")]
        assert lines(second) == [places("ab"), places("abd")]
        assert lines(third) == [places("abd"), places("abf")]
        before, now = third.lines
        assert (before.get_alpha(), now.get_alpha()) == (0.35, None)

    def test_lines_from_parent_to_child(self) -> None:
        first, second, third = plot_hull_growth(MODELS, moments=3).axes
        assert descents(first) == [places("ab")]
        assert descents(second) == [places("ab"), places("bc"), places("bd")]
        assert descents(third) == [places("ab"), places("bc"), places("bd"), places("ce"), places("df")]

    def test_looks(self) -> None:
        axes = plot_hull_growth(MODELS).axes[-1]
        found = [layer for layer in axes.collections if isinstance(layer, PathCollection)]
        assert [matplotlib.colors.to_hex(np.asarray(layer.get_facecolor())[0]) for layer in (*found[:2], found[3])] == [
            COLORS[0],
            COLORS[0],
            COLORS[1],
        ]
        assert [layer.get_alpha() for layer in found] == [0.35, 1, 0.35, 1]

    def test_a_seed_off_the_hull_is_faded(self) -> None:
        models = [*MODELS[:2], GrownModel("g", 40, 0.4)]
        assert layers(plot_hull_growth(models).axes[-1])[2:] == [[(40, 40)], places("a")]

    @pytest.mark.parametrize(
        ("count", "moments", "counts"),
        [(25, 4, [7, 13, 19, 25]), (3, 4, [1, 2, 3]), (1, 4, [1]), (5, 1, [5]), (6, 5, [2, 3, 4, 5, 6])],
    )
    def test_moments(self, count: int, moments: int, counts: list[int]) -> None:
        figure = plot_hull_growth(random_family(count), moments=moments)
        assert [axes.get_title() for axes in figure.axes] == [f"{k} of {count} models" for k in counts]
        assert [sum(map(len, layers(axes))) for axes in figure.axes] == counts

    @settings(max_examples=10, deadline=None)
    @given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=12))
    def test_no_model_is_below_the_line(self, values: Sequence[tuple[int, int]]) -> None:
        models = [GrownModel(str(k), cost, error) for k, (cost, error) in enumerate(values)]
        for axes in plot_hull_growth(models, moments=2).axes:
            x, y = np.transpose(lines(axes)[-1])
            for cost, error in (point for layer in layers(axes) for point in layer):
                assert cost >= x[0]
                assert error >= np.interp(cost, x, y) - 1e-9


class TestAxes:
    def test_all_pictures_have_one_scale(self) -> None:
        figure = plot_hull_growth(MODELS)
        assert {(axes.get_xlim(), axes.get_ylim()) for axes in figure.axes} == {
            (figure.axes[0].get_xlim(), figure.axes[0].get_ylim())
        }
        assert figure.axes[0].get_xlim() == pytest.approx((6, 54))  # a tenth of the range at either end

    def test_titles_stand_where_nothing_follows(self) -> None:
        axes = plot_hull_growth(random_family(30), moments=6).axes
        assert [one.get_ylabel() for one in axes] == ["validation error (%)", "", "", "", "validation error (%)", ""]
        assert [one.get_xlabel() for one in axes] == ["", "", *["multiply-adds"] * 4]

    def test_other_costs_and_errors(self) -> None:
        models = [GrownModel("a", 1e4, 90.0), GrownModel("b", 3e6, 80.0, "a")]
        axes = plot_hull_growth(models, moments=1, cost="params", error="val/perplexity").axes[0]
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("parameters", "validation perplexity")
        assert lines(axes)[-1] == [(1e4, 90), (3e6, 80)]
        assert axes.get_xscale() == "linear"  # or the hull would not be straight
        assert {"0", "1M", "2M", "3M"} <= {text.get_text() for text in axes.get_xticklabels()}

    def test_costs_are_written_short(self) -> None:
        axes = plot_hull_growth([GrownModel("a", 1.15e7, 0.5), GrownModel("b", 6e7, 0.2)]).axes[0]
        assert {"20M", "40M"} <= {text.get_text() for text in axes.get_xticklabels()}


class TestTexts:
    @pytest.mark.parametrize("count", [1, 2, 3, 25, 60])
    @pytest.mark.parametrize("moments", [1, 4, 6])
    def test_pictures_are_legible(self, count: int, moments: int) -> None:
        assert_legible(plot_hull_growth(random_family(count, seeds=min(count, 3)), moments=moments))

    def test_names_of_the_last_hull(self) -> None:
        *others, last = plot_hull_growth(MODELS, moments=3).axes
        assert {text.get_text() for text in last.texts if isinstance(text, Annotation)} == {"a", "b", "f"}
        assert [len(axes.texts) for axes in others] == [0, 0]

    def test_of_equal_models_the_first_is_named(self) -> None:
        axes = plot_hull_growth([*MODELS, GrownModel("g", 36, 0.02, "f")]).axes[-1]
        assert {text.get_text() for text in axes.texts} == {"a", "b", "f"}

    @pytest.mark.parametrize(
        ("models", "names"),
        [
            (MODELS, ["seed", "grown", "parent to child", "convex hull", "previous hull"]),
            (MODELS[:1], ["seed", "convex hull"]),
        ],
    )
    def test_legend(self, models: Sequence[GrownModel], names: list[str]) -> None:
        (legend,) = plot_hull_growth(models).legends
        assert [text.get_text() for text in legend.get_texts()] == names

    def test_dollars_are_no_mathematics(self) -> None:
        figure = plot_hull_growth([GrownModel("$x$", 1, 0.5)])
        assert "$x$" in {text.get_text() for text in visible_texts(figure)}
        assert not [text for text in visible_texts(figure) if text.get_parse_math()]


def test_saved_files_are_identical_whatever_the_style(tmp_path: Path) -> None:
    def save(name: str) -> bytes:
        save_figure(plot_hull_growth(MODELS), tmp_path / name)
        return (tmp_path / name).read_bytes()

    first = save("first.png")
    user: dict[Any, Any] = {"font.size": 20, "axes.grid": False, "axes.linewidth": 3}
    with matplotlib.rc_context(user):
        assert save("second.png") == first


class TestRefusals:
    @pytest.mark.parametrize(
        ("models", "message"),
        [
            ([], "Expected at least one model but got none"),
            ([MODELS[0], MODELS[0]], "Expected different names but got 'a' twice"),
            ([MODELS[1]], "Expected the parent of 'b' before it but got 'a', which is no model"),
            ([MODELS[1], MODELS[0]], "Expected the parent of 'b' before it but got 'a', after 'b'; sort the models"),
            ([GrownModel("a", 1, 0.5, "a")], "Expected the parent of 'a' before it but got 'a', after 'a'"),
        ],
    )
    def test_models_that_are_no_families(self, models: list[GrownModel], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            plot_hull_growth(models)

    def test_moments(self) -> None:
        with pytest.raises(ValueError, match=r"Expected `moments` to be at least 1 but got 0"):
            plot_hull_growth(MODELS, moments=0)

    @pytest.mark.parametrize("values", [(float("nan"), 0.5), (1.0, float("inf"))])
    def test_numbers_that_are_not_finite(self, values: tuple[float, float]) -> None:
        with pytest.raises(ValueError, match=rf"Expected finite numbers as cost and error but got {values[0]} and"):
            GrownModel("a", *values)
