"""Searches that train their children."""

import csv
import gc
import json
import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import CosineAnnealingLR, StepLR
from torch.utils.data import DataLoader, TensorDataset

from lightning_nas._lightning import MisconfigurationException, pl
from lightning_nas.architecture import Architecture
from lightning_nas.costs import count_multiply_adds, count_parameters
from lightning_nas.datamodules import DigitsDataModule
from lightning_nas.methods import (
    ChildSearchModule,
    EvolutionModule,
    NasModule,
    PetridishModule,
    PnasModule,
    RandomSearchModule,
)
from lightning_nas.methods.child_record import ChildRecord
from lightning_nas.methods.ledger import read_children
from lightning_nas.methods.optimizers import describe_recipe
from lightning_nas.seeding import derive_seed, fixed_seed
from lightning_nas.spaces.nasbench201 import NasBench201Space
from lightning_nas.spaces.nasnet import NasnetSpace
from lightning_nas.strategies import EvolutionStrategy, RandomStrategy
from lightning_nas.tasks import ImageClassification, Regression
from lightning_nas.tasks.base import Evaluation, Network
from lightning_nas.testing.search_module import assert_same

SCALE: dict[str, Any] = {"channels": 4, "cells": 1}


def images(count: int, seed: int) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    return TensorDataset(torch.randn(count, 3, 8, 8, generator=generator), torch.arange(count) % 10)


class Images(pl.LightningDataModule):
    """Ten random images in three batches, and six for validation in two, in an order that never changes."""

    def train_dataloader(self) -> Any:
        return DataLoader(images(10, 0), 4)

    def val_dataloader(self) -> Any:
        return DataLoader(images(6, 1), 4)


class Numbers(pl.LightningDataModule):
    """Four zeros in two batches, for training and validation."""

    def train_dataloader(self) -> Any:
        return DataLoader(TensorDataset(torch.zeros(4, 1), torch.zeros(4)), 2)

    def val_dataloader(self) -> Any:
        return self.train_dataloader()


class Curve(nn.Module):
    """Predicts a number that depends on nothing but how many epochs of two batches it has been trained."""

    steps: Tensor

    def __init__(self, values: list[float]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.values = values
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        self.steps += self.training
        epoch = max(int(self.steps) - 1, 0) // 2
        return self.values[epoch] + 0 * self.weight * x.squeeze(-1)


class Known(NasBench201Space):
    """Children whose errors are known beforehand: by their number, or else from the architecture."""

    def __init__(self, curves: list[list[float]] | None = None) -> None:
        super().__init__()
        self.curves = None if curves is None else list(curves)

    def build(self, architecture: Architecture, **scale: Any) -> nn.Module:
        if self.curves is not None:
            return Curve(self.curves.pop(0))
        return Curve([derive_seed(json.dumps(dict(architecture.values)), epoch) / 2**63 for epoch in range(10)])


class After(pl.callbacks.Checkpoint):
    """Calls a function after the module's end of an epoch."""

    def __init__(self, function: Callable[[pl.Trainer, ChildSearchModule], None]) -> None:
        self.function = function

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, ChildSearchModule)
        self.function(trainer, pl_module)


def search(
    module: ChildSearchModule,
    folder: Path,
    data: pl.LightningDataModule | None = None,
    ckpt_path: Path | None = None,
    **options: Any,
) -> pl.Trainer:
    settings: dict[str, Any] = {"accelerator": "cpu", "devices": 1, "max_epochs": 50, "logger": False}
    trainer = pl.Trainer(
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"enable_checkpointing": False, **settings, **options},
    )
    trainer.fit(module, datamodule=data or Images(), ckpt_path=ckpt_path)
    return trainer


def timeless(records: list[ChildRecord]) -> list[ChildRecord]:
    return [replace(record, seconds=0.0) for record in records]


# --- what a child is --------------------------------------------------------------------------------------------------


