"""Candidates and their Pareto front."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from lightning_nas.architecture import Architecture
from lightning_nas.callbacks.pareto_candidate import ParetoCandidate
from lightning_nas.objective import Objective
from lightning_nas.pareto import ParetoSet, hypervolume

FORMAT = "lightning-nas pareto front"
VERSION = 1
FEWEST, MOST = 2, 4

Cell = str | float | int | None


class ParetoTable:
    """Candidates in the order in which they came, and which of them no other one dominates.

    Args:
        objectives: Two to four, with different names; all with a reference, or none.

    Raises:
        ValueError: If they are fewer or more, not different, or only some have a reference.
    """

    def __init__(self, objectives: Sequence[Objective]) -> None:
        names = [objective.name for objective in objectives]
        if not FEWEST <= len(names) <= MOST:
            raise ValueError(f"Expected {FEWEST} to {MOST} objectives but got {len(names)}: {names}")
        if len(set(names)) < len(names):
            raise ValueError(f"Expected different objectives but got {names}")
        without = [objective.name for objective in objectives if objective.reference is None]
        if 0 < len(without) < len(names):
            raise ValueError(
                f"Expected a reference for every objective, or for none, but got none for {without}; "
                f"give Objective({without[0]!r}, reference=...)"
            )
        self.objectives = tuple(objectives)
        self.candidates: list[ParetoCandidate] = []
        self._set = ParetoSet()

    def add(self, candidate: ParetoCandidate) -> bool:
        """Add a candidate, in the place of one of the same name; return whether that changes anything."""
        names = [known.name for known in self.candidates]
        if candidate.name not in names:
            self.candidates.append(candidate)
            self._set.add(self._point(candidate))
            return True
        place = names.index(candidate.name)
        if self.candidates[place] == candidate:
            return False
        self.load([*self.candidates[:place], candidate, *self.candidates[place + 1 :]])
        return True

    def load(self, candidates: Iterable[ParetoCandidate]) -> None:
        """Take these candidates in the place of all others."""
        self.candidates, self._set = list(candidates), ParetoSet()
        for candidate in self.candidates:
            self._set.add(self._point(candidate))

    def values_of(self, candidate: ParetoCandidate) -> list[float | None]:
        """Return the values of a candidate in the order of the objectives."""
        return [candidate.values[objective.name] for objective in self.objectives]

    def _point(self, candidate: ParetoCandidate) -> list[float]:
        pairs = zip(self.objectives, self.values_of(candidate), strict=True)
        return [float("nan") if value is None else objective.sign * value for objective, value in pairs]

    def holds(self, name: str, architecture: Architecture) -> bool:
        """Return whether a candidate of this name and architecture is known."""
        return any(known.name == name and known.architecture == architecture for known in self.candidates)

    def known_values(self, architecture: Architecture) -> dict[str, float]:
        """Return what was found of an architecture before, by any name."""
        same = (known.numbers for known in self.candidates if known.architecture == architecture)
        return next(same, {})

    @property
    def front(self) -> list[ParetoCandidate]:
        """The candidates that no other one dominates."""
        return [self.candidates[i] for i in self._set.front]

    @property
    def on_front(self) -> list[bool]:
        """For each candidate whether it is on the front."""
        members = set(self._set.front)
        return [i in members for i in range(len(self.candidates))]

    @property
    def hypervolume(self) -> float | None:
        """What the front dominates up to the reference point; ``None`` without one."""
        corner = [o.sign * o.reference for o in self.objectives if o.reference is not None]
        points = np.reshape([self._set.points[i] for i in self._set.front], (-1, len(self.objectives)))
        return hypervolume(points, corner) if corner else None

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON data: the layout of ``pareto.json``.

        - ``format`` and ``version``
        - ``objectives``: a list of ``name``, ``mode`` (``"min"`` or ``"max"``) and ``reference`` (a number or null)
        - ``candidates``, in the order in which they came: a list of ``name``, ``on_front``, ``epoch``,
          ``examples_seen`` (a number or null), ``values`` (by the names of the objectives, in their own units; null for
          what was no finite number) and ``architecture`` (as in an architecture's file, or null)
        - ``hypervolume``: a number, or null without a reference
        """
        pairs = zip(self.candidates, self.on_front, strict=True)
        return {
            "format": FORMAT,
            "version": VERSION,
            "objectives": [vars(objective).copy() for objective in self.objectives],
            "candidates": [{**candidate.to_dict(), "on_front": on_front} for candidate, on_front in pairs],
            "hypervolume": self.hypervolume,
        }

    @property
    def columns(self) -> list[str]:
        """Names of the columns of ``rows``."""
        return ["name", *(objective.name for objective in self.objectives), "on_front", "epoch", "examples_seen"]

    @property
    def rows(self) -> list[list[Cell]]:
        """A row for every candidate."""
        pairs = zip(self.candidates, self.on_front, strict=True)
        return [
            [candidate.name, *self.values_of(candidate), int(on_front), candidate.epoch, candidate.examples_seen]
            for candidate, on_front in pairs
        ]
