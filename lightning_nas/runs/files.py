"""Readers of the files of a run. None of them needs torch, Lightning, an account or a network."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path
from typing import Any

from lightning_nas.objective import Objective
from lightning_nas.runs.candidate import Candidate
from lightning_nas.runs.history import numbers
from lightning_nas.runs.measures import CHILDREN, COSTS, DEVICE_HOURS, EXAMPLES, FRONT_SIZE, HYPERVOLUME
from lightning_nas.runs.piece import Piece
from lightning_nas.runs.wandb_file import read_wandb_file

IDENTITY = ("method", "space", "dataset", "task", "seed", "group", "job_type", "tags")
WANDB_STEPS = ("trainer/global_step", "_step")  # Lightning's own, or else a count of the calls that log


def read_hparams(path: Path) -> Piece:
    """Read the hyperparameters that Lightning's CSV and TensorBoard loggers write."""
    import yaml

    class Loader(yaml.SafeLoader):
        """Hyperparameters may be of any type; those that are no plain data say nothing about the run."""

    Loader.add_multi_constructor("", lambda loader, suffix, node: None)
    content = yaml.load(path.read_text(encoding="utf-8"), Loader)
    if not isinstance(content, dict | None):
        raise ValueError(f"it holds no hyperparameters but {type(content).__name__}")
    return Piece(identity=_identity(content or {}))


def read_metrics(path: Path) -> Piece:
    """Read the metrics that Lightning's CSV logger writes."""
    rows = list(_table(path, ("step",)))
    return Piece(rows=tuple((float(row.pop("step")), _floats(row)) for row in rows if row.get("step")))


def read_events(path: Path) -> Piece:
    """Read the scalars of a file of TensorBoard."""
    try:
        module = import_module("tensorboard.backend.event_processing.event_accumulator")
    except ModuleNotFoundError as error:
        raise ImportError("TensorBoard is not installed; pip install tensorboard") from error
    events = module.EventAccumulator(str(path), size_guidance={"scalars": 0}).Reload()
    rows = [
        (float(event.step), {name: event.value})
        for name in events.Tags()["scalars"]
        for event in events.Scalars(name)
        if name != "hp_metric"  # Lightning's placeholder
    ]
    return Piece(rows=tuple(rows))


def read_wandb(path: Path) -> Piece:
    """Read the file of a run of Weights & Biases."""
    run = read_wandb_file(path)
    own = {"group": run.group, "job_type": run.job_type, "tags": list(run.tags)}
    identity = {**_identity(run.config), **{key: value for key, value in own.items() if value}}
    (step,) = [name for name in WANDB_STEPS if any(name in row for row in run.history)][:1] or WANDB_STEPS[:1]
    rows = tuple((float(row[step]), row) for row in run.history if step in row)
    return Piece(run.name, identity, rows)


def read_children(path: Path) -> Piece:
    """Read the table of the children that a search has trained."""
    rows, candidates = [], []
    examples = seconds = 0.0
    for count, row in enumerate(_table(path, ("number", "status", "examples", "seconds")), 1):
        values = {name: value for name, value in row.items() if value and ("/" in name or name in COSTS)}
        measured = numbers(_floats(values))
        examples, seconds = examples + float(row["examples"]), seconds + float(row["seconds"])
        cost = {CHILDREN: count, EXAMPLES: examples, DEVICE_HOURS: seconds / 3600}
        rows.append((float(count), {**measured, **cost}))
        candidates.append(Candidate(f"child {row['number']}", measured))
    return Piece(rows=tuple(rows), candidates=tuple(candidates))


def read_pareto(path: Path) -> Piece:
    """Read the candidates that the callback ParetoFront writes."""
    content = json.loads(path.read_text(encoding="utf-8"))
    entries = content["candidates"]
    candidates = tuple(Candidate(entry["name"], numbers(entry["values"])) for entry in entries)
    rows = [
        (float(place), {**candidate.values, EXAMPLES: entry["examples_seen"]})
        for place, (entry, candidate) in enumerate(zip(entries, candidates, strict=True))
    ]
    totals = {FRONT_SIZE: sum(entry["on_front"] for entry in entries), HYPERVOLUME: content["hypervolume"]}
    objectives = tuple(Objective(**objective) for objective in content["objectives"])
    return Piece(rows=tuple(rows), candidates=candidates, objectives=objectives, totals=totals)


READERS: dict[str, Callable[[Path], Piece]] = {
    "*.wandb": read_wandb,
    "metrics.csv": read_metrics,
    "events.out.tfevents.*": read_events,
    "hparams.yaml": read_hparams,
    "children.csv": read_children,
    "pareto.json": read_pareto,
}
LOGS = ("*.wandb", "metrics.csv", "events.out.tfevents.*")


def pattern_of(name: str) -> str | None:
    """Return the kind of a file that a run may have, or ``None`` if it is none of them."""
    return next((pattern for pattern in READERS if fnmatch(name, pattern)), None)


def read_piece(path: Path) -> Piece:
    """Read one file of a run.

    Raises:
        ValueError: If it is damaged, or cannot be read; the message names it.
    """
    reader = READERS[str(pattern_of(path.name))]
    try:
        return reader(path)
    except Exception as error:  # whatever a damaged file brings about, the other files go on
        raise ValueError(f"Expected {path} to be readable but got {type(error).__name__}: {error}") from error


def _identity(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: values[key] for key in IDENTITY if values.get(key) not in (None, "")}


def _table(path: Path, columns: tuple[str, ...]) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        missing = set(columns) - set(reader.fieldnames or ())
        if missing:
            raise ValueError(f"there are no columns {sorted(missing)}")
        for row in reader:
            if None in row:
                raise ValueError(f"row {reader.line_num} has more cells than there are columns")
            yield row


def _floats(row: Mapping[str, str]) -> dict[str, float]:
    return {name: float(value) for name, value in row.items() if value}
