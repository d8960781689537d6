"""The callbacks in a project that knows nothing of us, under both Lightning packages and with every logger."""

import csv
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from lightning_nas.runs.wandb_file import read_wandb_file

LOGGERS = ("wandb", "tensorboard", "csv", "mlflow")

# One process for all loggers: half a minute would be imports otherwise.
PROJECT = """
import json, sys, warnings
from importlib import import_module
from pathlib import Path
warnings.simplefilter("ignore")
package, folder = sys.argv[1], Path.cwd()
pl, loggers = import_module(package), import_module(package + ".loggers")
boring = import_module(package + ".demos.boring_classes")
import torch
from torch.utils.data import DataLoader
import lightning_nas as nas
from lightning_nas.objective import Objective

torch.set_num_threads(1)
quiet = dict(accelerator="cpu", enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0)


class Model(boring.BoringModel):
    def validation_step(self, batch, batch_idx):
        self.log("val/loss", self.loss(self.layer(batch)))


class Notes(pl.Callback):
    def __init__(self):
        self.losses = []

    def on_validation_end(self, trainer, pl_module):
        error = pl_module.layer(trainer.val_dataloaders.dataset.data) - 1
        self.losses.append(float((error**2).mean()))


def data(length):
    return DataLoader(boring.RandomDataset(32, length))


def make_logger(name):
    place = folder / name
    if name == "wandb":
        return loggers.WandbLogger(project="nas", id="run1", save_dir=place, offline=True)
    if name == "mlflow":
        return loggers.MLFlowLogger(tracking_uri=f"file:{place / 'mlruns'}")
    return {"tensorboard": loggers.TensorBoardLogger, "csv": loggers.CSVLogger}[name](place)


def train(name, logger):
    torch.manual_seed(1)
    objectives = [Objective(metric, reference=100.0) for metric in ("val/loss", "params", "macs")]
    notes, front = Notes(), nas.ParetoFront(objectives, input_shape=(32,))
    trainer = pl.Trainer(
        max_epochs=2, callbacks=[notes, front, nas.CostMeter()], logger=logger, enable_checkpointing=False,
        default_root_dir=folder / name, **quiet,
    )
    trainer.fit(Model(), data(5), data(3))
    assert isinstance(front, pl.Callback)
    return notes.losses


def search(all_loggers):
    module = nas.DartsModule("nasbench201", scale={"channels": 4, "cells": 1}, order="first")
    with torch.no_grad():
        module.alphas["cell"][:, 1] = 5.0  # skip_connect
    callbacks = [nas.SkipCollapse(max_skips=0), nas.HessianEigenvalue(steps=3)]
    trainer = pl.Trainer(
        max_epochs=3, callbacks=callbacks, logger=all_loggers, enable_checkpointing=False, limit_train_batches=1,
        limit_val_batches=0, **quiet,
    )
    trainer.fit(module, datamodule=import_module("lightning_nas.testing.search_module").RandomImages(4))
    return callbacks[1].history[0]["eigenvalue"]


def refuse(callback):
    try:
        pl.Trainer(fast_dev_run=1, callbacks=[callback], **quiet).fit(Model(), data(5), data(3))
    except TypeError as error:
        return str(error)


def finish(logger):
    if type(logger).__name__ == "WandbLogger":
        logger.experiment.finish()
    return logger


report = {"losses": {}, "mlflow": {}}
for name in ("wandb", "tensorboard", "csv", "mlflow", "none"):
    logger = make_logger(name) if name != "none" else False
    report["losses"][name] = train(name, logger)
    finish(logger)
    report["mlflow"]["train"] = logger.run_id if name == "mlflow" else report["mlflow"].get("train")
folder /= "search"
all_loggers = [make_logger(name) for name in ("wandb", "tensorboard", "csv", "mlflow")]
report["eigenvalue"] = search(all_loggers)
report["mlflow"]["search"] = [finish(logger) for logger in all_loggers][-1].run_id
report["refusals"] = [refuse(make()) for make in (nas.ArchitectureLog, nas.SkipCollapse, nas.HessianEigenvalue)]
report["package"] = nas._lightning.package_name()
print(json.dumps(report))
"""


