"""Searches that grow networks."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import StepLR
from torchmetrics import MeanMetric, Metric

from lightning_nas._lightning import MisconfigurationException
from lightning_nas.architecture import Architecture
from lightning_nas.costs import count_multiply_adds, count_parameters
from lightning_nas.methods import PetridishModule
from lightning_nas.methods.child import Child
from lightning_nas.methods.ledger import read_children
from lightning_nas.modes import evaluating
from lightning_nas.operations import DropPath
from lightning_nas.spaces import PetridishNetwork, PetridishSpace
from lightning_nas.strategies import PetridishStrategy
from lightning_nas.strategies.proposal import Proposal
from lightning_nas.tasks import ImageClassification
from lightning_nas.tasks.base import Evaluation
from lightning_nas.testing.search_module import assert_same
from tests.methods.test_child_search import After, images, search, timeless

OPERATIONS = ["identity", "max_pool_3x3", "avg_pool_3x3"]
SPACES = [f"petridish?cells={cells}&operations={','.join(OPERATIONS)}" for cells in (1, 2)]
KINDS = ["seed", "hallucination", "child", "hallucination", "child"]
sgd = partial(SGD, lr=0.1, momentum=0.9, weight_decay=1e-3)


def tiny(space: PetridishSpace | str = SPACES[0], kind: type[PetridishModule] = PetridishModule, **options: Any) -> Any:
    settings: dict[str, Any] = {
        "scale": {"filters": 2},
        "seed_epochs": 1,
        "hallucination_epochs": 1,
        "child_epochs": 1,
        "optimizer": sgd,
        "eps": math.inf,
        "max_jobs": 5,
        "input_shape": (3, 8, 8),
    }
    return kind(space, **{**settings, **options})


def kinds(module: PetridishModule) -> list[str]:
    return [job.kind for job in module.strategy.jobs]


class Kept(PetridishModule):
    """Keeps the network of every job as it was when it had been trained, and what was made to train it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.children_built: dict[int, Child] = {}

    def build_child(self, proposal: Proposal) -> Child:
        child = self.children_built[proposal.number] = super().build_child(proposal)
        return child


# --- weights on disk --------------------------------------------------------------------------------------------------


def test_only_the_weights_that_are_needed_or_near_the_hull_are_kept(tmp_path: Path) -> None:
    """After every epoch, those of the jobs under way left out; nothing else is in the folder, ever."""
    seen: list[tuple[list[str], list[str]]] = []

    def look(trainer: Any, module: Any) -> None:
        strategy = module.strategy
        kept = ({*strategy.needed} | {*strategy.hull()}) & {*strategy.scores}
        folder = tmp_path / "weights"
        there = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
        seen.append((there, sorted(f"{number}.pt" for number in kept)))

    module = tiny(eps=0.0, max_jobs=11, seed_epochs=2)
    search(module, tmp_path, callbacks=[After(look)], enable_checkpointing=True)
    assert all(there == kept for there, kept in seen)
    assert ([], []) in seen  # the seed was not trained yet
    assert (["0.pt"], ["0.pt"]) in seen
    assert any("1.pt" in kept for _, kept in seen)
    left = {int(name.removesuffix(".pt")) for name in seen[-1][0]}
    assert left == module.strategy.needed | {*module.strategy.hull()}
    assert 1 not in left
    trained = {record.number for record in module.ledger}
    assert len(left) < len(trained) == 11


def test_models_near_the_hull_that_cannot_grow_keep_their_weights(tmp_path: Path) -> None:
    module = tiny(max_growth=1)
    search(module, tmp_path)
    assert kinds(module) == KINDS
    assert module.strategy.needed == {0}  # both children have grown as often as they may
    assert {*module.hull()} == {"seed 0", "child 2", "child 4"}
    assert sorted(path.name for path in (tmp_path / "weights").iterdir()) == ["0.pt", "2.pt", "4.pt"]


