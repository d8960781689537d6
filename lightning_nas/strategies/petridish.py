"""Networks that grow along the front of cost and error (Petridish, Hu et al. 2019, arXiv 1905.13360)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, cast, get_args

from lightning_nas.architecture import Architecture
from lightning_nas.checks import check_at_least, check_choice, check_positive
from lightning_nas.hull import within_band
from lightning_nas.operations.weak_learner import Term
from lightning_nas.spaces.base import SearchSpace, pick
from lightning_nas.strategies.base import Strategy, finite
from lightning_nas.strategies.growing_space import GrowingSpace, as_growing
from lightning_nas.strategies.growth import candidate_places, check_within, checked_terms, draw_terms
from lightning_nas.strategies.hull_pool import HullPool, ParentChoice
from lightning_nas.strategies.job import Job, JobKind
from lightning_nas.strategies.job_queues import JobQueues
from lightning_nas.strategies.proposal import Proposal

Selection = Literal["told", "random"]

NOT_ASKED = -1  # the number of jobs that wait in a queue


class PetridishStrategy(Strategy):
    """Grows trained networks that are near the convex hull of cost and error, a little at a time.

    All proposals are ``Job``s. Each model that has been trained, seed or child, brings about one hallucination: a
    parent is chosen from the pool, and is trained with candidates attached. Each hallucination brings about one child,
    which is its parent with one of the candidates built in. So the number of lines of descent stays what it is.

    ``ask(n)`` takes ``n`` as the number of idle workers. Seeds come first, then hallucinations, then children, the
    newest of each first. Where nothing is queued and workers are still idle, each model told since the last ``ask`` may
    bring about a second hallucination. The search has ended when ``ask`` returns nothing and nothing is waiting: after
    ``max_jobs``, or when the last line has ended. A line ends where a job fails, or a hallucination selects nothing.

    Tell a seed or child its score and its cost: ``tell(job, accuracy, cost=...)``; its error is ``1 - score``. Tell a
    hallucination a score, which is kept but counts for nothing, and the inputs and operations that it has selected at
    each of ``job.places``: ``tell(job, accuracy, selection=[[(0, "identity"), (1, "sep_conv_3x3")], []])``. In a round
    of several jobs, tell them in the same order in every process.

    With fewer workers than seeds, the search is depth first: older lines wait for as long as newer ones go on.

    Random growth, to compare with, is ``choice="random", selection="random", eps=math.inf``.

    Args:
        space: How networks grow.
        seeds: What to begin with, also of spaces that differ in size; by default the seed of ``space``.
        eps: How far above the hull a model may be to stay in the pool, relative to the hull's error.
        choice: How a parent is chosen from the pool, see ``HullPool``.
        selection: Whether children grow by what is ``"told"``, or by ``terms`` candidates at ``"random"``.
        terms: How many inputs and operations an increment has at most; by default as many as the space allows.
        max_growth: Models that have grown so often are not grown further; by default as often as the space allows.
        max_cost: Nor are models of this cost or more.
        max_jobs: Number of jobs of all kinds.
        places_per_hallucination: Number of candidates: for each kind of cell, or in macro search in all. These are
            spread evenly over the layers; those left over come to different layers at random.
        seed_epochs: Passes over the data for a seed.
        hallucination_epochs: For a hallucination.
        child_epochs: For a child.
        seed: Seed of everything random.

    Raises:
        ValueError: If a setting is out of range, or the space is one whose networks do not grow.

    Attributes:
        pool: The models that may be grown.
        costs: Of every model that has been trained, by number.
    """

    def __init__(
        self,
        space: SearchSpace | str,
        *,
        seeds: Sequence[Architecture] | None = None,
        eps: float = 0.025,
        choice: ParentChoice = "walk",
        selection: Selection = "told",
        terms: int | None = None,
        max_growth: int | None = None,
        max_cost: float | None = None,
        max_jobs: int = 2000,
        places_per_hallucination: int = 1,
        seed_epochs: int = 200,
        hallucination_epochs: int = 80,
        child_epochs: int = 80,
        seed: int = 0,
    ) -> None:
        super().__init__(space, seed=seed, repeats=True)
        epochs = {
            "seed_epochs": seed_epochs,
            "hallucination_epochs": hallucination_epochs,
            "child_epochs": child_epochs,
        }
        counts = {"max_jobs": max_jobs, "places_per_hallucination": places_per_hallucination}
        for name, value in {**epochs, **counts}.items():
            check_at_least(name, value, 1)
        check_positive("max_cost", max_cost)
        check_choice("selection", selection, get_args(Selection))
        self.selection = selection
        growing = as_growing(self.space)
        self.terms = growing.terms if terms is None else terms
        self.max_growth = growing.max_growth if max_growth is None else max_growth
        self.max_cost = math.inf if max_cost is None else max_cost
        self.max_jobs = max_jobs
        self.places_per_hallucination = places_per_hallucination
        self.pool = HullPool(eps, choice)
        self.costs: dict[int, float] = {}
        self._epochs = epochs
        self._queues = JobQueues()
        seeds = [growing.seed()] if seeds is None else seeds
        if not seeds:
            raise ValueError("Expected `seeds` to hold at least one architecture but got none")
        for architecture in seeds:
            self._check_seed(architecture)
            self._queue("seed", architecture)
        self._spare = 0  # models told since the last ask: each may bring about a second hallucination

    def _check_seed(self, architecture: Architecture) -> None:
        space = self.space_of(architecture)
        check_within(space, "max_growth", self.max_growth, least=0)
        check_within(space, "terms", self.terms, least=1)
        space.validate(architecture)

    def _growing(self, architecture: Architecture) -> GrowingSpace:
        return as_growing(self.space_of(architecture))

    @property
    def jobs(self) -> list[Job]:
        """All proposals, as the jobs that they are."""
        return cast("list[Job]", self.proposals)

    def hull(self, eps: float | None = None) -> dict[int, Architecture]:
        """Return the trained models near the hull of all, by number, the cheapest first.

        Models that are not in the pool, because they cannot grow further, are among them. Their ``metrics`` are
        ``score`` and ``cost``.

        Args:
            eps: The band, by default that of the pool.
        """
        points = sorted((cost, self._error(number), number) for number, cost in self.costs.items())
        band = within_band([(cost, error) for cost, error, _ in points], self.pool.eps if eps is None else eps)
        return {number: self._measured(number) for (_, _, number), inside in zip(points, band, strict=True) if inside}

    def family(self, number: int) -> list[Job]:
        """Return a job and all that it descends from, the seed first."""
        line = [self.jobs[number]]
        while (parent := line[-1].parent) is not None:
            line.append(self.jobs[parent])
        return line[::-1]

    def children(self, number: int) -> list[Job]:
        """Return the jobs that begin with the weights of a job."""
        return [job for job in self.jobs if job.parent == number]

    @property
    def needed(self) -> set[int]:
        """The jobs whose weights another may still begin with; those of all others can be deleted."""
        ahead = self._queues.jobs + cast("list[Job]", self.waiting)
        return {*self.pool.points, *(job.parent for job in ahead if job.parent is not None)}

    def _error(self, number: int) -> float:
        return 1 - cast("float", self.scores[number])

    def _measured(self, number: int) -> Architecture:
        metrics = {"score": cast("float", self.scores[number]), "cost": self.costs[number]}
        return replace(self.jobs[number].architecture, metrics=metrics)

    def ask(self, n: int = 1) -> list[Proposal]:
        """Return up to ``n`` jobs for as many idle workers."""
        asked = super().ask(n)
        self._spare = 0
        return asked

    def _propose(self) -> Job | None:
        if len(self.jobs) >= self.max_jobs:
            return None
        if self._spare and not self._queues.jobs:
            self._spare -= 1
            self._hallucinate()
        return self._queues.pop(len(self.jobs))

    def _queue(self, kind: JobKind, architecture: Architecture, parent: int | None = None, **growth: Any) -> None:
        self._queues.push(Job(NOT_ASKED, architecture, kind, self._epochs[f"{kind}_epochs"], parent, **growth))

    def _hallucinate(self) -> None:
        """Choose a parent, and where it may grow."""
        parent = self.pool.choose(self.generator)
        if parent is not None:
            architecture = self.jobs[parent].architecture
            space, count = self._growing(architecture), self.places_per_hallucination
            places = candidate_places(space, architecture, count, self.generator)
            self._queue("hallucination", architecture, parent, places=places)

    def tell(
        self,
        proposal: Proposal,
        score: float | None,
        *,
        cost: float | None = None,
        selection: Sequence[Sequence[Term]] | None = None,
    ) -> None:
        """Take what came of a job.

        Args:
            proposal: The job.
            score: Its accuracy; more is better. ``None``, NaN or infinity if it failed.
            cost: What the model costs; only of a seed or child.
            selection: The inputs and operations selected at each of ``proposal.places``, in this order; only of a
                hallucination. An empty one drops the candidate.

        Raises:
            ValueError: If the proposal is not one of this strategy, or the score is above 1, or the cost is no positive
                number, or the selection does not belong to the job's places.
        """
        self._check_own(proposal)
        job, valid = self.jobs[proposal.number], finite(score)
        if job.number in self.scores:
            return
        if valid is None:
            super().tell(job, None)
        elif job.kind == "hallucination":
            selected = self._checked_selection(job, selection)
            super().tell(job, valid)
            self._promote(job, selected)
        else:
            self.costs[job.number] = self._checked_cost(job, cost, valid)
            super().tell(job, valid)
            self._admit(job)

    def _checked_cost(self, job: Job, cost: float | None, score: float) -> float:
        if score > 1:
            raise ValueError(f"Expected a score of at most 1, because the error is 1 - score, but got {score}")
        if cost is None or not 0 < cost < math.inf:
            raise ValueError(f"Expected the cost of job {job.number} to be a positive number but got {cost}")
        return float(cost)

    def _checked_selection(self, job: Job, selection: Sequence[Sequence[Term]] | None) -> list[list[Term]]:
        if selection is None or len(selection) != len(job.places):
            raise ValueError(f"Expected a selection for each of the places {job.places} but got {selection}")
        chosen = zip(selection, self._candidates(job), job.places, strict=True)
        return [checked_terms(terms, candidates, self.terms, place) for terms, candidates, place in chosen]

    def _candidates(self, job: Job) -> list[Sequence[Term]]:
        space = self._growing(job.architecture)
        return [space.candidates(job.architecture, place) for place in job.places]

    def _keep_best(self, number: int) -> None:
        if self.jobs[number].kind != "hallucination":
            super()._keep_best(number)

    def _admit(self, job: Job) -> None:
        """Put a model into the pool if it may grow further, and begin the next growth."""
        growths = self._growing(job.architecture).growths(job.architecture)
        if growths < self.max_growth and self.costs[job.number] < self.max_cost:
            self.pool.add(job.number, self.costs[job.number], self._error(job.number))
        self._spare += 1
        self._hallucinate()

    def _promote(self, job: Job, selected: list[list[Term]]) -> None:
        """Build one of a hallucination's candidates into its architecture."""
        if self.selection == "random":
            selected = [draw_terms(candidates, self.terms, self.generator) for candidates in self._candidates(job)]
        kept = [k for k, terms in enumerate(selected) if terms]
        if kept:
            k = pick(kept, self.generator)
            place, terms = job.places[k], tuple(selected[k])
            architecture = self._growing(job.architecture).grow(job.architecture, place, terms)
            self._queue("child", architecture, job.number, places=(place,), candidate=k, terms=terms)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the future depends on, as plain data and a tensor."""
        return {
            **super().state_dict(),
            "proposals": [job.to_dict() for job in self.jobs],
            "costs": [[number, cost] for number, cost in self.costs.items()],
            "pool": self.pool.state_dict(),
            "queues": self._queues.state_dict(),
            "spare": self._spare,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state.

        Raises:
            ValueError: If it is the state of another strategy, or of one on another space.
        """
        super().load_state_dict(state)
        self.costs = dict(state["costs"])
        self.pool.load_state_dict(state["pool"])
        self._queues.load_state_dict(state["queues"])
        self._spare = state["spare"]

    def _read_proposals(self, state: Mapping[str, Any]) -> list[Proposal]:
        return [Job.from_dict(data) for data in state["proposals"]]
