"""A run, as its files tell of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_nas.objective import Objective
from lightning_nas.runs.candidate import Candidate
from lightning_nas.runs.history import Row
from lightning_nas.runs.measures import BEST_ERROR, ERROR, EXAMPLES

NOTHING_YET = 1.0  # what a search logs as its best error before it has one


@dataclass(frozen=True)
class Run:
    """A search, or a training, as its files tell of it.

    Args:
        name: What it is called; unique among the runs that are read together.
        path: The folder that was read.
        identity: What is known of ``method``, ``space``, ``dataset``, ``task``, ``seed``, ``group``, ``job_type`` and
            ``tags``.
        history: A row for every step at which something was logged.
        candidates: What the search measured, if it kept it.
        objectives: What the candidates were measured for, if the run says.
    """

    name: str
    path: Path
    identity: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[Row, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    objectives: tuple[Objective, ...] = ()

    @property
    def measures(self) -> set[str]:
        """Names of everything that was logged, or measured of a candidate."""
        rows = [*self.history, *(candidate.values for candidate in self.candidates)]
        names = {name for row in rows for name in row}
        return names | {ERROR} if BEST_ERROR in names else names

    def last(self, name: str) -> float | None:
        """Return the value that was logged last, or ``None`` if there is none."""
        return next((row[name] for row in reversed(self.history) if name in row), None)

    def best(self, quality: Objective) -> float | None:
        """Return the best value that was logged or, if none was, that a candidate has."""
        logged = [value for _, value in self._rows(quality) if value is not None]
        measured = [known.values[quality.name] for known in self.candidates if quality.name in known.values]
        return min(logged or measured, key=lambda value: quality.sign * value, default=None)

    def trajectory(self, quality: Objective) -> dict[float, float]:
        """Return the best value so far at every number of examples seen; of several at one number, the last."""
        best: float | None = None
        points = {}
        for row, value in self._rows(quality):
            if value is not None and (best is None or quality.sign * (value - best) < 0):
                best = value
            if best is not None and EXAMPLES in row:
                points[row[EXAMPLES]] = best
        return dict(sorted(points.items()))

    def _rows(self, quality: Objective) -> Iterator[tuple[Row, float | None]]:
        """Children are scored at their end, so a search's own best counts, not what they had on the way there."""
        own = quality.name == ERROR and any(BEST_ERROR in row for row in self.history)
        for row in self.history:
            value = row.get(BEST_ERROR if own else quality.name)
            yield row, None if own and value == NOTHING_YET else value
