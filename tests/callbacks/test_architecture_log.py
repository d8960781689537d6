import csv
import json
import math
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn
from torch.optim import SGD

from lightning_nas import (
    Architecture,
    ArchitectureLog,
    DartsModule,
    DigitsDataModule,
    ModuleSpace,
    OpChoice,
    RandomSearchModule,
    RepeatChoice,
    RetrainModule,
    SearchModule,
    SearchSpace,
    get_space,
)
from lightning_nas._lightning import pl
from lightning_nas.callbacks.architecture_log import scalars
from lightning_nas.callbacks.snapshot import Snapshot
from lightning_nas.runs.wandb_file import read_wandb_file
from lightning_nas.spaces import NasBench201Space
from lightning_nas.zoo import find_architecture
from tests.callbacks.project import FILTERS, QUIET, Project, alphas, fit, searching, sgd
from tests.finish_wandb import finish_wandb

RESUMING = (
    "ignore:Checkpoint directory .* exists",
    "ignore:Be aware that when using `ckpt_path`",
    "ignore:Using ModelCheckpoint with manual optimization",
)
pytestmark = [pytest.mark.filterwarnings(text) for text in (*FILTERS, *RESUMING)]

SCALE = {"channels": 4, "cells": 1, "in_channels": 1}
OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


class Fixed(SearchModule):
    """A search that has found an architecture."""

    def __init__(self, space: SearchSpace, architecture: Architecture) -> None:
        super().__init__(space, None, None, 0)
        self.found = architecture

    def derive(self) -> Architecture:
        return self.found


def darts(rate: float = 0.5, **options: Any) -> DartsModule:
    optimizer = partial(SGD, lr=rate)
    return DartsModule("nasbench201", scale=SCALE, order="first", alphas_optimizer=optimizer, **options)


def search(
    callbacks: Sequence[pl.Callback], epochs: int, module: pl.LightningModule | None = None, **options: Any
) -> pl.Trainer:
    ckpt_path = options.pop("ckpt_path", None)
    trainer = pl.Trainer(max_epochs=epochs, callbacks=list(callbacks), **{**QUIET, **options})
    module = module or darts()
    data = DigitsDataModule(search=isinstance(module, DartsModule), batch_size=8, max_train_images=32)
    trainer.fit(module, datamodule=data, ckpt_path=ckpt_path)
    return trainer


def pictures(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))


def rows_of(logger: Any) -> list[dict[str, str]]:
    """What a CSVLogger has of the callback: a row per look."""
    with Path(logger.log_dir, "metrics.csv").open() as file:
        rows = [{key: value for key, value in row.items() if value} for row in csv.DictReader(file)]
    return [row for row in rows if any(key.startswith("architecture/") for key in row)]


def csv_logger(folder: Path, version: int = 0) -> Any:
    return import_module(f"{pl.__name__}.loggers").CSVLogger(folder, name="csv", version=version)


# --- the numbers ------------------------------------------------------------------------------------------------------


def test_numbers_of_alphas_that_were_set_by_hand() -> None:
    module = darts()
    table = torch.full((6, 5), 0.2)
    table[:2] = torch.tensor([0.0625, 0.5, 0.25, 0.0625, 0.125])
    module.alphas["cell"].data = table.log() + 3.0  # a softmax does not see what is added
    values = scalars(Snapshot.of_module(module))
    # 1/2 ln 2 + 1/4 ln 4 + 1/8 ln 8 + 2 * 1/16 ln 16 is 15/8 ln 2
    entropy = (2 * 15 / 8 * math.log(2) + 4 * math.log(5)) / 6
    shares = [(2 * weight + 4 * 0.2) / 6 for weight in (0.0625, 0.5, 0.25, 0.0625, 0.125)]
    # ties go to "none", which is no edge: the two edges with skips are left
    derived = {"skip_connect": 1.0, "nor_conv_1x1": 0.0, "nor_conv_3x3": 0.0, "avg_pool_3x3": 0.0}
    expected = {f"architecture/share/cell/{name}": share for name, share in zip(OPERATIONS, shares, strict=True)}
    expected |= {f"architecture/derived_share/{name}": share for name, share in derived.items()}
    assert values == pytest.approx({"architecture/entropy/cell": entropy, **expected}, abs=1e-6)


def test_weights_of_zero_have_no_entropy() -> None:
    module = darts()
    module.alphas["cell"].data = torch.full((6, 5), -1e4).index_fill(1, torch.tensor([3]), 0.0)
    values = scalars(Snapshot.of_module(module))
    assert values["architecture/entropy/cell"] == 0
    assert values["architecture/share/cell/nor_conv_3x3"] == 1
    assert values["architecture/derived_share/nor_conv_3x3"] == 1


