"""RetrainModule: the paper's recipe in numbers, and resuming."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset

from lightning_nas._lightning import MisconfigurationException, pl
from lightning_nas.architecture import Architecture
from lightning_nas.methods import RetrainModule
from lightning_nas.operations.drop_path import DropPath
from lightning_nas.spaces import AuxiliaryLogits, DartsSpace, NasBench201Space
from lightning_nas.tasks import ImageClassification
from lightning_nas.zoo import DARTS_V1, DARTS_V2

SCALE = {"channels": 4, "layers": 3}
STRING = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"
CELL = NasBench201Space().from_string(STRING)


def images(count: int, seed: int = 0, size: int = 8) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randn(count, 3, size, size, generator=generator)
    return TensorDataset(pixels, torch.randint(10, (count,), generator=generator))


DATA = images(8)


def retrain(architecture: Any = CELL, **options: Any) -> RetrainModule:
    return RetrainModule(None, architecture, **{"scale": {"channels": 4, "cells": 1}, **options})


def retrain_darts(architecture: Any = DARTS_V2, **options: Any) -> RetrainModule:
    return RetrainModule("darts", architecture, **{"scale": SCALE, "auxiliary": False, **options})


def make_trainer(**options: Any) -> pl.Trainer:
    silent = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    defaults: dict[str, Any] = {**dict.fromkeys(silent, False), "accelerator": "cpu", "max_epochs": 1}
    return pl.Trainer(**{**defaults, "num_sanity_val_steps": 0, **options})


def fit(module: RetrainModule, train: Any = None, ckpt_path: Path | None = None, **options: Any) -> pl.Trainer:
    trainer = make_trainer(**options)
    trainer.fit(module, DataLoader(DATA, 4) if train is None else train, DataLoader(DATA, 4), ckpt_path=ckpt_path)
    return trainer


def attached(module: RetrainModule, **options: Any) -> pl.Trainer:
    """Attach a Trainer without running it."""
    trainer = make_trainer(**options)
    module.trainer = trainer
    trainer.strategy.connect(module)
    return trainer


# ---------------------------------------------------------------- schedules


def drop_path_probabilities(module: RetrainModule) -> set[float]:
    return {m.probability for m in module.modules() if isinstance(m, DropPath)}


@pytest.mark.parametrize(("epoch", "expected"), [(0, 0.0), (300, 0.1), (599, 0.19966667)])
def test_drop_path_grows_with_the_epochs(epoch: int, expected: float) -> None:
    module = retrain_darts()
    trainer = attached(module, max_epochs=600)
    progress: Any = trainer.fit_loop.epoch_progress.current  # Lightning annotates too narrow a type
    progress.completed = epoch
    module.on_train_batch_start(None, 0)
    [probability] = drop_path_probabilities(module)
    assert probability == pytest.approx(expected, abs=1e-8)


class Probabilities(pl.Callback):
    """Writes down the drop-path probability of every batch."""

    def __init__(self) -> None:
        self.found: list[set[float]] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, RetrainModule)
        self.found.append(drop_path_probabilities(pl_module))


def test_drop_path_in_training() -> None:
    seen = Probabilities()
    fit(retrain_darts(drop_path=0.4), max_epochs=2, callbacks=[seen])
    assert seen.found == [{0.0}, {0.0}, {0.2}, {0.2}]
    seen = Probabilities()
    fit(
        retrain_darts(drop_path=0.4, scheduler=partial(StepLR, step_size=1)),
        max_epochs=-1,
        max_steps=1,
        callbacks=[seen],
    )
    assert seen.found == [{0.4}]  # without an end there is nothing to grow towards


def test_cosine_goes_to_zero() -> None:
    module = retrain()
    attached(module, max_epochs=600)
    [optimizer], [scheduler] = module.configure_optimizers()
    optimizer.step()
    rates = []
    for _ in range(600):
        rates.append(optimizer.param_groups[0]["lr"])
        scheduler.step()
    assert [rates[0], rates[300]] == pytest.approx([0.025, 0.0125])
    assert rates[599] == pytest.approx(1.7134e-7, rel=1e-4)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-12)
    group = optimizer.param_groups[0]
    assert (group["momentum"], group["weight_decay"], group["nesterov"]) == (0.9, 3e-4, False)
    assert [id(p) for p in group["params"]] == [id(p) for p in module.network.parameters()]


def test_own_optimizer_and_scheduler() -> None:
    module = retrain(optimizer=partial(AdamW, lr=0.1), scheduler=partial(StepLR, step_size=1, gamma=0.5))
    trainer = fit(module, max_epochs=2)
    assert isinstance(trainer.optimizers[0], AdamW)
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0.025


def test_a_cosine_needs_an_end() -> None:
    with pytest.raises(MisconfigurationException, match=r"Expected Trainer\(max_epochs=.*but got -1"):
        fit(retrain(), max_epochs=-1, max_steps=1)


# ---------------------------------------------------------------- clipping


class GradientNorm(pl.Callback):
    """Writes down the norm of the gradient just before each step."""

    def __init__(self) -> None:
        self.found: list[float] = []

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        norms = [p.grad.norm() for p in pl_module.parameters() if p.grad is not None]
        self.found.append(float(torch.stack(norms).norm()))


class Clipped(RetrainModule):
    """Writes down what clipping leaves of the gradient."""

    def configure_gradient_clipping(self, *arguments: Any, **options: Any) -> None:
        super().configure_gradient_clipping(*arguments, **options)
        self.clipped = torch.cat([p.grad.flatten() for p in self.parameters() if p.grad is not None])


@pytest.mark.parametrize(
    ("grad_clip", "flags", "expected"),
    [
        (0.1, {}, 0.1),
        (None, {}, None),
        (1e6, {}, None),
        (0.1, {"gradient_clip_val": 0.2}, 0.2),
        (None, {"gradient_clip_val": 0.2, "gradient_clip_algorithm": "norm"}, 0.2),
    ],
)
def test_clipping_of_the_norm(grad_clip: float | None, flags: dict[str, Any], expected: float | None) -> None:
    module = Clipped(None, CELL, scale={"channels": 4, "cells": 1}, grad_clip=grad_clip)
    before = GradientNorm()
    fit(module, limit_train_batches=1, callbacks=[before], **flags)
    assert before.found[0] > 0.5
    assert float(module.clipped.norm()) == pytest.approx(before.found[0] if expected is None else expected, rel=1e-4)


def test_clipping_by_value() -> None:
    module = Clipped(None, CELL, scale={"channels": 4, "cells": 1})
    fit(module, limit_train_batches=1, gradient_clip_val=1e-3, gradient_clip_algorithm="value")
    assert float(module.clipped.abs().max()) == pytest.approx(1e-3)


# ---------------------------------------------------------------- loss and metrics


def still(**options: Any) -> dict[str, Any]:
    """Options of a training that moves nothing."""
    return {"optimizer": partial(SGD, lr=0.0), "drop_path": 0.0, **options}


def smoothed(logits: Tensor, labels: Tensor, smoothing: float) -> float:
    targets = (1 - smoothing) * nn.functional.one_hot(labels, 10) + smoothing / 10
    return float(-(targets * logits.log_softmax(1)).sum(1).mean())


def test_label_smoothing_in_training_only() -> None:
    module = retrain(task=ImageClassification(label_smoothing=0.3), **still())
    trainer = fit(module, DataLoader(DATA, 8))
    pixels, labels = DATA.tensors
    with torch.no_grad():
        expected = smoothed(module.train().network(pixels), labels, 0.3)
        plain = float(cross_entropy(module.eval().network(pixels), labels))
    assert trainer.callback_metrics["train/loss"].item() == pytest.approx(expected, rel=1e-5)
    assert trainer.callback_metrics["val/loss"].item() == pytest.approx(plain, rel=1e-2)
    module.eval()
    [result] = make_trainer().validate(module, DataLoader(DATA, 4), verbose=False)
    assert result["val/loss"] == pytest.approx(plain, rel=1e-5)


def test_auxiliary_classifier_in_training_only() -> None:
    module = retrain_darts(auxiliary=True, **still())
    data = images(4, size=32)
    trainer = make_trainer()
    trainer.fit(module, DataLoader(data, 4), DataLoader(data, 4))
    pixels, labels = data.tensors
    with torch.no_grad():
        output = module.train()(pixels)
        assert isinstance(output, AuxiliaryLogits)
        expected = cross_entropy(output.logits, labels) + 0.4 * cross_entropy(output.auxiliary, labels)
        assert isinstance(module.eval()(pixels), Tensor)
    assert trainer.callback_metrics["train/loss"].item() == pytest.approx(float(expected), rel=1e-5)
    correct = (output.logits.argmax(1) == labels).float().mean().item()
    assert trainer.callback_metrics["train/accuracy"].item() == pytest.approx(correct)


def test_metrics_are_those_of_all_examples() -> None:
    """Seven examples in batches of four and three, and labels of one class more often than of others."""
    pixels = images(7, seed=3).tensors[0]
    labels = torch.tensor([0, 0, 0, 0, 1, 2, 9])
    data = DataLoader(TensorDataset(pixels, labels), 4)
    module = retrain()
    with torch.no_grad():
        module.network.classifier.bias[0] += 1.0  # type: ignore[union-attr, index, operator]  # torch's attributes
        logits = module.eval()(pixels)
    accuracy = (logits.argmax(1) == labels).float().mean().item()
    assert 0.2 < accuracy < 1
    expected = {"loss": cross_entropy(logits, labels).item(), "accuracy": accuracy}
    [validated] = make_trainer().validate(module, data, verbose=False)
    [tested] = make_trainer().test(module, data, verbose=False)
    assert validated == pytest.approx({f"val/{name}": value for name, value in expected.items()}, rel=1e-5)
    assert tested == pytest.approx({f"test/{name}": value for name, value in expected.items()}, rel=1e-5)


# ---------------------------------------------------------------- what it is made from


def test_architecture_in_every_form(tmp_path: Path) -> None:
    path = tmp_path / "cells.json"
    DARTS_V2.save(path)
    forms: list[Any] = [DARTS_V2, "DARTS_V2", path, str(path), DARTS_V2.to_dict()]
    modules = [RetrainModule(None, form, scale=SCALE, auxiliary=False) for form in forms]
    for module in modules:
        assert module.architecture == DARTS_V2
        assert module.space.name == "darts"
        assert sum(p.numel() for p in module.network.parameters()) == 2858
    assert {
        type(RetrainModule(space, CELL, auxiliary=False).space) for space in ("nasbench201", NasBench201Space())
    } == {NasBench201Space}


def test_architecture_of_another_space_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cell.json"
    CELL.save(path)
    with pytest.raises(ValueError, match="Expected an architecture of space 'darts' but got one of 'nasbench201'"):
        RetrainModule("darts", path)
    with pytest.raises(FileNotFoundError, match=r"Expected a JSON file or one of .*'DARTS_V2'.* but got 'DARTS_V3'"):
        RetrainModule("darts", "DARTS_V3")
    (tmp_path / "other.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"other\.json: Expected a dictionary with .* but got list"):
        RetrainModule("darts", tmp_path / "other.json")
    with pytest.raises(ValueError, match='Expected a dictionary with "format"'):
        RetrainModule("darts", {"normal": []})


def test_there_is_nothing_to_train_without_an_architecture() -> None:
    with pytest.raises(ValueError, match=r"Expected an `architecture` to train .* but got none"):
        RetrainModule("darts")


@pytest.mark.parametrize("drop_path", [-0.1, 1.0])
def test_drop_path_is_a_probability(drop_path: float) -> None:
    with pytest.raises(
        ValueError, match=rf"Expected `drop_path` to be a share with 0 <= fraction < 1 but got {drop_path}"
    ):
        retrain(drop_path=drop_path)


def test_weights_depend_on_the_seed_alone() -> None:
    def weights(seed: int) -> Tensor:
        return torch.cat([p.detach().flatten() for p in retrain(seed=seed).network.parameters()])

    with torch.random.fork_rng([]):
        torch.manual_seed(1)
        first = weights(0)
        torch.manual_seed(2)
        assert torch.equal(first, weights(0))
        assert not torch.equal(first, weights(1))


# ---------------------------------------------------------------- checkpoints


class SaveEveryBatch(pl.callbacks.Checkpoint):
    """Saves after every batch and every epoch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        trainer.save_checkpoint(self.folder / f"batch{trainer.global_step}.ckpt")

    def on_train_epoch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        trainer.save_checkpoint(self.folder / f"epoch{trainer.current_epoch}.ckpt")


