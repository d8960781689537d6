"""Dominance, fronts and hypervolumes; moocore is the oracle."""

import math
from importlib import import_module
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lightning_nas.pareto import ParetoSet, dominates, hypervolume, non_dominated

moocore: Any = import_module("moocore")  # it has no types
INF, NAN = math.inf, math.nan
# few values, so that ties and duplicates are common
COORDINATES = st.one_of(st.integers(0, 4).map(float), st.floats(0, 4), st.sampled_from([NAN, INF, -INF]))
FINITE = st.one_of(st.integers(0, 4).map(float), st.floats(0, 4))


def tables(coordinates: st.SearchStrategy[float], most: int = 12) -> st.SearchStrategy[Any]:
    return st.integers(2, 4).flatmap(
        lambda columns: arrays.arrays(float, st.tuples(st.integers(1, most), st.just(columns)), elements=coordinates)
    )


def cloud(seed: int, count: int, columns: int, *, ties: bool) -> Any:
    points = np.random.default_rng(seed).random((count, columns))
    return np.round(points, 1) if ties else points


def front_by_definition(points: Any) -> list[bool]:
    def better(a: Any, b: Any) -> bool:
        return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))

    return [not any(map(math.isnan, p)) and not any(better(q, p) for q in points) for p in points.tolist()]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([1, 2], [2, 3], True),
        ([1, 2], [1, 3], True),
        ([1, 2], [1, 2], False),  # equal
        ([1, 3], [2, 2], False),
        ([2, 3], [1, 2], False),
        ([1, 1], [1, INF], True),
        ([INF, 1], [INF, 2], True),
        ([-INF, 5], [0, 5], True),
        ([INF, INF], [INF, INF], False),
        ([NAN, 0], [1, 1], False),
        ([0, 0], [NAN, 1], False),
    ],
)
def test_dominance_of_two_points(a: list[float], b: list[float], expected: bool) -> None:
    assert dominates(a, b) is expected


def test_equal_points_are_both_on_the_front_or_both_not() -> None:
    assert non_dominated([[1, 2], [1, 2], [2, 1]]).tolist() == [True, True, True]
    assert non_dominated([[1, 2], [1, 2], [0, 1]]).tolist() == [False, False, True]


def test_nan_is_never_on_the_front() -> None:
    assert non_dominated([[NAN, 0.0], [1.0, 1.0]]).tolist() == [False, True]
    assert non_dominated([[NAN, NAN]]).tolist() == [False]


def test_no_points() -> None:
    assert non_dominated(np.empty((0, 2))).tolist() == []
    assert hypervolume(np.empty((0, 3)), [1, 1, 1]) == 0.0


@pytest.mark.parametrize("points", [np.ones(2), np.ones((2, 1)), np.ones((1, 1, 2))])
def test_refuses_what_is_no_table(points: Any) -> None:
    with pytest.raises(
        ValueError, match=r"Expected points \[N, objectives\] with two objectives or more but got shape"
    ):
        non_dominated(points)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("columns", [2, 3, 4])
@pytest.mark.parametrize("count", [1, 2, 20, 60])
def test_random_sets_as_moocore_has_them(columns: int, count: int, ties: bool) -> None:
    for seed in range(5):
        points, corner = cloud(seed, count, columns, ties=ties), np.full(columns, 0.95)
        expected = moocore.is_nondominated(points, keep_weakly=True)
        assert non_dominated(points).tolist() == expected.tolist()
        assert hypervolume(points, corner) == pytest.approx(moocore.hypervolume(points, ref=corner), abs=1e-9, rel=1e-9)


@pytest.mark.parametrize("columns", [2, 3, 4])
def test_sets_that_are_all_front(columns: int) -> None:
    """Points on a sphere: the hardest case, with a hundred of them."""
    points = np.abs(np.random.default_rng(0).normal(size=(100, columns)))
    points = 1 - points / np.linalg.norm(points, axis=1, keepdims=True)
    corner = np.linspace(1.0, 1.3, columns)
    assert non_dominated(points).all()
    assert hypervolume(points, corner) == pytest.approx(moocore.hypervolume(points, ref=corner), abs=1e-9, rel=1e-9)