def plain_loop(number: int, architecture: Architecture) -> tuple[list[float], dict[str, float], nn.Module]:
    """Train a child of three epochs as its own programmer would; return accuracies, last metrics and the network."""
    space = NasBench201Space()
    with fixed_seed(derive_seed(5, "child", number)):
        network = space.build(architecture, **SCALE)
    network.double()
    optimizer = SGD(network.parameters(), lr=0.1, momentum=0.9)
    scheduler = CosineAnnealingLR(optimizer, 3)
    curve, metrics = [], {}
    train, val = (list(DataLoader(images(count, seed), 4)) for count, seed in ((10, 0), (6, 1)))
    for _ in range(3):
        network.train()
        losses, right = 0.0, 0
        for x, y in train:
            logits = network(x.double())
            loss = cross_entropy(logits, y)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            losses, right = losses + float(loss.detach()) * len(y), right + int((logits.argmax(1) == y).sum())
        scheduler.step()
        network.eval()
        x, y = images(6, 1).tensors
        with torch.no_grad():
            val = network(x.double())
        metrics = {"train/loss": losses / 10, "train/accuracy": right / 10}
        metrics |= {"val/loss": float(cross_entropy(val, y)), "val/accuracy": float((val.argmax(1) == y).sum()) / 6}
        curve.append(metrics["val/accuracy"])
    return curve, metrics, network


def test_children_are_those_of_a_plain_loop(tmp_path: Path) -> None:
    module = RandomSearchModule(
        "nasbench201",
        scale=SCALE,
        epochs_per_child=3,
        max_children=4,
        grad_clip=1.0,
        seed=5,
        optimizer=partial(SGD, lr=0.1, momentum=0.9),
        input_shape=(3, 8, 8),
    )
    trainer = search(module, tmp_path, precision="64-true")
    proposals = RandomStrategy("nasbench201", seed=5).ask(4)
    assert [record.architecture for record in module.ledger] == [proposal.architecture for proposal in proposals]
    for record in module.ledger:
        curve, metrics, network = plain_loop(record.number, record.architecture)
        assert record.curve == pytest.approx(curve, abs=1e-6)
        assert record.metrics == pytest.approx(metrics, abs=1e-6)
        assert record.score == pytest.approx(curve[-1], abs=1e-6)
        assert (record.status, record.epochs, record.examples, record.error) == ("finished", 3, 30, "")
        macs = count_multiply_adds(network, torch.zeros(1, 3, 8, 8, dtype=torch.float64))
        assert record.costs == {"params": count_parameters(network), "macs": macs}
        assert record.seconds > 0
    assert int(module.examples_seen) == 120
    assert trainer.current_epoch == 12
    assert len({record.metrics["val/loss"] for record in module.ledger}) == 4
    best = max(module.ledger, key=lambda record: record.score or 0)
    assert module.derive() == best.architecture


def test_score_is_the_best_of_the_last_epochs_and_less_may_be_better(tmp_path: Path) -> None:
    curves = [[1.0, 0.5, 4.0, 3.0], [1.0, 5.0, 2.0, 8.0]]
    module = RandomSearchModule(Known(curves), Regression(), epochs_per_child=4, score_window=2, max_children=2)
    search(module, tmp_path, Numbers())
    assert [record.curve for record in module.ledger] == [(-1.0, -0.5, -4.0, -3.0), (-1.0, -5.0, -2.0, -8.0)]
    assert [record.score for record in module.ledger] == [-3.0, -2.0]
    assert module.derive() == module.ledger[1].architecture


def test_hopeless_children_are_stopped_if_told(tmp_path: Path) -> None:
    """Median of the means until epoch 2 of the five before: 3."""
    known = [[2.0 * k, 0.0, 0.0] for k in range(1, 6)]
    curves = [*known, [7.0, 9.0, 0.0], [6.0, 9.0, 0.0], [9.0, 3.5, 0.0], [9.0, 9.0, 9.0]]
    ends = {}
    for stop in (True, False):
        module = RandomSearchModule(Known(curves), Regression(), epochs_per_child=3, stop_hopeless=stop, max_children=9)
        search(module, tmp_path / str(stop), Numbers())
        ends[stop] = [(record.status, record.epochs, record.score) for record in module.ledger]
    whole = ("finished", 3, -0.0)
    # after one epoch the means are 2, 4, 6, 8, 10, and 7 is above their median; 6 is the median itself
    stopped = [("stopped", 1, -7.0), ("stopped", 2, -9.0), ("stopped", 1, -9.0), ("stopped", 1, -9.0)]
    assert ends[True] == [whole] * 5 + stopped
    assert ends[False] == [whole] * 8 + [("finished", 3, -9.0)]


