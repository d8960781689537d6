"""A toy space whose networks grow, and what drives a search on it."""

import io
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch

from lightning_nas.architecture import Architecture, Decision
from lightning_nas.operations.weak_learner import Term
from lightning_nas.strategies import Job, PetridishStrategy, Strategy
from tests.controllers.spaces import ListSpace

LAYERS = tuple(f"layer{k}" for k in range(11))  # three normal cells at three resolutions, and two between them
OPERATIONS = ("identity", "sep_conv_3x3", "max_pool_3x3")


class GrowingToy(ListSpace):
    """Its architectures are texts: ``left:0identity,1identity;right:...`` has grown twice."""

    def __init__(
        self,
        mode: Literal["cell", "macro"] = "cell",
        places: Sequence[str] = ("normal", "reduction"),
        max_growth: int = 8,
        terms: int = 3,
    ) -> None:
        super().__init__([Decision("increments", ("",), "operation"), Decision("start", tuple(range(100)), "number")])
        self.mode: Literal["cell", "macro"] = mode
        self.max_growth = max_growth
        self.terms = terms
        self._places = tuple(places)

    def validate(self, architecture: Architecture) -> None:
        if architecture.space != self.name or self.growths(architecture) > self.max_growth:
            raise ValueError(f"Expected a toy but got {architecture}")

    def seed(self, start: int = 0) -> Architecture:
        return Architecture(self.name, {"increments": "", "start": start})

    def increments(self, architecture: Architecture) -> list[str]:
        return [text for text in str(architecture.values["increments"]).split(";") if text]

    def growths(self, architecture: Architecture) -> int:
        return len(self.increments(architecture))

    def places(self, architecture: Architecture) -> tuple[str, ...]:
        return self._places

    def candidates(self, architecture: Architecture, place: str) -> tuple[Term, ...]:
        grown = sum(text.startswith(f"{place}:") for text in self.increments(architecture))
        return tuple((source, operation) for source in range(2 + grown) for operation in OPERATIONS)

    def grow(self, architecture: Architecture, place: str, terms: Sequence[Term]) -> Architecture:
        assert terms
        assert set(terms) <= set(self.candidates(architecture, place))
        increment = f"{place}:" + ",".join(f"{source}{operation}" for source, operation in terms)
        texts = [*self.increments(architecture), increment]
        grown = Architecture(self.name, {**architecture.values, "increments": ";".join(texts)})
        self.validate(grown)
        return grown


Evaluate = Callable[[PetridishStrategy, Job], None]


def growths(strategy: PetridishStrategy, job: Job) -> int:
    assert isinstance(strategy.space, GrowingToy)
    return strategy.space.growths(job.architecture)


def first_terms(strategy: PetridishStrategy, job: Job, count: int = 2) -> list[tuple[Term, ...]]:
    """Return a selection of the first candidates of each place."""
    assert isinstance(strategy.space, GrowingToy)
    return [strategy.space.candidates(job.architecture, place)[:count] for place in job.places]


def evaluate(strategy: PetridishStrategy, job: Job) -> None:
    """Tell the toy outcome of the specification: cost is 1 + growths, error is half of its inverse."""
    if job.kind == "hallucination":
        strategy.tell(job, 0.5, selection=first_terms(strategy, job))
    else:
        cost = 1 + growths(strategy, job)
        strategy.tell(job, 1 - 0.5 / cost, cost=cost)


def run(strategy: PetridishStrategy, n: int = 1, tell: Evaluate = evaluate) -> list[Job]:
    """Search to the end in rounds of ``n`` jobs; return all jobs."""
    while strategy.ask(n):
        for job in strategy.waiting:
            tell(strategy, strategy.jobs[job.number])
    return strategy.jobs


def plain(strategy: Strategy) -> Any:
    """Return a state as something that can be compared."""
    state = strategy.state_dict()
    return {**state, "generator": state["generator"].tolist()}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def toy(**settings: Any) -> PetridishStrategy:
    space = settings.pop("space", None) or GrowingToy(places=["normal"], max_growth=3)
    return PetridishStrategy(space, **settings)


def one(strategy: PetridishStrategy, n: int = 1) -> Job:
    (proposal,) = strategy.ask(n)
    return strategy.jobs[proposal.number]


def kinds(jobs: Sequence[Job]) -> str:
    return "".join(job.kind[0] for job in jobs)


def saved(strategy: PetridishStrategy) -> Any:
    buffer = io.BytesIO()
    torch.save(strategy.state_dict(), buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)
