"""Searches by growth compute what plain loops compute, and begin each job with what the last one has come to."""

import copy
import math
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from lightning_nas.architecture import Architecture
from lightning_nas.costs import count_multiply_adds
from lightning_nas.methods import PetridishModule
from lightning_nas.methods.child import Child
from lightning_nas.operations.weak_learner import Term
from lightning_nas.seeding import derive_seed, fixed_seed
from lightning_nas.spaces import PetridishSpace
from lightning_nas.strategies import Job
from lightning_nas.strategies.proposal import Proposal
from tests.methods.test_child_search import Images, images, search
from tests.references import petridish as reference

Mode = Literal["cell", "macro"]
BOTH = pytest.mark.parametrize("mode", ["cell", "macro"])
SEED, RATE, MOMENTUM, DECAY, CLIP, L1, FILTERS, TERMS = 4, 0.1, 0.9, 1e-2, 3.0, 0.02, 2, 4
OPERATIONS = ["sep_conv_3x3", "dil_conv_3x3", "max_pool_3x3", "identity"]
EPOCHS = {"seed": 2, "hallucination": 3, "child": 2}
LAYERS = [False, True, False, True, False]  # whether they reduce
MISTAKES = [
    "signed alphas",
    "decay of alphas",
    "decay of all",
    "no lasso",
    "lasso on all",
    "one schedule",
    "weights of the parent",
    "new operations",
    "kept momentum",
    "no clipping",
    "one candidate",
]


def space_of(mode: Mode) -> PetridishSpace:
    return PetridishSpace(mode, cells=1, terms=TERMS, operations=OPERATIONS)


