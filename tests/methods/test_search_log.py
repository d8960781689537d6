import csv
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_nas import DartsModule, EnasModule
from lightning_nas._lightning import pl
from lightning_nas.methods.base import SearchModule
from lightning_nas.testing.search_module import RandomImages

SCALE = {"channels": 4, "cells": 1}
pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:The dirpath has changed")


def make(method: str) -> SearchModule:
    if method == "darts":
        return DartsModule("nasbench201", scale=SCALE, order="first")
    return EnasModule("nasbench201", scale=SCALE, controller_steps=1, derive_samples=2)


def search(module: SearchModule, folder: Path, epochs: int, **options: Any) -> list[dict[str, str]]:
    """Return the rows that were logged at the ends of epochs, and those of validations, one for each epoch."""
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=pl.loggers.CSVLogger(folder, name="", version=""),
        callbacks=[pl.callbacks.ModelCheckpoint(folder, save_last=True)],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )
    trainer.fit(module, datamodule=RandomImages(4), **options)
    with (folder / "metrics.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def column(rows: list[dict[str, str]], name: str) -> list[float]:
    return [float(row[name]) for row in rows if row[name]]


@pytest.mark.parametrize("method", ["darts", "enas"])
def test_best_error_is_that_of_the_best_validation_so_far(method: str, tmp_path: Path) -> None:
    rows = search(make(method), tmp_path, 4)
    accuracies = column(rows, "val/accuracy")
    assert len(set(accuracies)) > 1
    best = [1 - max(accuracies[: epoch + 1]) for epoch in range(4)]
    assert column(rows, "search/best_error") == pytest.approx(best, abs=1e-6)
    assert column(rows, "search/children") == [0.0] * 4


def test_a_resumed_search_goes_on_counting(tmp_path: Path) -> None:
    search(make("darts"), tmp_path / "first", 2)
    checkpoint = torch.load(tmp_path / "first/last.ckpt", weights_only=True)
    checkpoint["search"]["watch"] = {"seconds": 7200.0}
    checkpoint["search"]["best"] = 0.875
    torch.save(checkpoint, tmp_path / "later.ckpt")
    rows = search(make("darts"), tmp_path / "second", 3, ckpt_path=tmp_path / "later.ckpt")
    assert column(rows, "search/best_error") == [0.125]
    (hours,) = column(rows, "search/device_hours")
    assert 2.0 < hours < 2.1
    assert column(rows, "search/examples_seen") == [3 * 16.0]


def test_time_after_the_end_does_not_count(tmp_path: Path) -> None:
    module = make("darts")
    search(module, tmp_path, 1)
    first, second = module.cost_and_best()[1], module.cost_and_best()[1]
    assert 0 < first == second


def test_an_objective_that_is_no_accuracy_is_logged_as_it_is(tmp_path: Path) -> None:
    module = make("darts")
    module.task.objective = "val/loss", "min"
    rows = search(module, tmp_path, 3)
    losses = column(rows, "val/loss")
    assert column(rows, "search/best_score") == pytest.approx([min(losses[: epoch + 1]) for epoch in range(3)])