def test_weights_are_those_of_the_networks(tmp_path: Path) -> None:
    module = tiny()
    search(module, tmp_path)
    records = {record.number: record for record in module.ledger}
    paths = sorted((tmp_path / "weights").iterdir())
    assert [path.name for path in paths] == ["0.pt", "2.pt", "4.pt"]
    x, y = images(6, 1).tensors
    for path in paths:
        record = records[int(path.stem)]
        network = module.space.build(record.architecture, filters=2)
        network.load_state_dict(torch.load(path, weights_only=True))
        with evaluating(network), torch.no_grad():
            logits = network(x)
        assert float(nn.functional.cross_entropy(logits, y)) == pytest.approx(record.metrics["val/loss"], rel=1e-5)
        assert float((logits.argmax(1) == y).float().mean()) == pytest.approx(record.score)
        assert record.costs["params"] == count_parameters(network)
    assert len({record.metrics["val/loss"] for record in module.ledger}) == 5


def test_a_trial_run_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same module searches afterwards as a fresh one does."""
    monkeypatch.chdir(tmp_path)
    module, fresh = tiny(), tiny()
    search(module, tmp_path / "trial", fast_dev_run=True)
    assert len(module.ledger) == 1
    search(module, tmp_path / "own")
    search(fresh, tmp_path / "fresh")
    assert timeless(module.ledger) == timeless(fresh.ledger)
    assert module.examples_seen == fresh.examples_seen
    assert_same(module.strategy.state_dict(), fresh.strategy.state_dict())


def test_fewer_jobs_than_there_were(tmp_path: Path) -> None:
    """The search ends at once."""
    search(module := tiny(), tmp_path, max_epochs=4).save_checkpoint(tmp_path / "last.ckpt")
    again = tiny(max_jobs=2)
    trainer = search(again, tmp_path, None, tmp_path / "last.ckpt")
    assert again.ledger == module.ledger
    assert trainer.current_epoch == 5


def test_a_trial_run_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = tiny()
    search(module, tmp_path, fast_dev_run=True)
    assert kinds(module) == ["seed"]
    assert [*tmp_path.iterdir()] == []


def test_no_table_no_weights_of_failed_jobs(tmp_path: Path) -> None:
    """A hallucination whose last step has spoilt its alphas has failed only after its weights were written."""

    class Spoilt(PetridishModule):
        def finish_child(self, child: Child) -> dict[str, Any]:
            if child.lasso is not None:
                nn.init.constant_(child.network.alphas[0], math.nan)  # type: ignore[index]
            return super().finish_child(child)

    module = tiny(kind=Spoilt)
    with pytest.warns(UserWarning, match=r"Expected up to 5 jobs but the search has ended after 2: .* jobs \[1\]"):
        search(module, tmp_path)
    assert [record.status for record in module.ledger] == ["finished", "failed"]
    assert (
        module.ledger[1].error
        == "ValueError: Expected finite alphas but got NaN or infinity; the training has diverged"
    )
    assert [path.name for path in (tmp_path / "weights").iterdir()] == ["0.pt"]


# --- failures ---------------------------------------------------------------------------------------------------------


class Fails(ImageClassification):
    """Fails with networks of a kind."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def evaluate(self, network: Any, batch: Any) -> Evaluation:
        assert isinstance(network, PetridishNetwork)
        kind = "hallucination" if network.candidates else "child" if network.growth else "seed"
        evaluation = super().evaluate(network, batch)
        return evaluation._replace(loss=evaluation.loss * (math.nan if kind == self.kind else 1.0))