class Watched(PetridishModule):
    """Keeps the network of every job as it was before and after its training."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.before: dict[int, nn.Module] = {}
        self.after: dict[int, nn.Module] = {}

    def build_child(self, proposal: Proposal) -> Child:
        child = super().build_child(proposal)
        self.before[proposal.number] = copy.deepcopy(child.network)
        return child

    def finish_child(self, child: Child) -> dict[str, Any]:
        self.after[child.proposal.number] = copy.deepcopy(child.network)
        return super().finish_child(child)


def watched(mode: Mode, **options: Any) -> Watched:
    return Watched(
        space_of(mode),
        scale={"filters": FILTERS},
        eps=math.inf,
        max_jobs=5,
        l1=L1,
        grad_clip=CLIP,
        drop_path=0.0,
        optimizer=partial(SGD, lr=RATE, momentum=MOMENTUM, weight_decay=DECAY),
        input_shape=(3, 8, 8),
        places_per_hallucination=1 if mode == "cell" else 3,
        seed=SEED,
        **{f"{kind}_epochs": epochs for kind, epochs in EPOCHS.items()},
        **options,
    )


# --- the restatement --------------------------------------------------------------------------------------------------


class PlainSearch:
    """Trains jobs one after the other; of what a strategy decides, it is told who the parents are, and the places."""

    def __init__(self, mode: Mode, jobs: Sequence[Job], mistakes: Sequence[str] = ()) -> None:
        self.space, self.jobs, self.mistakes = space_of(mode), jobs, mistakes
        self.architectures: list[Architecture] = []
        self.states: list[dict[str, Tensor]] = []
        self.grown: list[dict[str, list[list[Term]]]] = []  # nodes by place
        self.selections: list[list[list[Term]]] = []
        self.curves: list[list[float]] = []
        self.losses: list[float] = []
        self.norms: list[float] = []
        self.moments: dict[str, Tensor] = {}
        for job in jobs:
            self.do(job)

    def candidates(self, number: int, place: str) -> list[Term]:
        nodes = len(self.grown[number].get(place, []))
        return [(source, operation) for source in range(2 + nodes) for operation in self.space.operations]

    def do(self, job: Job) -> None:
        before = [] if job.parent is None else [job.parent]
        self.architectures += [self.architectures[k] for k in before] or [self.space.seed()]
        self.grown += [copy.deepcopy(self.grown[k]) for k in before] or [{}]
        if job.kind == "child":
            assert job.parent is not None
            assert job.candidate is not None
            terms = self.selections[job.parent][job.candidate]
            (place,) = job.places
            self.architectures[-1] = self.space.grow(self.architectures[-1], place, terms)
            order = self.candidates(job.parent, place)
            self.grown[-1].setdefault(place, []).append(sorted(terms, key=order.index))
        self.states.append(self.beginning(job))
        self.train(job)
        self.selections.append([self.select(job, k) for k in range(len(job.places))] if self.learning(job) else [])

    def learning(self, job: Job) -> bool:
        return job.kind == "hallucination"

    def beginning(self, job: Job) -> dict[str, Tensor]:
        architecture = self.architectures[job.number]
        with fixed_seed(derive_seed(SEED, "child", job.number)):
            if self.learning(job):
                network = self.space.hallucinate(architecture, job.places, filters=FILTERS)
            else:
                network = self.space.build(architecture, filters=FILTERS)
        state = {name: tensor.clone() for name, tensor in network.double().state_dict().items()}
        if job.parent is None:
            return state
        given = copy.deepcopy(self.states[job.parent])
        if job.kind == "child":
            given = self.renamed(given, job)
            if "weights of the parent" in self.mistakes:
                grandparent = self.jobs[job.parent].parent
                given |= self.states[-1 if grandparent is None else grandparent]
        new = {name for name in state if name not in given}
        assert all("learners" in name or "alphas" in name for name in new) == self.learning(job)
        parts = {"project", "gate", *(["paths"] if "new operations" in self.mistakes else [])}
        assert job.kind != "child" or {name.split(".", 4)[-1].split(".")[0] for name in new} == parts
        return {**state, **{name: given[name] for name in state if name in given}}

    def renamed(self, given: dict[str, Tensor], job: Job) -> dict[str, Tensor]:
        """Give the weak learner's weights the names that they have in a node."""
        node = 1 + len(self.grown[job.number][job.places[0]])
        names = {name: name.split(".", 4) for name in given if f".learners.{job.candidate}." in name}
        renamed = {}
        for name, (cells, k, _, _, rest) in names.items():
            renamed[f"{cells}.{k}.{rest}"] = given[name]  # how it prepares an input
            if "new operations" not in self.mistakes:
                renamed[f"{cells}.{k}.nodes.{node}.paths.{rest}"] = given[name]
        return {**renamed, **given}

    def train(self, job: Job) -> None:
        state = self.states[job.number]
        weights = {name: t for name, t in state.items() if "running" not in name and "tracked" not in name}
        if "kept momentum" not in self.mistakes:
            self.moments = {}
        self.curves.append([])
        for epoch in range(job.epochs):
            for k in range(0, 10, 4):
                self.step(job, weights, images(10, 0)[k : k + 4], self.rate(job, epoch))
            self.validate(job, state)

    def rate(self, job: Job, epoch: int) -> float:
        done, total = epoch, job.epochs
        if "one schedule" in self.mistakes:
            done += sum(earlier.epochs for earlier in self.jobs[: job.number])
            total = sum(each.epochs for each in self.jobs)
        return RATE * (1 + math.cos(math.pi * done / total)) / 2

    def logits(self, job: Job, x: Tensor, training: bool) -> Tensor:
        def place(k: int) -> str:
            return f"layer{k}" if self.space.mode == "macro" else "reduce" if LAYERS[k] else "normal"

        cells = [(reduction, self.grown[job.number].get(place(k), [])) for k, reduction in enumerate(LAYERS)]
        learners = [
            {n: self.candidates(job.number, where) for n, where in enumerate(job.places) if where == place(k)}
            for k in range(len(LAYERS))
        ]
        attached = learners if self.learning(job) else ()
        return reference.run(x.double(), self.states[job.number], cells, FILTERS, training, attached)

    def step(self, job: Job, weights: dict[str, Tensor], batch: Any, rate: float) -> None:
        for weight in weights.values():
            weight.requires_grad_()
        logits = self.logits(job, batch[0], training=True)
        loss = (logits.logsumexp(1) - logits.gather(1, batch[1][:, None])[:, 0]).mean()
        gradients = dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))
        with torch.no_grad():
            for name, weight in weights.items():
                weight.requires_grad_(False)
                if ("alphas" in name or "lasso on all" in self.mistakes) and "no lasso" not in self.mistakes:
                    gradients[name] = gradients[name] + (L1 if self.learning(job) else 0) * weight.sign()
            norm = math.sqrt(sum(float((gradient**2).sum()) for gradient in gradients.values()))
            self.norms.append(norm)
            shrink = 1.0 if "no clipping" in self.mistakes else min(1.0, CLIP / (norm + 1e-6))
            for name, weight in weights.items():
                gradient = shrink * gradients[name] + self.decay(name, weight) * weight
                moment = self.moments.get(name)
                self.moments[name] = (
                    gradient if moment is None or moment.shape != weight.shape else (MOMENTUM * moment + gradient)
                )
                weight -= rate * self.moments[name]

    def decay(self, name: str, weight: Tensor) -> float:
        wrong = "decay of all" in self.mistakes or ("decay of alphas" in self.mistakes and "alphas" in name)
        return DECAY if weight.dim() == 4 or wrong else 0.0

    def validate(self, job: Job, state: dict[str, Tensor]) -> None:
        x, y = images(6, 1).tensors
        logits = self.logits(job, x, training=False)
        self.curves[-1].append(float((logits.argmax(1) == y).sum()) / 6)
        self.losses.append(float(-logits.log_softmax(1)[range(6), y].mean()))

    def select(self, job: Job, k: int) -> list[Term]:
        alpha = self.states[job.number][f"alphas.{k}"].tolist()
        size = float if "signed alphas" in self.mistakes else abs
        order = sorted(range(len(alpha)), key=lambda i: -size(alpha[i]))
        kept = 1 if "one candidate" in self.mistakes else TERMS
        return [self.candidates(job.number, job.places[k])[i] for i in order[:kept]]


@cache
def searched(mode: Mode) -> Watched:
    import tempfile

    module = watched(mode)
    with tempfile.TemporaryDirectory() as folder:
        search(module, Path(folder), Images(), precision="64-true")
    return module


