"""Pareto fronts of points that are to be small in every column.

What is to be large comes with the other sign (``Objective.sign`` says which). One point dominates another if it is
nowhere larger and somewhere smaller. So points that are equal do not dominate each other: either all of them are on the
front, or none. A point with NaN is never on the front and dominates nothing. Infinite values compare as numbers do.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def dominates(a: ArrayLike, b: ArrayLike) -> bool:
    """Return whether point ``a`` dominates point ``b``."""
    return bool(_dominators(np.asarray(a, float)[None], np.asarray(b, float))[0])


def non_dominated(points: ArrayLike) -> NDArray[np.bool_]:
    """Return which points no other one dominates.

    Args:
        points: ``[N, objectives]``.

    Returns:
        A mask ``[N]``.

    Example:
        >>> non_dominated([[1, 3], [2, 2], [2, 3], [3, 1]]).tolist()
        [True, True, False, True]
    """
    table = _table(points)
    dominated = [bool(_dominators(table, point).any()) for point in table]
    return ~np.array(dominated, bool) & ~np.isnan(table).any(axis=1)


def hypervolume(points: ArrayLike, reference: ArrayLike) -> float:
    """Return the volume of what the points dominate and the reference does not, exactly.

    Points that are not below the reference in every column add nothing, nor do points with NaN or with infinity. One
    with minus infinity that is below the reference makes the volume infinite.

    Args:
        points: ``[N, objectives]``, of two objectives or more. Time grows as N to the number of objectives less one.
        reference: A finite number for each objective.

    Raises:
        ValueError: If the reference is not finite, or has another number of objectives.

    Example:
        >>> hypervolume([[1, 3], [2, 2], [3, 1]], [4, 4])
        6.0
    """
    table, corner = _table(points), np.asarray(reference, float)
    if corner.shape != table.shape[1:] or not np.isfinite(corner).all():
        raise ValueError(f"Expected a reference of {table.shape[1]} finite numbers but got {reference!r}")
    inside = table[(table < corner).all(axis=1)]
    if np.isneginf(inside).any():
        return float("inf")
    return _volume(inside, corner)


class ParetoSet:
    """Points in the order in which they came, and which of them no other one dominates.

    A new point is compared with those on the front only.

    Example:
        >>> points = ParetoSet()
        >>> [points.add(point) for point in ([2, 2], [3, 3], [1, 3], [1, 1])]
        [True, False, True, True]
        >>> points.front
        [3]
    """

    def __init__(self) -> None:
        self.points: list[Array] = []
        self.front: list[int] = []  # positions in ``points``, ascending

    def add(self, point: Sequence[float]) -> bool:
        """Add a point; return whether it is on the front."""
        new = np.array(point, float)
        self.points.append(new)
        if np.isnan(new).any() or (self.front and _dominators(self.front_points, new).any()):
            return False
        self.front = [i for i in self.front if not dominates(new, self.points[i])] + [len(self.points) - 1]
        return True

    @property
    def front_points(self) -> Any:
        """The points of the front, ``[points, objectives]``."""
        return np.array([self.points[i] for i in self.front])


def _table(points: ArrayLike) -> Array:
    table = np.asarray(points, float)
    if table.ndim != 2 or table.shape[1] < 2:
        raise ValueError(f"Expected points [N, objectives] with two objectives or more but got shape {table.shape}")
    return table


def _dominators(table: Array, point: Array) -> NDArray[np.bool_]:
    """Return which rows dominate a point; a comparison with NaN is false."""
    dominating: NDArray[np.bool_] = np.logical_and(np.all(table <= point, axis=1), np.any(table < point, axis=1))
    return dominating


def _volume(points: Array, corner: Array) -> float:
    """Sum slices between neighbouring values of the last column; a slice has the volume of the points below it."""
    if len(corner) == 2:
        return _area(points, corner)
    points = points[non_dominated(points)]
    points = points[np.argsort(points[:, -1])]
    heights = np.diff(points[:, -1], append=corner[-1])
    slices = [(count, float(height)) for count, height in enumerate(heights, 1) if height > 0]
    return sum((height * _volume(points[:count, :-1], corner[:-1]) for count, height in slices), 0.0)


def _area(points: Array, corner: Array) -> float:
    """Sum strips between neighbouring values of the first column; a strip is as high as the best point left of it."""
    x, y = points[np.argsort(points[:, 0])].T
    return float(np.sum(np.diff(x, append=corner[0]) * (corner[1] - np.minimum.accumulate(y))))
