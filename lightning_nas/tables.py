"""Benchmarks that are tables: what training every architecture of a space has given."""

import csv
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path

from lightning_nas.architecture import Architecture
from lightning_nas.checks import check_at_least
from lightning_nas.spaces.nasbench201 import NasBench201Space
from lightning_nas.strategies.base import Strategy

COLUMNS = ("architecture", "cifar10_valid_accuracy", "cifar10_test_accuracy")


@dataclass(frozen=True)
class Accuracies:
    """What the table says of an architecture, in percent."""

    validation: float
    test: float


@dataclass(frozen=True)
class TableSearch:
    """What a search on a table has found.

    Args:
        architectures: What the strategy asked for, in order.
        scores: The validation accuracy of each, in percent.
        regrets: After each query how far the best validation accuracy was below that of the whole table.
        best: The architecture of the best validation accuracy, which is in its ``metrics``.
        validation: The best validation accuracy.
        test: The test accuracy of the same architecture.
    """

    architectures: tuple[Architecture, ...]
    scores: tuple[float, ...]
    regrets: tuple[float, ...]
    best: Architecture
    validation: float
    test: float


class NasBench201Table:
    """NAS-Bench-201 on CIFAR-10, from a CSV file with the columns of ``COLUMNS``.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it has other columns, no rows, or a row without two numbers.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.space = NasBench201Space()
        with Path(path).open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if missing := set(COLUMNS) - set(reader.fieldnames or ()):
                raise ValueError(f"Expected {path} to have the columns {COLUMNS} but it lacks {sorted(missing)}")
            self._rows = {row[COLUMNS[0]]: _accuracies(row, path, reader.line_num) for row in reader}
        if not self._rows:
            raise ValueError(f"Expected {path} to have a row for every architecture but it has none")

    def __len__(self) -> int:
        return len(self._rows)

    def look_up(self, architecture: Architecture) -> Accuracies:
        """Return the accuracies of an architecture.

        Raises:
            KeyError: If the table has none.
        """
        text = self.space.to_string(architecture)
        if text not in self._rows:
            raise KeyError(f"Expected an architecture of the table but got {text}")
        return self._rows[text]

    @cached_property
    def best_validation(self) -> float:
        """The best validation accuracy of all architectures."""
        return max(self.validation_accuracies)

    def rank(self, architecture: Architecture) -> int:
        """Return the place of an architecture by validation accuracy; 1 is the best."""
        own = self.look_up(architecture).validation
        return 1 + sum(accuracy > own for accuracy in self.validation_accuracies)

    @cached_property
    def validation_accuracies(self) -> list[float]:
        """The validation accuracies of all architectures, in the order of the file."""
        return [row.validation for row in self._rows.values()]


def _accuracies(row: Mapping[str, str | None], path: str | os.PathLike[str], line: int) -> Accuracies:
    texts = [row[column] for column in COLUMNS[1:]]
    try:
        validation, test = (float(text or "") for text in texts)
        if not (math.isfinite(validation) and math.isfinite(test)):
            raise ValueError("not finite")
    except ValueError as error:
        raise ValueError(f"Expected two numbers in line {line} of {path} but got {texts}") from error
    return Accuracies(validation, test)


def search_table(strategy: Strategy, table: NasBench201Table, budget: int, batch: int = 1) -> TableSearch:
    """Run a strategy on a table, with the validation accuracy as the score.

    It ends early when the strategy has nothing left to propose.

    Args:
        strategy: A strategy on the table's space.
        table: Where the scores are.
        budget: How many architectures it may ask for.
        batch: How many it is asked for before it is told any score.

    Raises:
        ValueError: If the strategy is on another space or asks for nothing, or a number is below 1.
        KeyError: If the strategy asks for an architecture that the table has not.

    Example:
        >>> from lightning_nas.strategies import RandomStrategy
        >>> table = NasBench201Table("cifar10-12epochs.csv")  # doctest: +SKIP
        >>> search_table(RandomStrategy("nasbench201"), table, budget=100).validation  # doctest: +SKIP
        83.92
    """
    check_at_least("budget", budget, 1)
    check_at_least("batch", batch, 1)
    if strategy.space.name != table.space.name:
        raise ValueError(f"Expected a strategy on space {table.space.name!r} but got one on {strategy.space.name!r}")
    architectures: list[Architecture] = []
    scores: list[float] = []
    while len(scores) < budget and (proposals := strategy.ask(min(batch, budget - len(scores)))):
        for proposal in proposals:
            architectures.append(proposal.architecture)
            scores.append(table.look_up(proposal.architecture).validation)
            strategy.tell(proposal, scores[-1])
    if not scores:
        raise ValueError("Expected a strategy that asks for an architecture but it has nothing left to propose")
    return _summarize(table, architectures, scores)


def _summarize(table: NasBench201Table, architectures: Sequence[Architecture], scores: Sequence[float]) -> TableSearch:
    number = scores.index(max(scores))
    test = table.look_up(architectures[number]).test
    best = replace(architectures[number], metrics={"val/accuracy": scores[number], "test/accuracy": test})
    regrets = tuple(table.best_validation - score for score in accumulate(scores, max))
    return TableSearch(tuple(architectures), tuple(scores), regrets, best, scores[number], test)