@pytest.mark.parametrize(("kind", "number"), [("hallucination", 1), ("child", 2)])
def test_a_failed_job_has_no_successor(kind: str, number: int, tmp_path: Path) -> None:
    module = tiny(task=Fails(kind))
    message = rf"ended after {number + 1}: nothing grows from the jobs \[{number}\], .* \('FloatingPointError: the loss"
    with pytest.warns(UserWarning, match=message):
        trainer = search(module, tmp_path)
    assert kinds(module) == KINDS[: number + 1]
    assert [record.status for record in module.ledger] == ["finished"] * number + ["failed"]
    assert module.ledger[-1].error == "FloatingPointError: the loss was nan in epoch 0"
    assert module.ledger[-1].found == {}
    assert trainer.current_epoch < 10  # the search has ended, not the Trainer's epochs
    assert list(module.candidates()) == list(module.hull()) == ["seed 0"]
    assert read_children(tmp_path / "children.csv") == module.ledger
    again = tiny(task=Fails(kind))
    with pytest.warns(UserWarning, match="Delete such a row of children.csv to have it trained again"):
        search(again, tmp_path)
    assert again.ledger == module.ledger


def test_other_lines_go_on(tmp_path: Path) -> None:
    """No child of the space of two cells can be built."""

    class Picky(PetridishModule):
        def build_network(self, proposal: Proposal) -> nn.Module:
            network = super().build_network(proposal)
            if isinstance(network, PetridishNetwork) and network.growth and network.scale.cells == 2:
                raise RuntimeError("too large")
            return network

    module = tiny(kind=Picky, seeds=SPACES, max_jobs=9, choice="archai")
    search(module, tmp_path)
    failed = [record for record in module.ledger if record.status == "failed"]
    assert failed
    assert {record.error for record in failed} == {"RuntimeError: too large"}
    assert {record.architecture.space for record in failed} == {SPACES[1]}
    assert len(module.ledger) == 9
    assert any(job.kind == "child" for job in module.strategy.jobs if job.number in module.strategy.costs)
    parents = {job.parent for job in module.strategy.jobs}
    assert not parents & {record.number for record in failed}


def test_a_space_that_cannot_grow_everywhere(tmp_path: Path) -> None:
    class NoReductions(PetridishSpace):
        def hallucinate(self, architecture: Architecture, places: Sequence[str], **scale: Any) -> PetridishNetwork:
            if "layer1" in places:
                raise ValueError("layer1 cannot grow")
            return super().hallucinate(architecture, places, **scale)

    module = tiny(NoReductions("macro", cells=1, operations=OPERATIONS), places_per_hallucination=5)
    with pytest.warns(UserWarning, match=r"nothing grows from the jobs \[1\]"):
        search(module, tmp_path)
    assert [(record.status, record.error) for record in module.ledger] == [
        ("finished", ""),
        ("failed", "ValueError: layer1 cannot grow"),
    ]


@pytest.mark.parametrize("seeds", [1, 2])
def test_seeds_that_all_fail_end_the_search_with_an_error(seeds: int, tmp_path: Path) -> None:
    module = tiny(task=Fails("seed"), seeds=SPACES[:seeds])
    message = (
        f"Expected children that can be trained but the first {seeds} have all failed, the last one with "
        "'FloatingPointError: the loss was nan in epoch 0'; look at"
    )
    with pytest.raises(MisconfigurationException, match=message):
        search(module, tmp_path)
    assert module.derive() == module.space.seed()
    assert module.candidates() == module.hull() == {}


def test_a_learning_rate_that_is_far_too_high(tmp_path: Path) -> None:
    """The seed diverges, in whatever way, and is told as failed."""
    module = tiny(optimizer=partial(SGD, lr=1e30), grad_clip=None, seed_epochs=3)
    with pytest.raises(MisconfigurationException, match=r"the first 1 have all failed, .*FloatingPointError"):
        search(module, tmp_path)


def test_a_hallucination_that_selects_nothing_has_no_child(tmp_path: Path) -> None:
    module = tiny(threshold=10.0)
    with pytest.warns(
        UserWarning, match=r"nothing grows from the jobs \[1\], which have failed or selected nothing \(''"
    ):
        search(module, tmp_path)
    assert kinds(module) == ["seed", "hallucination"]
    assert [record.status for record in module.ledger] == ["finished"] * 2
    assert module.ledger[1].found == {"selection": [[], []]}


