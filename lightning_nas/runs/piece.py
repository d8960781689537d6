"""What one file of a run holds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lightning_nas.objective import Objective
from lightning_nas.runs.candidate import Candidate


@dataclass(frozen=True)
class Piece:
    """What one file of a run holds.

    Args:
        name: What the run is called.
        identity: What the run is, under the keys of every run.
        rows: Steps, and what was logged at them.
        candidates: What the search measured.
        objectives: What it measured them for.
        totals: What is known of the run as a whole.
    """

    name: str = ""
    identity: Mapping[str, Any] = field(default_factory=dict)
    rows: tuple[tuple[float, Mapping[str, Any]], ...] = ()
    candidates: tuple[Candidate, ...] = ()
    objectives: tuple[Objective, ...] = ()
    totals: Mapping[str, Any] = field(default_factory=dict)
