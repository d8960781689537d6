"""Searches that are killed, and go on."""

import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from lightning_nas._lightning import pl
from lightning_nas.architecture import Architecture
from lightning_nas.datamodules import DigitsDataModule
from lightning_nas.methods import ChildSearchModule
from lightning_nas.methods.child_record import ChildRecord
from lightning_nas.methods.ledger import read_children
from lightning_nas.spaces.nasbench201 import NasBench201Space
from lightning_nas.strategies import EvolutionStrategy

CHILDREN, EPOCHS = 4, 2


class Counting(NasBench201Space):
    """Writes a line for every network that it builds."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file

    def build(self, architecture: Architecture, **scale: Any) -> nn.Module:
        with self.file.open("a") as file:
            file.write(f"{hash_of(architecture)}\n")
        return super().build(architecture, **scale)


def hash_of(architecture: Architecture) -> str:
    return "|".join(map(str, architecture.values.values()))


class Moment(pl.callbacks.Checkpoint):
    """Kills the process at a moment: as a ``Checkpoint`` it is called in its place among those that save."""

    def __init__(self, epoch: int, batch: int | None = None) -> None:
        self.epoch, self.batch = epoch, batch

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if (trainer.current_epoch, batch_idx) == (self.epoch, self.batch):
            os.kill(os.getpid(), signal.SIGKILL)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == self.epoch and self.batch is None:
            os.kill(os.getpid(), signal.SIGKILL)


class Save(pl.callbacks.Checkpoint):
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.save_checkpoint(Path(trainer.default_root_dir, "last.ckpt"))


def run(folder: Path, callbacks: Iterable[pl.Callback], *, resume: bool = False, devices: int = 1) -> None:
    strategy = EvolutionStrategy(Counting(folder / "built"), population=2, sample=2)
    scale = {"channels": 4, "cells": 1, "in_channels": 1}
    module = ChildSearchModule(strategy, scale=scale, epochs_per_child=EPOCHS, max_children=CHILDREN)
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=devices,
        max_epochs=50,
        strategy="auto" if devices == 1 else "ddp_fork",
        default_root_dir=folder,
        callbacks=list(callbacks),
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    data = DigitsDataModule(max_train_images=40, batch_size=8, val_fraction=0.5)
    trainer.fit(module, datamodule=data, ckpt_path=folder / "last.ckpt" if resume else None)


def killed(folder: Path, callbacks: Iterable[pl.Callback] = (), run: Callable[..., None] = run, **options: Any) -> None:
    process = get_context("fork").Process(target=run, args=(folder, callbacks), kwargs=options)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


def outcome(folder: Path) -> list[ChildRecord]:
    return [replace(record, seconds=0.0) for record in read_children(folder / "children.csv")]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("straight")
    run(folder, [])
    return folder


MOMENTS: dict[str, tuple[Callable[[], list[pl.Callback]], int]] = {  # and how many children have ended
    "within an epoch": (lambda: [Save(), Moment(3, 1)], 1),
    "between the epochs of a child": (lambda: [Save(), Moment(2)], 1),
    "after the table, before the checkpoint": (lambda: [Moment(3), Save()], 2),
    "after the checkpoint of a child's end": (lambda: [Save(), Moment(3)], 2),
}


@pytest.mark.parametrize("checkpoint", [True, False], ids=["ckpt_path", "table"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_no_finished_child_is_lost_or_trained_twice(
    moment: str, checkpoint: bool, straight: Path, tmp_path: Path
) -> None:
    callbacks, ended = MOMENTS[moment]
    killed(tmp_path, callbacks())
    whole = outcome(straight)
    assert outcome(tmp_path) == whole[:ended]
    built = (tmp_path / "built").read_text().splitlines()
    run(tmp_path, [], resume=checkpoint)
    assert outcome(tmp_path) == whole
    later = (tmp_path / "built").read_text().splitlines()[len(built) :]
    assert later == [hash_of(record.architecture) for record in whole[ended:]]


def test_killed_again_and_again(straight: Path, tmp_path: Path) -> None:
    """Every resumed run is killed too, in the next epoch, before its checkpoint and after it."""
    killed(tmp_path, [Save(), Moment(0)])
    for epoch in range(1, 2 * EPOCHS):
        killed(tmp_path, [Moment(epoch), Save()], resume=True)
        killed(tmp_path, [Save(), Moment(epoch)], resume=True)
    run(tmp_path, [], resume=True)
    assert outcome(tmp_path) == outcome(straight)


@pytest.mark.parametrize("moment", ["within an epoch", "after the checkpoint of a child's end"])
def test_two_processes(moment: str, tmp_path: Path) -> None:
    """Interrupted by an error in one of them."""

    class Interrupt(Moment):
        def on_train_batch_end(self, trainer: pl.Trainer, *rest: Any) -> None:
            if (trainer.current_epoch, rest[-1]) == (self.epoch, self.batch):
                raise RuntimeError("interrupted")

        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            if trainer.current_epoch == self.epoch and self.batch is None:
                raise RuntimeError("interrupted")

    (tmp_path / "whole").mkdir()
    run(tmp_path / "whole", [], devices=2)
    batch, ended = (1, 2) if moment == "within an epoch" else (None, 4)
    with pytest.raises(Exception, match="interrupted"):
        run(tmp_path, [Save(), Interrupt(3, batch)], devices=2)
    assert outcome(tmp_path) == outcome(tmp_path / "whole")[:ended]
    run(tmp_path, [], resume=True, devices=2)
    assert outcome(tmp_path) == outcome(tmp_path / "whole")
    built = (tmp_path / "built").read_text().splitlines()
    assert len(built) == (4 if ended == 4 else 6)
