"""How metrics and costs are called, scaled and written on an axis."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

_COSTS = {
    "params": "parameters",
    "macs": "multiply-adds",
    "latency": "latency (ms)",
    "search/examples_seen": "examples seen",
    "search/device_days": "device days",
}
_PARTS = {"val": "validation ", "train": "training ", "test": "test "}
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True)
class Quantity:
    """What an axis shows.

    Args:
        title: Title of the axis.
        scale: What values are multiplied by: fractions are shown in percent, seconds in milliseconds.
        log: Whether the axis is logarithmic: for costs that span more than a factor of ten.
    """

    title: str
    scale: float = 1.0
    log: bool = False

    @classmethod
    def of(cls, name: str, values: Iterable[float]) -> "Quantity":
        """Return how a metric or cost of this name is shown.

        Errors and accuracies in fractions are shown in percent; other names stand as they are.

        Example:
            >>> Quantity.of("val/error", [0.25, 0.5])
            Quantity(title='validation error (%)', scale=100.0, log=False)
        """
        finite = [value for value in values if np.isfinite(value)]
        if name in _COSTS:
            log = bool(finite) and min(finite) > 0 and max(finite) > 10 * min(finite)
            return cls(_COSTS[name], 1e3 if name == "latency" else 1.0, log)
        if name.endswith(("error", "accuracy")) and not name.endswith(("squared_error", "absolute_error")):
            return cls(f"{_words(name)} (%)", 100.0 if all(0 <= value <= 1 for value in finite) else 1.0)
        return cls(_words(name))


def write_axis(axes: Axes, side: Literal["x", "y"], quantity: Quantity) -> None:
    """Give an axis its title, its scale and its ticks."""
    axes.set(**{f"{side}label": quantity.title, f"{side}scale": "log" if quantity.log else "linear"})
    axis = axes.xaxis if side == "x" else axes.yaxis
    axis.set_major_locator(
        _log_ticks(axis.get_data_interval()) if quantity.log else MaxNLocator(6, steps=[1, 2, 5, 10])
    )
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))


def short_number(value: float) -> str:
    """Write a number as papers do.

    Example:
        >>> [short_number(value) for value in (0.25, 500, 10_000, 1_200_000)]
        ['0.25', '500', '10k', '1.2M']
    """
    for size, letter in _PREFIXES:
        if abs(value) >= size:
            return f"{value / size:.6g}{letter}"
    return f"{value:.6g}"


def _log_ticks(interval: tuple[float, float]) -> LogLocator:
    decades = np.log10(interval[1] / interval[0])
    return LogLocator(subs=(1, 2, 5) if decades < 2.5 else (1,))


def _words(name: str) -> str:
    part, _, rest = name.rpartition("/")
    return (_PARTS.get(part, "") + rest).replace("_", " ") if "/" in name else name
