"""Names next to points, where there is room for them."""

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

_PLACES = ((1, 1), (1, 0), (0, 1), (1, -1), (-1, 1), (0, -1), (-1, 0), (-1, -1))  # the corner of choice first
_ALIGNMENT = {-1: "right", 0: "center", 1: "left"}, {-1: "top", 0: "center", 1: "bottom"}
_LONGEST = 34  # letters


class Label(NamedTuple):
    """A name, the point that it belongs to, and its colour."""

    text: str
    point: tuple[float, float]
    color: str


def write_labels(axes: Axes, labels: Iterable[Label], points: NDArray[np.float64], corner: tuple[int, int]) -> None:
    """Write each label next to its point if it is nearest to that point and covers no line and no other label.

    The axes must have their final place and limits.

    Args:
        axes: Where to write.
        labels: What to write, the most important first.
        points: All points that must stay visible, ``[N, 2]``.
        corner: Where a label stands best: 1 for right of its point and above, -1 for left and below.
    """
    places = axes.transData.transform(points)
    taken = _line_boxes(axes)
    for label in labels:
        own = axes.transData.transform(label.point)
        others = places[np.abs(places - own).max(axis=1) > 1]
        written = _write(axes, label)
        size = written.get_window_extent()
        for x, y in ((x * corner[0], y * corner[1]) for x, y in _PLACES):
            box = _box(size, own, (x, y), axes.figure.dpi / 72)
            free = not box.count_overlaps(taken) and not box.padded(10).count_contains(others)
            if free and _within(axes.bbox.padded(-2), box):
                written.set(position=_offset(x, y), ha=_ALIGNMENT[0][x], va=_ALIGNMENT[1][y])
                taken.append(box.padded(2))
                break
        else:
            written.remove()


def _write(axes: Axes, label: Label) -> Annotation:
    text = label.text if len(label.text) <= _LONGEST else f"{label.text[: _LONGEST - 1].rstrip()}…"
    note = axes.annotate(text, label.point, (0, 0), textcoords="offset points", zorder=5, color=label.color)
    note.set_in_layout(False)
    return note


def _offset(x: int, y: int) -> tuple[float, float]:
    """Return how far a text stands from its point, in points."""
    return 7.0 * x, (4.0 if x else 7.0) * y


def _box(size: Bbox, point: NDArray[np.float64], place: tuple[int, int], scale: float) -> Bbox:
    """Return where a text would stand: asking matplotlib for every place takes too long."""
    lengths = np.array([size.width, size.height])
    corner = point + np.multiply(_offset(*place), scale) + lengths * (np.sign(place) - 1) / 2
    return Bbox([corner, corner + lengths])


def _line_boxes(axes: Axes) -> list[Bbox]:
    """Return a box for every level or upright piece of the lines."""
    paths = [line.get_transform().transform(line.get_xydata()) for line in axes.lines]
    pieces = [piece for path in paths for piece in pairwise(path)]
    return [Bbox([np.minimum(a, b), np.maximum(a, b)]).padded(2) for a, b in pieces]


def _within(outer: Bbox, inner: Bbox) -> bool:
    return bool(outer.x0 <= inner.x0 and outer.y0 <= inner.y0 and inner.x1 <= outer.x1 and inner.y1 <= outer.y1)
