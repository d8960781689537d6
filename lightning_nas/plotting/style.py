"""What all pictures but cells have in common."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cache

import matplotlib.style
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from lightning_nas.plotting.palette import GRID, INK, LINE

TEXT_SIZE = 9  # points: 9 px and more in an image of 900 px of a figure up to 11.25 inches wide
_STYLE = {
    "font.family": "DejaVu Sans",  # bundled with matplotlib: the same picture on every machine
    "font.size": TEXT_SIZE,
    "axes.titlesize": 10,
    "figure.titlesize": 11,
    "legend.fontsize": TEXT_SIZE,
    "legend.frameon": False,
    "xtick.labelsize": TEXT_SIZE,
    "ytick.labelsize": TEXT_SIZE,
    "text.color": INK,
    "text.parse_math": False,  # names may hold a $
    "axes.labelcolor": INK,
    "axes.edgecolor": LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "figure.dpi": 150,
    "figure.facecolor": "white",
}


def own_style() -> AbstractContextManager[None]:
    """Draw as matplotlib does out of the box, with fonts and colours of our own, whatever style the user has set."""
    return matplotlib.style.context(["default", _STYLE])


def add_legend(figure: Figure, handles: Sequence[Artist]) -> None:
    """Write a legend below all axes, in as many columns as fit; handles carry their names."""
    if handles:
        widest = max(len(str(handle.get_label())) for handle in handles)
        columns = int(figure.get_figwidth() / (0.75 + widest * TEXT_SIZE / 110))
        figure.legend(handles=handles, loc="outside lower center", ncols=max(1, min(len(handles), columns)))


def settle(figure: Figure) -> None:
    """Give everything its final place; what is added later moves nothing."""
    FigureCanvasAgg(figure)  # keeps its renderer; without it every text measured later would make a new one
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


@cache
def text_width(text: str, size: float = TEXT_SIZE) -> float:
    """Return how wide the widest line of a text is, in inches; larger than usual means bold."""
    font = FontProperties(family="DejaVu Sans", weight="bold" if size > TEXT_SIZE else "normal")
    lines = [line for line in text.split("\n") if line]
    return max((TextPath((0, 0), line, size, prop=font).get_extents().x1 for line in lines), default=0.0) / 72