def test_collapsed_alphas_are_warned_of(tmp_path: Path) -> None:
    class Collapsing(PetridishModule):
        def finish_child(self, child: Child) -> dict[str, Any]:
            for alpha in getattr(child.network, "alphas", ()):
                nn.init.constant_(alpha, 1e-4)  # of 1/6
            return super().finish_child(child)

    module = tiny(kind=Collapsing, l1=0.125, max_jobs=3)
    message = r"The alphas of job 1 have all shrunk to less than a thousandth .* smaller `l1` than 0\.125, more epochs"
    with pytest.warns(UserWarning, match=message):
        search(module, tmp_path)
    # of equal alphas the first are selected
    first = [[0, "identity"], [0, "max_pool_3x3"], [0, "avg_pool_3x3"]]
    assert module.ledger[1].found == {"selection": [first, first]}
    assert kinds(module) == ["seed", "hallucination", "child"]


# --- arguments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"l1": -0.1}, r"Expected `l1` to be at least 0 but got -0\.1"),
        ({"l1": math.nan}, "Expected `l1` to be at least 0 but got nan"),
        ({"threshold": -1.0}, r"Expected `threshold` to be at least 0 but got -1\.0"),
        ({"cost": "latency"}, "Expected `cost` to be .*'macs', 'params'.* but got 'latency'"),
        ({"drop_path": 1.0}, r"Expected `drop_path` to be a share with 0 <= fraction < 1 but got 1\.0"),
        ({"drop_path": -0.1}, r"Expected `drop_path` to be a share with 0 <= fraction < 1 but got -0\.1"),
        ({"stop_hopeless": True}, "Expected `stop_hopeless` to be False but got True: jobs that begin with"),
        ({"seeds": ["darts"]}, "Expected a PetridishSpace, or its name, but got 'darts'"),
        ({"seeds": []}, "Expected `seeds` to hold at least one architecture but got none"),
        ({"seeds": ["petridish?max_growth=2"], "max_growth": 3}, "max_growth"),
        ({"seed_epochs": 0}, "Expected `seed_epochs` to be at least 1 but got 0"),
        ({"hallucination_epochs": 0}, "Expected `hallucination_epochs` to be at least 1 but got 0"),
        ({"child_epochs": 0}, "Expected `child_epochs` to be at least 1 but got 0"),
        ({"max_jobs": 0}, "Expected `max_jobs` to be at least 1 but got 0"),
        ({"places_per_hallucination": 0}, "Expected `places_per_hallucination` to be at least 1 but got 0"),
        ({"eps": -0.1}, r"Expected `eps` to be at least 0 but got -0\.1"),
        ({"choice": "best"}, "Expected `choice` to be .* but got 'best'"),
        ({"selection": "best"}, "Expected `selection` to be .* but got 'best'"),
        ({"max_cost": 0.0}, "Expected `max_cost` to be above 0 but got 0"),
        ({"max_growth": 9}, "max_growth"),
        ({"terms": 0}, "terms"),
        ({"grad_clip": 0.0}, "Expected `grad_clip` to be above 0 but got 0"),
        (
            {"score_window": 2},
            "Expected `score_window` to be 1 but got 2: a child begins with the weights that the last",
        ),
        ({"epochs_per_child": 3}, "Expected no `epochs_per_child`: give `seed_epochs`"),
        (
            {"input_shape": None},
            "Expected `input_shape`, to count multiply-adds, but got none; give it, or cost='params'",
        ),
    ],
)
def test_wrong_arguments_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny(**options)


def test_other_spaces_are_refused() -> None:
    with pytest.raises(ValueError, match="Expected a PetridishSpace, or its name, but got 'nasbench201'"):
        PetridishModule("nasbench201")


