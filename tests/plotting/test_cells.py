import random
from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import combinations, pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.transforms import Bbox, BboxBase
from numpy.typing import NDArray

from lightning_nas.plotting import plot_cells, save_figure, to_dot
from lightning_nas.spaces.graph import CellGraph

OPERATIONS = ("sep_conv_3x3", "dil_conv_5x5", "skip_connect", "max_pool_3x3", "avg_pool_3x3", "conv_7x1_1x7")


def cell(name: str, genes: str, outputs: Sequence[int]) -> CellGraph:
    """Build a cell from ``"sep_conv_3x3 0, skip_connect 1, ..."``: two operations and their inputs per node."""
    pairs = [gene.split() for gene in genes.split(", ")]
    nodes = ("c_{k-2}", "c_{k-1}", *map(str, range(len(pairs) // 2)), "c_{k}")
    edges = [(nodes[int(source)], str(index // 2), operation) for index, (operation, source) in enumerate(pairs)]
    return CellGraph(name, nodes, (*edges, *((nodes[index], "c_{k}", "") for index in outputs)))


def random_cell(seed: int) -> CellGraph:
    rng = random.Random(seed)
    genes = [f"{rng.choice(OPERATIONS)} {rng.randrange(node + 2)}" for node in range(7) for _ in range(2)]
    return cell(f"random {seed}", ", ".join(genes), range(2, 9))


DARTS_V2 = (
    cell(
        "normal",
        "sep_conv_3x3 0, sep_conv_3x3 1, sep_conv_3x3 0, sep_conv_3x3 1, sep_conv_3x3 1, skip_connect 0, "
        "skip_connect 0, dil_conv_3x3 2",
        range(2, 6),
    ),
    cell(
        "reduce",
        "max_pool_3x3 0, max_pool_3x3 1, skip_connect 2, max_pool_3x3 1, max_pool_3x3 0, skip_connect 2, "
        "skip_connect 2, max_pool_3x3 1",
        range(2, 6),
    ),
)
AMOEBANET = cell(
    "AmoebaNet-A reduce",
    "avg_pool_3x3 0, sep_conv_3x3 1, max_pool_3x3 0, sep_conv_7x7 2, sep_conv_7x7 0, avg_pool_3x3 1, "
    "max_pool_3x3 0, max_pool_3x3 1, conv_7x1_1x7 0, sep_conv_3x3 5",
    (3, 4, 6),
)
NASNET = cell(
    "NASNet-A normal",
    "sep_conv_5x5 1, sep_conv_3x3 0, sep_conv_5x5 0, sep_conv_3x3 0, avg_pool_3x3 1, skip_connect 0, "
    "avg_pool_3x3 0, avg_pool_3x3 0, sep_conv_3x3 1, skip_connect 1",
    range(2, 7),
)
NASBENCH201 = CellGraph(
    "NAS-Bench-201",
    ("in", "1", "2", "out"),
    tuple(zip(("in", "in", "in", "1", "1", "2"), ("1", "2", "out", "2", "out", "out"), OPERATIONS, strict=True)),
)
WIDEST = cell("chain", ", ".join(f"sep_conv_3x3 {n + 1}, conv_7x1_1x7 {n // 2}" for n in range(7)), range(2, 9))
TREE = CellGraph(
    "module:Net",
    ("module:Net", "stage1", "stage1/0/0", "activation", "stage1/1/0", "stage2", "stage2/0/0", "merge", "head"),
    (
        ("module:Net", "stage1", "2"),
        ("stage1", "stage1/0/0", "conv5"),
        ("stage1/0/0", "activation", "relu_squared"),
        ("stage1", "stage1/1/0", "skip"),
        ("module:Net", "stage2", "1"),
        ("stage2", "stage2/0/0", "sep_conv_3x3"),
        ("module:Net", "merge", "0, 2"),
        ("module:Net", "head", "a name of some length"),
    ),
)
FLAT = CellGraph("flat", ("flat", *map(str, range(12))), tuple(("flat", str(n), "skip") for n in range(12)))
RECURRENT = CellGraph(  # of DARTS V2
    "recurrent",
    ("x_{t}", "h_{t-1}", *map(str, range(9)), "h_{t}"),
    (
        ("x_{t}", "0", ""),
        ("h_{t-1}", "0", ""),
        *(
            (source, str(node), activation)
            for node, (activation, source) in enumerate(
                zip(
                    ("sigmoid", "relu", "relu", "identity", "tanh", "sigmoid", "tanh", "relu"), "01112535", strict=True
                ),
                start=1,
            )
        ),
        *((str(node), "h_{t}", "") for node in range(1, 9)),
    ),
)
# A binary tree over eight leaves (Zoph & Le 2017); the cell state enters at 12 and leaves at 8.
COMBINATIONS = [
    "add sigmoid",
    "add relu",
    "add sigmoid",
    "mult relu",
    "add tanh",
    "add sigmoid",
    "add tanh",
    "add sigmoid",
    "mult tanh",
    "add tanh",
    "mult tanh",
    "add sigmoid",
    "mult identity",
    "add tanh",
    "mult tanh",
]
NAS_BASE_8 = CellGraph(
    "NAS base 8",
    ("x_{t}", "h_{t-1}", "c_{t-1}", *map(str, range(15)), "c_{t}", "h_{t}"),
    (
        *((("x_{t}", str(leaf), COMBINATIONS[leaf])) for leaf in range(8)),
        *((("h_{t-1}", str(leaf), "")) for leaf in range(8)),
        *((str(2 * node), str(8 + node), COMBINATIONS[8 + node]) for node in range(7)),
        *((str(2 * node + 1), str(8 + node), "") for node in range(7)),
        ("c_{t-1}", "12", "add tanh"),
        ("8", "c_{t}", ""),
        ("14", "h_{t}", ""),
    ),
)
PANELS = {
    "recurrent": (RECURRENT,),
    "nas_base_8": (NAS_BASE_8,),
    "tree": (TREE,),
    "flat": (FLAT,),
    "single": (CellGraph("single", ("single", "activation"), (("single", "activation", "relu"),)),),
    "darts": DARTS_V2,
    "amoebanet": (AMOEBANET,),
    "nasnet": (NASNET,),
    "nasbench201": (NASBENCH201,),
    "stacked": (NASBENCH201, WIDEST),
    "tallest": (cell("tallest", ", ".join(f"sep_conv_3x3 {n % 2}" for n in range(14)), range(2, 9)),),
    "nothing": (CellGraph("A cell without operations", ("in", "out"), ()),),
    **{f"random{seed}": (random_cell(seed),) for seed in range(30)},
}


@cache
def drawn(name: str) -> Figure:
    figure = plot_cells(PANELS[name])
    FigureCanvasAgg(figure)  # measures text from here on
    return figure


@cache
def boxes(axes: Axes) -> list[Bbox]:
    return [patch.get_window_extent() for patch in axes.patches if isinstance(patch, FancyBboxPatch)]


@cache
def texts(axes: Axes) -> list[Bbox]:
    return [text.get_window_extent() for text in axes.texts]


@cache
def lines(axes: Axes) -> list[NDArray[np.float64]]:
    """Return points along every line, at most a few pixels apart."""
    arrows = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    paths = [arrow.get_transform().transform_path(arrow.get_path()) for arrow in arrows]
    polygons = [np.concatenate(path.to_polygons(closed_only=False)) for path in paths]
    return [np.concatenate([np.linspace(a, b, 32) for a, b in pairwise(polygon)]) for polygon in polygons]


def holds(outer: BboxBase, inner: BboxBase) -> bool:
    return bool(outer.x0 <= inner.x0 and outer.y0 <= inner.y0 and inner.x1 <= outer.x1 and inner.y1 <= outer.y1)


@pytest.mark.parametrize("name", PANELS)
class TestLayout:
    def test_boxes_and_texts_do_not_overlap(self, name: str) -> None:
        for items in ([box for axes in drawn(name).axes for box in kind(axes)] for kind in (boxes, texts)):
            assert not [pair for pair in combinations(items, 2) if pair[0].overlaps(pair[1])]

    def test_every_text_but_the_title_lies_on_one_box_only(self, name: str) -> None:
        for axes in drawn(name).axes:
            title, *labels = texts(axes)
            assert not [box for box in boxes(axes) if box.overlaps(title)]
            for label in labels:
                assert [holds(box, label) for box in boxes(axes) if box.overlaps(label)] == [True]

    def test_nothing_is_clipped(self, name: str) -> None:
        for axes in drawn(name).axes:
            assert holds(drawn(name).bbox, axes.bbox.padded(-1))
            assert all(holds(axes.bbox, item) for item in [*boxes(axes), *texts(axes)])
            assert all(axes.bbox.count_contains(line) == len(line) for line in lines(axes))

    def test_no_line_passes_under_a_box(self, name: str) -> None:
        for axes in drawn(name).axes:
            points = np.concatenate([np.empty((0, 2)), *lines(axes)])
            assert not [box for box in boxes(axes) if box.padded(-3).count_contains(points)]

    def test_passing_lines_keep_their_distance(self, name: str) -> None:
        for axes in drawn(name).axes:
            level = {Bbox([line[0], line[31]]) for line in lines(axes) if line[0, 1] == line[31, 1]}
            passing = {bbox.bounds: bbox for bbox in level if bbox.width > 30}.values()  # pixels: a column's width
            assert not [pair for pair in combinations(passing, 2) if pair[0].padded(3, 6).overlaps(pair[1])]
            assert not [box for box in boxes(axes) for line in passing if line.padded(-1, 6).overlaps(box)]

    def test_every_name_is_drawn_as_often_as_it_occurs(self, name: str) -> None:
        for axes, graph in zip(drawn(name).axes, PANELS[name], strict=True):
            nodes = [f"${node}$" if "_{" in node else node for node in graph.nodes]
            labels = [label for _, _, label in graph.edges if label]
            shown = Counter(text.get_text().replace("\n", "_") for text in axes.texts)
            assert shown == Counter([graph.name, *nodes, *labels])


def test_text_stays_legible_in_an_image_of_900_pixels() -> None:
    for name in PANELS:
        size = min(float(text.get_fontsize()) for axes in drawn(name).axes for text in axes.texts)
        assert size / 72 * 900 / drawn(name).get_figwidth() >= 9


def test_what_was_chosen_stands_behind_the_name_of_the_decision() -> None:
    (axes,) = drawn("tree").axes
    place = {text.get_text().replace("\n", "_"): box for text, box in zip(axes.texts[1:], boxes(axes), strict=True)}
    assert place.keys() == {*TREE.nodes, *(label for _, _, label in TREE.edges)}
    chosen = {TREE.name: TREE.name} | {target: label for _, target, label in TREE.edges}
    for source, target, label in TREE.edges:
        assert place[chosen[source]].x1 < place[target].x0 < place[target].x1 < place[label].x0


def test_the_last_decision_of_a_tree_is_drawn_like_the_others() -> None:
    (axes,) = drawn("flat").axes
    root, *decisions = [patch for patch in axes.patches if isinstance(patch, FancyBboxPatch)][:13]
    assert len({patch.get_facecolor() for patch in decisions}) == 1
    assert len({patch.get_window_extent().x0 for patch in decisions}) == 1
    assert root.get_facecolor() != decisions[0].get_facecolor()


def test_parallel_edges_are_both_drawn() -> None:
    edges = (("in", "out", "max_pool_3x3"), ("in", "out", "max_pool_3x3"), ("in", "out", "skip_connect"))
    (axes,) = plot_cells([CellGraph("parallel", ("in", "out"), edges)]).axes
    assert Counter(text.get_text() for text in axes.texts)["max_pool_3x3"] == 2
    assert len(boxes(axes)) == 2 + 3
    assert len({line.tobytes() for line in lines(axes)}) == 2 * 3  # to and from each operation


def test_cells_stand_side_by_side_where_they_fit() -> None:
    normal, reduce = drawn("darts").axes
    assert normal.bbox.x1 <= reduce.bbox.x0 + 1
    first, second = drawn("stacked").axes
    assert second.bbox.y1 <= first.bbox.y0 + 1


def test_special_characters_are_drawn_as_they_are() -> None:
    (axes,) = plot_cells([CellGraph("$x$", ("a$b$", "out"), (("a$b$", "out", "$op$"),))]).axes
    assert not [text for text in axes.texts if text.get_parse_math()]


def test_no_cell_is_an_error() -> None:
    with pytest.raises(ValueError, match="Expected at least one cell"):
        plot_cells([])


@pytest.mark.parametrize("edge", [("out", "in", ""), ("in", "in", ""), ("x", "out", ""), ("in", "x", "")])
def test_edges_must_lead_forward(edge: tuple[str, str, str]) -> None:
    with pytest.raises(ValueError, match=f"Expected edges from earlier to later nodes .* got {edge[0]}->{edge[1]}"):
        plot_cells([CellGraph("bad", ("in", "out"), (edge,))])


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_saved_files_are_identical(tmp_path: Path, suffix: str) -> None:
    save_figure(plot_cells(DARTS_V2), tmp_path / f"first{suffix}")
    with matplotlib.rc_context({"font.size": 20, "lines.linewidth": 5, "text.color": "red", "savefig.bbox": "tight"}):
        save_figure(plot_cells(DARTS_V2), str(tmp_path / f"second{suffix.upper()}"))
    first, second = ((tmp_path / name).read_bytes() for name in (f"first{suffix}", f"second{suffix.upper()}"))
    assert first == second
    assert first.startswith(b"\x89PNG" if suffix == ".png" else b"<?xml")


def test_other_suffixes_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Expected a path that ends in \.png or \.svg but got .*cell\.pdf"):
        save_figure(Figure(), tmp_path / "cell.pdf")


def test_dot_holds_every_node_and_edge() -> None:
    lines = to_dot([*DARTS_V2, NASNET]).splitlines()
    assert sum(" -> " in line for line in lines) == sum(len(graph.edges) for graph in [*DARTS_V2, NASNET])
    assert [line for line in lines if "subgraph" in line] == [f'  subgraph "cluster_{index}" {{' for index in range(3)]
    assert '    "0/c_{k-2}" [label="c_{k-2}"];' in lines
    assert '    "1/0" -> "1/1" [label="skip_connect"];' in lines
    assert '    "0/3" -> "0/c_{k}";' in lines
    assert lines.count('    "2/c_{k-2}" -> "2/3" [label="avg_pool_3x3"];') == 2  # parallel edges


def test_dot_quotes_names() -> None:
    text = to_dot([CellGraph('a "cell"', ("in", "out"), (("in", "out", "a\\b"),))])
    assert r'label="a \"cell\"";' in text
    assert r'[label="a\\b"];' in text
