import csv
import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_nas import (
    Architecture,
    DartsModule,
    DeriveArchitecture,
    DigitsDataModule,
    ModuleSpace,
    OpChoice,
    RandomSearchModule,
    Regression,
    RetrainModule,
)
from lightning_nas._lightning import pl
from lightning_nas.costs import count_multiply_adds, count_parameters

SCALE = {"channels": 4, "layers": 3, "in_channels": 1}
CHILD = {"channels": 4, "cells": 1, "in_channels": 1}
SILENT: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists"),
]


def make_module() -> DartsModule:
    return DartsModule("darts?nodes=2", scale=SCALE, order="first")


def make_callback(folder: Path | None, every_n_epochs: int = 1) -> DeriveArchitecture:
    return DeriveArchitecture(folder, every_n_epochs, scale=SCALE, input_shape=(1, 8, 8))


def fit(callback: DeriveArchitecture, root: Path, epochs: int, ckpt_path: Path | None = None) -> pl.Trainer:
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=[callback, pl.callbacks.ModelCheckpoint(root, save_last=True)],
        default_root_dir=root,
        **SILENT,
    )
    data = DigitsDataModule(search=True, batch_size=16, max_train_images=32)
    trainer.fit(make_module(), datamodule=data, ckpt_path=ckpt_path)
    return trainer


def epochs_in(folder: Path) -> list[int]:
    return [entry["epoch"] for entry in json.loads((folder / "history.json").read_text())]


