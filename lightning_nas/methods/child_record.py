"""What is kept of a child when its network is dropped."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self, get_args

from lightning_nas.architecture import Architecture

Status = Literal["finished", "stopped", "failed"]


@dataclass(frozen=True)
class ChildRecord:
    """One child of a search: what it was, and what came of it.

    Args:
        number: Number of its proposal.
        architecture: Its architecture.
        status: ``"finished"``, ``"stopped"`` early as hopeless, or ``"failed"``.
        score: What the strategy was told: more is better, ``None`` for a failure.
        epochs: Epochs of training.
        examples: Training examples processed.
        seconds: Time from its first batch to its last validation.
        costs: ``params`` and, with an input shape, ``macs``.
        metrics: Metrics of its last epoch.
        curve: The objective after each epoch, more is better.
        error: What went wrong, if it failed.
        found: What it has found besides its score, as plain JSON data.
        search: Tells children of searches with different settings apart.
    """

    number: int
    architecture: Architecture
    status: Status
    score: float | None = None
    epochs: int = 0
    examples: int = 0
    seconds: float = 0.0
    costs: Mapping[str, int] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    curve: tuple[float, ...] = ()
    error: str = ""
    found: Mapping[str, Any] = field(default_factory=dict)
    search: str = ""

    @property
    def measured(self) -> Architecture:
        """The architecture, with the metrics of the last epoch and the costs as its metrics."""
        return replace(self.architecture, metrics={**self.metrics, **self.costs})

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain JSON data."""
        plain = {**vars(self), "architecture": self.architecture.to_dict(), "curve": list(self.curve)}
        return {**plain, "costs": dict(self.costs), "metrics": dict(self.metrics), "found": dict(self.found)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` wrote."""
        architecture = Architecture.from_dict(data["architecture"])
        return cls(**{**data, "architecture": architecture, "curve": tuple(data["curve"])})

    def to_row(self) -> dict[str, str]:
        """Return the record as a row of a table; numbers are written so that reading them gives the same ones."""
        row = {name: str(getattr(self, name)) for name in ("number", "status", "epochs", "examples", "seconds")}
        row["score"] = "" if self.score is None else repr(self.score)
        row |= {name: str(count) for name, count in self.costs.items()}
        row |= {name: repr(value) for name, value in self.metrics.items()}
        row["curve"] = " ".join(repr(value) for value in self.curve)
        row |= {"error": self.error, "found": json.dumps(dict(self.found)), "search": self.search}
        return {**row, "architecture": json.dumps(self.architecture.to_dict())}

    @classmethod
    def from_row(cls, row: Mapping[str, str]) -> Self:
        """Read what ``to_row`` wrote.

        Raises:
            ValueError: If something is no number, or the architecture is none.
        """
        return cls(
            number=int(row["number"]),
            architecture=Architecture.from_dict(json.loads(row["architecture"])),
            status=_status(row["status"]),
            score=float(row["score"]) if row["score"] else None,
            epochs=int(row["epochs"]),
            examples=int(row["examples"]),
            seconds=float(row["seconds"]),
            costs={name: int(row[name]) for name in ("params", "macs") if row.get(name)},
            metrics={name: float(value) for name, value in row.items() if "/" in name and value},
            curve=tuple(float(value) for value in row["curve"].split()),
            error=row["error"],
            found=json.loads(row["found"]),
            search=row["search"],
        )


def _status(text: str) -> Status:
    status: Status
    for status in get_args(Status):
        if text == status:
            return status
    raise ValueError(f"Expected a status of finished, stopped or failed but got {text!r}")
