"""What the papers report, as data: tables of networks on CIFAR-10, CIFAR-100, ImageNet and Penn Treebank."""

import csv
from functools import cache
from importlib.resources import files

from lightning_nas.zoo.published_result import PublishedResult


def published_results(dataset: str | None = None, search_type: str | None = None) -> tuple[PublishedResult, ...]:
    """Return rows of the papers' tables, in the papers' order.

    A network that several papers list is there several times.

    Args:
        dataset: Only of this dataset, e.g. ``"CIFAR-10"``.
        search_type: Only found in this way, e.g. ``"evolution"``.

    Raises:
        ValueError: If no row has the dataset or the way.

    Example:
        >>> [result] = [r for r in published_results("CIFAR-10", "SMBO") if r.std and "PNASNet-5" in r.model]
        >>> result.params, result.value, result.std
        (3200000, 3.41, 0.09)
    """
    _check("dataset", dataset, {result.dataset for result in _results()})
    _check("search_type", search_type, {result.search_type for result in _results() if result.search_type})
    kept = (result for result in _results() if dataset in (None, result.dataset))
    return tuple(result for result in kept if search_type in (None, result.search_type))


def _check(name: str, value: str | None, known: set[str]) -> None:
    if value is not None and value not in known:
        raise ValueError(f"Expected `{name}` to be one of {sorted(known)} but got {value!r}")


@cache
def _results() -> tuple[PublishedResult, ...]:
    text = (files("lightning_nas.zoo") / "results.csv").read_text(encoding="utf-8")
    return tuple(_result(row) for row in csv.DictReader(text.splitlines()))


def _result(row: dict[str, str]) -> PublishedResult:
    return PublishedResult(
        row["dataset"],
        row["table"],
        row["model"],
        row["metric"],
        float(row["value"]),
        row["search_type"] or None,
        _millions(row["params_m"]),
        _millions(row["mult_adds_m"]),
        _number(row["std"]),
        _number(row["value_2"]),
        int(row["gpus"]) if row["gpus"] else None,
        _number(row["gpu_days"]),
        row["note"],
    )


def _number(text: str) -> float | None:
    return float(text) if text else None


def _millions(text: str) -> int | None:
    return round(float(text) * 1e6) if text else None
