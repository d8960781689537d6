"""DropPath: values, expectation, modes."""

import pytest
import torch
from torch.testing import assert_close

from lightning_nas.operations import DropPath


def test_whole_samples_are_dropped_and_the_others_scaled() -> None:
    torch.manual_seed(0)
    x = torch.randn(200, 3, 2, 2)
    dropped = DropPath(0.25)(x)
    kept = dropped.flatten(1).any(1)
    assert 0 < int((~kept).sum()) < 100
    assert not dropped[~kept].any()
    assert_close(dropped[kept], x[kept] / 0.75)


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.8])
def test_expectation_is_preserved(probability: float) -> None:
    torch.manual_seed(0)
    count = 40_000
    mean = float(DropPath(probability)(torch.ones(count, 1, 1, 1)).mean())
    deviation = (probability / (1 - probability) / count) ** 0.5
    assert abs(mean - 1) < 4 * deviation


def test_out_of_place() -> None:
    torch.manual_seed(0)
    x = torch.ones(50, 1, 2, 2)
    assert not torch.equal(DropPath(0.5)(x), x)
    assert torch.equal(x, torch.ones(50, 1, 2, 2))


def test_nothing_happens_in_evaluation_or_by_default() -> None:
    x = torch.randn(50, 1, 2, 2)
    assert DropPath(0.9).eval()(x) is x
    assert DropPath()(x) is x


def test_gradient_passes_where_the_sample_was_kept() -> None:
    torch.manual_seed(0)
    x = torch.ones(50, 1, 2, 2, requires_grad=True)
    dropped = DropPath(0.5)(x)
    dropped.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, dropped.detach())


def test_precision_is_kept() -> None:
    assert DropPath(0.5)(torch.ones(4, 1, 2, 2, dtype=torch.bfloat16)).dtype == torch.bfloat16
