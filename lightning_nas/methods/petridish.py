"""Growth of networks along the front of cost and error (Petridish, Hu et al. 2019, arXiv 1905.13360)."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast, get_args

from torch import Tensor, nn
from torch.optim import SGD

from lightning_nas.architecture import Architecture
from lightning_nas.checks import check_at_least, check_choice, check_fraction
from lightning_nas.methods.child import Child
from lightning_nas.methods.child_record import ChildRecord
from lightning_nas.methods.child_search import ChildSearchModule
from lightning_nas.methods.job_weights import JobWeights
from lightning_nas.methods.lasso import Lasso
from lightning_nas.operations.drop_path import set_drop_path
from lightning_nas.operations.weak_learner import select_terms
from lightning_nas.spaces.base import SearchSpace
from lightning_nas.spaces.petridish import PetridishSpace
from lightning_nas.spaces.petridish_network import PetridishNetwork
from lightning_nas.spaces.petridish_plan import Terms
from lightning_nas.spaces.registry import get_space
from lightning_nas.strategies.hull_pool import ParentChoice
from lightning_nas.strategies.job import Job
from lightning_nas.strategies.petridish import PetridishStrategy, Selection
from lightning_nas.strategies.proposal import Proposal
from lightning_nas.tasks.base import Task

Cost = Literal["macs", "params"]

KERNEL_DIMENSIONS = 4
COLLAPSED = (
    "The alphas of job {number} have all shrunk to less than a thousandth of what they were: their order means little. "
    "Give a smaller `l1` than {l1}, more epochs, or a higher learning rate."
)


class PetridishModule(ChildSearchModule):
    """Grows networks from small seeds, along the front of cost and error (``ChildSearchModule`` says how it trains).

    Each job is trained for its own number of the Trainer's epochs. A seed begins with random weights. A hallucination
    goes on with the weights of its parent, to which weighted sums of all candidate operations are attached without
    changing what it computes; those of the largest weights are selected. A child is the hallucination with its
    selection built in. ``PetridishStrategy`` says which job is next, and which parents are chosen.

    Weights that a later job may begin with, and those of the models near the hull, are in ``weights/<number>.pt``
    beside ``children.csv``, all others are deleted. With several processes, each trains a job of its own; with several
    machines, give a ``folder`` that all of them share.

    The defaults are those of the paper's search on CIFAR-10; its networks have ``cells=3`` and ``filters=16``. The cost
    is the number of multiply-adds. ``search/largest_alpha`` and ``search/alpha_gradient_ratio`` of hallucinations are
    logged: where the data pull the alphas far less than the penalty does, the selection means little.

    Args:
        space: A ``PetridishSpace``, or its name: ``"petridish?mode=macro"``.
        task: What is learned. Errors are ``1 - score``.
        seeds: Names of spaces whose seeds begin, such as ``["petridish?cells=1", "petridish"]``; by default ``space``.
        eps: How far above the hull a model may be to be grown further, relative to the hull's error.
        choice: How a parent is chosen, see ``HullPool``.
        selection: Whether children grow by what was selected (``"told"``), or at ``"random"``.
        terms: How many operations an increment has at most; by default as many as the space allows.
        threshold: What the absolute weight of an operation must exceed to be selected.
        l1: What the sum of absolute weights is multiplied by in the loss.
        max_growth: Models that have grown so often are not grown further; by default as often as the space allows.
        max_cost: Nor are models of this cost or more.
        cost: ``"macs"`` or ``"params"``.
        max_jobs: Number of jobs of all kinds, after which the search ends.
        places_per_hallucination: Number of weighted sums: for each kind of cell, or in macro search in all.
        seed_epochs: The Trainer's epochs for a seed.
        hallucination_epochs: For a hallucination.
        child_epochs: For a child.
        drop_path: Probability of dropping a path in the last cell at the end of a job: it grows from 0 with the epochs,
            and with the depth.
        input_shape: Shape of one input, ``(channels, height, width)``, to count multiply-adds.
        seed: Seed of everything random.
        options: More arguments of ``ChildSearchModule``.

    Raises:
        ValueError: If an argument is out of range, or a space is no ``PetridishSpace``.

    Example:
        >>> module = PetridishModule("petridish?cells=1", scale={"filters": 4}, max_jobs=9)
        >>> module.derive() == module.space.seed()
        True
    """

    strategy: PetridishStrategy
    limits = (*ChildSearchModule.limits, "max_jobs")

    def __init__(
        self,
        space: PetridishSpace | str = "petridish",
        task: Task | None = None,
        *,
        seeds: Sequence[str] | None = None,
        eps: float = 0.025,
        choice: ParentChoice = "walk",
        selection: Selection = "told",
        terms: int | None = None,
        threshold: float = 0.0,
        l1: float = 1e-3,
        max_growth: int | None = None,
        max_cost: float | None = None,
        cost: Cost = "macs",
        max_jobs: int = 2000,
        places_per_hallucination: int = 1,
        seed_epochs: int = 200,
        hallucination_epochs: int = 80,
        child_epochs: int = 80,
        drop_path: float = 0.4,
        input_shape: Sequence[int] | None = (3, 32, 32),
        seed: int = 0,
        **options: Any,
    ) -> None:
        strategy = PetridishStrategy(
            _growing(space),
            seeds=None if seeds is None else [_growing(name).seed() for name in seeds],
            eps=eps,
            choice=choice,
            selection=selection,
            terms=terms,
            max_growth=max_growth,
            max_cost=max_cost,
            max_jobs=max_jobs,
            places_per_hallucination=places_per_hallucination,
            seed_epochs=seed_epochs,
            hallucination_epochs=hallucination_epochs,
            child_epochs=child_epochs,
            seed=seed,
        )
        check_choice("cost", cost, get_args(Cost))
        if cost == "macs" and input_shape is None:
            raise ValueError("Expected `input_shape`, to count multiply-adds, but got none; give it, or cost='params'")
        check_fraction("drop_path", drop_path, zero_allowed=True)
        for name, value in {"l1": l1, "threshold": threshold}.items():
            check_at_least(name, value, 0)
        _check_options(options, child_epochs)
        # not setdefault: a config gives None for what it leaves out
        options["optimizer"] = options.get("optimizer") or partial(SGD, lr=0.025, momentum=0.9, weight_decay=1e-4)
        super().__init__(strategy, task, epochs_per_child=child_epochs, input_shape=input_shape, seed=seed, **options)
        self.l1 = l1
        self.threshold = threshold
        self.cost = cost
        self.drop_path = drop_path
        self._weights = JobWeights()

    def derive(self) -> Architecture:
        """Return the model of the smallest error so far; before there is one, the seed of ``space``."""
        best = self.strategy.best or cast("PetridishSpace", self.space).seed()
        return Architecture(best.space, best.values, self.provenance(), best.metrics)

    def candidates(self) -> dict[str, Architecture]:
        """Return the seeds and children that were trained, by their kinds and numbers.

        ``provenance`` tells the name of the model that each has grown from, under ``"parent"``, and by what.
        """
        trained = [record for record in self.ledger if record.number in self.strategy.costs]
        return {_name(self.strategy.jobs[record.number]): self._with_parent(record) for record in trained}

    def hull(self) -> dict[str, Architecture]:
        """Return those candidates that are near the hull of all, the cheapest first: what the search is for."""
        candidates = self.candidates()
        names = [_name(self.strategy.jobs[number]) for number in self.strategy.hull()]
        return {name: candidates[name] for name in names}

    def _with_parent(self, record: ChildRecord) -> Architecture:
        *_, job = line = self.strategy.family(record.number)
        models = [ancestor for ancestor in line[:-1] if ancestor.kind != "hallucination"]
        growth = ", ".join(f"{operation} of {source}" for source, operation in job.terms)
        parent = {"parent": _name(models[-1]), "growth": f"{job.places[0]}: {growth}"} if models else {"parent": None}
        return replace(record.measured, provenance={**self.provenance(), **parent})

    # --- jobs ---------------------------------------------------------------------------------------------------------

    def on_fit_start(self) -> None:
        """Find the children and weights of earlier runs."""
        super().on_fit_start()
        self._weights = JobWeights([Path(path).with_name("weights") for path in self._files.paths])

    def epochs_of(self, proposal: Proposal) -> int:
        """Return the epochs of a job."""
        return self.strategy.jobs[proposal.number].epochs

    def build_network(self, proposal: Proposal) -> nn.Module:
        """Build the network of a job, with the weights of the job before it."""
        job = self.strategy.jobs[proposal.number]
        space = cast("PetridishSpace", self.space_of(job.architecture))
        if job.kind == "hallucination":
            network = space.hallucinate(job.architecture, job.places, **self.scale)
        else:
            network = space.build(job.architecture, **self.scale)
        if job.parent is not None:
            network.to(self.pace)  # first: in single precision, weights of double precision would be rounded
            network.inherit(self._weights.read(job.parent), job.candidate or 0)
        return network

    def build_child(self, proposal: Proposal) -> Child:
        """Build the network of a job; the alphas of a hallucination are to be few."""
        child = super().build_child(proposal)
        if isinstance(child.network, PetridishNetwork) and child.network.candidates:
            child.lasso = Lasso(child.network, self.l1)
        return child

    def parameter_groups(self, network: nn.Module) -> list[dict[str, Any]]:
        """Return the weights of convolutions, and all other parameters: these do not decay."""
        parameters = list(network.parameters())
        kernels = [parameter for parameter in parameters if parameter.dim() == KERNEL_DIMENSIONS]
        others = [parameter for parameter in parameters if parameter.dim() != KERNEL_DIMENSIONS]
        return [{"params": kernels}, {"params": others, "weight_decay": 0.0}]

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
        """Set the probability of dropping a path for this epoch of the job."""
        skipped = super().on_train_batch_start(batch, batch_idx)
        child = self._runner.child
        if child is not None:
            set_drop_path(child.network, self.drop_path * child.epoch / self.epochs_of(child.proposal))
        return skipped

    def finish_child(self, child: Child) -> dict[str, Any]:
        """Write the weights of a job; return what a hallucination has selected."""
        self._weights.write(child.proposal.number, child.network)
        if child.lasso is None:
            return {}
        if child.lasso.collapsed:
            warnings.warn(COLLAPSED.format(number=child.proposal.number, l1=self.l1), UserWarning, stacklevel=2)
        network = cast("PetridishNetwork", child.network)
        pairs = zip(network.alphas, network.candidates, strict=True)
        return {"selection": [self._select(alpha, candidates) for alpha, candidates in pairs]}

    def _select(self, alpha: Tensor, candidates: Terms) -> list[list[Any]]:
        return [list(candidates[k]) for k in select_terms(alpha, self.strategy.terms, self.threshold)]

    def tell(self, record: ChildRecord) -> None:
        """Tell the strategy what has become of a job."""
        job = self.strategy.jobs[record.number]
        if record.score is None:
            self.strategy.tell(job, None)
        elif job.kind == "hallucination":
            self.strategy.tell(job, record.score, selection=record.found["selection"])
        else:
            self.strategy.tell(job, record.score, cost=record.costs[self.cost])

    def end_round(self, records: list[ChildRecord]) -> None:
        """Take in what the jobs have come to, and delete the weights that nobody needs any more."""
        super().end_round(records)
        if self.trainer.is_global_zero:
            self._weights.drop({*self.strategy.scores} - self.strategy.needed - {*self.strategy.hull()})

    def explain_end(self) -> None:
        """Warn if the search ends early because of a job from which nothing grows."""
        barren = [record for record in self.ledger if record.score is None or not _grows(record)]
        if barren and len(self.strategy.jobs) < self.strategy.max_jobs:
            numbers = [record.number for record in barren]
            warnings.warn(
                f"Expected up to {self.strategy.max_jobs} jobs but the search has ended after "
                f"{len(self.strategy.jobs)}: nothing grows from the jobs {numbers}, which have failed or selected "
                f"nothing ({barren[-1].error!r}). Delete such a row of children.csv to have it trained again",
                UserWarning,
                stacklevel=2,
            )

    def on_train_epoch_end(self) -> None:
        """End the epoch, and log how many models are near the hull."""
        super().on_train_epoch_end()
        self.log("search/hull_size", float(len(self.strategy.hull())), sync_dist=True, batch_size=1)


def _growing(space: SearchSpace | str) -> PetridishSpace:
    space = get_space(space) if isinstance(space, str) else space
    if not isinstance(space, PetridishSpace):
        raise ValueError(f"Expected a PetridishSpace, or its name, but got {space.name!r}")
    return space


def _grows(record: ChildRecord) -> bool:
    return "selection" not in record.found or any(record.found["selection"])


def _check_options(options: dict[str, Any], child_epochs: int) -> None:
    """Raise a ``ValueError`` if an option of other searches is given that has no meaning here."""
    if options.pop("epochs_per_child", child_epochs) != child_epochs:  # equal in the arguments that a checkpoint holds
        raise ValueError("Expected no `epochs_per_child`: give `seed_epochs`, `hallucination_epochs`, `child_epochs`")
    if options.get("stop_hopeless"):
        raise ValueError(
            "Expected `stop_hopeless` to be False but got True: jobs that begin with trained weights do not compare "
            "with those that do not; leave it out"
        )
    if options.get("score_window", 1) != 1:
        raise ValueError(
            f"Expected `score_window` to be 1 but got {options['score_window']}: a child begins with the weights that "
            "the last epoch has left; leave it out"
        )


def _name(job: Job) -> str:
    return f"{job.kind} {job.number}"
