"""The lower convex hull of models by cost and error, and the band above it."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]  # cost and error of a model, both to be small


def lower_hull(points: Sequence[Point]) -> list[Point]:
    """Return the corners of the lower convex hull, the cheapest first.

    The hull ends at the smallest error, so it never rises. Points on a line between two corners are no corners, and
    equal points are one.

    Args:
        points: Cost and error of each model.

    Example:
        >>> lower_hull([(1, 0.50), (2, 0.30), (3, 0.29), (4, 0.20), (5, 0.26), (6, 0.19)])
        [(1, 0.5), (2, 0.3), (4, 0.2), (6, 0.19)]
    """
    hull: list[Point] = []
    end = min(points, key=lambda point: (point[1], point[0]), default=(0.0, 0.0))
    for point in sorted(point for point in points if point[0] <= end[0]):
        if hull and hull[-1][0] == point[0]:
            continue  # no better at the same cost
        while len(hull) > 1 and not _is_below(hull[-1], hull[-2], point):
            hull.pop()
        hull.append(point)
    return hull


def within_band(points: Sequence[Point], eps: float) -> NDArray[np.bool_]:
    """Return which points are at most ``eps`` above their hull, relative to the hull's error at their cost.

    To the right of its last corner, the hull goes on at that corner's error.

    Args:
        points: Cost and error of each model.
        eps: Share of the hull's error; infinity takes in all points.

    Returns:
        A mask ``[N]``.

    Example:
        >>> points = [(1, 0.50), (2, 0.30), (3, 0.29), (4, 0.20), (5, 0.26), (6, 0.19)]
        >>> within_band(points, 0.2).tolist()
        [True, True, True, True, False, True]
    """
    if not points or eps == math.inf:
        return np.ones(len(points), bool)
    costs, errors = np.array(points, float).T
    corners, heights = np.array(lower_hull(points), float).T
    below: NDArray[np.bool_] = errors <= np.interp(costs, corners, heights) * (1 + eps)
    return below


def _is_below(middle: Point, left: Point, right: Point) -> bool:
    """Return whether a point is strictly below the line between two others."""
    width, height = right[0] - left[0], right[1] - left[1]
    return (middle[1] - left[1]) * width < height * (middle[0] - left[0])