@pytest.mark.parametrize(
    ("points", "reference", "expected"),
    [
        ([[1, 3], [2, 2], [3, 1]], [4, 4], 6.0),
        ([[1, 3], [2, 2], [3, 1], [2, 2], [3, 3]], [4, 4], 6.0),  # a duplicate, a dominated one
        ([[1, 1, 1]], [2, 3, 4], 6.0),
        ([[0, 1, 1], [1, 0, 1]], [2, 2, 2], 3.0),  # 2 + 2 - 1
        ([[0, 0, 0, 1], [1, 1, 1, 0]], [2, 2, 2, 2], 9.0),  # 8 + 2 - 1
        ([[4, 0], [0, 4], [5, 5]], [4, 4], 0.0),  # none is below the reference in both
        ([[1, 1], [0, 4]], [4, 4], 9.0),  # the second is on the border
        ([[1, NAN], [NAN, NAN], [3, 3]], [4, 4], 1.0),
        ([[INF, 0], [3, 3]], [4, 4], 1.0),
        ([[-INF, 5], [3, 3]], [4, 4], 1.0),  # not below the reference
        ([[-INF, 3], [3, 3]], [4, 4], INF),
        ([[-INF, -INF, 0], [-INF, 1, 1]], [4, 4, 4], INF),
        ([[-3, -2]], [-1, -1], 2.0),
    ],
)
def test_hypervolumes_by_hand(points: Any, reference: Any, expected: float) -> None:
    assert hypervolume(points, reference) == expected


@pytest.mark.parametrize("reference", [[1], [1, 1, 1], [1, INF], [NAN, 1], 1])
def test_refuses_a_reference_that_does_not_fit(reference: Any) -> None:
    with pytest.raises(ValueError, match=r"Expected a reference of 2 finite numbers but got"):
        hypervolume([[0, 0]], reference)


@given(tables(COORDINATES))
def test_the_mask_is_the_definition(points: Any) -> None:
    assert non_dominated(points).tolist() == front_by_definition(points)


@given(tables(COORDINATES))
def test_one_after_the_other_gives_the_front_of_all(points: Any) -> None:
    growing = ParetoSet()
    for count, point in enumerate(points, 1):
        is_new = growing.add(point)
        assert growing.front == np.flatnonzero(non_dominated(points[:count])).tolist()
        assert is_new == (count - 1 in growing.front)


@given(tables(COORDINATES), st.randoms(use_true_random=False))
def test_any_order_gives_the_same_front(points: Any, random: Any) -> None:
    order = list(range(len(points)))
    random.shuffle(order)
    shuffled = ParetoSet()
    for i in order:
        shuffled.add(points[i])
    assert sorted(order[place] for place in shuffled.front) == np.flatnonzero(non_dominated(points)).tolist()


@settings(max_examples=50)
@given(tables(FINITE, most=8))
def test_the_hypervolume_never_decreases(points: Any) -> None:
    corner = np.full(points.shape[1], 3.5)
    volumes = [hypervolume(points[:count], corner) for count in range(len(points) + 1)]
    assert volumes[0] == 0.0
    assert all(before <= after + 1e-9 for before, after in pairwise(volumes))
    assert volumes[-1] <= 3.5 ** points.shape[1] + 1e-9


@settings(max_examples=50)
@given(tables(FINITE, most=8))
def test_only_the_front_counts_for_the_hypervolume(points: Any) -> None:
    corner = np.full(points.shape[1], 3.5)
    assert hypervolume(points[non_dominated(points)], corner) == pytest.approx(hypervolume(points, corner), abs=1e-9)


def test_adding_compares_with_the_front_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand points that are all dominated by the first: one comparison each."""
    compared = []
    original = np.all

    def counting(table: Any, axis: int) -> Any:
        compared.append(len(table))
        return original(table, axis=axis)

    growing = ParetoSet()
    growing.add([0, 0])
    monkeypatch.setattr(np, "all", counting)
    for value in range(1, 1001):
        growing.add([value, value])
    assert compared == [1] * 1000
