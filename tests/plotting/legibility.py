"""What must hold for every picture."""

from itertools import chain, combinations

from matplotlib.axis import Axis, Tick
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import BboxBase


def visible_texts(figure: Figure) -> list[Text]:
    """Return all texts that are drawn: ticks outside the limits of their axes are not."""
    FigureCanvasAgg(figure)  # measures text from here on
    figure.draw_without_rendering()
    axes = [axis for one in figure.axes if one.axison for axis in (one.xaxis, one.yaxis)]
    hidden = {text for axis in axes for tick in ticks(axis) if not shown(axis, tick) for text in texts_of(tick)}
    for one in figure.axes:
        hidden |= set() if one.axison else set(chain(one.xaxis.findobj(Text), one.yaxis.findobj(Text)))
    return [text for text in figure.findobj(Text) if text not in hidden and text.get_visible() and text.get_text()]


def ticks(axis: Axis) -> list[Tick]:
    return [*axis.get_major_ticks(), *axis.get_minor_ticks()]


def texts_of(tick: Tick) -> list[Text]:
    return [tick.label1, tick.label2]


def shown(axis: Axis, tick: Tick) -> bool:
    low, high = sorted(axis.get_view_interval())
    return bool(low <= tick.get_loc() <= high)


def holds(outer: BboxBase, inner: BboxBase) -> bool:
    return bool(outer.x0 <= inner.x0 and outer.y0 <= inner.y0 and inner.x1 <= outer.x1 and inner.y1 <= outer.y1)


def assert_legible(figure: Figure) -> None:
    """Assert that all texts are inside the figure, apart from each other, and large enough at 900 px width."""
    texts = visible_texts(figure)
    boxes = {text: text.get_window_extent() for text in texts}
    assert texts
    assert [text.get_text() for text in texts if not holds(figure.bbox, boxes[text])] == []
    overlapping = [(a.get_text(), b.get_text()) for a, b in combinations(texts, 2) if boxes[a].overlaps(boxes[b])]
    assert overlapping == []
    assert min(float(text.get_fontsize()) for text in texts) / 72 * 900 / figure.get_figwidth() >= 9