def test_memory_of_a_child_is_free_before_the_next_is_built(tmp_path: Path) -> None:
    earlier: list[weakref.ref[Tensor]] = []
    alive: list[int] = []

    class Watching(NasBench201Space):
        def build(self, *arguments: Any, **scale: Any) -> nn.Module:
            alive.append(sum(reference() is not None for reference in earlier))
            network = super().build(*arguments, **scale)
            earlier.extend(weakref.ref(parameter) for parameter in network.parameters())
            return network

    gc.disable()
    try:
        search(RandomSearchModule(Watching(), scale=SCALE, epochs_per_child=1, max_children=3), tmp_path)
    finally:
        gc.enable()
    assert alive == [0, 0, 0]
    assert len(earlier) > 10


def test_mixed_precision(tmp_path: Path) -> None:
    seen = set()

    class Watching(ImageClassification):
        def evaluate(self, network: Network, batch: Any) -> Evaluation:
            evaluation = super().evaluate(network, batch)
            seen.add((evaluation.predictions.dtype, next(iter(network.parameters())).dtype))  # type: ignore[attr-defined]
            return evaluation

    module = RandomSearchModule("nasbench201", Watching(), scale=SCALE, epochs_per_child=1, max_children=2)
    search(module, tmp_path, precision="bf16-mixed")
    assert [record.status for record in module.ledger] == ["finished"] * 2
    assert seen == {(torch.bfloat16, torch.float32)}


# --- children that fail -----------------------------------------------------------------------------------------------


