import numpy as np
import pytest
from matplotlib.colors import to_hex

from lightning_nas.plotting import plot_predictions
from lightning_nas.plotting.palette import COLORS
from tests.plotting.legibility import assert_legible


def test_points_diagonal_and_correlation() -> None:
    figure = plot_predictions([0.1, 0.2, 0.4], [50, 80, 60])
    (axes,) = figure.axes
    assert np.asarray(axes.collections[0].get_offsets()).tolist() == [[0.1, 50], [0.2, 80], [0.4, 60]]
    assert axes.get_title() == "Spearman correlation 0.500 of 3 architectures"  # 1 - 6 (0 + 1 + 1) / (3 * 8)
    assert axes.get_xlim() == axes.get_ylim() == pytest.approx((0.1 - 0.05 * 79.9, 80 + 0.05 * 79.9))
    (diagonal,) = axes.lines
    np.testing.assert_allclose(*diagonal.get_transform().transform(diagonal.get_xydata()).T - axes.bbox.p0[:, None])
    assert not figure.legends


def test_groups_have_colours_and_names() -> None:
    figure = plot_predictions([1, 2, 3, 4], [1, 2, 4, 3], [2, 3, 2, 3])
    first, second = figure.axes[0].collections
    assert np.asarray(first.get_offsets()).tolist() == [[1, 1], [3, 4]]
    assert [to_hex(np.asarray(c.get_facecolor())[0]) for c in (first, second)] == list(COLORS[:2])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["2", "3"]


def test_pairs_that_are_no_numbers_are_left_out() -> None:
    figure = plot_predictions([1, 2, float("nan"), 4], [1, 2, 3, float("inf")], ["a", "b", "c", "d"])
    assert figure.axes[0].get_title() == "Spearman correlation 1.000 of 2 architectures"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


@pytest.mark.parametrize("groups", [None, [f"{k // 8} blocks in the cell" for k in range(40)]])
def test_pictures_are_legible(groups: list[str] | None) -> None:
    measured = np.random.default_rng(0).random(40)
    assert_legible(plot_predictions((measured + 0.05).tolist(), measured.tolist(), groups))
    assert_legible(plot_predictions([0.5] * 40, [0.5] * 40, groups))


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match=r"Expected as many .* but got \(2, 1, 2\)"):
        plot_predictions([1, 2], [1])
    with pytest.raises(ValueError, match=r"Expected as many .* but got \(2, 2, 1\)"):
        plot_predictions([1, 2], [1, 2], ["a"])


def test_nothing_to_draw_is_an_error() -> None:
    with pytest.raises(ValueError, match="Expected at least one pair of finite scores but got none among 1"):
        plot_predictions([float("nan")], [1])