class Nested(nn.Module):
    """The inner choice is computed with "deep" only; the depth is no operation."""

    def __init__(self) -> None:
        super().__init__()
        inner = OpChoice({"relu": nn.ReLU(), "tanh": nn.Tanh()}, key="inner")
        self.outer = OpChoice({"deep": nn.Sequential(inner, nn.Linear(3, 3)), "flat": nn.Identity()}, key="outer")
        self.blocks = RepeatChoice(lambda: nn.Linear(3, 3), (1, 2), key="depth")


NESTED = ModuleSpace(Nested)
CELL = "|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|skip_connect~0|nor_conv_1x1~1|none~2|"
NONE = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"


def in_nested(inner: str, outer: str) -> Architecture:
    return Architecture(NESTED.name, {"inner": inner, "outer": outer, "depth": 2})


def found_in(space: SearchSpace, architecture: Architecture) -> dict[str, float]:
    values = scalars(Snapshot.of_module(Fixed(space, architecture)))
    prefix = "architecture/derived_share/"
    assert all(name.startswith(prefix) for name in values)  # nothing is known of weights
    return {name.removeprefix(prefix): value for name, value in values.items()}


def test_shares_of_a_darts_cell() -> None:
    assert found_in(get_space("darts"), find_architecture("DARTS_V2")) == {
        "max_pool_3x3": 5 / 16,
        "avg_pool_3x3": 0,
        "skip_connect": 5 / 16,
        "sep_conv_3x3": 5 / 16,
        "sep_conv_5x5": 0,
        "dil_conv_3x3": 1 / 16,
        "dil_conv_5x5": 0,
    }


@pytest.mark.parametrize(("text", "counts"), [(CELL, (1, 1, 2, 0)), (NONE, (0, 0, 0, 0))])
def test_shares_of_a_cell_of_the_benchmark(text: str, counts: tuple[int, ...]) -> None:
    space = NasBench201Space()
    shares = [count / max(sum(counts), 1) for count in counts]
    assert found_in(space, space.from_string(text)) == dict(zip(OPERATIONS[1:], shares, strict=True))


@pytest.mark.parametrize(
    ("inner", "outer", "shares"),
    [("tanh", "deep", (0, 1 / 2, 1 / 2, 0)), ("tanh", "flat", (0, 0, 0, 1)), ("relu", "deep", (1 / 2, 0, 1 / 2, 0))],
)
def test_shares_of_a_model_of_ones_own(inner: str, outer: str, shares: tuple[float, ...]) -> None:
    assert found_in(NESTED, in_nested(inner, outer)) == {
        name: shares[("relu", "tanh", "deep", "flat").index(name)] for name in ("relu", "tanh", "deep", "flat")
    }


@pytest.mark.parametrize("name", ["enas_micro", "enas_macro", "nasnet", "nasnet?blocks=1", "darts?nodes=2"])
def test_shares_of_other_spaces_add_up_and_name_all_operations(name: str) -> None:
    space = get_space(name)
    architecture = space.sample(torch.Generator().manual_seed(0))
    shares = found_in(space, architecture)
    choices = {str(c) for d in space.decisions if d.kind == "operation" for c in d.choices}
    assert shares.keys() == choices
    assert sum(shares.values()) == pytest.approx(1)
    chosen = {architecture.values[d.name] for d in space.decisions if d.kind == "operation"}
    assert {operation for operation, share in shares.items() if share} <= chosen


def test_a_space_without_operations_has_no_shares() -> None:
    space = get_space("nas_conv?layers=3")
    assert found_in(space, space.sample(torch.Generator().manual_seed(0))) == {}


# --- the pictures -----------------------------------------------------------------------------------------------------


def test_pictures_of_the_epochs_that_are_asked_for(tmp_path: Path) -> None:
    search([ArchitectureLog(every_n_epochs=2, dirpath=tmp_path)], 5)
    weights = [f"weights/cell/epoch_{epoch:04d}.png" for epoch in (1, 3)]
    assert [path for path in pictures(tmp_path) if path.startswith("weights")] == weights
    for path in pictures(tmp_path):
        with Image.open(tmp_path / path) as image:
            assert min(image.size) > 100


