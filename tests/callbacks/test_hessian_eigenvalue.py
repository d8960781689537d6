"""RobustDARTS: the largest eigenvalue of the Hessian in the alphas, and a search that ends when it rises."""

import json
import random
from collections.abc import Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.utils.data import DataLoader

from lightning_nas import Architecture, DartsModule, EnasModule, HessianEigenvalue
from lightning_nas._lightning import CombinedLoader, MisconfigurationException, pl
from lightning_nas.testing.search_module import RandomImages, assert_same
from tests.callbacks.project import FILTERS, Project, architecture, examples, fit, training
from tests.callbacks.saver import Saver

SCALE = {"channels": 4, "cells": 1, "classes": 8}
AT_REST: dict[str, Any] = {name: partial(SGD, lr=0.0) for name in ("weights_optimizer", "alphas_optimizer")}

pytestmark = [pytest.mark.filterwarnings(message) for message in FILTERS]


class Streams(pl.LightningDataModule):
    """Four batches a stream, of different sizes."""

    def train_dataloader(self) -> CombinedLoader:
        return CombinedLoader({"weights": training(4), "architecture": architecture(5)}, "max_size_cycle")


class Quadratic(pl.LightningModule):
    """A loss whose largest eigenvalue is ``curvature`` in even epochs times the size of the batch."""

    def __init__(self, script: Sequence[float]) -> None:
        super().__init__()
        self.script = script
        self.weight = nn.Parameter(torch.zeros(()))
        self.alphas = nn.ParameterDict({"a": torch.zeros(2), "b": torch.zeros(1, 3)})

    def architecture_loss(self, alphas: Sequence[Tensor], batch: Any) -> Tensor:
        (a, b), largest = alphas, self.script[self.current_epoch]
        return (a[0] ** 2 * largest - 100 * a[1] ** 2 + 0.01 * (b**2).sum()) * len(batch[0]) / 2

    def derive(self) -> Architecture:
        return Architecture("own", {"epoch": self.current_epoch})

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.weight**2

    def configure_optimizers(self) -> Any:
        return SGD([self.weight], lr=0.1)


def darts(**options: Any) -> DartsModule:
    return DartsModule("nasbench201", scale=SCALE, order="first", **options)


def scripted(callback: HessianEigenvalue, script: Sequence[float], folder: Path, **options: Any) -> pl.Trainer:
    module = options.pop("module", Quadratic(script))
    callbacks = [callback, *options.pop("more", ())]
    return fit(module, callbacks, epochs=len(script), datamodule=Streams(), default_root_dir=folder, **options)


def attached(seed: int = 0) -> DartsModule:
    """A search that has begun, with dropout-free statistics, in its Trainer."""
    module = darts(seed=seed)
    fit(module, [], epochs=1, datamodule=RandomImages(4), limit_val_batches=0)
    return module.train()


def batch() -> tuple[Tensor, Tensor]:
    return torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(3)), torch.arange(4)


def test_eigenvalue_of_a_search_against_torch() -> None:
    module = attached()
    alphas = module.alphas["cell"].detach()
    hessian: Any = torch.autograd.functional.hessian  # torch has no types for it
    blocks = hessian(lambda table: module.architecture_loss([table], batch()), alphas)
    expected = float(torch.linalg.eigvalsh(blocks.reshape(30, 30).double())[-1])
    assert expected > 1e-4
    for options in (dict[str, Any](method="dense"), dict[str, Any](steps=30)):
        callback = HessianEigenvalue(weight_decay=0, **options)
        assert callback.eigenvalue(module, batch()) == pytest.approx(expected, rel=1e-3)
        decayed = HessianEigenvalue(**options)
        assert decayed.eigenvalue(module, batch()) == callback.eigenvalue(module, batch()) + 1e-3


def test_evaluation_leaves_no_trace() -> None:
    module = attached()
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizers = module.trainer.optimizers
    before = deepcopy([module.state_dict(), [optimizer.state_dict() for optimizer in optimizers]])
    torch_state, others = torch.get_rng_state(), random.getstate()
    modes = [child.training for child in module.modules()]
    HessianEigenvalue().eigenvalue(module, batch())
    assert_same(before, [module.state_dict(), [optimizer.state_dict() for optimizer in optimizers]])
    assert torch.equal(torch_state, torch.get_rng_state())
    assert others == random.getstate()
    assert all(torch.equal(p.grad, torch.ones_like(p)) for p in module.parameters() if p.grad is not None)
    assert sum(p.grad is not None for p in module.parameters()) == len(list(module.parameters()))
    assert modes == [child.training for child in module.modules()]
    assert not any(alpha.requires_grad for alpha in module.alphas.values())