def assert_equal(first: Mapping[str, Any], second: Mapping[str, Any]) -> None:
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch")
def test_resumed_training_is_the_uninterrupted_one(tmp_path: Path) -> None:
    """Bit for bit with drop-path, from the end of an epoch and from inside one (whose batches are all the same)."""
    batch = DataLoader(TensorDataset(*(t[:4].repeat(2, *[1] * (t.dim() - 1)) for t in DATA.tensors)), 4)
    straight = retrain_darts(drop_path=0.9)
    saver = SaveEveryBatch(tmp_path)
    trainer = fit(straight, batch, max_epochs=3, enable_checkpointing=True, callbacks=[saver])
    final = trainer.optimizers[0].state_dict()["state"]
    for name in ("epoch0", "epoch1", "batch1", "batch2", "batch3", "batch5"):
        resumed = retrain_darts(drop_path=0.9)
        trainer = fit(resumed, batch, tmp_path / f"{name}.ckpt", max_epochs=3)
        assert_equal(straight.state_dict(), resumed.state_dict())
        velocity = trainer.optimizers[0].state_dict()["state"]
        assert all(torch.equal(final[k]["momentum_buffer"], velocity[k]["momentum_buffer"]) for k in final)
    without = retrain_darts(drop_path=0.0)
    fit(without, batch, max_epochs=3)
    weights = (module.state_dict()["network.classifier.weight"] for module in (straight, without))
    assert not torch.equal(*weights)


