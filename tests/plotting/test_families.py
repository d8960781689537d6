from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection

from lightning_nas.plotting import save_figure
from lightning_nas.plotting.families import plot_family
from lightning_nas.plotting.grown_model import GrownModel
from lightning_nas.plotting.palette import COLORS, LINE
from tests.plotting.families import random_family
from tests.plotting.legibility import assert_legible

Points = list[tuple[float, float]]

MODELS = [
    GrownModel("seed 0", 1.15e7, 0.5),
    GrownModel("other seed", 2e7, 0.375),
    GrownModel("a", 1.4e7, 0.25, "seed 0", "normal: identity of 0"),
    GrownModel("b", 1.5e7, 0.75, "seed 0", "reduce: identity of 1"),
    GrownModel("stranger", 3e7, 0.3125, "other seed", "normal: identity of 1"),
    GrownModel("c", 2.345678e7, 0.0625, "a", "normal: sep_conv_3x3 of 2"),
    GrownModel("d", 2e7, 0.125, "a", "normal: max_pool_3x3 of 2"),
    GrownModel("e", 3e7, 0.1875, "c"),
]
PLACES = {"seed 0": (50, 0), "a": (25, 1), "b": (75, 1), "c": (6.25, 2), "d": (12.5, 2), "e": (18.75, 3)}


def layers(axes: Axes) -> list[Points]:
    """Return the points of side branches, of the line of descent, and of its seed."""
    found = [layer for layer in axes.collections if isinstance(layer, PathCollection)]
    return [[(float(x), float(y)) for x, y in np.asarray(layer.get_offsets())] for layer in found]


def branches(axes: Axes) -> list[Points]:
    (found,) = (layer for layer in axes.collections if isinstance(layer, LineCollection))
    return [[(float(x), float(y)) for x, y in segment] for segment in found.get_segments()]


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


class TestTree:
    def test_the_line_of_descent_stands_out(self) -> None:
        (axes,) = plot_family(MODELS, "c").axes
        (line,) = axes.lines
        assert np.asarray(line.get_xydata()).tolist() == [list(PLACES[name]) for name in ("seed 0", "a", "c")]
        assert layers(axes)[1:] == [[PLACES["a"], PLACES["c"]], [PLACES["seed 0"]]]

    def test_all_other_descendants_of_the_seed_are_pale(self) -> None:
        """Those of the model itself, too; those of another seed are no family."""
        (axes,) = plot_family(MODELS, "c").axes
        assert layers(axes)[0] == [PLACES["b"], PLACES["d"], PLACES["e"]]
        ends = [("seed 0", "b"), ("a", "d"), ("c", "e")]
        assert branches(axes) == [[PLACES[parent], PLACES[child]] for parent, child in ends]
        others, descent, seed = (layer for layer in axes.collections if isinstance(layer, PathCollection))
        colors = [matplotlib.colors.to_hex(np.asarray(layer.get_facecolor())[0]) for layer in (others, descent, seed)]
        assert colors == [LINE, COLORS[0], COLORS[1]]
        assert others.get_sizes()[0] < descent.get_sizes()[0] / 3

    def test_a_seed_that_has_not_grown(self) -> None:
        (axes,) = plot_family([GrownModel("alone", 5, 0.25)], "alone").axes
        assert layers(axes) == [[], [], [(25, 0)]]
        assert branches(axes) == []

    def test_generations_go_down(self) -> None:
        (axes,) = plot_family(MODELS, "a").axes
        assert axes.get_ylim() == (3.6, -0.6)
        assert axes.get_yticks().tolist() == [0, 1, 2, 3]
        assert [text.get_text() for text in axes.get_yticklabels()] == ["seed", "1", "2", "3"]
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("validation error (%)", "generation")


class TestTable:
    def test_cost_error_and_what_was_added_at_each_step(self) -> None:
        (axes,) = plot_family(MODELS, "c").axes
        assert texts(axes) == [
            *("model", "multiply-adds", "validation error (%)"),
            *("seed 0", "11.5M", "50"),
            *("a", "14M", "25", "+ normal: identity of 0"),
            *("c", "23.46M", "6.25", "+ normal: sep_conv_3x3 of 2"),
        ]

    def test_each_stands_at_its_generation(self) -> None:
        (axes,) = plot_family(MODELS, "c").axes
        rows = {"seed 0": 0, "50": 0, "a": 1, "+ normal: identity of 0": 1, "c": 2, "23.46M": 2}
        assert {text.get_text(): text.xy[1] for text in axes.texts if text.get_text() in rows} == rows  # type: ignore[attr-defined]

    def test_other_costs_and_errors(self) -> None:
        models = [GrownModel("a", 400, 90.0), GrownModel("b", 500, 80.125, "a")]
        (axes,) = plot_family(models, "b", cost="params", error="val/perplexity").axes
        assert texts(axes) == [
            *("model", "parameters", "validation perplexity"),
            *("a", "400", "90"),
            *("b", "500", "80.12"),
        ]
        assert layers(axes)[1:] == [[(80.125, 1)], [(90, 0)]]

    def test_long_texts_are_cut(self) -> None:
        models = [GrownModel("x" * 40, 1, 0.5), GrownModel("y", 2, 0.25, "x" * 40, "word " * 60)]
        (axes,) = plot_family(models, "y").axes
        assert "x" * 23 + "…" in texts(axes)
        first, second = texts(axes)[-1].split("\n")
        assert (first[:7], second[-6:]) == ("+ word ", "word …")
        assert max(len(first), len(second)) <= 70


class TestLegibility:
    @pytest.mark.parametrize("count", [1, 2, 9, 25, 60])
    @pytest.mark.parametrize("generations", [1, 8, 9])
    def test_families_of_all_sizes(self, count: int, generations: int) -> None:
        models = random_family(count, generations=generations)
        best = min(models, key=lambda model: model.error)
        assert_legible(plot_family(models, best.name))

    def test_a_line_of_nine_long_labels(self) -> None:
        line = [GrownModel("m" * 30 + "0", 1.23456e9, 0.123456)]
        for k in range(1, 10):
            line.append(GrownModel("m" * 30 + str(k), 1.23456e9, 0.123456, line[-1].name, "SEP_CONV_5X5 " * 20))
        figure = plot_family(line, line[-1].name)
        assert_legible(figure)
        assert figure.axes[0].get_position().width * figure.get_figwidth() > 2  # inches for the tree

    @pytest.mark.parametrize(
        ("name", "entries"),
        [
            ("seed 0", ["seed", "other descendants of the seed"]),
            ("c", ["seed", "line of descent", "other descendants of the seed"]),
            ("stranger", ["seed", "line of descent"]),
        ],
    )
    def test_legend(self, name: str, entries: list[str]) -> None:
        (legend,) = plot_family(MODELS, name).legends
        assert [text.get_text() for text in legend.get_texts()] == entries


def test_saved_files_are_identical_whatever_the_style(tmp_path: Path) -> None:
    def save(name: str) -> bytes:
        save_figure(plot_family(MODELS, "c"), tmp_path / name)
        return (tmp_path / name).read_bytes()

    first = save("first.png")
    user: dict[Any, Any] = {"font.size": 20, "axes.grid": False, "axes.linewidth": 3}
    with matplotlib.rc_context(user):
        assert save("second.png") == first


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"Expected the name of a model but got 'z'; there are \['a'\]"):
        plot_family([GrownModel("a", 1, 0.5)], "z")


def test_models_that_are_no_families() -> None:
    with pytest.raises(ValueError, match=r"Expected the parent of 'a' before it but got 'b'"):
        plot_family([GrownModel("a", 1, 0.5, "b")], "a")
