"""The user's project does not notice the callback: PEERS.md section 2a lists how NNI fails here."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD
from torch.optim.lr_scheduler import StepLR
from torchmetrics import MeanMetric, MeanSquaredError, MetricCollection

from lightning_nas import DifferentiableSearch
from lightning_nas._lightning import pl
from lightning_nas.spaces.choices.base import Choice
from tests.callbacks.project import (
    FILTERS,
    Project,
    architecture,
    architecture_batches,
    equal_and_fixed,
    fit,
    mse,
    searching,
    training,
    validation,
    weights,
)

pytestmark = [pytest.mark.filterwarnings(text) for text in FILTERS]


class Rich(Project):
    """Dropout, BatchNorm, metrics of all kinds, outputs kept in lists, counters, own loggers' calls, own buffers."""

    def __init__(self) -> None:
        super().__init__(dropout=0.3)
        self.norm = nn.BatchNorm1d(3)
        self.register_buffer("average", torch.zeros(()))
        self.average: Tensor
        self.error = MeanSquaredError()
        self.more = nn.ModuleDict({"collection": MetricCollection([MeanSquaredError(), MeanMetric()])})
        self.listed = nn.ModuleList([MeanMetric()])
        self.outputs: list[float] = []
        self.by_name: dict[str, list[float]] = {"loss": []}
        self.calls = 0
        self.plain = torch.zeros(())
        self.indices: list[int] = []
        self.by_class = np.zeros(2)
        self.generators = {"torch": torch.Generator().manual_seed(0), "numpy": np.random.default_rng(0)}
        self.unregistered: dict[str, Any] = {"mean": MeanMetric(), "several": [MeanMetric()]}

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.norm(x))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        predictions = self(batch[0])
        loss = functional.mse_loss(predictions, batch[1])
        self.average += 0.1 * (loss.detach() - self.average)
        self.plain += 1
        self.calls += 1
        self.indices.append(batch_idx)
        self.by_class += 1
        generators: Any = self.generators
        self.drawn = [float(torch.rand((), generator=generators["torch"])), generators["numpy"].random()]
        for metric in (self.unregistered["mean"], *self.unregistered["several"]):
            metric.update(loss.detach())
        self.outputs.append(float(loss.detach()))
        self.by_name["loss"].append(float(loss.detach()))
        self.last_loss = loss.detach()
        self.error(predictions.detach(), batch[1])
        listed: Any = self.listed[0]
        listed.update(loss.detach())
        collection: Any = self.more["collection"]
        collection["MeanSquaredError"].update(predictions.detach(), batch[1])
        collection["MeanMetric"].update(loss.detach())
        self.log("error", self.error, on_step=True, on_epoch=True)
        self.log_dict({"loss": loss, "random": torch.rand(())}, on_step=True, on_epoch=True)
        if self.logger is not None:
            self.logger.log_metrics({"own": float(loss.detach())}, step=self.calls)
        return {"loss": loss, "kept": predictions.detach()}

    def on_train_epoch_end(self) -> None:
        collection: Any = self.more["collection"]
        listed: Any = self.listed[0]
        values = {"listed": listed.compute(), "outputs": torch.tensor(sum(self.outputs))}
        values |= {"c1": collection["MeanSquaredError"].compute(), "c2": collection["MeanMetric"].compute()}
        values |= {"u1": self.unregistered["mean"].compute(), "u2": self.unregistered["several"][0].compute()}
        self.log_dict({**values, "calls": float(self.calls), "plain": self.plain, "average": self.average})

    def configure_optimizers(self) -> Any:
        optimizer = SGD(self.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": StepLR(optimizer, 2), "interval": "step"}}


def logged(folder: Path, search: bool) -> tuple[Rich, str, dict[str, float]]:
    """Train; return the module, what the logger wrote of it and the last metrics."""
    torch.manual_seed(3)
    module = Rich()
    logger = import_module(f"{pl.__name__}.loggers").CSVLogger(folder, name="run", version=str(search))
    callbacks = [searching(folder, optimizer=equal_and_fixed, loader=architecture(shuffle=True))] if search else []
    trainer = fit(module, callbacks, train=training(shuffle=True), logger=logger, log_every_n_steps=1)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    return module, logger.log_dir, {name: value for name, value in metrics.items() if not name.startswith("search/")}


def test_training_is_bit_identical_when_alphas_are_equal_and_stay(tmp_path: Path) -> None:
    (found, _, metrics), (module, _, expected) = logged(tmp_path, True), logged(tmp_path, False)
    assert metrics == expected
    assert weights(found).keys() == weights(module).keys()
    for name, value in weights(module).items():
        assert torch.equal(weights(found)[name], value), name
    for name in ("outputs", "by_name", "calls", "indices", "drawn"):
        assert getattr(found, name) == getattr(module, name)
    assert found.indices == [0, 1, 2, 3] * 2
    assert found.by_class.tolist() == module.by_class.tolist() == [8, 8]
    assert torch.equal(found.last_loss, module.last_loss)
    # what Lightning or the module itself has sent to the logger, but for the columns of the search
    rows, without = (_rows(tmp_path / "run" / name / "metrics.csv") for name in ("True", "False"))
    assert rows == without
    assert sum("own" in row for row in rows) == 8


def _rows(path: Path) -> list[dict[str, str]]:
    names, *lines = (line.split(",") for line in path.read_text().splitlines())
    rows = [dict(zip(names, line, strict=True)) for line in lines]
    kept = [{key: value for key, value in row.items() if value and not key.startswith("search/")} for row in rows]
    return [row for row in kept if row.keys() - {"step", "epoch"}]


def hooks() -> list[str]:
    """Names of all hooks of a LightningModule that a test can record."""
    core: Any = import_module(f"{pl.__name__}.core.hooks")
    kinds = (core.ModelHooks, core.DataHooks, core.CheckpointHooks)
    names = {name for kind in kinds for name in vars(kind) if not name.startswith("_")}
    more = {"training_step", "validation_step", "forward", "configure_optimizers", "configure_callbacks"}
    more |= {"optimizer_step", "optimizer_zero_grad", "backward", "lr_scheduler_step", "configure_gradient_clipping"}
    return sorted((names | more) - {n for n in names if n.endswith("_dataloader")} - {"configure_sharded_model"})


def recording(calls: list[str]) -> Project:
    """A project that notes every call of a hook."""

    def record(name: str) -> Callable[..., Any]:
        def method(self: Any, *args: Any, **named: Any) -> Any:
            calls.append(name)
            return getattr(super(kind, self), name)(*args, **named)

        return method

    kind: Any = type("Recording", (Project,), {name: record(name) for name in hooks()})
    module: Project = kind()
    return module


class Recorder(pl.Callback):
    """Notes every call of a callback's hook."""

    def __init__(self, calls: list[str]) -> None:
        for name in dir(pl.Callback):
            if name.startswith("on_") or name in ("setup", "teardown"):
                setattr(self, name, lambda *_, _name=f"callback.{name}", **__: calls.append(_name))


TRANSFER = ["on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer"]


@pytest.mark.parametrize(
    ("loss", "extra"),
    [
        (lambda module, batch: module.blocks(module.activation(module.first(batch[0]))).sum(), []),
        (None, ["training_step", "forward"]),
    ],
)
def test_hooks_are_called_as_without_the_callback(tmp_path: Path, loss: Any, extra: list[str]) -> None:
    """The only calls that are added are those that bring a batch to the device and compute its loss."""
    found: list[str] = []
    plain: list[str] = []
    options: dict[str, Any] = {"enable_checkpointing": True, "num_sanity_val_steps": 1}
    fit(recording(found), [searching(tmp_path, loss=loss), Recorder(found)], default_root_dir=tmp_path / "a", **options)
    fit(recording(plain), [Recorder(plain)], default_root_dir=tmp_path / "b", **options)
    expected = []
    for name in plain:
        expected += [*TRANSFER, *extra] if name == "callback.on_train_batch_start" else []
        expected.append(name)
    assert found == expected
    assert len(set(plain)) > 40
    assert {"on_validation_epoch_end", "on_save_checkpoint", "transfer_batch_to_device", "configure_model"} <= set(
        plain
    )


def test_optimisers_hold_what_they_hold_without_the_callback(tmp_path: Path) -> None:
    groups = []
    for callbacks in ([searching(tmp_path)], []):
        module = Rich()
        trainer = fit(module, callbacks)
        names = {id(parameter): name for name, parameter in module.named_parameters()}
        (optimizer,) = trainer.optimizers
        groups.append([{**g, "params": [names[id(p)] for p in g["params"]]} for g in optimizer.param_groups])
    assert groups[0] == groups[1]
    assert len(groups[0][0]["params"]) == len(list(Rich().parameters()))


def test_gradients_steps_and_module_are_as_before_after_an_alpha_step(tmp_path: Path) -> None:
    seen: list[Any] = []

    class Watch(pl.Callback):
        def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
            gradients = [p.grad for p in pl_module.parameters()]
            seen.append((trainer.global_step, all(gradient is None for gradient in gradients)))

    fit(Project(), [searching(tmp_path), Watch()], epochs=1)
    assert [step for step, _ in seen] == [0, 1, 2, 3]
    assert seen[0][1]


def test_nothing_is_left_in_the_module(tmp_path: Path) -> None:
    module = Rich()
    before = set(vars(module))
    fit(module, [DifferentiableSearch(architecture(), dirpath=tmp_path)])
    plain = Rich()
    fit(plain, [])
    assert set(vars(module)) == set(vars(plain)) > before
    assert module.state_dict().keys() == plain.state_dict().keys()
    assert [choice.mixture for choice in module.modules() if isinstance(choice, Choice)] == [None, None]
    fit(module, [], epochs=1)


def test_own_hooks_bring_the_batch_to_the_device(tmp_path: Path) -> None:
    class Own(Project):
        def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
            return [batch[0], 2 * batch[1]]

        def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
            return [batch[0], batch[1] + 1]

    class Data(pl.LightningDataModule):
        def train_dataloader(self) -> Any:
            return training()

        def val_dataloader(self) -> Any:
            return validation()

        def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
            return [batch[0], 2 * batch[1]]

    targets: list[Tensor] = []

    def loss(module: pl.LightningModule, batch: Any) -> Tensor:
        targets.append(batch[1])
        return mse(module, batch)

    ((_, y),) = architecture_batches(1)
    fit(Own(), [searching(tmp_path, loss=loss)], epochs=1)
    fit(Project(), [searching(tmp_path, loss=loss)], epochs=1, datamodule=Data())
    assert torch.equal(targets[0], 2 * y + 1)
    assert torch.equal(targets[4], 2 * y)
