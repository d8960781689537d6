"""Benchmarks that are tables: what training every architecture of a space has given."""

import csv
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lightning_nas.architecture import Architecture
from lightning_nas.spaces.nasbench201 import NasBench201Space

COLUMNS = ("architecture", "cifar10_valid_accuracy", "cifar10_test_accuracy")


@dataclass(frozen=True)
class Accuracies:
    """What the table says of an architecture, in percent."""

    validation: float
    test: float


class NasBench201Table:
    """NAS-Bench-201 on CIFAR-10, from a CSV file with the columns of ``COLUMNS``.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it has other columns, or no rows.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.space = NasBench201Space()
        with Path(path).open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if missing := set(COLUMNS) - set(reader.fieldnames or ()):
                raise ValueError(f"Expected {path} to have the columns {COLUMNS} but it lacks {sorted(missing)}")
            self._rows = {row[COLUMNS[0]]: Accuracies(float(row[COLUMNS[1]]), float(row[COLUMNS[2]])) for row in reader}
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

    def rank(self, architecture: Architecture) -> int:
        """Return the place of an architecture by validation accuracy; 1 is the best."""
        own = self.look_up(architecture).validation
        return 1 + sum(accuracy > own for accuracy in self.validation_accuracies)

    @cached_property
    def validation_accuracies(self) -> list[float]:
        """The validation accuracies of all architectures, in the order of the file."""
        return [row.validation for row in self._rows.values()]
