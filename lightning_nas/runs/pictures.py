"""The comparison as pictures for documents."""

from math import isfinite, nan
from pathlib import Path
from typing import Any

from lightning_nas.objective import Objective
from lightning_nas.plotting import FrontPoints, Series, plot_fronts, plot_trajectories, published_points, save_figure
from lightning_nas.runs.candidate import Candidate
from lightning_nas.runs.comparison import Comparison
from lightning_nas.runs.literature import as_candidates
from lightning_nas.runs.measures import DEVICE_DAYS, EXAMPLES
from lightning_nas.runs.points import cost_point, front_mask, trajectory_points
from lightning_nas.runs.run import Run


def write_pictures(comparison: Comparison, folder: Path) -> list[Path]:
    """Write ``fronts.png``, ``trajectories.png`` and ``costs.png``: those for which a run has something to show.

    Returns:
        The files.
    """
    figures = {
        "fronts.png": _fronts(comparison),
        "trajectories.png": _trajectories(comparison),
        "costs.png": _costs(comparison),
    }
    paths = []
    for name, figure in figures.items():
        if figure is not None:
            save_figure(figure, folder / name)
            paths.append(folder / name)
    return paths


def _fronts(comparison: Comparison) -> Any:
    """Draw all runs, those without candidates too: so every run has the colour that it has on the page."""
    objectives = [comparison.quality, *comparison.costs]
    fronts = [_front(run, objectives) for run in comparison.runs]
    if not any(front.values for front in fronts):
        return None
    names = {cost.name for cost in comparison.costs}
    told = [point.values.keys() for point in as_candidates(comparison.literature)]
    known = any(comparison.quality.name in keys and names & keys for keys in told)
    background = published_points(comparison.literature, objectives) if known else None
    return plot_fronts(fronts, objectives, background=background)


def _front(run: Run, objectives: list[Objective]) -> FrontPoints:
    """Return the candidates of a run; the front is that of the objectives which the run has measured."""
    kept = [candidate for candidate in run.candidates if objectives[0].name in candidate.values]
    measured = [one for one in objectives if any(one.name in candidate.values for candidate in kept)]
    if len(measured) < 2:
        return FrontPoints(run.name, (), ())
    return FrontPoints(run.name, [_row(candidate, objectives) for candidate in kept], front_mask(kept, measured))


def _trajectories(comparison: Comparison) -> Any:
    quality = comparison.quality
    found = [(run.name, trajectory_points(run, quality)) for run in comparison.runs]
    if not any(points for _, points in found):
        return None
    nothing = [Candidate("", {EXAMPLES: nan, quality.name: nan})]
    series = [
        Series(name, *([point.values[key] for point in points or nothing] for key in (EXAMPLES, quality.name)))
        for name, points in found
    ]
    return plot_trajectories(series, "examples seen", quality.name, log_x=True)


def _costs(comparison: Comparison) -> Any:
    """Draw every run as one point, which is a front by itself."""
    quality = comparison.quality
    points = [cost_point(run, quality) for run in comparison.runs]
    points = [point if quality.name in point.values else Candidate(point.name, {}) for point in points]
    names = [name for name in (EXAMPLES, DEVICE_DAYS) if any(name in point.values for point in points)]
    if not names:
        return None
    objectives = [quality, *(Objective(name, "min") for name in names)]
    fronts = [_point(point, objectives) for point in points]
    published = [
        point for point in as_candidates(comparison.literature) if {quality.name, names[-1]} <= {*point.values}
    ]
    rows = [_row(point, objectives) for point in published]
    return plot_fronts(
        fronts, objectives, background=FrontPoints("published", rows, [False] * len(rows)) if rows else None
    )


def _point(point: Candidate, objectives: list[Objective]) -> FrontPoints:
    row = _row(point, objectives)
    is_known = any(isfinite(value) for value in row[1:])
    return FrontPoints(point.name, [row] * is_known, [True] * is_known)


def _row(candidate: Candidate, objectives: list[Objective]) -> list[float]:
    return [candidate.values.get(objective.name, nan) for objective in objectives]