class Fails(ImageClassification):
    """Fails with children of given numbers, in the epoch of a child in which it is the second batch of a stage."""

    def __init__(self, nan: tuple[int, ...] = (), train: tuple[int, ...] = (), val: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.nan, self.train, self.val = nan, train, val
        self.count = 0

    def evaluate(self, network: Any, batch: Any) -> Evaluation:
        if not hasattr(network, "number"):
            network.number, network.batches = self.count, 0
            self.count += 1
        network.batches += 1
        if network.number in (self.train if network.training else self.val) and network.batches > 7:
            raise RuntimeError(f"no {'training' if network.training else 'validation'} for {network.number}")
        evaluation = super().evaluate(network, batch)
        if network.number in self.nan and network.batches > 1:
            return evaluation._replace(loss=evaluation.loss * torch.nan)
        return evaluation


class Unbuildable(NasBench201Space):
    def __init__(self, *calls: int) -> None:
        super().__init__()
        self.calls, self.count = calls, 0

    def build(self, *arguments: Any, **scale: Any) -> nn.Module:
        self.count += 1
        if self.count - 1 in self.calls:
            raise ValueError("cannot be built")
        return super().build(*arguments, **scale)


def test_failed_children_are_told_and_the_search_goes_on(tmp_path: Path) -> None:
    task = Fails(nan=(1,), train=(2,), val=(3,))
    module = RandomSearchModule(Unbuildable(1), task, scale=SCALE, epochs_per_child=2, max_children=6)
    trainer = search(module, tmp_path)
    assert [(record.status, record.epochs, record.examples, record.error) for record in module.ledger] == [
        ("finished", 2, 20, ""),
        ("failed", 0, 0, "ValueError: cannot be built"),
        ("failed", 0, 4, "FloatingPointError: the loss was nan in epoch 0"),
        ("failed", 1, 18, "RuntimeError: no training for 2"),
        ("failed", 1, 20, "RuntimeError: no validation for 3"),
        ("finished", 2, 20, ""),
    ]
    assert trainer.current_epoch == 2 + 1 + 1 + 2 + 2 + 2
    assert list(module.strategy.scores) == list(range(6))
    assert [score is None for score in module.strategy.scores.values()] == [False, True, True, True, True, False]
    assert read_children(tmp_path / "children.csv") == module.ledger
    # an equal search that reads them takes as many epochs, so that what follows is the same
    again = RandomSearchModule(Unbuildable(), Fails(), scale=SCALE, epochs_per_child=2, max_children=6)
    assert search(again, tmp_path).current_epoch == 10
    assert again.ledger == module.ledger


def test_diverging_objective_fails(tmp_path: Path) -> None:
    curves = [[1.0, float("inf")], [1.0, 2.0]]
    module = RandomSearchModule(Known(curves), Regression(), epochs_per_child=2, max_children=2)
    # the loss of training is not finite either, but in the second epoch
    search(module, tmp_path, Numbers())
    assert [(record.status, record.score, record.curve) for record in module.ledger] == [
        ("failed", None, (-1.0,)),
        ("finished", -2.0, (-1.0, -2.0)),
    ]


@pytest.mark.parametrize("failures", [4, 5])
def test_nothing_but_failures_at_the_start_end_the_search(failures: int, tmp_path: Path) -> None:
    module = RandomSearchModule(Unbuildable(*range(failures)), scale=SCALE, epochs_per_child=1, max_children=6)
    if failures == 4:
        search(module, tmp_path)
        assert [record.status for record in module.ledger] == ["failed"] * 4 + ["finished"] * 2
        return
    with pytest.raises(MisconfigurationException, match=r"first 5 have all failed.*'ValueError: cannot be built'"):
        search(module, tmp_path)


def test_unknown_objective_says_so(tmp_path: Path) -> None:
    task = ImageClassification()
    task.objective = ("val/f1", "max")
    module = RandomSearchModule("nasbench201", task, scale=SCALE, epochs_per_child=1)
    with pytest.raises(MisconfigurationException, match="Expected 'val/f1', the task's objective, among the metrics"):
        search(module, tmp_path)


# --- how a search ends and goes on ------------------------------------------------------------------------------------


def test_table_grows_with_every_child(tmp_path: Path) -> None:
    rows = []

    def look(trainer: pl.Trainer, module: ChildSearchModule) -> None:
        table = read_children(tmp_path / "own" / "children.csv")
        assert table == module.ledger
        rows.append(len(table))

    module = RandomSearchModule("nasbench201", scale=SCALE, epochs_per_child=2, max_children=3, folder=tmp_path / "own")
    search(module, tmp_path, callbacks=[After(look)], enable_checkpointing=True)
    assert rows == [0, 1, 1, 2, 2, 3]


def test_small_space_ends_the_search(tmp_path: Path) -> None:
    space = NasnetSpace(blocks=1, operations=("identity", "max_pool_3x3"))
    different = {space.canonical(space.sample(torch.Generator().manual_seed(seed))) for seed in range(200)}
    module = RandomSearchModule(space, scale={"channels": 4, "cells_per_stage": 1}, epochs_per_child=1)
    trainer = search(module, tmp_path, limit_train_batches=1, limit_val_batches=1)
    assert {space.canonical(record.architecture) for record in module.ledger} == different
    assert len(module.ledger) == len(different) == 10
    assert trainer.current_epoch < 50


def digits_module(**options: Any) -> ChildSearchModule:
    scale = {**SCALE, "in_channels": 1}
    settings: dict[str, Any] = {"population": 2, "sample": 2, "epochs_per_child": 2, "max_children": 4, **options}
    return EvolutionModule("nasbench201", scale=scale, **settings)


def small_digits() -> DigitsDataModule:
    return DigitsDataModule(max_train_images=40, batch_size=8, val_fraction=0.5)  # three batches, and three


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> ChildSearchModule:
    module = digits_module()
    search(module, tmp_path_factory.mktemp("straight"), small_digits())
    return module


def test_resumed_within_a_child(straight: ChildSearchModule, tmp_path: Path) -> None:
    """Also with the same module, and from the file alone."""
    module = digits_module()
    trainer = search(module, tmp_path, small_digits(), max_epochs=3)
    assert (len(module.ledger), trainer.current_epoch) == (1, 3)
    trainer.save_checkpoint(tmp_path / "middle.ckpt")
    for again in (digits_module(), digits_module(folder=tmp_path / "other"), module):
        trainer = search(again, tmp_path, small_digits(), tmp_path / "middle.ckpt")
        assert timeless(again.ledger) == timeless(straight.ledger)
        assert trainer.current_epoch == 8
        assert_same(again.strategy.state_dict(), straight.strategy.state_dict())
        assert int(again.examples_seen) == 4 * 2 * 20
    assert read_children(tmp_path / "other" / "children.csv") == again.ledger


class SaveAll(pl.callbacks.Checkpoint):
    """Writes a checkpoint after every batch, validation and epoch, named by how many training batches are over."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        trainer.save_checkpoint(self.folder / f"batch{trainer.global_step}.ckpt")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking:
            trainer.save_checkpoint(self.folder / f"val{trainer.global_step}.ckpt")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.save_checkpoint(self.folder / f"epoch{trainer.global_step}.ckpt")


@pytest.fixture(scope="module")
def checkpoints(straight: ChildSearchModule, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("all")
    module = digits_module()
    search(module, folder / "run", small_digits(), callbacks=[SaveAll(folder)], enable_checkpointing=True)
    assert timeless(module.ledger) == timeless(straight.ledger)  # saving changes nothing
    for file in folder.glob("*.ckpt"):  # its files are not read
        torch.save({**torch.load(file, weights_only=True), "children_files": []}, file)
    return folder


@pytest.mark.parametrize("name", ["batch1", "batch4", "batch8", "val3", "val6", "val9", "epoch3", "epoch6", "epoch24"])
def test_resumed_from_any_checkpoint(name: str, checkpoints: Path, straight: ChildSearchModule, tmp_path: Path) -> None:
    module = digits_module()
    search(module, tmp_path, small_digits(), checkpoints / f"{name}.ckpt")
    assert timeless(module.ledger) == timeless(straight.ledger)


def test_resumed_from_the_last_batch_of_an_epoch(checkpoints: Path, tmp_path: Path) -> None:
    """Lightning leaves out the validation that was to follow: the child has an epoch more."""
    module = digits_module()
    search(module, tmp_path, small_digits(), checkpoints / "batch3.ckpt")
    assert [(record.status, record.epochs, record.examples) for record in module.ledger] == [
        ("finished", 2, 60),
        *[("finished", 2, 40)] * 3,
    ]


def test_validating_a_checkpoint_asks_for_nothing(checkpoints: Path, tmp_path: Path) -> None:
    module = digits_module()
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, default_root_dir=tmp_path)
    trainer.validate(module, small_digits(), checkpoints / "batch4.ckpt", verbose=False)
    assert module._runner.child is None
    assert not (tmp_path / "children.csv").exists()


def test_children_of_another_process_are_kept_for_later(straight: ChildSearchModule, tmp_path: Path) -> None:
    """One process goes on with what two had under way."""
    module = digits_module()
    trainer = search(module, tmp_path, small_digits(), max_epochs=1)
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    state = torch.load(tmp_path / "one.ckpt", weights_only=True)
    finished = straight.ledger[1]
    state["running"].append({"number": 1, "record": finished.to_dict()})
    torch.save({**state, "children_files": []}, tmp_path / "two.ckpt")
    again = digits_module(folder=tmp_path / "again")
    trainer = search(again, tmp_path, small_digits(), tmp_path / "two.ckpt", max_epochs=2)
    trainer.save_checkpoint(tmp_path / "three.ckpt")
    assert len(again.ledger) == 1
    last = digits_module(folder=tmp_path / "last")
    search(last, tmp_path, small_digits(), tmp_path / "three.ckpt", max_epochs=3)
    assert last.ledger[1] == finished


def test_epochs_validated_twice_count_once(straight: ChildSearchModule, tmp_path: Path) -> None:
    module = digits_module()
    search(module, tmp_path, small_digits(), val_check_interval=1 / 3)
    assert [record.curve for record in module.ledger] == [record.curve for record in straight.ledger]
    assert [record.examples for record in module.ledger] == [40] * 4


def test_file_of_another_search_is_refused(tmp_path: Path) -> None:
    search(RandomSearchModule("nasbench201", scale=SCALE, epochs_per_child=1, max_children=1), tmp_path)
    before = (tmp_path / "children.csv").read_text()
    others = [
        RandomSearchModule("nasbench201", scale=SCALE, epochs_per_child=2, max_children=1),
        RandomSearchModule("nasbench201", scale=SCALE, epochs_per_child=1, max_children=1, seed=1),
        EvolutionModule("nasbench201", scale=SCALE, epochs_per_child=1, max_children=1),
    ]
    for other in others:
        with pytest.raises(MisconfigurationException, match=r"children\.csv to hold the children of this search but"):
            search(other, tmp_path)
    with pytest.raises(MisconfigurationException, match="other settings"):  # a trial with less data is another search
        search(RandomSearchModule("nasbench201", scale=SCALE, epochs_per_child=1), tmp_path, limit_train_batches=1)
    assert (tmp_path / "children.csv").read_text() == before
    more = RandomSearchModule("nasbench201", scale=SCALE, epochs_per_child=1, max_children=2)
    search(more, tmp_path)
    assert [record.number for record in read_children(tmp_path / "children.csv")] == [0, 1]


def test_damaged_file_ends_the_search(tmp_path: Path) -> None:
    (tmp_path / "children.csv").write_text("number,status\n0,fin")
    with pytest.raises(ValueError, match=r"children\.csv to be the table of a search's children but"):
        search(RandomSearchModule("nasbench201", scale=SCALE), tmp_path)


def test_another_recipe_is_another_search(tmp_path: Path) -> None:
    """Another optimiser, or schedule, or rate; what cannot be made without the real parameters is not compared."""

    def module(**recipe: Any) -> ChildSearchModule:
        return RandomSearchModule("nasbench201", scale=SCALE, epochs_per_child=1, max_children=1, **recipe)

    search(module(), tmp_path)
    others: list[dict[str, Any]] = [
        {"optimizer": partial(SGD, lr=0.1, momentum=0.9, weight_decay=3e-4)},
        {"optimizer": Adam},
        {"scheduler": partial(StepLR, step_size=1)},
    ]
    for other in others:
        with pytest.raises(MisconfigurationException, match="other settings"):
            search(module(**other), tmp_path)
    search(module(optimizer=partial(SGD, lr=0.025, momentum=0.9, weight_decay=3e-4)), tmp_path)
    assert describe_recipe(lambda parameters: SGD([list(parameters)[1]]), None) == []


def test_an_epoch_that_is_cut_short_does_not_count(tmp_path: Path) -> None:
    """Nor does one that is not validated; it is trained again, with what it had been given already."""

    def module() -> ChildSearchModule:
        return RandomSearchModule("nasbench201", scale=SCALE, epochs_per_child=2, max_children=2)

    trainer = search(own := module(), tmp_path, max_steps=3 * 3 + 1)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    assert [(record.number, record.epochs) for record in own.ledger] == [(0, 2)]
    assert read_children(tmp_path / "children.csv") == own.ledger
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert [(child["number"], len(child["curve"])) for child in state["running"]] == [(1, 1)]
    search(again := module(), tmp_path, None, tmp_path / "last.ckpt")
    assert [(record.number, record.status, record.epochs) for record in again.ledger] == [
        (0, "finished", 2),
        (1, "finished", 2),
    ]
    first, second = again.ledger
    assert second.examples == first.examples + 4  # of the batch before the cut
    assert {"val/accuracy", "train/accuracy"} <= {*second.metrics}


def test_a_module_fitted_again_begins_its_child_anew(tmp_path: Path) -> None:
    """As a fresh module does after an interruption, Ctrl-C for example."""

    def module() -> ChildSearchModule:
        return RandomSearchModule("nasbench201", scale=SCALE, epochs_per_child=2, max_children=1)

    search(own := module(), tmp_path / "own", max_steps=3 + 1)
    assert own.ledger == []
    search(own, tmp_path / "own")
    search(straight := module(), tmp_path / "straight")
    assert timeless(own.ledger) == timeless(straight.ledger)


def test_trial_run_leaves_no_file(tmp_path: Path) -> None:
    module = RandomSearchModule("nasbench201", scale=SCALE, epochs_per_child=1)
    search(module, tmp_path, fast_dev_run=True)
    assert [record.status for record in module.ledger] == ["finished"]
    assert not (tmp_path / "children.csv").exists()


def test_somebody_elses_stop_is_heeded_while_known_children_are_skipped(tmp_path: Path) -> None:
    def module() -> ChildSearchModule:
        return RandomSearchModule("nasbench201", scale=SCALE, epochs_per_child=3, max_children=1)

    class Stop(pl.Callback):
        def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
            trainer.should_stop = trainer.current_epoch == 1

    search(module(), tmp_path)
    assert search(module(), tmp_path, callbacks=[Stop()]).current_epoch == 2


# --- what is refused --------------------------------------------------------------------------------------------------


class Changed(Images):
    def __init__(self, train: Any = None, val: Any = None) -> None:
        super().__init__()
        self.loaders = train or super().train_dataloader(), super().val_dataloader() if val is None else val

    def train_dataloader(self) -> Any:
        return self.loaders[0]

    def val_dataloader(self) -> Any:
        return self.loaders[1]


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (lambda: DigitsDataModule(search=True, max_train_images=20), {}, "search=False"),
        (lambda: DigitsDataModule(val_fraction=0, max_train_images=20), {}, "Expected validation data"),
        (Images, {"limit_val_batches": 0}, "Expected validation data"),
        (Images, {"check_val_every_n_epoch": 2}, r"check_val_every_n_epoch=1.*but got 2"),
        (Images, {"accumulate_grad_batches": 2}, "accumulate_grad_batches"),
        (Images, {"gradient_clip_val": 1.0}, "gradient_clip_val"),
    ],
)
@pytest.mark.filterwarnings("ignore:Total length of `list` across ranks is zero")
def test_refused(data: Callable[[], Any], options: dict[str, Any], message: str, tmp_path: Path) -> None:
    module = RandomSearchModule("nasbench201", scale={**SCALE, "in_channels": 1}, epochs_per_child=1)
    with pytest.raises(MisconfigurationException, match=message):
        search(module, tmp_path, data(), **options)


@pytest.mark.parametrize("arguments", [{"epochs_per_child": 0}, {"max_children": 0}, {"score_window": 0}])
def test_arguments_out_of_range(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        RandomSearchModule("nasbench201", **arguments)


# --- several processes ------------------------------------------------------------------------------------------------

TWO: dict[str, Any] = {"devices": 2, "strategy": "ddp_fork"}


@pytest.mark.parametrize(
    "data",
    [
        Images,
        lambda: Changed(val=[DataLoader(images(6, 1), 4)]),
    ],
    ids=["loader", "list"],
)
def test_distributed_samplers_are_refused(data: Callable[[], Any], tmp_path: Path) -> None:
    module = RandomSearchModule("nasbench201", scale=SCALE, epochs_per_child=1, max_children=2)
    with pytest.raises(Exception, match=r"Trainer\(use_distributed_sampler=False\)"):
        search(module, tmp_path, data(), **TWO)


@pytest.mark.parametrize("children", [6, 7])
def test_two_processes_train_the_children_of_one(children: int, tmp_path: Path) -> None:
    def module() -> ChildSearchModule:
        strategy = EvolutionStrategy(Known(), population=8, sample=2, seed=3)
        return ChildSearchModule(strategy, Regression(), epochs_per_child=2, max_children=children)

    def write(trainer: pl.Trainer, module: ChildSearchModule) -> None:
        name = f"{trainer.current_epoch}_{trainer.global_rank}.pt"
        records = [record.to_dict() for record in module.ledger]
        torch.save({"strategy": module.strategy.state_dict(), "records": records}, tmp_path / name)

    one = module()
    search(one, tmp_path / "one", Numbers())
    options: dict[str, Any] = {
        "use_distributed_sampler": False,
        "callbacks": [After(write)],
        "enable_checkpointing": True,
    }
    search(module(), tmp_path / "two", Numbers(), **TWO, **options)
    rounds = -(-children // 2)
    assert len(list(tmp_path.glob("*.pt"))) == rounds * 2 * 2
    for epoch in range(2 * rounds):
        first, second = (torch.load(tmp_path / f"{epoch}_{rank}.pt", weights_only=True) for rank in (0, 1))
        assert_same(first, second)
        assert len(first["records"]) == min((epoch + 1) // 2 * 2, children)
    assert timeless(read_children(tmp_path / "two" / "children.csv")) == timeless(one.ledger)


def test_two_processes_go_on_when_one_fails_or_ends_early(tmp_path: Path) -> None:
    """The first children take 1 epoch (not built) and 2; and a checkpoint holds both."""

    def module(*calls: int) -> ChildSearchModule:
        return RandomSearchModule(Unbuildable(*calls), scale=SCALE, epochs_per_child=2, max_children=4)

    def build_in(trainer: pl.Trainer, module: ChildSearchModule) -> None:
        trainer.save_checkpoint(tmp_path / f"{trainer.current_epoch}.ckpt")

    class FailFirst(pl.Callback):
        def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            assert isinstance(pl_module, ChildSearchModule)
            assert isinstance(pl_module.space, Unbuildable)
            pl_module.space.calls = (0,) if trainer.global_rank == 0 else ()

    options: dict[str, Any] = {"use_distributed_sampler": False, "callbacks": [FailFirst(), After(build_in)]}
    search(module(), tmp_path, enable_checkpointing=True, **TWO, **options)
    ledger = read_children(tmp_path / "children.csv")
    assert [(record.status, record.epochs) for record in ledger] == [
        ("failed", 0),
        ("finished", 2),
        ("finished", 2),
        ("finished", 2),
    ]
    state = torch.load(tmp_path / "0.ckpt", weights_only=True)
    assert [(child["number"], "record" in child) for child in state["running"]] == [(0, True), (1, False)]
    torch.save({**state, "children_files": []}, tmp_path / "alone.ckpt")
    options = {"use_distributed_sampler": False}
    search(module(), tmp_path / "again", None, tmp_path / "alone.ckpt", **TWO, **options)
    assert timeless(read_children(tmp_path / "again" / "children.csv")) == timeless(ledger)


# --- what Lightning sees ----------------------------------------------------------------------------------------------


def test_logger(tmp_path: Path) -> None:
    logger = pl.loggers.CSVLogger(tmp_path, name="run")
    module = RandomSearchModule(
        "nasbench201",
        scale=SCALE,
        epochs_per_child=2,
        max_children=2,
        optimizer=partial(SGD, lr=0.1),
        folder=None,
    )
    search(module, tmp_path, logger=logger, log_every_n_steps=1)
    folder = tmp_path / "run" / "version_0"
    assert read_children(folder / "children.csv") == module.ledger
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    losses = [f"{stage}/{name}" for stage in ("train", "val") for name in ("loss", "accuracy")]
    names = ["search/children", "search/examples_seen", "search/best_error", "search/device_hours"]
    assert {*losses, *names} <= {*rows[0]}
    assert [float(row["search/children"]) for row in rows] == [0, 1, 1, 2]
    assert [float(row["search/examples_seen"]) for row in rows] == [0, 20, 20, 40]
    first, second = (record.score or 0.0 for record in module.ledger)
    errors = [1.0, 1 - first, 1 - first, 1 - max(first, second)]
    assert [float(row["search/best_error"]) for row in rows] == pytest.approx(errors, abs=1e-6)
    accuracies = [value for record in module.ledger for value in record.curve]
    assert [float(row["val/accuracy"]) for row in rows] == pytest.approx(accuracies, abs=1e-6)
    hours = sum(record.seconds for record in module.ledger) / 3600
    assert float(rows[-1]["search/device_hours"]) == pytest.approx(hours)
    hyperparameters = yaml.safe_load((folder / "hparams.yaml").read_text())
    assert hyperparameters["space"] == "nasbench201"
    assert hyperparameters["scale"] == SCALE
    assert hyperparameters["epochs_per_child"] == 2


def test_callbacks_that_monitor_the_best_error(tmp_path: Path) -> None:
    """They work from the first epoch on, when no child has a score yet."""
    keep = pl.callbacks.ModelCheckpoint(tmp_path / "best", monitor="search/best_error")
    stop = pl.callbacks.EarlyStopping("search/best_error", patience=1000)
    module = RandomSearchModule("nasbench201", scale=SCALE, epochs_per_child=2, max_children=2)
    search(module, tmp_path, callbacks=[keep, stop], enable_checkpointing=True)
    best = module.strategy.best
    assert best is not None
    assert float(keep.best_model_score or 0) == pytest.approx(1 - best.metrics["score"], abs=1e-6)


@pytest.mark.parametrize(
    "module",
    [
        lambda: RandomSearchModule("nasbench201", scale=SCALE, epochs_per_child=4, seed=2),
        lambda: EvolutionModule("nasbench201", population=2, sample=2, scale=SCALE, epochs_per_child=4),
        lambda: NasModule("nas_conv?layers=2&kernels=1,3&filters=4,8", samples_per_update=2, epochs_per_child=4),
        lambda: PnasModule(
            "nasnet?blocks=2&operations=identity",
            beam=2,
            scale={"channels": 4, "cells_per_stage": 1},
            epochs_per_child=4,
        ),
        lambda: PetridishModule(
            "petridish?cells=1",
            scale={"filters": 2},
            seed_epochs=4,
            hallucination_epochs=4,
            input_shape=(3, 8, 8),
        ),
    ],
    ids=["random", "evolution", "nas", "pnas", "petridish"],
)
def test_checkpoint_of_a_child_under_way(module: Callable[[], ChildSearchModule], tmp_path: Path) -> None:
    """It is plain data, schedules of all kinds among it, and makes a module of the same class."""
    own, straight = module(), module()
    trainer = search(own, tmp_path / "own", max_epochs=6)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert [len(child["curve"]) for child in state["running"]] == [2]
    loaded = type(own).load_from_checkpoint(tmp_path / "last.ckpt")
    assert loaded.derive() == own.derive()
    assert loaded.ledger == own.ledger
    assert loaded.scale == own.scale
    assert_same(loaded.strategy.state_dict(), own.strategy.state_dict())
    search(straight, tmp_path / "straight", max_epochs=8)
    search(own := module(), tmp_path / "own", None, tmp_path / "last.ckpt", max_epochs=8)
    assert timeless(own.ledger) == timeless(straight.ledger)
    assert [record.epochs for record in own.ledger] == [4, 4]
