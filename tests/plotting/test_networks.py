from collections import Counter
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch
from matplotlib.transforms import Bbox

from lightning_nas import get_space
from lightning_nas.plotting import plot_cells, plot_network
from lightning_nas.plotting.palette import COLORS
from lightning_nas.spaces.graph import CellGraph
from lightning_nas.zoo import ARCHITECTURES
from tests.plotting.legibility import assert_legible, visible_texts

SMALL = CellGraph(
    "small",
    ("in", "0", "1", "join", "2", "out"),
    (
        ("in", "0", "conv_3x3"),
        ("0", "1", "max_pool_3x3"),
        ("in", "1", ""),  # joins behind the operation
        ("0", "join", ""),
        ("1", "join", ""),
        ("join", "2", "conv_5x5"),
        ("2", "out", ""),
        ("in", "out", "max_pool_2x2"),
    ),
)


def graphs() -> dict[str, CellGraph]:
    found = {name: get_space(ARCHITECTURES[name].space).graph(ARCHITECTURES[name]) for name in ("ENAS_MACRO", "NAS_V1")}
    for name in ("enas_macro", "enas_macro?skips=paper", "nas_conv?variant=v3&layers=9"):
        space = get_space(name)
        found[name] = space.graph(space.sample(torch.Generator().manual_seed(0)))
    return {"small": SMALL} | {name: graph for name, (graph,) in found.items()}


GRAPHS = graphs()


@cache
def drawn(name: str) -> Figure:
    return plot_network(GRAPHS[name])


def boxes(figure: Figure) -> list[Bbox]:
    return [patch.get_window_extent() for patch in figure.axes[0].patches if isinstance(patch, FancyBboxPatch)]


@pytest.mark.parametrize("name", GRAPHS)
class TestEveryNetwork:
    def test_it_is_legible(self, name: str) -> None:
        assert_legible(drawn(name))

    def test_every_operation_is_a_box(self, name: str) -> None:
        graph = GRAPHS[name]
        shown = Counter(text.get_text() for text in visible_texts(drawn(name)))
        assert not Counter(label for _, _, label in graph.edges if label) - shown
        assert {graph.name, graph.nodes[0], graph.nodes[-1]} <= set(shown)

    def test_lanes_cross_no_box_and_stay_inside(self, name: str) -> None:
        (axes,) = drawn(name).axes
        for line in axes.lines:
            path = axes.transData.transform(np.asarray(line.get_xydata()))
            points = np.concatenate([np.linspace(a, b, 200) for a, b in pairwise(path)])
            assert axes.bbox.count_contains(points) == len(points)
            assert not [box for box in boxes(drawn(name)) if box.padded(-3).count_contains(points)]

    def test_lanes_do_not_run_in_each_other(self, name: str) -> None:
        spans = [tuple(np.asarray(line.get_xydata())[1:].round(6).ravel()) for line in drawn(name).axes[0].lines]
        for index, (x, top, _, bottom) in enumerate(spans):
            beside = [span for other, span in enumerate(spans) if other != index and span[0] == x]
            assert not [span for span in beside if span[1] <= bottom and top <= span[3]]

    def test_there_is_a_dot_for_every_connection_that_leads_past_something(self, name: str) -> None:
        dots = [patch for patch in drawn(name).axes[0].patches if isinstance(patch, Circle) and patch.radius < 0.04]
        on_lanes = 0
        for line in drawn(name).axes[0].lines:
            (x, top), (_, bottom) = np.asarray(line.get_xydata())[1:]
            color = to_hex(line.get_color())
            mine = [dot for dot in dots if dot.center[0] == x and top <= dot.center[1] <= bottom]
            assert {to_hex(dot.get_facecolor()) for dot in mine} == {color}
            assert max(dot.center[1] for dot in mine) == bottom
            on_lanes += len(mine)
        assert on_lanes == len(dots)


def test_connections_of_a_small_network() -> None:
    (axes,) = drawn("small").axes
    # From top to bottom: in, conv_3x3, max_pool_3x3, join, join, conv_5x5, max_pool_2x2, out.
    rows = [0.55 + 0.13]
    for half, next_half in pairwise([0.13, 0.13, 0.13, 0.1, 0.1, 0.13, 0.13, 0.13]):
        rows.append(rows[-1] + half + 0.17 + next_half)
    joins = [patch.center[1] for patch in axes.patches if isinstance(patch, Circle) and patch.radius == 0.05]
    assert joins == pytest.approx(rows[3:5])
    dots = {
        (COLORS.index(to_hex(patch.get_facecolor())), round(float(patch.center[1]), 6))
        for patch in axes.patches
        if isinstance(patch, Circle) and patch.radius == 0.03
    }
    expected = [(0, rows[3]), (0, rows[6] - 0.06), (1, rows[4]), (2, rows[7] - 0.06)]
    # "in" is read by the first join and by the pooling, conv_3x3 by the second join, and conv_5x5 by "out".
    assert dots == {(lane, round(row, 6)) for lane, row in expected}


def test_a_chain_has_no_lanes() -> None:
    chain = CellGraph("chain", ("a", "b", "c"), (("a", "b", "conv"), ("b", "c", "")))
    assert not plot_network(chain).axes[0].lines


def test_long_networks_are_drawn_as_a_column_by_plot_cells() -> None:
    for name, graph in GRAPHS.items():
        width, height = plot_cells([graph]).get_size_inches()
        assert (height > 2 * width) == (name not in ("small",))
        assert width <= 12.5
