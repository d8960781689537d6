"""Folders as runs leave them."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lightning_nas.architecture import Architecture
from lightning_nas.callbacks.pareto_candidate import ParetoCandidate
from lightning_nas.callbacks.pareto_files import write_table
from lightning_nas.callbacks.pareto_table import ParetoTable
from lightning_nas.methods.child_record import ChildRecord
from lightning_nas.methods.ledger import write_children
from lightning_nas.objective import Objective

IDENTITY = {"method": "DartsModule", "space": "darts?nodes=2", "dataset": "Digits", "task": "ImageClassification"}
Rows = Sequence[Mapping[str, float]]


def csv_run(folder: Path, rows: Rows, **hparams: Any) -> Path:
    """Write what Lightning's CSV logger writes."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, sorted({name for row in rows for name in row}))
        writer.writeheader()
        writer.writerows(rows)
    (folder / "hparams.yaml").write_text(yaml.safe_dump({**IDENTITY, **hparams}))
    return folder


def supernet_rows(errors: Sequence[float], examples: int = 1000) -> list[dict[str, float]]:
    """Rows of a search that trains no children: two for every epoch, as Lightning writes them."""
    rows = []
    for epoch, error in enumerate(errors):
        step = 10 * epoch + 9
        seen = (epoch + 1) * examples
        rows.append({"step": step, "epoch": epoch, "val/accuracy": 1 - error})
        costs = {
            "derived/params": 100.0 + epoch,
            "derived/macs": 5000.0 - epoch,
            "search/device_hours": 0.5 * epoch + 0.5,
        }
        best = {"search/best_error": min(errors[: epoch + 1]), "search/children": 0.0}
        rows.append({"step": step, "epoch": epoch, "search/examples_seen": seen, **costs, **best})
    return rows


def pareto_file(
    folder: Path, points: Sequence[tuple[float, float]], names: Sequence[str] = ("val/error", "params")
) -> Path:
    """Write what ParetoFront writes; the references of both objectives are 1 and 1000."""
    objectives = [Objective(name, "min", reference) for name, reference in zip(names, (1.0, 1000.0), strict=True)]
    table = ParetoTable(objectives)
    for epoch, point in enumerate(points):
        values = dict(zip(names, point, strict=True))
        table.add(
            ParetoCandidate(f"epoch {epoch}", values, epoch, 100 * (epoch + 1), Architecture("toy", {"a": epoch}))
        )
    write_table(table, folder)
    return folder


def children_file(folder: Path, children: Sequence[tuple[float | None, int]]) -> Path:
    """Write the table of children: for each an error, ``None`` if it failed, and its parameters; 600 examples each."""
    records = [
        ChildRecord(
            number=number,
            architecture=Architecture("toy", {"a": number}),
            status="failed" if error is None else "finished",
            score=None if error is None else 1 - error,
            epochs=2,
            examples=600,
            seconds=1800.0,
            costs={"params": params},
            metrics={} if error is None else {"val/accuracy": 1 - error, "train/loss": 0.5},
        )
        for number, (error, params) in enumerate(children)
    ]
    write_children(records, folder / "children.csv")
    return folder