def test_cells_are_drawn_when_they_have_changed(tmp_path: Path) -> None:
    class Changing(pl.Callback):
        """Lets another candidate win in the third epoch and those after it."""

        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            assert isinstance(pl_module, DartsModule)
            pl_module.alphas["cell"].data.zero_()[:, 1 if trainer.current_epoch < 2 else 3] = 1.0

    search([ArchitectureLog(dirpath=tmp_path), Changing()], 4, darts(rate=0.0))
    assert pictures(tmp_path / "cells") == ["epoch_0000.png", "epoch_0002.png"]
    assert len(pictures(tmp_path / "weights")) == 4


class Watched(RandomSearchModule):
    """Keeps what it would derive after each epoch."""

    def __init__(self, folder: Path) -> None:
        super().__init__("nasbench201", scale=SCALE, epochs_per_child=1, folder=folder)
        self.derived: list[Architecture] = []

    def on_train_epoch_end(self) -> None:
        super().on_train_epoch_end()
        self.derived.append(self.derive())


def test_a_child_counts_in_the_epoch_that_it_ends_with(tmp_path: Path) -> None:
    module, logger = Watched(tmp_path), csv_logger(tmp_path)
    search([ArchitectureLog(dirpath=tmp_path / "log")], 4, module, logger=logger)
    rows = [{name: float(value) for name, value in row.items() if name != "step"} for row in rows_of(logger)]
    shares = [found_in(module.space, architecture) for architecture in module.derived]
    assert rows == [{f"architecture/derived_share/{n}": s for n, s in share.items()} for share in shares]
    changed = [k for k in range(4) if k == 0 or module.derived[k] != module.derived[k - 1]]
    assert pictures(tmp_path / "log") == [f"cells/epoch_{epoch:04d}.png" for epoch in changed]


def test_pictures_are_in_the_folder_of_the_run_by_default(tmp_path: Path) -> None:
    search([ArchitectureLog()], 1, default_root_dir=tmp_path)
    assert pictures(tmp_path) == [
        "architecture_log/cells/epoch_0000.png",
        "architecture_log/weights/cell/epoch_0000.png",
    ]


# --- interruptions and processes --------------------------------------------------------------------------------------


def test_a_resumed_run_goes_on(tmp_path: Path) -> None:
    def run(name: str, version: int, epochs: int, **options: Any) -> Any:
        logger = csv_logger(tmp_path / name, version)
        saving = pl.callbacks.ModelCheckpoint(tmp_path / name, save_last=True)
        log = ArchitectureLog(dirpath=tmp_path / "pictures" / name)
        options = {"logger": logger, "enable_checkpointing": True, **options}
        search([log, saving], epochs, darts(schedule_epochs=3), **options)
        return rows_of(logger)

    straight = run("straight", 0, 3)
    assert [row["step"] for row in straight] == ["1", "3", "5"]
    cut = run("cut", 0, 1)
    rest = run("cut", 1, 3, ckpt_path=tmp_path / "cut" / "last.ckpt")
    # the checkpoint is older than the look at its epoch: that look is repeated, with the same result
    assert [*cut, *rest] == [straight[0], *straight]
    assert pictures(tmp_path / "pictures/cut") == pictures(tmp_path / "pictures/straight")


def test_a_run_resumed_from_the_last_batch_of_an_epoch_looks_at_it(tmp_path: Path) -> None:
    """Lightning then calls neither the end of that epoch nor the start of the next."""
    saving = pl.callbacks.ModelCheckpoint(tmp_path, every_n_train_steps=1, save_top_k=-1, filename="{step}")
    module = darts(schedule_epochs=2)
    search([ArchitectureLog(dirpath=tmp_path / "a"), saving], 1, module, enable_checkpointing=True)
    log = ArchitectureLog(dirpath=tmp_path / "a")
    search([log], 2, darts(schedule_epochs=2), ckpt_path=tmp_path / "step=2.ckpt", logger=csv_logger(tmp_path))
    assert [row["step"] for row in rows_of(csv_logger(tmp_path))] == ["1", "3"]


def test_the_state_is_plain_and_is_taken_up(tmp_path: Path) -> None:
    log = ArchitectureLog(dirpath=tmp_path)
    search([log], 2)
    state = json.loads(json.dumps(log.state_dict()))
    assert state["epoch"] == 1
    assert state["drawn"]["space"] == "nasbench201"
    other = ArchitectureLog(dirpath=tmp_path / "other")
    other.load_state_dict(state)
    search([other], 2)
    assert pictures(tmp_path / "other") == []  # both epochs are known


def test_two_callbacks_keep_their_own_state(tmp_path: Path) -> None:
    assert ArchitectureLog(dirpath=tmp_path / "a").state_key != ArchitectureLog(dirpath=tmp_path / "b").state_key


