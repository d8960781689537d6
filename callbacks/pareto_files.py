"""The files of a Pareto front. Readers never see half of one."""

import csv
import io
import json
import os
import re
from pathlib import Path

from matplotlib.figure import Figure

from lightning_nas.callbacks.pareto_table import ParetoTable
from lightning_nas.plotting import FrontPoints, plot_fronts, save_figure


def write_table(table: ParetoTable, folder: Path) -> None:
    """Write ``pareto.json`` and ``pareto.csv``."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "pareto.json", json.dumps(table.to_dict(), indent=1, allow_nan=False) + "\n")
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(table.rows)
    _write(folder / "pareto.csv", text.getvalue())


def draw_front(table: ParetoTable) -> Figure | None:
    """Return a picture of the candidates that have all values, if there are any."""
    pairs = zip(table.candidates, table.on_front, strict=True)
    whole = [(candidate, on_front) for candidate, on_front in pairs if None not in candidate.values.values()]
    if not whole:
        return None
    values = [[candidate.numbers[objective.name] for objective in table.objectives] for candidate, _ in whole]
    points = FrontPoints("candidates", values, [on_front for _, on_front in whole], [c.name for c, _ in whole])
    return plot_fronts([points], table.objectives)


def write_picture(figure: Figure, folder: Path) -> None:
    """Write ``pareto.png``."""
    partial = folder / f"pareto.{os.getpid()}.partial.png"
    save_figure(figure, partial)
    partial.replace(folder / "pareto.png")


def write_members(table: ParetoTable, folder: Path) -> dict[str, Path]:
    """Write the architectures of the front, each to a file, and remove those of candidates that have left it.

    Returns:
        The files, by the names of the candidates.
    """
    paths = {candidate.name: folder / f"{file_name(candidate.name)}.json" for candidate in table.candidates}
    members = {candidate.name: candidate.architecture for candidate in table.front if candidate.architecture}
    for name, path in paths.items():
        if name not in members:
            path.unlink(missing_ok=True)
    for name, architecture in members.items():
        architecture.save(paths[name])
    return {name: paths[name] for name in members}


def file_name(name: str) -> str:
    """Return a name that any file system and any logger takes."""
    return re.sub(r"[^\w.-]", "-", name)


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8", newline="")
    partial.replace(path)
