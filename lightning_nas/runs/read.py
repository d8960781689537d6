"""Finding and reading runs."""

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lightning_nas.runs.candidate import Candidate
from lightning_nas.runs.files import LOGS, READERS, pattern_of, read_piece
from lightning_nas.runs.history import Row, merge
from lightning_nas.runs.measures import CHILDREN, ERROR, LOSS, PERPLEXITY
from lightning_nas.runs.piece import Piece
from lightning_nas.runs.run import Run

MLFLOW = "meta.yaml"  # in the folder of every run of MLflow


def read_runs(paths: Iterable[str | Path]) -> tuple[list[Run], list[str]]:
    """Read the runs in folders, and in the folders below them.

    A run is a folder with ``metrics.csv``, TensorBoard's event files or a run of Weights & Biases, or with the
    ``children.csv`` or ``pareto.json`` of a run without a logger. Links to folders are not followed.

    Args:
        paths: Folders of runs, or folders that hold such.

    Returns:
        The runs, with names that differ; and a sentence for every file that could not be read.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If there is no run.
    """
    folders = [Path(path) for path in paths]
    for folder in folders:
        if not folder.is_dir():
            raise FileNotFoundError(f"Expected the folder of a run but found no folder {folder}")
    runs, problems = [], []
    for folder, files in _group(list(dict.fromkeys(_find(folders)))).items():
        run, sentences = _read(folder, files)
        has_results = bool(run.history or run.candidates)
        runs += [run] if has_results else []
        problems += sentences
        if not has_results and not sentences:
            problems.append(f"Expected {folder} to hold results but nothing was logged there")
    if not runs:
        looked = ", ".join(map(str, folders))
        reasons = "".join(f"\n{problem}" for problem in problems)
        raise ValueError(
            f"Expected runs but found none in {looked} or below; a run is a folder with one of {list(READERS)}{reasons}"
        )
    return _distinct(runs), problems


def _find(folders: Iterable[Path]) -> Iterator[Path]:
    for top in folders:
        for folder, below, names in os.walk(top):
            if MLFLOW in names and "artifacts" in below:
                below.remove("artifacts")  # it holds copies of the run's own files
            below.sort()
            for name in sorted(names):
                if pattern_of(name):
                    yield Path(folder).resolve() / name


def _group(files: Sequence[Path]) -> dict[Path, list[Path]]:
    """Put together what belongs to a run: its log, and what its callbacks wrote beside, above or under its name."""
    groups: dict[Path, list[Path]] = {}
    homes = {file.stem.removeprefix("run-"): file.parent for file in files if file.suffix == ".wandb"}
    logs = dict.fromkeys(file.parent for file in files if pattern_of(file.name) in LOGS)
    for file in files:
        home = homes.get(file.parent.name, file.parent)
        if file.suffix == ".wandb":  # a run that was resumed has several
            home = homes[file.stem.removeprefix("run-")]
        if home not in logs:
            below = [log for log in logs if log.is_relative_to(home)]
            home = below[0] if len(below) == 1 else home
        groups.setdefault(home, []).append(file)
    return groups


def _read(folder: Path, files: Sequence[Path]) -> tuple[Run, list[str]]:
    pieces: dict[str, list[Piece]] = {pattern: [] for pattern in READERS}
    problems = []
    for file in files:
        try:
            pieces[str(pattern_of(file.name))].append(read_piece(file))
        except ValueError as error:
            problems.append(str(error))
    return _run(folder, pieces), problems


def _run(folder: Path, pieces: Mapping[str, Sequence[Piece]]) -> Run:
    every = [piece for pattern in READERS for piece in pieces[pattern]]
    logged = tuple(row for pattern in LOGS for piece in pieces[pattern] for row in piece.rows)
    rows = logged or next((piece.rows for piece in every if piece.rows), ())
    history = merge([*rows, *((math.inf, piece.totals) for piece in every if piece.totals)])
    kept = next((piece for piece in reversed(every) if piece.candidates), Piece())
    name = next((piece.name for piece in every if piece.name), _name(folder))
    identity = {key: value for piece in every for key, value in piece.identity.items()}
    return Run(name, folder, identity, history, kept.candidates or _derived(history), kept.objectives)


def _name(folder: Path) -> str:
    return folder.parent.name if folder.name.startswith("version_") else folder.name


def _derived(history: Sequence[Row]) -> tuple[Candidate, ...]:
    """Candidates of a search that kept none: what it derived, with the quality that the supernet had just then."""
    if any(row.get(CHILDREN) for row in history):
        return ()  # what such a search derives is not what it has just validated
    candidates: list[Candidate] = []
    for row in history:
        costs = {name.removeprefix("derived/"): value for name, value in row.items() if name.startswith("derived/")}
        qualities = {name: row[name] for name in (ERROR, PERPLEXITY, LOSS) if name in row}
        if costs and qualities:
            candidates.append(Candidate(f"epoch {row.get('epoch', len(candidates)):g}", {**qualities, **costs}))
    return tuple(candidates)


def _distinct(runs: Sequence[Run]) -> list[Run]:
    """Add to names that are equal what tells the runs apart: seeds, or else folders."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.name, []).append(run)
    additions = {name: _additions(group) if len(group) > 1 else [""] for name, group in groups.items()}
    return [replace(run, name=run.name + additions[run.name].pop(0)) for run in runs]


def _additions(group: Sequence[Run]) -> list[str]:
    common = os.path.commonpath([run.path for run in group])
    seeds = [f", seed {run.identity.get('seed')}" for run in group]
    folders = [f", {run.path.name}" for run in group]
    paths = [f", {run.path.relative_to(common)}" for run in group]
    return next(names for names in (seeds, folders, paths) if len({*names}) == len(group))
