"""RobustDARTS: the stop rule of DARTS-ES."""

from collections.abc import Sequence

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lightning_nas.callbacks.eigenvalue_rule import epoch_before_rise


def first_stop(eigenvalues: Sequence[float], first_epoch: int = 10, ratio: float = 1.3) -> tuple[int, int] | None:
    """Return the epoch of the stop and the one that is returned, with evaluations every two epochs."""
    for count in range(1, len(eigenvalues) + 1):
        epochs = [2 * k for k in range(count)]
        kept = epoch_before_rise(epochs, eigenvalues[:count], ratio, first_epoch)
        if kept is not None:
            return epochs[-1], kept
    return None


def mean_around(eigenvalues: Sequence[float], epoch: int) -> float:
    return sum(eigenvalues[other // 2] for other in range(epoch - 4, epoch + 5, 2)) / 5


def by_epochs(eigenvalues: Sequence[float]) -> tuple[int, int] | None:
    """The rule in the words of the specification."""
    for epoch in range(22, 2 * len(eigenvalues), 2):
        ratio = mean_around(eigenvalues, epoch - 4) / mean_around(eigenvalues, epoch - 12)
        assume(abs(ratio - 1.3) > 1e-9)  # rounded differently
        if ratio > 1.3:
            return epoch, epoch - 12
    return None


def test_first_possible_stop() -> None:
    """However steep the rise was before."""
    assert first_stop([2.0**k for k in range(25)]) == (22, 10)


def test_stops_when_the_newer_mean_is_large_enough() -> None:
    """With a jump at epoch 30 the means are (1 + 1 + 1 + 1 + x) / 5 and 1 first."""
    assert first_stop([1.0] * 15 + [2.6] * 10) == (30, 18)  # 1.32
    assert first_stop([1.0] * 15 + [2.4] * 10) == (32, 20)  # 1.28, then 1.56
    assert first_stop([1.0] * 15 + [1.3] * 10) is None


def test_the_ratio_must_be_exceeded() -> None:
    assert first_stop([1.0] * 15 + [3.5, 1.0, 1.0, 1.0, 1.0, 1.0], ratio=1.5) is None
    assert first_stop([1.0] * 15 + [3.51, 1.0, 1.0, 1.0, 1.0, 1.0], ratio=1.5) == (30, 18)


@pytest.mark.parametrize("eigenvalues", [[1.0] * 25, [25.0 - k for k in range(25)], [0.0] * 25])
def test_no_stop_without_a_rise(eigenvalues: list[float]) -> None:
    assert first_stop(eigenvalues) is None


def test_a_ratio_of_means_that_are_not_positive_says_nothing() -> None:
    assert first_stop([-1.0] * 15 + [5.0] * 4) is None
    assert first_stop([0.0] * 15 + [5.0] * 4) is None


def test_values_that_are_no_numbers_never_stop() -> None:
    assert first_stop([1.0] * 10 + [float("nan")] * 10) is None


def test_later_first_epoch() -> None:
    assert first_stop([1.5**k for k in range(25)], first_epoch=13) == (26, 14)


def test_evaluations_at_other_distances() -> None:
    epochs = [5 * k for k in range(9)]
    assert epoch_before_rise(epochs, [2.0**k for k in range(9)]) == 40 - 6 * 5
    assert epoch_before_rise(epochs[:8], [2.0**k for k in range(8)]) is None


@given(st.lists(st.floats(0.01, 2.0), min_size=1, max_size=25))
def test_agrees_with_the_rule_in_epochs(eigenvalues: list[float]) -> None:
    assert first_stop(eigenvalues) == by_epochs(eigenvalues)
