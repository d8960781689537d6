"""A table of runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lightning_nas.objective import Objective
from lightning_nas.runs.comparison import Comparison
from lightning_nas.runs.measures import CHILDREN, DEVICE_HOURS, EXAMPLES, FRONT_SIZE, HYPERVOLUME, is_share
from lightning_nas.runs.run import Run

TEST_ERROR = "test/error"


@dataclass(frozen=True)
class Column:
    """A column of the table of runs.

    Args:
        title: What stands above it.
        values: A value for each run, or ``None``.
        is_text: Whether the values are words.
    """

    title: str
    values: tuple[Any, ...]
    is_text: bool = False

    @property
    def cells(self) -> tuple[str, ...]:
        """The values as they are written."""
        return tuple("" if value is None else format_value(self.title, value) for value in self.values)


def columns(comparison: Comparison) -> list[Column]:
    """Return the columns for which at least one run has a value."""
    quality = comparison.quality
    texts: dict[str, Callable[[Run], Any]] = {
        "run": lambda run: run.name,
        "method": lambda run: _text(run.identity, "method").removesuffix("Module") or None,
        "space": lambda run: _text(run.identity, "space") or None,
        "dataset": lambda run: _text(run.identity, "dataset") or None,
        "seed": lambda run: _text(run.identity, "seed") or None,
    }
    measures: dict[str, Callable[[Run], Any]] = {
        f"best {quality.name.removeprefix('val/')}": lambda run: run.best(quality),
        "test error": lambda run: run.last(TEST_ERROR),
        "examples seen": lambda run: run.last(EXAMPLES),
        "device hours": lambda run: run.last(DEVICE_HOURS),
        "children": lambda run: run.last(CHILDREN) or None,
        "params": lambda run: _derived(run, quality, "params"),
        "macs": lambda run: _derived(run, quality, "macs"),
        "front size": lambda run: run.last(FRONT_SIZE),
        "hypervolume": lambda run: run.last(HYPERVOLUME),
    }
    runs = comparison.runs
    every = [Column(title, tuple(map(value, runs)), True) for title, value in texts.items()]
    every += [Column(title, tuple(map(value, runs))) for title, value in measures.items()]
    return [column for column in every if any(value is not None for value in column.values)]


def format_value(name: str, value: Any) -> str:
    """Return a value as people read it: errors in percent, counts with k, M, G, T.

    Example:
        >>> format_value("test error", 0.0276), format_value("params", 3_349_342), format_value("device hours", 0.05)
        ('2.76%', '3.35M', '0.05')
    """
    if isinstance(value, str):
        return value
    if is_share(name):
        return f"{value:.2%}"
    rounded = float(f"{value:.3g}")  # first, or 999,999 would be a thousand thousands
    for factor, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if 1e3 * factor > abs(rounded) >= factor:
            return f"{rounded / factor:#.3g}".rstrip(".") + unit
    return f"{value:.3g}"


def _text(identity: Mapping[str, Any], key: str) -> str:
    return str(identity.get(key, ""))


def _derived(run: Run, quality: Objective, cost: str) -> float | None:
    """What the derived architecture costs or, of a run that did not log it, the best candidate."""
    logged = run.last(f"derived/{cost}")
    known = [candidate.values for candidate in run.candidates if {quality.name, cost} <= candidate.values.keys()]
    best = min(known, key=lambda values: quality.sign * values[quality.name], default=None)
    return logged if logged is not None or best is None else best[cost]