@cache
def restated(mode: Mode, *mistakes: str) -> PlainSearch:
    return PlainSearch(mode, searched(mode).strategy.jobs[: 3 if mistakes else 5], mistakes)


@BOTH
def test_a_search_is_that_of_the_paper(mode: Mode) -> None:
    module, plain = searched(mode), restated(mode)
    assert [job.kind for job in module.strategy.jobs] == ["seed", "hallucination", "child", "hallucination", "child"]
    assert [job.parent for job in module.strategy.jobs] == [None, 0, 1, 2, 3]
    assert min(plain.norms) < CLIP < max(plain.norms)  # clipping acts, and does not act
    for record, job, curve in zip(module.ledger, module.strategy.jobs, plain.curves, strict=True):
        assert record.architecture == plain.architectures[job.number]
        assert (record.status, record.error, record.epochs) == ("finished", "", EPOCHS[job.kind])
        assert record.curve == pytest.approx(curve, abs=1e-7)
        assert record.score == record.curve[-1]
        assert record.examples == 10 * EPOCHS[job.kind]
        got = module.after[job.number].state_dict()
        expected = plain.states[job.number]
        assert list(got) == list(expected)
        for name in got:
            if "tracked" not in name:
                torch.testing.assert_close(got[name], expected[name], rtol=1e-7, atol=1e-9, msg=f"{job.number} {name}")
        selection = [[list(term) for term in terms] for terms in plain.selections[job.number]]
        assert record.found == ({"selection": selection} if job.kind == "hallucination" else {})
    ends = [sum(job.epochs for job in module.strategy.jobs[: k + 1]) - 1 for k in range(5)]
    losses = [record.metrics["val/loss"] for record in module.ledger]
    assert losses == pytest.approx([plain.losses[end] for end in ends], rel=1e-5)  # metrics are of single precision
    assert len(set(losses)) == 5


@BOTH
def test_costs_and_hull_are_those_of_the_models(mode: Mode) -> None:
    module, plain = searched(mode), restated(mode)
    space, x = space_of(mode), torch.zeros(1, 3, 8, 8)
    costs = {k: float(count_multiply_adds(space.build(plain.architectures[k], filters=FILTERS), x)) for k in (0, 2, 4)}
    assert module.strategy.costs == costs
    assert costs[0] < costs[2] < costs[4]
    errors = {number: 1 - plain.curves[number][-1] for number in costs}
    points = module.strategy.pool.points
    assert {number: cost for number, (cost, _) in points.items()} == costs
    assert {number: error for number, (_, error) in points.items()} == pytest.approx(errors, abs=1e-7)


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("mode", ["cell", pytest.param("macro", marks=pytest.mark.slow)])
def test_the_restatement_would_notice(mode: Mode, mistake: str) -> None:
    right, wrong = restated(mode), restated(mode, mistake)
    if right.selections[1] == wrong.selections[1]:
        states = right.states[2], wrong.states[2]
        assert list(states[0]) == list(states[1])
        differences = [float((states[0][name] - states[1][name]).abs().max()) for name in states[0]]
        assert max(differences) > 1e-6
    else:
        assert mistake not in ("weights of the parent", "new operations")  # they come after the selection


# --- functions are preserved ------------------------------------------------------------------------------------------


@BOTH
def test_every_job_begins_with_what_the_last_one_computes(mode: Mode, tmp_path: Path) -> None:
    module = watched(mode)
    search(module, tmp_path, Images())
    x = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(7))
    outputs = {}
    for when in ("before", "after"):
        for number, network in getattr(module, when).items():
            with torch.no_grad():
                outputs[when, number] = network.eval()(x)
    for job in module.strategy.jobs[1:]:
        assert job.parent is not None
        assert outputs["after", job.parent].std() > 1e-2
        tolerance = 0.0 if job.kind == "hallucination" else 1e-6
        torch.testing.assert_close(outputs["before", job.number], outputs["after", job.parent], rtol=0, atol=tolerance)
        assert (outputs["after", job.number] - outputs["before", job.number]).abs().max() > 1e-2
    opened = gates(module.after[2])
    assert opened
    assert all(opened.values())
    assert gates(module.before[3]) == opened  # and stay open
    new = set(gates(module.before[4])) - set(opened)
    assert new
    assert not any(gates(module.before[4])[name] for name in new)


def gates(network: nn.Module) -> dict[str, float]:
    return {name: float(p.detach()) for name, p in network.named_parameters() if name.endswith("gate")}


@BOTH
def test_weights_are_taken_over_as_they_are(mode: Mode, tmp_path: Path) -> None:
    """In double precision, too: nothing is rounded on the way."""
    module = searched(mode)
    for job in module.strategy.jobs[1:]:
        assert job.parent is not None
        before, given = module.before[job.number].state_dict(), module.after[job.parent].state_dict()
        shared = [name for name in before if name in given]
        assert len(shared) > 50
        for name in shared:
            assert torch.equal(before[name], given[name])
            assert before[name].dtype == (torch.int64 if "tracked" in name else torch.float64)