def test_the_defaults_are_those_of_the_paper() -> None:
    module = PetridishModule("petridish")
    assert (module.l1, module.threshold, module.drop_path, module.grad_clip) == (1e-3, 0.0, 0.4, 5.0)
    groups_of: Any = module.parameter_groups(PetridishSpace().build(PetridishSpace().seed(), filters=2))
    optimizer = module.optimizer(groups_of)
    groups = [{k: group[k] for k in ("lr", "momentum", "weight_decay")} for group in optimizer.param_groups]
    assert groups == [{"lr": 0.025, "momentum": 0.9, "weight_decay": decay} for decay in (1e-4, 0.0)]
    strategy = module.strategy
    assert isinstance(strategy, PetridishStrategy)
    assert (strategy.pool.eps, strategy.pool.choice, strategy.selection) == (0.025, "walk", "told")
    assert (strategy.terms, strategy.max_growth, strategy.max_jobs, strategy.max_cost) == (3, 8, 2000, math.inf)
    (seed,) = strategy.ask(2)
    assert module.epochs_of(seed) == 200
    strategy.tell(seed, 0.5, cost=1.0)
    (hallucination,) = strategy.ask(1)
    assert module.epochs_of(hallucination) == 80


# --- how jobs are trained ---------------------------------------------------------------------------------------------


def test_only_convolutions_decay() -> None:
    module = tiny()
    space = module.space
    child = space.grow(space.seed(), "normal", [(0, "identity"), (1, "max_pool_3x3")])
    network = space.hallucinate(child, ["normal", "reduce"], filters=2)
    names = {parameter: name for name, parameter in network.named_parameters()}
    decaying, others = (
        [names[parameter] for parameter in group["params"]] for group in module.parameter_groups(network)
    )
    assert module.parameter_groups(network)[1]["weight_decay"] == 0.0
    assert "weight_decay" not in module.parameter_groups(network)[0]
    assert sorted([*decaying, *others]) == sorted(names.values())
    convolutions = {name for name, part in network.named_modules() if isinstance(part, nn.Conv2d)}
    assert {*decaying} == {f"{name}.weight" for name in convolutions}
    assert {"alphas.0", "alphas.1", "cells.0.nodes.2.gate", "classifier.weight", "stem.1.weight"} <= {*others}


def test_drop_path_grows_with_the_epochs_of_a_job(tmp_path: Path) -> None:
    seen: list[tuple[str, float]] = []

    class Watching(ImageClassification):
        def evaluate(self, network: Any, batch: Any) -> Evaluation:
            if network.training:
                kind = "hallucination" if network.candidates else "child" if network.growth else "seed"
                (probability,) = {m.probability for m in network.modules() if isinstance(m, DropPath)}
                seen.append((kind, probability))
                scales = [cell.seed.drop_path.scale for cell in network.cells]
                assert scales == [0.2, 0.4, 0.6, 0.8, 1.0]
            return super().evaluate(network, batch)

    module = tiny(task=Watching(), max_jobs=3, drop_path=0.6, seed_epochs=3, hallucination_epochs=2, child_epochs=4)
    search(module, tmp_path, limit_train_batches=1)
    expected = [("seed", 0.6 * k / 3) for k in range(3)]
    expected += [("hallucination", 0.6 * k / 2) for k in range(2)] + [("child", 0.6 * k / 4) for k in range(4)]
    assert [kind for kind, _ in seen] == [kind for kind, _ in expected]
    assert [probability for _, probability in seen] == pytest.approx([probability for _, probability in expected])


def test_the_users_optimizer_and_schedule(tmp_path: Path) -> None:
    rates: list[list[float]] = []

    class Rates(Kept):
        def on_train_batch_end(self, *arguments: Any) -> None:
            child = self._runner.child
            assert child is not None
            rates.append([group["lr"] for group in child.optimizer.param_groups])

    module = tiny(
        kind=Rates,
        max_jobs=3,
        seed_epochs=3,
        optimizer=partial(AdamW, lr=1e-3, weight_decay=0.1),
        scheduler=partial(StepLR, step_size=1, gamma=0.5),
    )
    search(module, tmp_path, limit_train_batches=1)
    assert rates == [[lr, lr] for lr in (1e-3, 5e-4, 2.5e-4, 1e-3, 1e-3)]  # each job begins anew
    for child in module.children_built.values():
        assert isinstance(child.optimizer, AdamW)
    assert len(module.children_built) == 3


