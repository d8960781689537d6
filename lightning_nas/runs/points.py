"""The points of a run that pictures show."""

from collections.abc import Sequence

from lightning_nas.objective import Objective
from lightning_nas.runs.candidate import Candidate
from lightning_nas.runs.measures import DEVICE_DAYS, DEVICE_HOURS, EXAMPLES
from lightning_nas.runs.run import Run


def front_points(run: Run, quality: Objective, cost: Objective) -> list[Candidate]:
    """Return the candidates that have both measures, the cheapest first."""
    kept = [candidate for candidate in run.candidates if {quality.name, cost.name} <= candidate.values.keys()]
    return sorted(kept, key=lambda candidate: _signed(candidate, (cost, quality)))


def front_mask(points: Sequence[Candidate], objectives: Sequence[Objective]) -> list[bool]:
    """Return which points no other one dominates; one that lacks a measure does not count."""
    from lightning_nas.pareto import non_dominated

    return (
        [bool(member) for member in non_dominated([_signed(point, objectives) for point in points])] if points else []
    )


def trajectory_points(run: Run, quality: Objective) -> list[Candidate]:
    """Return the best so far at every number of examples seen."""
    points = run.trajectory(quality).items()
    return [Candidate(run.name, {quality.name: best, EXAMPLES: examples}) for examples, best in points if examples > 0]


def cost_point(run: Run, quality: Objective) -> Candidate:
    """Return the best of a run with what all of the run cost; what is not known is left out."""
    hours = run.last(DEVICE_HOURS)
    values = {
        quality.name: run.best(quality),
        EXAMPLES: run.last(EXAMPLES) or None,
        DEVICE_DAYS: hours / 24 if hours else None,
    }
    return Candidate(run.name, {name: value for name, value in values.items() if value is not None})


def _signed(point: Candidate, objectives: Sequence[Objective]) -> list[float]:
    return [objective.sign * point.values.get(objective.name, float("nan")) for objective in objectives]
