"""What a strategy of networks that grow asks for."""

from dataclasses import dataclass
from typing import Any, Literal, Self

from lightning_nas.architecture import Architecture
from lightning_nas.operations.weak_learner import Term
from lightning_nas.strategies.proposal import Proposal

JobKind = Literal["seed", "hallucination", "child"]


@dataclass(frozen=True)
class Job(Proposal):
    """A proposal that says from which weights to start, how long to train, and what may grow.

    Args:
        number: Counts the proposals of a strategy from 0.
        architecture: What to train; of a hallucination, its parent, to which candidates are attached.
        kind: A ``"seed"`` begins with random weights. A ``"hallucination"`` trains its parent with candidates attached,
            which do not change what it computes. A ``"child"`` is the architecture with one of them built in.
        epochs: Passes over the data.
        parent: Number of the job whose weights it begins with; ``None`` for a seed.
        places: Where a hallucination has its candidates, one for each entry (a place may be named twice); where a child
            has grown.
        candidate: Which of the parent's candidates a child was made from, as an index of the parent's ``places``.
        terms: The inputs and operations that a child has gained.
    """

    kind: JobKind
    epochs: int
    parent: int | None = None
    places: tuple[str, ...] = ()
    candidate: int | None = None
    terms: tuple[Term, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the job as plain data."""
        terms = [list(term) for term in self.terms]
        plain = {**vars(self), "places": list(self.places), "terms": terms}
        return {**plain, "architecture": self.architecture.to_dict()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what ``to_dict`` wrote."""
        terms = tuple((source, operation) for source, operation in data["terms"])
        read = {"architecture": Architecture.from_dict(data["architecture"]), "places": tuple(data["places"])}
        return cls(**{**data, **read, "terms": terms})
