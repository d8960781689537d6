"""Writing pictures."""

from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from lightning_nas.plotting.style import own_style

DPI = 150


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure so that the same drawing always gives the same bytes.

    Args:
        figure: The figure to write.
        path: Where to, ending in ``.png`` or ``.svg``.

    Raises:
        ValueError: If the path has another suffix.
    """
    suffix = Path(path).suffix.lower()
    metadata = {".png": {"Software": None}, ".svg": {"Date": None, "Creator": None}}
    if suffix not in metadata:
        raise ValueError(f"Expected a path that ends in .png or .svg but got {str(path)!r}.")
    with own_style(), matplotlib.rc_context({"svg.hashsalt": "lightning-nas"}):
        figure.savefig(path, format=suffix[1:], dpi=DPI, metadata=metadata[suffix], facecolor=figure.get_facecolor())
