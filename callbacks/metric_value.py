"""The value of a metric, by the name that the user gives it."""

from collections.abc import Mapping
from typing import Any


def metric_value(name: str, metrics: Mapping[str, Any]) -> float:
    """Return the value of a metric; an error is one minus the accuracy, where only that was logged.

    Args:
        name: Name of a metric, such as ``"val/error"``.
        metrics: What was logged, by name.

    Raises:
        ValueError: If it was not logged.

    Example:
        >>> metric_value("val/error", {"val/accuracy": 0.75})
        0.25
    """
    if name in metrics:
        return float(metrics[name])
    stem = name.removesuffix("error")
    for accuracy in (f"{stem}accuracy", f"{stem}acc"):
        if stem != name and accuracy in metrics:
            return 1.0 - float(metrics[accuracy])
    raise ValueError(
        f"Expected a metric {name!r} of validation but got {sorted(metrics)}; log it in `validation_step`, or give "
        "ParetoFront the name of one that is logged"
    )