def test_no_alphas_without_candidates(tmp_path: Path) -> None:
    module = tiny(kind=Kept, l1=0.25)
    search(module, tmp_path, max_epochs=3)
    seed, hallucination, child = (module.children_built[number] for number in range(3))
    assert seed.lasso is None
    assert child.lasso is None
    assert hallucination.lasso is not None
    assert hallucination.lasso.strength == 0.25


def test_what_is_logged(tmp_path: Path) -> None:
    logged: list[dict[str, float]] = []

    def look(trainer: Any, module: Any) -> None:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        logged.append(metrics)

    module = tiny(kind=Kept)
    search(module, tmp_path, callbacks=[After(look)], enable_checkpointing=True, max_epochs=3)
    assert [metrics["search/hull_size"] for metrics in logged] == [1.0, 1.0, 2.0]
    alphas = torch.cat([alpha.detach() for alpha in module.children_built[1].network.alphas])
    assert "search/largest_alpha" not in logged[0]
    assert logged[1]["search/largest_alpha"] == pytest.approx(float(alphas.abs().max()))
    assert logged[1]["search/alpha_gradient_ratio"] > 0


# --- what comes of it -------------------------------------------------------------------------------------------------


def test_candidates_and_their_parents(tmp_path: Path) -> None:
    module = tiny()
    search(module, tmp_path)
    assert kinds(module) == KINDS
    candidates = module.candidates()
    assert list(candidates) == ["seed 0", "child 2", "child 4"]
    assert [one.provenance["parent"] for one in candidates.values()] == [None, "seed 0", "child 2"]
    assert "growth" not in candidates["seed 0"].provenance
    for number in (2, 4):
        job, one = module.strategy.jobs[number], candidates[f"child {number}"]
        increment = module.space.increments(one)[-1]
        told = module.ledger[number - 1].found["selection"][job.candidate]
        assert {tuple(term) for term in told} == {*increment.terms} == {*job.terms}
        assert one.provenance["growth"] == f"{increment.place}: " + ", ".join(f"{op} of {k}" for k, op in job.terms)
        record = module.ledger[number]
        assert one.metrics == {**record.metrics, **record.costs}
        network = module.space.build(one, filters=2)
        macs = count_multiply_adds(network, torch.zeros(1, 3, 8, 8))
        assert record.costs == {"params": count_parameters(network), "macs": macs}
        assert module.strategy.costs[number] == macs
    assert len(module.space.increments(candidates["child 4"])) == 2
    assert module.hull() == candidates  # with an infinite band


def test_the_hull_is_sorted_and_without_what_is_above_it(tmp_path: Path) -> None:
    module = tiny(max_jobs=9, eps=0.0, choice="random", seeds=SPACES)
    search(module, tmp_path)
    hull, candidates = module.hull(), module.candidates()
    costs = [one.metrics["macs"] for one in hull.values()]
    errors = [1 - one.metrics["val/accuracy"] for one in hull.values()]
    assert costs == sorted(costs)
    assert errors == sorted(errors, reverse=True)
    assert {*hull} <= {*candidates}
    assert min(one.metrics["macs"] for one in candidates.values()) == costs[0]
    assert 1 - max(one.metrics["val/accuracy"] for one in candidates.values()) == errors[-1]


def test_the_model_of_the_smallest_error_is_derived(tmp_path: Path) -> None:
    module = tiny()
    search(module, tmp_path)
    models = [record for record in module.ledger if record.number in module.strategy.costs]
    best = max(models, key=lambda record: record.score or 0)
    derived = module.derive()
    assert derived == best.architecture
    assert derived.metrics == {"score": best.score}
    assert derived.provenance["method"] == "PetridishModule"


def test_before_a_search_the_seed_is_derived() -> None:
    module = tiny()
    assert module.derive() == module.space.seed()
    assert module.candidates() == module.hull() == {}