class Dropping(DartsModule):
    """Its loss is random, as drop-path makes it."""

    def architecture_loss(self, alphas: Sequence[Tensor], batch: Any) -> Tensor:
        return super().architecture_loss(alphas, batch) * (1 + torch.rand(())) * (1 + random.random())


def test_a_search_with_the_callback_is_the_one_without(tmp_path: Path) -> None:
    def run(*callbacks: pl.Callback) -> Any:
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            module = Dropping("nasbench201", scale=SCALE)
            trainer = fit(module, callbacks, epochs=3, datamodule=RandomImages(4), default_root_dir=tmp_path)
            optimizers = [optimizer.state_dict() for optimizer in trainer.optimizers]
            return module.state_dict(), optimizers, torch.get_rng_state()

    callback = HessianEigenvalue(1, steps=3)
    assert_same(run(callback), run())
    assert [entry["epoch"] for entry in callback.history] == [0, 1, 2]
    again = HessianEigenvalue(1, steps=3)
    run(again)
    assert again.history == callback.history  # its own random numbers come from a seed


def test_logs_on_the_last_architecture_batch(tmp_path: Path) -> None:
    """Its 12 examples make batches of 5, 5, 2 and, once more, 5; with three batches the last has 2."""
    for batches, size in ((4, 5), (3, 2)):
        callback = HessianEigenvalue(weight_decay=0.5)
        trainer = scripted(callback, [1.0, 9.0, 3.0], tmp_path, limit_train_batches=batches)
        assert float(trainer.callback_metrics["search/hessian_eigenvalue"]) == pytest.approx(3.0 * size + 0.5)
        assert [entry["epoch"] for entry in callback.history] == [0, 2]
        expected = [1.0 * size + 0.5, 3.0 * size + 0.5]
        assert [entry["eigenvalue"] for entry in callback.history] == pytest.approx(expected)


def rising(epochs: int = 30) -> list[float]:
    """Constant before epoch 20, then larger with every epoch."""
    return [1.0 + max(0, epoch - 18) for epoch in range(epochs)]


def test_stops_and_keeps_the_architecture_before_the_rise(tmp_path: Path) -> None:
    """Epochs 14 to 22 have 1, 1, 1, 3 and 5, their mean is 2.2 times that of epochs 6 to 14."""
    callback = HessianEigenvalue()
    trainer = scripted(callback, rising(), tmp_path)
    assert trainer.current_epoch == 23
    assert callback.architecture == Architecture("own", {"epoch": 10})
    assert Architecture.load(tmp_path / "hessian_eigenvalue.json") == callback.architecture
    assert trainer.callback_metrics["search/hessian_eigenvalue_epoch"] == 10


def test_first_epoch_is_counted_from_the_end_of_the_warmup(tmp_path: Path) -> None:
    module = Quadratic(rising())
    module.warmup_epochs = 3  # type: ignore[assignment]  # a number
    callback = HessianEigenvalue(dirpath=tmp_path / "own")
    trainer = scripted(callback, module.script, tmp_path, module=module)
    assert trainer.current_epoch == 27
    assert Architecture.load(tmp_path / "own" / "hessian_eigenvalue.json").values["epoch"] == 14


def test_warns_once_and_goes_on(tmp_path: Path) -> None:
    callback = HessianEigenvalue(1, action="warn", first_epoch=0, ratio=2)
    script = [1.0] * 10 + [9.0] * 5
    message = r"^Epoch 10: the largest eigenvalue of the Hessian has risen since epoch 4; hessian_eigenvalue.json holds"
    with pytest.warns(UserWarning, match=message) as caught:
        trainer = scripted(callback, script, tmp_path)
    assert len([warning for warning in caught if "eigenvalue" in str(warning.message)]) == 1
    assert trainer.current_epoch == 15
    assert len(callback.history) == 15
    assert callback.architecture == Architecture("own", {"epoch": 4})


def test_no_stop_without_a_rise(tmp_path: Path) -> None:
    callback = HessianEigenvalue()
    assert scripted(callback, [1.0] * 30, tmp_path).current_epoch == 30
    assert callback.architecture is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("when", ["epoch", "last batch"])
def test_resumed_equals_uninterrupted(when: Literal["epoch", "last batch"], tmp_path: Path) -> None:
    """From everywhere, also after the stop."""
    straight = HessianEigenvalue(1, first_epoch=0)
    script = [1.0] * 10 + [9.0] * 5
    saver = Saver(tmp_path, when)
    assert scripted(straight, script, tmp_path, more=[saver], enable_checkpointing=True).global_step == 4 * 11
    for epoch in (3, 9, 10):
        resumed = HessianEigenvalue(1, first_epoch=0)
        trainer = fit(
            Quadratic(script), [resumed], epochs=15, datamodule=Streams(), ckpt_path=tmp_path / f"{epoch}.ckpt",
            default_root_dir=tmp_path,
        )  # fmt: skip
        assert trainer.global_step == 4 * 11
        assert resumed.state_dict() == straight.state_dict()
        assert json.loads(json.dumps(resumed.state_dict())) == resumed.state_dict()