def test_writes_what_the_module_derives(tmp_path: Path) -> None:
    trainer = fit(make_callback(tmp_path / "out"), tmp_path, 2)
    written = Architecture.load(tmp_path / "out" / "architecture.json")
    module = trainer.lightning_module
    assert isinstance(module, DartsModule)
    assert written == module.derive()
    assert written.metrics["val/loss"] == pytest.approx(float(trainer.callback_metrics["val/loss"]))
    assert written.provenance["method"] == "DartsModule"
    assert epochs_in(tmp_path / "out") == [0, 1]
    assert (tmp_path / "out" / "cells.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "out" / "cells.svg").read_text()


def test_logs_the_costs_of_the_derived_network(tmp_path: Path) -> None:
    trainer = fit(make_callback(tmp_path), tmp_path, 1)
    module = trainer.lightning_module
    assert isinstance(module, DartsModule)
    network = module.space.build(module.derive(), **SCALE)  # type: ignore[arg-type]  # the scale is not typed
    assert trainer.callback_metrics["derived/params"] == count_parameters(network)
    assert trainer.callback_metrics["derived/macs"] == count_multiply_adds(network, torch.zeros(1, 1, 8, 8))


class Own(nn.Module):
    """Its first layer is lazy, it has a tensor that torch does not know of, and one layer stands in two places."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.layer = nn.LazyLinear(4), nn.Linear(4, 4)
        self.act = OpChoice({"relu": nn.ReLU(), "linear": nn.Sequential(nn.ReLU(), self.layer)}, key="act")
        self.mask = torch.ones(4)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.layer(self.act(self.first(x)) * self.mask)
        return output


def test_costs_of_a_model_of_ones_own_for_one_input(tmp_path: Path) -> None:
    """Whatever the model and the example are like."""
    module = DartsModule(ModuleSpace(Own, example=torch.zeros(5, 3)), Regression(), order="first")
    callback = DeriveArchitecture(tmp_path)
    for value, macs in (("relu", 12 + 16), ("linear", 12 + 2 * 16)):
        costs = callback.costs(module, Architecture(module.space.name, {"act": value}))
        assert costs == {"derived/params": 16 + 20, "derived/macs": macs}


def test_an_input_shape_that_the_model_does_not_take(tmp_path: Path) -> None:
    space = ModuleSpace(lambda: nn.Sequential(nn.Linear(3, 4), OpChoice({"relu": nn.ReLU(), "tanh": nn.Tanh()})))
    module, callback = DartsModule(space, Regression(), order="first"), DeriveArchitecture(tmp_path, input_shape=(5,))
    message = r"the first input of `input_shape`, or of the space's `example`, .* torch.float32 \(1, 5\): RuntimeError"
    with pytest.raises(ValueError, match=message) as caught:
        callback.costs(module, module.derive())
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_derives_at_the_asked_epochs_and_at_the_end(tmp_path: Path) -> None:
    fit(make_callback(tmp_path, every_n_epochs=2), tmp_path, 5)
    assert epochs_in(tmp_path) == [1, 3, 4]


def test_a_resumed_run_has_the_history_of_an_uninterrupted_one(tmp_path: Path) -> None:
    fit(make_callback(tmp_path / "straight"), tmp_path / "straight", 3)
    fit(make_callback(tmp_path / "cut"), tmp_path / "cut", 1)
    fit(make_callback(tmp_path / "cut"), tmp_path / "cut", 3, tmp_path / "cut" / "last.ckpt")
    straight, cut = (json.loads((tmp_path / run / "history.json").read_text()) for run in ("straight", "cut"))
    assert straight == cut


def test_writes_to_the_trainers_folder_by_default(tmp_path: Path) -> None:
    fit(make_callback(None), tmp_path, 1)
    assert (tmp_path / "architecture.json").is_file()


def test_two_callbacks_keep_their_own_state(tmp_path: Path) -> None:
    assert make_callback(tmp_path / "a").state_key != make_callback(tmp_path / "b").state_key


def test_refuses_a_module_that_is_no_search(tmp_path: Path) -> None:
    trainer = pl.Trainer(accelerator="cpu", fast_dev_run=1, callbacks=[make_callback(tmp_path)], **SILENT)
    with pytest.raises(TypeError, match=r"Expected DeriveArchitecture to run with a search.*RetrainModule"):
        trainer.fit(RetrainModule("darts", "DARTS_V2", scale=SCALE, auxiliary=False), datamodule=DigitsDataModule())


def test_refuses_a_scale_that_does_not_fit_the_input(tmp_path: Path) -> None:
    callback = DeriveArchitecture(tmp_path, scale=SCALE, input_shape=(1, 9, 9))
    with pytest.raises(ValueError, match=r"divisible by 4 but got 9x9"):
        fit(callback, tmp_path, 1)


def test_refuses_no_epochs() -> None:
    with pytest.raises(ValueError, match=r"Expected `every_n_epochs` to be at least 1 but got 0"):
        DeriveArchitecture(every_n_epochs=0)


def test_writes_to_the_folder_of_the_loggers_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")  # the logger sets it; this puts it back
    logger = import_module(f"{pl.__name__}.loggers").WandbLogger(
        project="nas", id="run1", save_dir=tmp_path, offline=True
    )
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=1, callbacks=[make_callback(None)], **{**SILENT, "logger": logger}
    )
    trainer.fit(make_module(), datamodule=DigitsDataModule(search=True, batch_size=16, max_train_images=32))
    logger.experiment.finish()
    assert Architecture.load(tmp_path / "nas" / "run1" / "architecture.json").space == "darts?nodes=2"


@pytest.mark.parametrize("seed", [1, 2])
def test_of_a_search_that_trains_children_the_best_is_written_with_its_own_metrics(seed: int, tmp_path: Path) -> None:
    module = RandomSearchModule("nasbench201", scale=CHILD, epochs_per_child=1, seed=seed)
    logger = pl.loggers.CSVLogger(tmp_path, name="", version="")
    options: dict[str, Any] = {**SILENT, "logger": logger, "max_epochs": 3, "default_root_dir": tmp_path}
    callback = DeriveArchitecture(tmp_path, scale=CHILD)
    trainer = pl.Trainer(accelerator="cpu", callbacks=[callback], enable_checkpointing=False, **options)
    trainer.fit(module, datamodule=DigitsDataModule(batch_size=16, max_train_images=64))
    best = max(module.ledger, key=lambda child: child.score or 0.0)
    written = Architecture.load(tmp_path / "architecture.json")
    assert written == module.derive() == best.architecture
    assert dict(written.metrics) == {"score": best.score}
    assert epochs_in(tmp_path) == [0, 1, 2]
    with (tmp_path / "metrics.csv").open(encoding="utf-8") as file:
        params = [row["derived/params"] for row in csv.DictReader(file) if row["derived/params"]]
    assert float(params[-1]) == best.costs["params"]
