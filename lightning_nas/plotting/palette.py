"""The colours of all pictures. Those of curves and points can be told apart by the colour-blind (Okabe & Ito 2008)."""

INK = "#1f2933"
LINE = "#8d99a8"
GRID = "#e4e8ec"
LITERATURE = "#66727f"
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKERS = "osD^vPX<"
LINE_STYLES = ("-", "--", ":", "-.")


def marker_look(index: int) -> tuple[str, str]:
    """Return colour and marker of the points of an index; 56 look different."""
    return COLORS[index % len(COLORS)], MARKERS[index % len(MARKERS)]


def line_look(index: int) -> tuple[str, str]:
    """Return colour and style of the line of an index: solid while the colours last; 28 look different."""
    return COLORS[index % len(COLORS)], LINE_STYLES[index // len(COLORS) % len(LINE_STYLES)]


_BOXES = {  # fill, border and text of nodes, then of operations: the first key found in the name decides
    "input": ("#4a6fa5", "#4a6fa5", "#ffffff"),
    "inner": ("#ffffff", "#52606d", INK),
    "output": ("#3e4c59", "#3e4c59", "#ffffff"),
    "dil": ("#e9e1f7", "#a48bd3", INK),
    "conv": ("#dbeafb", "#7fb0e3", INK),
    "pool": ("#fdebcf", "#e5b15f", INK),
    "skip": ("#daf2e3", "#7cc498", INK),
    "": ("#eceff2", "#b4bdc7", INK),
}


def box_look(name: str) -> tuple[str, str, str]:
    """Return the colours of fill, border and text for an operation, or for a node that is input, inner or output."""
    return next(colors for key, colors in _BOXES.items() if key in name)