def test_another_search_begins_anew(tmp_path: Path) -> None:
    callback = HessianEigenvalue(1, first_epoch=0)
    scripted(callback, [1.0] * 10 + [9.0] * 5, tmp_path)
    scripted(callback, [1.0] * 3, tmp_path)
    assert callback.architecture is None
    assert [entry["eigenvalue"] for entry in callback.history] == pytest.approx([5.001] * 3)


def test_an_eigenvalue_that_is_no_number_is_logged(tmp_path: Path) -> None:
    trainer = scripted(HessianEigenvalue(), [float("inf")], tmp_path)
    assert trainer.callback_metrics["search/hessian_eigenvalue"].isnan()


class Ranks(pl.Callback):
    """Writes what each process has found."""

    def __init__(self, callback: HessianEigenvalue, folder: Path) -> None:
        self.callback, self.folder = callback, folder

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        values = [entry["eigenvalue"] for entry in self.callback.history]
        (self.folder / f"rank{trainer.global_rank}.json").write_text(json.dumps(values))


def test_two_processes_agree_on_the_mean(tmp_path: Path) -> None:
    """Each has another batch; the Hessian of their mean is that of one process with the mean loss of both."""
    callback = HessianEigenvalue(1, weight_decay=0, method="lanczos", steps=30)
    options: dict[str, Any] = {"devices": 2, "strategy": "ddp_fork", "limit_val_batches": 0}
    fit(darts(**AT_REST), [callback, Ranks(callback, tmp_path)], epochs=2, datamodule=RandomImages(2), **options)
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert len(first) == 2
    assert first[0] == pytest.approx(largest_of_two_batches(), rel=1e-3)


def largest_of_two_batches() -> float:
    """Take the mean of the losses of both batches in one process."""
    module = Both("nasbench201", scale=SCALE, order="first", **AT_REST)
    callback = HessianEigenvalue(1, weight_decay=0, method="dense")
    fit(module, [callback], epochs=1, datamodule=RandomImages(4), limit_val_batches=0)
    value: float = callback.history[0]["eigenvalue"]
    return value


class Both(DartsModule):
    """Normalises the two halves of a batch apart, as two processes do; they get every other example."""

    def architecture_loss(self, alphas: Sequence[Tensor], batch: Any) -> Tensor:
        halves = [super(Both, self).architecture_loss(alphas, [part[k::2] for part in batch]) for k in (0, 1)]
        return torch.stack(halves).mean()


def test_refuses_modules_without_an_architecture_loss() -> None:
    message = r"a search that has `alphas`, `architecture_loss\(alphas, batch\)` and `derive\(\)`, .* but got .*"
    with pytest.raises(TypeError, match=message + "Project"):
        fit(Project(), [HessianEigenvalue()])
    with pytest.raises(TypeError, match=message + "EnasModule"):
        fit(EnasModule("nasbench201", scale=SCALE), [HessianEigenvalue()], datamodule=RandomImages(4))


def test_refuses_batches_without_an_architecture_part(tmp_path: Path) -> None:
    loader: DataLoader[Any] = DataLoader(examples(0), 4)
    with pytest.raises(
        MisconfigurationException, match=r'Expected training batches {"weights": \.\.\., "architecture"'
    ):
        fit(Quadratic([1.0]), [HessianEigenvalue()], epochs=1, train=loader, limit_val_batches=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every_n_epochs": 0}, "Expected `every_n_epochs` to be at least 1 but got 0"),
        ({"steps": 0}, "Expected `steps` to be at least 1 but got 0"),
        ({"first_epoch": -1}, "Expected `first_epoch` to be at least 0 but got -1"),
        ({"ratio": 0.0}, "Expected `ratio` to be above 0 but got 0.0"),
        ({"method": "power"}, r"Expected `method` to be one of \['lanczos', 'dense'\] but got 'power'"),
        ({"action": "log"}, r"Expected `action` to be one of \['stop', 'warn'\] but got 'log'"),
    ],
)
def test_refuses_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HessianEigenvalue(**arguments)


def test_two_callbacks_keep_their_own_state() -> None:
    assert HessianEigenvalue(dirpath="a").state_key != HessianEigenvalue(dirpath="b").state_key
