"""The children of a search: in the checkpoint, and in a file that grows with every child."""

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import TextIO

from lightning_nas.methods.child_record import ChildRecord

COLUMNS = ("number", "status", "score", "epochs", "examples", "seconds", "params", "macs")
LAST_COLUMNS = ("curve", "error", "found", "search", "architecture")
HOPELESS_AFTER = 5  # children that must be known before one can be called hopeless


def write_children(records: Iterable[ChildRecord], path: Path) -> None:
    """Write a table with a row for every child, and a column for every metric; a reader never sees half of it."""
    rows = [record.to_row() for record in records]
    metrics = sorted({name for row in rows for name in row if "/" in name})
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*COLUMNS, *metrics, *LAST_COLUMNS])
        writer.writeheader()
        writer.writerows(rows)
    partial.replace(path)


def _rows(file: TextIO) -> Iterator[dict[str, str]]:
    reader = csv.DictReader(file)
    missing = {*COLUMNS, *LAST_COLUMNS} - {*(reader.fieldnames or ())}
    if missing:
        raise ValueError(f"there are no columns {sorted(missing)}")
    yield from reader


def read_children(path: Path) -> list[ChildRecord]:
    """Read what ``write_children`` wrote; nothing, if there is no such file.

    Raises:
        ValueError: If the file holds something else; the message names it.
    """
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        try:
            return [ChildRecord.from_row(row) for row in _rows(file)]
        except (AttributeError, KeyError, TypeError, ValueError, csv.Error) as error:
            raise ValueError(
                f"Expected {path} to be the table of a search's children but could not read it: {error}"
            ) from error


def is_hopeless(curve: Sequence[float], records: Iterable[ChildRecord]) -> bool:
    """Return whether a child's best is below the median of the means that the others had had until the same epoch."""
    others = [record.curve[: len(curve)] for record in records if len(record.curve) >= len(curve)]
    if len(others) < HOPELESS_AFTER:
        return False
    return max(curve) < median(sum(other) / len(other) for other in others)