@pytest.fixture(scope="module", params=["pytorch_lightning", pytest.param("lightning.pytorch", marks=pytest.mark.slow)])
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder that everything was written to, and what the project has seen itself."""
    folder = tmp_path_factory.mktemp("project")
    places = {f"WANDB_{name}_DIR": str(folder / "wandb_home") for name in ("DATA", "CACHE", "CONFIG")}
    environment = {**os.environ, **places, "MLFLOW_ALLOW_FILE_STORE": "true"}
    done = subprocess.run(
        [sys.executable, "-c", PROJECT, request.param],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert report["package"] == request.param
    return folder, report


def written(kind: str, place: Path, name: str, run_id: str) -> list[float]:
    """Return all values of a metric that a logger has written, in order."""
    match kind:
        case "wandb":
            (path,) = place.rglob("*.wandb")
            return [row[name] for row in read_wandb_file(path).history if name in row]
        case "tensorboard":
            accumulator = import_module("tensorboard.backend.event_processing.event_accumulator").EventAccumulator
            (path,) = place.rglob("events.out.tfevents.*")
            return [event.value for event in accumulator(str(path)).Reload().Scalars(name)]
        case "csv":
            (path,) = place.rglob("metrics.csv")
            with path.open(newline="") as file:
                return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]
        case _:
            (path,) = place.glob(f"mlruns/*/{run_id}/metrics/{name}")
            return [float(line.split()[1]) for line in path.read_text().splitlines()]


def hypervolume(losses: list[float]) -> float:
    """A linear layer from 32 to 2 has 66 parameters and 64 multiply-adds; the reference is 100 everywhere."""
    return (100 - min(losses)) * (100 - 66) * (100 - 64)


@pytest.mark.parametrize("kind", [*LOGGERS, "none"])
def test_the_front_of_a_foreign_project(kind: str, project: tuple[Path, dict[str, Any]]) -> None:
    folder, report = project
    first, second = report["losses"][kind]
    assert first > second > 0
    (table,) = (folder / kind).rglob("pareto.csv")  # MLflow has a copy of pareto.json
    front = json.loads(table.with_name("pareto.json").read_text())
    values = [candidate["values"] for candidate in front["candidates"]]
    expected = [{"val/loss": pytest.approx(loss), "params": 66, "macs": 64} for loss in (first, second)]
    assert values == expected
    assert [candidate["on_front"] for candidate in front["candidates"]] == [False, True]
    assert front["hypervolume"] == pytest.approx(hypervolume([first, second]))
    assert table.with_name("pareto.png").read_bytes().startswith(b"\x89PNG")
    assert len(table.read_text().splitlines()) == 3


@pytest.mark.parametrize("kind", LOGGERS)
def test_what_loggers_get(kind: str, project: tuple[Path, dict[str, Any]]) -> None:
    folder, report = project

    def values(name: str) -> list[float]:
        return written(kind, folder / kind, name, report["mlflow"]["train"])

    losses = report["losses"][kind]
    assert values("pareto/size") == [1, 1]
    assert values("pareto/hypervolume") == pytest.approx([hypervolume(losses[:1]), hypervolume(losses)])
    assert values("search/examples_seen") == [5, 10]
    hours, memory = values("search/device_hours"), values("search/peak_memory")
    assert 0 < hours[0] < hours[1] < 1
    assert 1e8 < memory[0] <= memory[1] < 1e11


def test_the_table_and_the_files_in_wandb(project: tuple[Path, dict[str, Any]]) -> None:
    (path,) = (project[0] / "wandb").rglob("*.wandb")
    run = read_wandb_file(path)
    kinds = [artifact.type for artifact in run.artifacts]
    assert kinds.count("pareto-front") == 1
    assert run.summary["pareto/candidates"]["nrows"] == 2
    assert run.summary["pareto/front"]["_type"] == "image-file"


@pytest.mark.parametrize("kind", LOGGERS)
def test_what_loggers_get_of_a_search(kind: str, project: tuple[Path, dict[str, Any]]) -> None:
    folder, report = project
    place, run_id = folder / "search" / kind, report["mlflow"]["search"]
    assert written(kind, place, "search/skip_collapse_epoch", run_id) == [0]
    assert written(kind, place, "search/hessian_eigenvalue", run_id) == pytest.approx([report["eigenvalue"]])


def test_where_a_search_writes_its_architecture(project: tuple[Path, dict[str, Any]]) -> None:
    """In the folder of its first logger's run."""
    (path,) = (project[0] / "search").rglob("skip_collapse.json")
    assert path == project[0] / "search" / "wandb" / "nas" / "run1" / "skip_collapse.json"
    assert set(json.loads(path.read_text())["values"].values()) == {"skip_connect"}


def test_callbacks_of_searches_refuse_it(project: tuple[Path, dict[str, Any]]) -> None:
    """With their own name, and that of the module."""
    names = ("ArchitectureLog", "SkipCollapse", "HessianEigenvalue")
    for name, message in zip(names, project[1]["refusals"], strict=True):
        assert message.startswith(f"Expected {name} to run with a search")
        assert message.endswith("but got <class '__main__.Model'>")
