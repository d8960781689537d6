"""What a run logged, step by step."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

ACCURACY = "accuracy"
Row = Mapping[str, float]


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Return the finite numbers, and an error for every accuracy that is a fraction and has none."""
    kept = {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }
    accuracies = [name for name, value in kept.items() if name.endswith(ACCURACY) and 0 <= value <= 1]
    errors = {name.removesuffix(ACCURACY) + "error": 1.0 - kept[name] for name in accuracies}
    return {**errors, **kept}


def merge(rows: Iterable[tuple[float, Mapping[str, Any]]]) -> tuple[Row, ...]:
    """Make one row of all those of a step, in order of the steps; what was written last counts.

    Loggers write several rows a step, each with other metrics, and a resumed run repeats steps.

    Example:
        >>> merge([(8, {"loss": 2.0}), (4, {"loss": 3.0}), (8, {"val/accuracy": 0.75}), (4, {"loss": 2.5})])
        ({'loss': 2.5}, {'loss': 2.0, 'val/error': 0.25, 'val/accuracy': 0.75})
    """
    merged: dict[float, dict[str, float]] = {}
    for step, values in rows:
        merged.setdefault(step, {}).update(numbers(values))
    return tuple(merged[step] for step in sorted(merged))
