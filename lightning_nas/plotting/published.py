"""The literature as points of a picture."""

import re
from collections.abc import Sequence
from math import isfinite, nan

from lightning_nas.objective import Objective
from lightning_nas.pareto import non_dominated
from lightning_nas.plotting.front_points import FrontPoints
from lightning_nas.zoo.published_result import PublishedResult

_CITATION = re.compile(r" \([^()]*\d{4}\w?\)")  # "NASNet-A (Zoph 2018)" is NASNet-A next to a point


def published_points(
    results: Sequence[PublishedResult], objectives: Sequence[Objective], name: str = "published"
) -> FrontPoints:
    """Return published results as the background of ``plot_fronts``.

    Errors and accuracies become fractions, as runs log them. What a paper does not tell is NaN. Results without the
    first objective, or without all others, are left out; one that several papers report is there once.

    Args:
        results: What to show, e.g. ``published_results("CIFAR-10")``.
        objectives: Names that end in ``error``, ``accuracy`` or ``perplexity``, or are ``"params"`` or ``"macs"``.
        name: What the legend calls it.

    Raises:
        ValueError: If nothing is left.
    """
    names = [objective.name for objective in objectives]
    rows = [(_CITATION.sub("", result.model), [_value(result, name) for name in names]) for result in results]
    told = [(label, row) for label, row in rows if isfinite(row[0]) and any(map(isfinite, row[1:]))]
    if not told:
        raise ValueError(
            "Expected results that tell the first objective and another one but got none for "
            f"{names}; published are errors, accuracies, perplexities, 'params' "
            "and 'macs'"
        )
    unique: dict[str, tuple[str, list[float]]] = {}
    for label, row in told:
        unique.setdefault(str(row), (label, row))
    labels, values = zip(*unique.values(), strict=True)
    signed = [[objective.sign * v for objective, v in zip(objectives, row, strict=True)] for row in values]
    return FrontPoints(name, values, non_dominated(signed).tolist(), labels)


def _value(result: PublishedResult, name: str) -> float:
    if name.endswith("accuracy"):
        value = None if result.error is None else 1 - result.error
    elif name.endswith("error"):
        value = result.error
    elif name.endswith("perplexity"):
        value = result.perplexity
    else:
        value = {"params": result.params, "macs": result.macs}.get(name)
    return nan if value is None else float(value)
