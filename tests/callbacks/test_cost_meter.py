import platform
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler

from lightning_nas import CostMeter, DartsModule, DigitsDataModule, RandomSearchModule
from lightning_nas import stopwatch as stopwatch_module
from lightning_nas._lightning import pl
from lightning_nas.callbacks import cost_meter
from lightning_nas.callbacks.cost_meter import peak_memory
from lightning_nas.runs.wandb_file import read_wandb_file
from tests.callbacks.project import FILTERS, QUIET, Project, examples, fit, training, validation
from tests.finish_wandb import finish_wandb

pytestmark = [
    pytest.mark.filterwarnings(text)
    for text in (
        *FILTERS,
        "ignore:Be aware that when using `ckpt_path`",
        "ignore:.*resuming from a checkpoint that ended",
    )
]

COSTS = {"search/examples_seen", "search/device_hours", "search/peak_memory"}


class Clock:
    """A second for every training batch, and ten for every validation batch."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Slow(Project):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.clock.now += 1
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.clock.now += 10
        super().validation_step(batch, batch_idx)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(stopwatch_module, "perf_counter", clock)
    return clock


def logged(trainer: pl.Trainer) -> dict[str, float]:
    return {name: float(value) for name, value in trainer.callback_metrics.items() if name in COSTS}


def test_counts_examples_and_time_of_any_project(clock: Clock) -> None:
    trainer = fit(Slow(clock), [CostMeter()], epochs=3, train=DataLoader(examples(0, 14), 4))
    costs = logged(trainer)
    assert costs.keys() == COSTS
    assert costs["search/examples_seen"] == 3 * 14  # the last batch of an epoch has two
    assert costs["search/device_hours"] == pytest.approx(3 * (4 * 1 + 1 * 10) / 3600)


def test_sanity_checks_and_the_time_between_fits_cost_nothing(clock: Clock) -> None:
    module, meter = Slow(clock), CostMeter()
    fit(module, [meter], epochs=1, num_sanity_val_steps=1)
    clock.now += 1000
    pl.Trainer(callbacks=[meter], **QUIET).validate(module, validation(), verbose=False)
    assert meter.state_dict()["watch"] == {"seconds": 4 * 1 + 10}
    trainer = fit(module, [meter], epochs=1)
    assert logged(trainer)["search/device_hours"] == pytest.approx(2 * (4 * 1 + 10) / 3600)


def test_the_time_ends_with_an_exception(clock: Clock) -> None:
    class Failing(Slow):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            super().training_step(batch, batch_idx)
            raise ArithmeticError("no")

    meter = CostMeter()
    with pytest.raises(ArithmeticError):
        fit(Failing(clock), [meter])
    clock.now += 1000
    assert meter.state_dict()["watch"] == {"seconds": 1}


def test_a_resumed_run_adds_to_what_was_counted(tmp_path: Path, clock: Clock) -> None:
    checkpoint = pl.callbacks.ModelCheckpoint(tmp_path, save_last=True)
    fit(Slow(clock), [CostMeter(), checkpoint], epochs=1, enable_checkpointing=True)
    clock.now += 1000  # an interruption
    resumed = fit(Slow(clock), [CostMeter()], epochs=3, ckpt_path=tmp_path / "last.ckpt")
    assert logged(resumed)["search/examples_seen"] == 3 * 16
    assert logged(resumed)["search/device_hours"] == pytest.approx(3 * (4 * 1 + 10) / 3600)


def test_a_run_resumed_in_the_middle_of_an_epoch_counts_no_batch_twice(tmp_path: Path, clock: Clock) -> None:
    checkpoint = pl.callbacks.ModelCheckpoint(tmp_path, every_n_train_steps=3, filename="{step}", save_top_k=-1)
    fit(Slow(clock), [CostMeter(), checkpoint], epochs=1, enable_checkpointing=True)
    state = torch.load(tmp_path / "step=3.ckpt", weights_only=True)
    assert state["callbacks"]["CostMeter"] == {
        "watch": {"seconds": 3.0},
        "examples": 12,
        "memory": 0,
    }
    resumed = fit(Slow(clock), [CostMeter()], epochs=1, ckpt_path=tmp_path / "step=3.ckpt")
    assert logged(resumed)["search/examples_seen"] == 16


def test_peak_memory_is_that_of_the_process() -> None:
    (status,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    assert peak_memory(torch.device("cpu")) == pytest.approx(1024 * int(status.split()[1]), rel=0.02)


def test_peak_memory_of_a_gpu_is_what_torch_had_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 1000 + device.index)
    assert peak_memory(torch.device("cuda", 1)) == 1001


def test_peak_memory_on_other_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    kibibytes = peak_memory(torch.device("cpu"))
    monkeypatch.setattr(platform, "system", lambda: "Darwin")  # there the same number would be bytes
    assert peak_memory(torch.device("cpu")) == pytest.approx(kibibytes / 1024, rel=0.1)
    monkeypatch.setattr(platform, "system", lambda: "Windows")
    assert peak_memory(torch.device("cpu")) == 0


def test_memory_that_the_system_does_not_tell_is_not_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost_meter, "peak_memory", lambda device: 0)
    assert logged(fit(Project(), [CostMeter()], epochs=1)).keys() == COSTS - {"search/peak_memory"}


def test_the_peak_of_an_interrupted_run_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = CostMeter(), CostMeter()
    monkeypatch.setattr(cost_meter, "peak_memory", lambda device: 5000)
    fit(Project(), [first], epochs=1)
    second.load_state_dict(first.state_dict())
    monkeypatch.setattr(cost_meter, "peak_memory", lambda device: 3000)
    assert logged(fit(Project(), [second], epochs=1))["search/peak_memory"] == 5000


class Words(nn.Module):
    """What a batch of a foreign library may be."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.x = x