def test_cost_by_parameters(tmp_path: Path) -> None:
    module = tiny(cost="params")
    search(module, tmp_path)
    records = {record.number: record for record in module.ledger}
    assert module.strategy.costs == {number: records[number].costs["params"] for number in (0, 2, 4)}
    assert module.strategy.costs != {number: records[number].costs["macs"] for number in (0, 2, 4)}


def test_models_of_a_high_cost_are_not_grown(tmp_path: Path) -> None:
    space = PetridishSpace(cells=1, operations=OPERATIONS)
    macs = count_multiply_adds(space.build(space.seed(), filters=2), torch.zeros(1, 3, 8, 8))
    module = tiny(max_cost=macs + 0.5, max_jobs=9)
    search(module, tmp_path)
    assert {job.parent for job in module.strategy.jobs if job.kind == "hallucination"} == {0}
    assert list(module.strategy.pool.points) == [0]


def test_seeds_of_two_sizes_grow_in_their_own_spaces(tmp_path: Path) -> None:
    module = tiny(seeds=SPACES, max_jobs=12, choice="random", seed=1)
    search(module, tmp_path)
    jobs = module.strategy.jobs
    assert [(job.kind, job.architecture.space) for job in jobs[:2]] == [("seed", SPACES[0]), ("seed", SPACES[1])]
    assert [record.status for record in module.ledger] == ["finished"] * 12
    children = [job for job in jobs if job.kind == "child"]
    assert {job.architecture.space for job in children} == {*SPACES}
    for job in children:
        *_, seed = reversed(module.strategy.family(job.number))
        assert job.architecture.space == seed.architecture.space
        network = module.space_of(job.architecture).build(job.architecture, filters=2)
        assert module.ledger[job.number].costs["params"] == count_parameters(network)


def test_random_growth_trains_as_many_jobs(tmp_path: Path) -> None:
    modules = [tiny(selection=selection) for selection in ("told", "random")]
    for k, module in enumerate(modules):
        search(module, tmp_path / str(k))
    assert kinds(modules[0]) == kinds(modules[1])
    assert int(modules[0].examples_seen) == int(modules[1].examples_seen) == 50
    # the hallucination is trained alike, what it has selected is not what its child has gained
    assert modules[0].ledger[1].found == modules[1].ledger[1].found
    assert modules[0].ledger[2].architecture != modules[1].ledger[2].architecture


# --- scores -----------------------------------------------------------------------------------------------------------


class Constant(MeanMetric):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.constant = value

    def update(self, predictions: Any, targets: Any) -> None:  # type: ignore[override]
        super().update(self.constant)


class Scored(ImageClassification):
    objective = ("val/points", "max")

    def __init__(self, points: float) -> None:
        super().__init__()
        self.points = points

    def metrics(self) -> dict[str, Metric]:
        return {"points": Constant(self.points)}


def test_a_score_above_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Expected a score of at most 1, .* but got 87\.5"):
        search(tiny(task=Scored(87.5)), tmp_path)


def test_a_score_of_one_is_no_error(tmp_path: Path) -> None:
    module = tiny(task=Scored(1.0))
    search(module, tmp_path)
    assert kinds(module) == KINDS
    assert {error for _, error in module.strategy.pool.points.values()} == {0.0}


def test_an_objective_that_is_a_loss(tmp_path: Path) -> None:
    """The score is its negative, the error 1 more than the loss: never above 1, and less is better."""

    class Loss(ImageClassification):
        objective = ("val/loss", "min")

    module = tiny(task=Loss())
    search(module, tmp_path)
    assert kinds(module) == KINDS
    losses = {record.number: record.metrics["val/loss"] for record in module.ledger}
    points = module.strategy.pool.points
    assert {number: error for number, (_, error) in points.items()} == {
        number: pytest.approx(1 + losses[number]) for number in (0, 2, 4)
    }
    best = min((0, 2, 4), key=lambda number: losses[number])
    assert module.derive() == module.ledger[best].architecture