def test_one_of_two_processes_logs(tmp_path: Path) -> None:
    class Witness(ArchitectureLog):
        def _log(self, trainer: pl.Trainer, snapshot: Snapshot, *, redraw: bool) -> None:
            (tmp_path / f"rank{trainer.global_rank}").touch()
            super()._log(trainer, snapshot, redraw=redraw)

    logger = csv_logger(tmp_path)
    search([Witness(dirpath=tmp_path / "log")], 2, devices=2, strategy="ddp_fork", logger=logger)
    assert [path.name for path in tmp_path.glob("rank*")] == ["rank0"]
    assert len(rows_of(logger)) == 2
    assert len(pictures(tmp_path / "log/weights")) == 2


# --- loggers, and a user's project ------------------------------------------------------------------------------------


def test_every_logger_shows_what_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline_wandb: Callable[..., Any]
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    kinds = import_module(f"{pl.__name__}.loggers")
    mlflow = kinds.MLFlowLogger(tracking_uri=f"file:{tmp_path / 'mlruns'}")
    board, table = kinds.TensorBoardLogger(tmp_path, name="tb"), csv_logger(tmp_path)
    logger = [offline_wandb(id="run1"), mlflow, board, table]
    search([ArchitectureLog(dirpath=tmp_path / "log")], 2, darts(rate=0.0), logger=logger)
    finish_wandb()
    entropies = [float(row["architecture/entropy/cell"]) for row in rows_of(table)]
    assert entropies == pytest.approx([math.log(5)] * 2, abs=1e-3)

    (path,) = (tmp_path / "wandb").glob("offline-run-*/run-run1.wandb")
    rows = [row for row in read_wandb_file(path).history if "architecture/entropy/cell" in row]
    assert [row["architecture/entropy/cell"] for row in rows] == entropies
    assert [row["trainer/global_step"] for row in rows] == [1, 3]
    images = path.parent / "files/media/images/architecture"
    assert len(list(images.glob("weights/cell_*.png"))) == 2
    assert len(list(images.glob("cells_*.png"))) == 1

    history = mlflow.experiment.get_metric_history(mlflow.run_id, "architecture/entropy/cell")
    assert [(point.value, point.step) for point in history] == list(zip(entropies, (1, 3), strict=True))
    shown = [file.path for file in mlflow.experiment.list_artifacts(mlflow.run_id, "architecture/weights/cell")]
    assert shown == ["architecture/weights/cell/000001.png", "architecture/weights/cell/000003.png"]

    accumulator = import_module("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(board.log_dir).Reload()
    assert [event.step for event in events.Images("architecture/weights/cell")] == [1, 3]
    assert [event.step for event in events.Images("architecture/cells")] == [1]
    assert [event.value for event in events.Scalars("architecture/entropy/cell")] == pytest.approx(entropies)
    assert len(pictures(tmp_path / "log")) == 3


def test_a_project_that_the_callback_searches(tmp_path: Path) -> None:
    searcher, logger = searching(tmp_path, optimizer=sgd(5.0)), csv_logger(tmp_path)
    fit(Project(), [searcher, ArchitectureLog(dirpath=tmp_path / "log")], epochs=2, logger=logger)
    *_, last = rows_of(logger)
    weights = {key: table.softmax(-1) for key, table in alphas(searcher).items()}
    shares = [float(last[f"architecture/share/activation/{name}"]) for name in ("tanh", "relu", "skip")]
    assert shares == pytest.approx(weights["activation"][0].tolist())
    entropy = -(weights["depth"] * weights["depth"].log()).sum()
    assert float(last["architecture/entropy/depth"]) == pytest.approx(float(entropy))
    best = ("tanh", "relu", "skip")[int(weights["activation"].argmax())]
    derived = {name: float(last[f"architecture/derived_share/{name}"]) for name in ("tanh", "relu", "skip")}
    assert derived == {name: float(name == best) for name in ("tanh", "relu", "skip")}
    names = [f"{key}/epoch_{epoch:04d}.png" for key in ("activation", "depth") for epoch in range(2)]
    assert pictures(tmp_path / "log") == [f"weights/{name}" for name in names]


def test_refuses_what_is_no_search(tmp_path: Path) -> None:
    message = r"Expected ArchitectureLog to run with a search.*DifferentiableSearch, but got .*RetrainModule"
    with pytest.raises(TypeError, match=message):
        search([ArchitectureLog()], 1, RetrainModule("darts", "DARTS_V2", scale={"channels": 4}, auxiliary=False))


def test_refuses_no_epochs() -> None:
    with pytest.raises(ValueError, match=r"Expected `every_n_epochs` to be at least 1 but got 0"):
        ArchitectureLog(every_n_epochs=0)