class Foreign(Project):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = self(batch.x).square().mean()
        self.log("train_loss", loss, batch_size=len(batch.x))
        return loss

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return batch

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        pass


def foreign_loader() -> DataLoader[Any]:
    return DataLoader(examples(0), 4, collate_fn=lambda pairs: Words(torch.stack([x for x, _ in pairs])))


def test_batches_without_a_tensor_need_a_function() -> None:
    message = r"Expected a batch that holds a tensor.*but got Words; give CostMeter\(batch_size=...\)"
    with pytest.raises(TypeError, match=message):
        fit(Foreign(), [CostMeter()], train=foreign_loader(), limit_val_batches=0)
    meter = CostMeter(batch_size=lambda batch: len(batch.x))
    trainer = fit(Foreign(), [meter], train=foreign_loader(), limit_val_batches=0)
    assert logged(trainer)["search/examples_seen"] == 2 * 16


def test_a_search_of_ours_counts_by_itself(tmp_path: Path) -> None:
    module = DartsModule("nasbench201", scale={"channels": 4, "cells": 1, "in_channels": 1}, order="first")
    trainer = pl.Trainer(max_epochs=1, callbacks=[CostMeter()], **QUIET)
    trainer.fit(module, datamodule=DigitsDataModule(search=True, batch_size=16, max_train_images=32))
    assert trainer.callback_metrics["search/peak_memory"] > 1e7
    assert trainer.callback_metrics["search/examples_seen"] == module.examples_seen == 32


def test_a_search_of_children_counts_by_itself(tmp_path: Path) -> None:
    scale = {"channels": 4, "cells": 1, "in_channels": 1}
    module = RandomSearchModule("nasbench201", scale=scale, epochs_per_child=1, folder=tmp_path)
    trainer = pl.Trainer(max_epochs=2, callbacks=[CostMeter()], **QUIET)
    trainer.fit(module, datamodule=DigitsDataModule(batch_size=16, max_train_images=32))
    assert trainer.callback_metrics["search/children"] == 2
    assert trainer.callback_metrics["search/examples_seen"] == module.examples_seen
    assert trainer.callback_metrics["search/peak_memory"] > 1e7


class Uneven(Sampler[list[int]]):
    """Batches of as many examples as the process's number says, plus one."""

    def __iter__(self) -> Iterator[list[int]]:
        rank = torch.distributed.get_rank()
        return iter([list(range(rank + 1))] * 3)

    def __len__(self) -> int:
        return 3


def in_two_processes(folder: Path, loader: DataLoader[Any], **options: Any) -> dict[str, list[float]]:
    """Examples by rank, as checkpoints have them after the first batch and at the end, and as they are logged."""
    meter = CostMeter()
    counts: list[float] = []

    class Report(pl.Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            counts.append(meter.state_dict()["examples"])

        def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            seen = [counts[0], meter.state_dict()["examples"], logged(trainer)["search/examples_seen"]]
            torch.save(seen, folder / f"examples{trainer.global_rank}.pt")

    fit(Project(), [meter, Report()], train=loader, devices=2, strategy="ddp_fork", **options)
    by_rank = [torch.load(folder / f"examples{rank}.pt") for rank in range(2)]
    return dict(zip(("first batch", "end", "logged"), map(list, zip(*by_rank, strict=True)), strict=True))


def test_examples_of_all_processes_count(tmp_path: Path) -> None:
    assert in_two_processes(tmp_path, training()) == {"first batch": [8, 8], "end": [32, 32], "logged": [32, 32]}


def test_processes_may_have_batches_of_their_own(tmp_path: Path) -> None:
    """In the middle of an epoch each takes the others to have what it has."""
    loader: DataLoader[Any] = DataLoader(examples(0), batch_sampler=Uneven())
    counts = in_two_processes(tmp_path, loader, use_distributed_sampler=False)
    assert counts == {"first batch": [2, 4], "end": [18, 18], "logged": [18, 18]}


def test_two_devices_cost_twice_the_time(tmp_path: Path, clock: Clock) -> None:
    class Report(pl.Callback):
        def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            torch.save(logged(trainer), tmp_path / f"{trainer.global_rank}.pt")

    fit(Slow(clock), [CostMeter(), Report()], epochs=1, devices=2, strategy="ddp_fork")
    costs = torch.load(tmp_path / "0.pt")
    assert costs["search/device_hours"] == pytest.approx(2 * (2 * 1 + 10) / 3600)  # two batches each


def test_costs_are_in_every_logger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline_wandb: Callable[..., Any]
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    kinds = import_module(f"{pl.__name__}.loggers")
    mlflow = kinds.MLFlowLogger(tracking_uri=f"file:{tmp_path / 'mlruns'}")
    board, table = kinds.TensorBoardLogger(tmp_path, name="tb"), kinds.CSVLogger(tmp_path, name="csv")
    fit(Project(), [CostMeter()], logger=[offline_wandb(id="run1"), mlflow, board, table])
    finish_wandb()
    (path,) = (tmp_path / "wandb").glob("offline-run-*/run-run1.wandb")
    rows = [row for row in read_wandb_file(path).history if "search/examples_seen" in row]
    assert [(row["search/examples_seen"], row["trainer/global_step"]) for row in rows] == [(16, 3), (32, 7)]
    history = mlflow.experiment.get_metric_history(mlflow.run_id, "search/examples_seen")
    assert [(point.value, point.step) for point in history] == [(16, 3), (32, 7)]
    accumulator = import_module("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(board.log_dir).Reload()
    assert [(event.value, event.step) for event in events.Scalars("search/examples_seen")] == [(16, 3), (32, 7)]
    assert set(Path(table.log_dir, "metrics.csv").read_text().splitlines()[0].split(",")) >= COSTS
