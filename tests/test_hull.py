import math
from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_nas.hull import Point
from lightning_nas.strategies import lower_hull, within_band

FIRST = {"A": (1, 0.50), "B": (2, 0.30), "C": (3, 0.29), "D": (4, 0.20), "E": (5, 0.26), "F": (6, 0.19)}
SECOND = {"a": (10, 0.080), "b": (14, 0.070), "c": (20, 0.066), "d": (26, 0.0665), "e": (30, 0.060), "g": (40, 0.0605)}

WHOLE = st.lists(st.tuples(st.integers(1, 12), st.integers(0, 12)), max_size=14)  # many ties, and exact


def band(points: dict[str, tuple[int, float]], eps: float) -> str:
    inside = within_band(list(points.values()), eps)
    return "".join(name for name, kept in zip(points, inside, strict=True) if kept)


def line_at(left: tuple[int, int], right: tuple[int, int], cost: int) -> Fraction:
    return left[1] + Fraction(right[1] - left[1], right[0] - left[0]) * (cost - left[0])


def all_pairs_hull(points: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the points that nothing dominates and that are below the line of every two points around them."""
    corners = []
    for point in sorted(set(points)):
        cost, error = point
        dominated = any(c <= cost and e <= error and (c, e) != point for c, e in points)
        pairs = [(a, b) for a in points for b in points if a[0] < cost < b[0]]
        if not dominated and all(error < line_at(a, b, cost) for a, b in pairs):
            corners.append(point)
    return corners


def lowest_at(points: Sequence[tuple[int, int]], cost: int) -> Fraction:
    """Return the lowest that a mixture of two points reaches at a cost, with a far point of the least error."""
    far = (2 * max(c for c, _ in points), min(e for _, e in points))
    everything = [*points, far]
    on_lines = [line_at(a, b, cost) for a in everything for b in everything if a[0] < cost < b[0]]
    return min([*on_lines, *(Fraction(e) for c, e in everything if c == cost)])


def test_the_first_example() -> None:  # petridish T7
    points = list(FIRST.values())
    assert lower_hull(points) == [FIRST[name] for name in "ABDF"]
    assert [band(FIRST, eps) for eps in (0, 0.025, 0.05, 0.2)] == ["ABDF", "ABDF", "ABDF", "ABCDF"]
    assert [band(FIRST, eps) for eps in (0.15, 0.17)] == ["ABDF", "ABCDF"]  # C is 16 % above 0.25
    assert band(FIRST, 0.34) == "ABCDEF"  # E is a third above 0.195
    assert band(FIRST, 0.33) == "ABCDF"


def test_the_second_example() -> None:  # petridish T8
    points = list(SECOND.values())
    assert lower_hull(points) == [SECOND[name] for name in "abce"]
    assert band(SECOND, 0) == "abce"
    assert band(SECOND, 0.025) == "abceg"


def test_points_of_equal_cost() -> None:  # petridish T8, ties
    assert lower_hull([(1, 0.5), (1, 0.4), (2, 0.3)]) == [(1, 0.4), (2, 0.3)]
    assert lower_hull([(1, 0.4), (1, 0.5)]) == [(1, 0.4)]
    assert within_band([(1, 0.5), (1, 0.4), (2, 0.3)], 0.025).tolist() == [False, True, True]
    assert within_band([(1, 0.41), (1, 0.4)], 0.025).tolist() == [True, True]


def test_equal_points_are_one_corner_and_all_in_the_band() -> None:
    points = [(1.0, 0.5), (2.0, 0.3), (1.0, 0.5)]
    assert lower_hull(points) == [(1.0, 0.5), (2.0, 0.3)]
    assert within_band(points, 0).tolist() == [True, True, True]


def test_it_never_rises() -> None:
    assert lower_hull([(1, 0.2), (2, 0.2), (3, 0.4)]) == [(1, 0.2)]
    assert within_band([(1, 0.2), (2, 0.2), (3, 0.4), (9, 0.205)], 0.025).tolist() == [True, True, False, True]


def test_of_none_and_of_one() -> None:
    assert lower_hull([]) == []
    assert within_band([], 0.1).tolist() == []
    assert lower_hull([(3, 0.1)]) == [(3, 0.1)]
    assert within_band([(3, 0.1)], 0).tolist() == [True]


def test_an_endless_band_holds_all() -> None:
    assert within_band([(1, 0.0), (2, 0.9)], math.inf).tolist() == [True, True]
    assert within_band([(1, 0.0), (2, 0.9)], 1e9).tolist() == [True, False]


@given(WHOLE)
def test_corners_are_what_all_pairs_leave(points: list[tuple[int, int]]) -> None:
    assert lower_hull(points) == all_pairs_hull(points)


@given(WHOLE, st.sampled_from([0, 0.025, 0.2, 1.0]))
def test_the_band_is_what_mixtures_of_two_reach(points: list[tuple[int, int]], eps: float) -> None:
    for (cost, error), inside in zip(points, within_band(points, eps), strict=True):
        limit = lowest_at(points, cost) * Fraction(1 + eps)
        if abs(error - limit) > 1e-9:  # rounding decides the others
            assert inside == (error < limit)


@given(WHOLE, st.sampled_from([0.0, 0.025, 0.5]))
def test_corners_are_in_every_band(points: list[Point], eps: float) -> None:
    inside = within_band(points, eps)
    corners = set(lower_hull(points))
    assert all(kept for point, kept in zip(points, inside, strict=True) if point in corners)


@given(st.data(), WHOLE)
def test_the_order_of_the_points_does_not_matter(data: st.DataObject, points: list[Point]) -> None:
    mixed = data.draw(st.permutations(points))
    assert lower_hull(mixed) == lower_hull(points)
    inside = dict(zip(points, within_band(points, 0.025), strict=True))
    assert all(inside[point] == kept for point, kept in zip(mixed, within_band(mixed, 0.025), strict=True))


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1.667e8])
def test_costs_of_any_unit(scale: float) -> None:
    points = [(cost * scale, error) for cost, error in FIRST.values()]
    assert lower_hull(points) == [points[k] for k in (0, 1, 3, 5)]
