"""The metrics that belong to an architecture."""

import math
from collections.abc import Mapping
from typing import Any


def validation_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return finite metrics of validation, ``val/...`` or ``val_...``: only they are of this epoch in a resumed run.

    Call it in every process: to read a metric can be an exchange between them.

    Args:
        metrics: All metrics by name, such as ``trainer.callback_metrics``.
    """
    values = {name: float(value) for name, value in metrics.items() if name.startswith(("val/", "val_"))}
    return {name: value for name, value in values.items() if math.isfinite(value)}