def test_load_from_checkpoint(tmp_path: Path) -> None:
    options: dict[str, Any] = {"auxiliary": False, "drop_path": 0.1, "grad_clip": None, "seed": 4}
    found = Architecture.from_dict({**DARTS_V1.to_dict(), "provenance": {"method": "by hand"}, "metrics": {"x": 0.5}})
    module = retrain_darts(found, **options)
    fit(module).save_checkpoint(tmp_path / "retrain.ckpt")
    assert "state_dict" in torch.load(tmp_path / "retrain.ckpt", weights_only=True)
    loaded = RetrainModule.load_from_checkpoint(tmp_path / "retrain.ckpt")
    assert_equal(module.state_dict(), loaded.state_dict())
    assert loaded.architecture == found
    assert (loaded.architecture.provenance, loaded.architecture.metrics) == (found.provenance, found.metrics)
    assert loaded.space.name == "darts"
    assert loaded.scale == SCALE
    assert {name: getattr(loaded, name) for name in options} == options
    assert json.loads(json.dumps(dict(loaded.hparams))) == dict(module.hparams)


def test_load_from_checkpoint_with_what_it_does_not_hold(tmp_path: Path) -> None:
    class MySpace(DartsSpace):
        @property
        def name(self) -> str:
            return "mine"

    space = MySpace(nodes=1)
    architecture = space.sample(torch.Generator().manual_seed(0))
    task = ImageClassification(5)
    module = RetrainModule(space, architecture, task, scale={**SCALE, "classes": 5}, auxiliary=False)
    pixels, labels = DATA.tensors
    fit(module, DataLoader(TensorDataset(pixels, labels % 5), 4), limit_val_batches=0).save_checkpoint(
        tmp_path / "a.ckpt"
    )
    loaded = RetrainModule.load_from_checkpoint(tmp_path / "a.ckpt", space=space, task=task)
    assert_equal(module.state_dict(), loaded.state_dict())


def test_batches_of_a_search_are_refused() -> None:
    batch = {"weights": DATA[:2], "architecture": DATA[2:4]}
    with pytest.raises(MisconfigurationException, match=r"Expected ordinary training batches .* search=False"):
        retrain().training_step(batch, 0)


def test_an_architecture_is_needed() -> None:
    with pytest.raises(ValueError, match=r"Expected an `architecture` to train .* but got none"):
        RetrainModule("darts")


def test_gradients_cannot_be_clipped_to_nothing() -> None:
    with pytest.raises(ValueError, match=r"Expected `grad_clip` to be above 0 but got 0"):
        retrain(grad_clip=0)
