import pytest
import torch

from lightning_nas.predictors import spearman
from lightning_nas.predictors.correlation import ranks


def test_equal_values_share_a_rank() -> None:
    assert ranks(torch.tensor([3.0, 1.0, 3.0, 2.0, 3.0])).tolist() == [3.0, 0.0, 3.0, 1.0, 3.0]


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        ([1, 2, 3], [10, 20, 400], 1.0),
        ([1, 2, 3], [3, 2, 1], -1.0),
        ([1, 2, 3, 4, 5], [5, 6, 7, 8, 7], 0.8207826816681233),  # the textbook's example with a tie
        ([1, 1, 1], [1, 2, 3], 0.0),
        ([1, 2, 3], [4, 4, 4], 0.0),
    ],
)
def test_rank_correlations(x: list[float], y: list[float], expected: float) -> None:
    assert spearman(torch.tensor(x), torch.tensor(y)) == pytest.approx(expected, abs=1e-12)
