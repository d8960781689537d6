"""DartsModule inside a Trainer: against the plain restatement of the paper, and what it must and must not change."""

import copy
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD, Adam, AdamW
from torch.utils.data import DataLoader, TensorDataset

from lightning_nas._lightning import CombinedLoader, MisconfigurationException, pl
from lightning_nas.architecture import Architecture
from lightning_nas.datamodules import DigitsDataModule
from lightning_nas.methods import DartsModule, bilevel
from lightning_nas.methods.schedules import cosine
from lightning_nas.spaces import Mixture, NasBench201Space
from lightning_nas.tasks import ImageClassification
from lightning_nas.tasks.base import Evaluation, Network
from tests.references.darts_search import ReferenceSearch

SCALES: dict[str, dict[str, int]] = {
    "darts?nodes=2": {"channels": 4, "layers": 3},
    "nasbench201": {"channels": 4, "cells": 1},
}


def images(count: int, seed: int) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randn(count, 3, 8, 8, generator=generator)
    return TensorDataset(pixels, torch.randint(10, (count,), generator=generator))


WEIGHTS, ARCHITECTURE = images(8, seed=0), images(8, seed=1)


def loaders(weights: TensorDataset = WEIGHTS, architecture: TensorDataset = ARCHITECTURE, size: int = 4) -> Any:
    streams = {"weights": DataLoader(weights, size), "architecture": DataLoader(architecture, size)}
    return CombinedLoader(streams, "max_size_cycle")


def darts(space: Any = "nasbench201", **options: Any) -> DartsModule:
    name = space if isinstance(space, str) else space.name
    return DartsModule(space, **{"scale": SCALES[name], **options})


def make_trainer(**options: Any) -> pl.Trainer:
    silent = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    defaults: dict[str, Any] = {**dict.fromkeys(silent, False), "accelerator": "cpu", "max_epochs": 1}
    return pl.Trainer(**{**defaults, "num_sanity_val_steps": 0, "limit_val_batches": 0, **options})


def fit(module: DartsModule, train: Any = None, **options: Any) -> pl.Trainer:
    trainer = make_trainer(**options)
    trainer.fit(module, loaders() if train is None else train, DataLoader(ARCHITECTURE, 4))
    return trainer


def relative_error(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    def flat(tensors: Sequence[Tensor]) -> Tensor:
        return torch.cat([tensor.detach().flatten() for tensor in tensors])

    return float((flat(found) - flat(expected)).norm() / flat(expected).norm())


# ---------------------------------------------------------------- against the reference


def assert_equals_reference(space: str, order: str, update_order: str, clip: float, bn_stats: str = "clean") -> None:
    module = darts(space, order=order, update_order=update_order, grad_clip=clip, bn_stats=bn_stats)
    reference = ReferenceSearch(
        copy.deepcopy(module.supernet).double(),
        {name: alpha.detach().double() for name, alpha in module.alphas.items()},
        second_order=order == "second",
        w_first=update_order == "w_first",
        statistics_move=bn_stats == "reference",
        clip=clip,
    )
    initial = [alpha.clone() for alpha in reference.alphas.values()]
    trainer = fit(module, precision="64-true", max_epochs=2, limit_train_batches=1)
    batches = [tuple(tensor[:4] for tensor in data.tensors) for data in (WEIGHTS, ARCHITECTURE)]
    training, validation = ((pixels.double(), labels) for pixels, labels in batches)
    for rate in (0.025, 0.013):  # the cosine of two epochs
        reference.learning_rate = rate
        reference.iterate(training, validation)
    assert [norm > clip for norm in reference.norms] == [clip < 1] * 2

    weights_optimizer, alphas_optimizer = trainer.optimizers
    velocity = [weights_optimizer.state[weight]["momentum_buffer"] for weight in module.supernet.parameters()]
    moments = [alphas_optimizer.state[alpha] for alpha in module.alphas.values()]
    expected = list(reference.alphas.values())
    errors = {
        "alphas": relative_error(list(module.alphas.values()), expected),
        "steps of alphas": relative_error(
            [after.detach() - before for after, before in zip(module.alphas.values(), initial, strict=True)],
            [after - before for after, before in zip(expected, initial, strict=True)],
        ),
        "first moments": relative_error([m["exp_avg"] for m in moments], list(reference.first_moment.values())),
        "second moments": relative_error([m["exp_avg_sq"] for m in moments], list(reference.second_moment.values())),
        "weights": relative_error(list(module.supernet.parameters()), list(reference.network.parameters())),
        "momentum": relative_error(velocity, list(reference.velocity.values())),
        "buffers": relative_error(
            [buffer.double() for buffer in module.supernet.buffers()],
            [buffer.double() for buffer in reference.network.buffers()],
        ),
    }
    assert {name: error for name, error in errors.items() if not error < 1e-9} == {}


@pytest.mark.parametrize("clip", [0.3, 50.0])
@pytest.mark.parametrize("update_order", ["alpha_first", "w_first"])
@pytest.mark.parametrize("order", ["first", "second"])
def test_two_iterations_equal_the_reference(order: str, update_order: str, clip: float) -> None:
    assert_equals_reference("nasbench201", order, update_order, clip)


@pytest.mark.parametrize(
    ("order", "update_order", "clip", "bn_stats"),
    [
        ("second", "alpha_first", 0.3, "reference"),
        ("second", "w_first", 50.0, "clean"),
        ("first", "alpha_first", 50.0, "reference"),
    ],
)
def test_two_iterations_equal_the_reference_on_darts(order: str, update_order: str, clip: float, bn_stats: str) -> None:
    assert_equals_reference("darts?nodes=2", order, update_order, clip, bn_stats)


# ---------------------------------------------------------------- what an alpha gradient leaves as it is


def snapshot(module: DartsModule) -> dict[str, Any]:
    """Everything that an alpha gradient may not touch, copied."""
    weights_optimizer, alphas_optimizer = module.trainer.optimizers

    def state(optimizer: Any) -> Any:
        return copy.deepcopy(optimizer.state_dict())

    return {
        "weights": [weight.detach().clone() for weight in module.supernet.parameters()],
        "gradients": [None if w.grad is None else w.grad.clone() for w in module.supernet.parameters()],
        "alphas": [alpha.detach().clone() for alpha in module.alphas.values()],
        "alpha gradients": [alpha.grad for alpha in module.alphas.values()],
        "requires": [parameter.requires_grad for parameter in module.parameters()],
        "buffers": {name: buffer.clone() for name, buffer in module.supernet.named_buffers()},
        "tracking": [m.track_running_stats for m in module.modules() if isinstance(m, nn.BatchNorm2d)],
        "training": [m.training for m in module.modules()],
        "random": torch.get_rng_state(),
        "weights optimizer": state(weights_optimizer),
        "alphas optimizer": state(alphas_optimizer),
    }


def changes(before: object, after: object, place: str = "") -> list[str]:
    """Places at which two snapshots differ, bit for bit."""
    if isinstance(before, dict) and isinstance(after, dict):
        assert before.keys() == after.keys()
        return [c for key in before for c in changes(before[key], after[key], f"{place}/{key}")]
    if isinstance(before, list) and isinstance(after, list):
        assert len(before) == len(after)
        return [c for i, (a, b) in enumerate(zip(before, after, strict=True)) for c in changes(a, b, f"{place}/{i}")]
    same = torch.equal(before, after) if isinstance(before, Tensor) and isinstance(after, Tensor) else before == after
    return [] if same else [place]


class Probe(DartsModule):
    """Looks at itself before and after every alpha gradient."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.found: list[list[str]] = []
        self.gradients: list[list[Tensor]] = []
        self.weight_gradients: list[bool] = []

    def alpha_gradient(self, weights_batch: Any, architecture_batch: Any) -> list[Tensor]:
        before = snapshot(self)
        gradient = super().alpha_gradient(weights_batch, architecture_batch)
        self.found.append(changes(before, snapshot(self)))
        self.gradients.append([tensor.clone() for tensor in gradient])
        self.weight_gradients.append(any(w.grad is not None for w in self.supernet.parameters()))
        return gradient


def probe(space: str = "nasbench201", **options: Any) -> Probe:
    return Probe(space, **{"scale": SCALES[space], **options})


@pytest.mark.parametrize("space", SCALES)
@pytest.mark.parametrize(
    ("order", "hessian"), [("first", "exact"), ("second", "exact"), ("second", "finite_difference")]
)
def test_alpha_gradient_changes_nothing(space: str, order: str, hessian: str) -> None:
    module = probe(space, order=order, hessian=hessian)
    fit(module)
    assert module.found == [[], []]
    assert module.weight_gradients == [False, True]  # those of the weight step before, which it will clear


@pytest.mark.parametrize(("order", "updates"), [("first", 2), ("second", 4)])
def test_reference_statistics_move_in_alpha_steps_too(order: str, updates: int) -> None:
    module = probe("darts?nodes=2", order=order, bn_stats="reference")
    fit(module, limit_train_batches=1)
    norms = [m for m in module.supernet.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {int(norm.num_batches_tracked) for norm in norms if norm.num_batches_tracked is not None} == {updates}
    [places] = module.found
    assert {place.rpartition(".")[2] for place in places} == {"running_mean", "running_var", "num_batches_tracked"}
    assert all(place.startswith("/buffers/") for place in places)


def test_clean_statistics_move_in_weight_steps_only() -> None:
    module = darts("darts?nodes=2")
    fit(module)
    norms = [m for m in module.supernet.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {int(norm.num_batches_tracked) for norm in norms if norm.num_batches_tracked is not None} == {2}


class FailingTask(ImageClassification):
    """Fails in the given evaluation, counted from one."""

    def __init__(self, failing: int) -> None:
        super().__init__()
        self.left = failing

    def evaluate(self, network: Network, batch: Any) -> Evaluation:
        evaluation = super().evaluate(network, batch)
        self.left -= 1
        if self.left == 0:
            raise ArithmeticError("stop")
        return evaluation


@pytest.mark.parametrize("failing", [1, 2, 3, 4])
def test_exception_in_an_alpha_gradient_changes_nothing(failing: int) -> None:
    class Catching(Probe):
        def alpha_gradient(self, weights_batch: Any, architecture_batch: Any) -> list[Tensor]:
            before = snapshot(self)
            try:
                return super().alpha_gradient(weights_batch, architecture_batch)
            finally:
                self.found.append(changes(before, snapshot(self)))

    # the first batch's five evaluations pass: the second has momentum buffers to lose
    module = Catching("nasbench201", FailingTask(5 + failing), scale=SCALES["nasbench201"])
    with pytest.raises(ArithmeticError, match="stop"):
        fit(module)
    assert module.found[-1] == []
    assert len(module.found) == 3


def test_rows_of_the_alpha_gradient_sum_to_zero() -> None:
    for order in ("first", "second"):
        module = probe("darts?nodes=2", order=order)
        fit(module, precision="64-true")
        for gradient in (g for step in module.gradients for g in step):
            assert float(gradient.abs().max()) > 1e-6
            assert float(gradient.sum(1).abs().max()) < 1e-12


def test_first_adam_step_follows_the_sign() -> None:
    module = probe()
    before = {name: alpha.detach().clone() for name, alpha in module.alphas.items()}
    fit(module, limit_train_batches=1)
    for name, gradient in zip(before, module.gradients[0], strict=True):
        with_decay = gradient + 1e-3 * before[name]
        assert float(with_decay.abs().min()) > 1e-6  # far above Adam's eps
        expected = before[name] - 3e-4 * with_decay.sign()
        torch.testing.assert_close(module.alphas[name].detach(), expected, rtol=0, atol=3e-6)


@pytest.mark.parametrize("space", SCALES)
def test_exact_hessian_is_the_limit_of_the_difference(space: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bilevel, "EPSILON", 1e-6)  # the paper's 0.01 crosses kinks of ReLU and max pooling
    found = {}
    for name, options in {"exact": {"hessian": "exact"}, "difference": {}, "first": {"order": "first"}}.items():
        module = probe(space, **options)
        fit(module, limit_train_batches=1, precision="64-true")
        found[name] = module.gradients[0]
    assert relative_error(found["difference"], found["exact"]) < 1e-7
    assert relative_error(found["first"], found["exact"]) > 0.1


def test_look_ahead_is_clipped_when_asked() -> None:
    def gradient(**options: Any) -> list[Tensor]:
        module = probe(**options)
        fit(module, limit_train_batches=1, precision="64-true")
        return module.gradients[0]

    plain = gradient(grad_clip=0.05)
    assert relative_error(gradient(grad_clip=1e6, clip_virtual=True), plain) == 0
    assert relative_error(gradient(grad_clip=0.05, clip_virtual=True), plain) > 0.1
    with pytest.raises(ValueError, match=r"Expected a `grad_clip` for clip_virtual=True but got None"):
        DartsModule(clip_virtual=True, grad_clip=None)


# ---------------------------------------------------------------- dropout


class RecordingDropout(nn.Dropout):
    """Remembers which values it has dropped."""

    def __init__(self) -> None:
        super().__init__(0.5)
        self.masks: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        mask = super().forward(torch.ones_like(x))
        self.masks.append(mask.detach() > 0)
        return x * mask


class DroppingSpace(NasBench201Space):
    def supernet(self, **scale: Any) -> nn.Module:  # type: ignore[override]  # the scale is not spelled out
        network = super().supernet(**scale)
        cast("nn.Sequential", network.last).append(RecordingDropout())
        return network


def test_all_passes_of_an_alpha_step_drop_the_same() -> None:
    module = darts(DroppingSpace())
    fit(module)
    [dropout] = [m for m in module.supernet.modules() if isinstance(m, RecordingDropout)]
    assert len(dropout.masks) == 10
    steps = [dropout.masks[:4], dropout.masks[5:9]]
    for masks in steps:
        assert all(torch.equal(mask, masks[0]) for mask in masks)
    distinct = [steps[0][0], dropout.masks[4], steps[1][0], dropout.masks[9]]
    assert all(not torch.equal(a, b) for i, a in enumerate(distinct) for b in distinct[:i])


# ---------------------------------------------------------------- the loop


def test_global_step_counts_batches() -> None:
    assert fit(darts(), max_epochs=2).global_step == 4
    assert fit(darts(schedule_epochs=2), max_epochs=-1, max_steps=3).global_step == 3


def test_alphas_are_saved_and_not_optimised_as_weights() -> None:
    module = darts("darts?nodes=2")
    trainer = fit(module, limit_train_batches=1)
    assert {name for name in module.state_dict() if name.startswith("alphas")} == {"alphas.normal", "alphas.reduce"}
    weights, alphas = ([id(p) for g in optimizer.param_groups for p in g["params"]] for optimizer in trainer.optimizers)
    assert alphas == [id(alpha) for alpha in module.alphas.values()]
    assert weights == [id(weight) for weight in module.supernet.parameters()]
    assert not set(weights) & set(alphas)
    assert all(alpha.grad is None and not alpha.requires_grad for alpha in module.alphas.values())


class AlphasOfEpochs(pl.Callback):
    """Copies the alphas after every epoch."""

    def __init__(self) -> None:
        self.alphas: list[list[Tensor]] = []
        self.weights: list[Tensor] = []
        self.rates: list[float] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, DartsModule)
        self.alphas.append([alpha.detach().clone() for alpha in pl_module.alphas.values()])
        self.weights.append(next(pl_module.supernet.parameters()).detach().clone())
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


@pytest.mark.parametrize("update_order", ["alpha_first", "w_first"])
def test_warmup_trains_weights_only(update_order: str) -> None:
    module, epochs = darts(warmup_epochs=2, update_order=update_order), AlphasOfEpochs()
    start = [alpha.detach().clone() for alpha in module.alphas.values()]
    fit(module, max_epochs=3, callbacks=[epochs])
    assert changes(start, epochs.alphas[0]) == changes(start, epochs.alphas[1]) == []
    assert changes(start, epochs.alphas[2]) == [f"/{i}" for i in range(len(start))]
    assert not torch.equal(epochs.weights[0], epochs.weights[1])


def test_cosine_of_the_paper() -> None:
    rates = [cosine(epoch, 50, 0.025, 0.001) for epoch in (0, 1, 25, 49)]
    assert rates == pytest.approx([0.025, 0.02497632, 0.013, 0.00102368], abs=5e-9)
    assert cosine(50, 50, 0.025, 0.001) == cosine(70, 50, 0.025, 0.001) == 0.001


def test_learning_rate_follows_the_epochs() -> None:
    epochs = AlphasOfEpochs()
    trainer = fit(darts(order="first"), max_epochs=4, limit_train_batches=1, callbacks=[epochs])
    assert epochs.rates == pytest.approx([0.025, 0.02148528, 0.013, 0.00451472], abs=5e-9)
    assert trainer.callback_metrics["train/learning_rate"].item() == pytest.approx(0.00451472, abs=1e-8)
    epochs = AlphasOfEpochs()
    fit(darts(order="first", schedule_epochs=50), max_epochs=2, limit_train_batches=1, callbacks=[epochs])
    assert epochs.rates == pytest.approx([0.025, 0.02497632], abs=5e-9)


def test_every_group_of_weights_has_its_own_schedule() -> None:
    def optimizer(weights: Any) -> SGD:
        first, *rest = weights
        return SGD([{"params": [first], "lr": 0.1}, {"params": rest}], lr=0.025, momentum=0.9)

    module = darts(weights_optimizer=optimizer, min_learning_rate=0.0)
    trainer = fit(module, max_epochs=2, limit_train_batches=1)
    assert [group["lr"] for group in trainer.optimizers[0].param_groups] == pytest.approx([0.05, 0.0125])


def test_metrics() -> None:
    """A search that moves nothing, so that all values can be computed afterwards."""
    still = {"weights_optimizer": partial(SGD, lr=0.0), "alphas_optimizer": partial(SGD, lr=0.0)}
    module = darts("darts?nodes=2", min_learning_rate=0.0, **still)
    with torch.no_grad():
        module.alphas["normal"][1:3, 3] = 5.0  # skip_connect on the first node's second and the second's first input
    uneven = loaders(images(10, seed=0), images(6, seed=1))
    trainer = make_trainer(max_epochs=2, limit_val_batches=1.0)
    validation = images(7, seed=2)
    trainer.fit(module, uneven, DataLoader(validation, 4))
    logged = {name: value.item() for name, value in trainer.callback_metrics.items()}
    assert logged.keys() == {
        *("train/loss", "train/accuracy", "val/loss", "val/accuracy", "train/learning_rate"),
        *("search/entropy", "search/skip_count", "search/examples_seen"),
        *("search/children", "search/best_error", "search/device_hours"),
    }
    assert logged["search/best_error"] == pytest.approx(1 - logged["val/accuracy"])

    mixtures = {name: Mixture(alpha.softmax(1)) for name, alpha in module.alphas.items()}

    def evaluate(data: TensorDataset, *, whole: bool) -> tuple[float, float]:
        pixels, labels = data.tensors
        batches = [pixels] if whole else torch.split(pixels, 4)
        with torch.no_grad():
            logits = torch.cat([module.supernet(batch, mixtures) for batch in batches])
        return cross_entropy(logits, labels).item(), (logits.argmax(1) == labels).float().mean().item()

    module.eval()
    assert (logged["val/loss"], logged["val/accuracy"]) == pytest.approx(evaluate(validation, whole=True), rel=1e-5)
    module.train()
    expected = evaluate(images(10, seed=0), whole=False)
    assert (logged["train/loss"], logged["train/accuracy"]) == pytest.approx(expected, rel=1e-5)
    assert logged["search/examples_seen"] == 2 * (10 + (4 + 2 + 4))  # the shorter stream starts again
    p = torch.cat([mixture.weights for mixture in mixtures.values()]).detach()
    assert logged["search/entropy"] == pytest.approx(-(p * p.log()).sum(1).mean().item(), rel=1e-5)
    chosen = [value for name, value in module.derive().values.items() if name.startswith("normal/")]
    assert logged["search/skip_count"] == chosen.count("skip_connect") >= 2
    assert logged["train/learning_rate"] == 0


def test_validation_uses_the_running_statistics_and_plain_loss() -> None:
    module = darts(task=ImageClassification(label_smoothing=0.5))
    [result] = make_trainer(limit_val_batches=1.0).validate(module, DataLoader(ARCHITECTURE, 8), verbose=False)
    mixtures = {name: Mixture(alpha.softmax(1)) for name, alpha in module.alphas.items()}
    pixels, labels = ARCHITECTURE.tensors
    with torch.no_grad():
        expected = cross_entropy(module.eval().supernet(pixels, mixtures), labels).item()
    assert result["val/loss"] == pytest.approx(expected, rel=1e-5)


# ---------------------------------------------------------------- seeds and checkpoints


def test_initial_state_depends_on_the_seed_alone() -> None:
    with torch.random.fork_rng([]):
        torch.manual_seed(1)
        first = darts().state_dict()
        torch.manual_seed(2)
        second, other = darts().state_dict(), darts(seed=1).state_dict()
    assert changes(dict(first), dict(second)) == []
    different = {place.removeprefix("/") for place in changes(dict(first), dict(other))}
    assert {"alphas.cell", "supernet.stem.0.weight"} <= different


def test_initial_alphas_are_small() -> None:
    alphas = torch.cat(
        [alpha.flatten() for alpha in DartsModule("darts", scale=SCALES["darts?nodes=2"]).alphas.values()]
    )
    assert len(alphas) == 224
    assert float(alphas.std()) == pytest.approx(1e-3, rel=0.2)


def test_load_from_checkpoint(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "order": "first",
        "hessian": "exact",
        "update_order": "w_first",
        "bn_stats": "reference",
        "virtual_step": "global",
        "clip_virtual": True,
        "warmup_epochs": 0,
        "grad_clip": 0.5,
        "min_learning_rate": 0.002,
        "schedule_epochs": 9,
        "seed": 7,
    }
    module = darts("darts?nodes=2", **options)
    trainer = fit(module)
    trainer.save_checkpoint(tmp_path / "search.ckpt")
    checkpoint = torch.load(tmp_path / "search.ckpt", weights_only=True)
    loaded = DartsModule.load_from_checkpoint(tmp_path / "search.ckpt")
    assert changes(dict(module.state_dict()), dict(loaded.state_dict())) == []
    assert {name: getattr(loaded, name) for name in options} == options
    assert loaded.space.name == "darts?nodes=2"
    assert loaded.scale == SCALES["darts?nodes=2"]
    assert json.loads(json.dumps(dict(loaded.hparams))) == dict(module.hparams)
    assert Architecture.from_dict(checkpoint["architecture"]) == module.derive() == loaded.derive()
    provenance = checkpoint["architecture"]["provenance"]
    assert provenance["method"] == "DartsModule"
    assert (provenance["order"], provenance["seed"], provenance["examples_seen"]) == ("first", 7, 16)


class SaveEveryBatch(pl.Callback):
    """Saves a checkpoint after every batch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        trainer.save_checkpoint(self.folder / f"{trainer.global_step}.ckpt")


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch")
def test_resumed_after_any_batch(tmp_path: Path) -> None:
    """Also after the last batch of an epoch: Lightning then leaves out the start of the next one."""
    batch = TensorDataset(*(tensor[:4].repeat(2, *[1] * (tensor.dim() - 1)) for tensor in WEIGHTS.tensors))
    straight = darts()
    fit(straight, loaders(batch, batch), max_epochs=3, callbacks=[SaveEveryBatch(tmp_path)])
    for done in range(1, 6):
        resumed, trainer = darts(), make_trainer(max_epochs=3)
        checkpoint = str(tmp_path / f"{done}.ckpt")
        trainer.fit(resumed, loaders(batch, batch), DataLoader(batch, 4), ckpt_path=checkpoint)
        assert trainer.global_step == 6
        assert changes(dict(straight.state_dict()), dict(resumed.state_dict())) == [], f"resumed after batch {done}"


def test_derive_takes_the_strongest_operations() -> None:
    module = darts()
    with torch.no_grad():
        module.alphas["cell"].copy_(torch.eye(5)[[3, 0, 1, 4, 2, 3]] - 7)
    string = NasBench201Space().to_string(module.derive())
    assert string == "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|nor_conv_3x3~2|"


# ---------------------------------------------------------------- low precision


class SmoothNetwork(nn.Module):
    """Adds up six mixtures of five perceptrons: nothing in it makes rounding errors larger."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(3 * 64, 10) for _ in range(30))

    def forward(self, pixels: Tensor, mixtures: dict[str, Mixture]) -> Tensor:
        outputs = torch.stack([expert(pixels.flatten(1)).tanh() for expert in self.experts])
        return torch.einsum("k,knc->nc", mixtures["cell"].weights.flatten(), outputs.float())


class SmoothSpace(NasBench201Space):
    def supernet(self, **scale: Any) -> nn.Module:  # type: ignore[override]  # the scale is not spelled out
        return SmoothNetwork()


def first_alpha_gradient(precision: str, **options: Any) -> list[Tensor]:
    module = Probe(SmoothSpace(), grad_clip=None, weights_optimizer=partial(SGD, lr=20.0), **options)
    fit(module, precision=precision, limit_train_batches=1)
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}
    return module.gradients[0]


@pytest.mark.parametrize("update_order", ["alpha_first", "w_first"])
@pytest.mark.parametrize("order", ["first", "second"])
def test_bf16_gradient_is_near_that_of_float32(order: str, update_order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"order": order, "update_order": update_order}
    full, low = (first_alpha_gradient(precision, **options) for precision in ("32-true", "bf16-mixed"))
    assert not torch.equal(full[0], low[0])
    assert relative_error(low, full) < 0.03
    # Lightning before 2.6 and after its issue 21611 lets autocast keep low-precision copies of weights, which are old
    # at the look-ahead and after a weight step
    cached = lambda self: torch.autocast("cpu", torch.bfloat16)  # noqa: E731
    monkeypatch.setattr(pl.plugins.MixedPrecision, "autocast_context_manager", cached)
    assert relative_error(first_alpha_gradient("bf16-mixed", **options), full) < 0.03
    monkeypatch.setattr(torch, "clear_autocast_cache", lambda: None)
    stale = relative_error(first_alpha_gradient("bf16-mixed", **options), full)
    assert (stale > 0.1) == (order == "second" or update_order == "w_first")


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    "option",
    [
        *({"order": "third"}, {"hessian": "diagonal"}, {"update_order": "both"}),
        *({"bn_stats": "none"}, {"virtual_step": "mean"}),
    ],
)
def test_unknown_option(option: dict[str, str]) -> None:
    [(name, value)] = option.items()
    with pytest.raises(ValueError, match=f"Expected `{name}` to be one of .* but got '{value}'"):
        darts(**option)


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ({"gradient_clip_val": 1.0}, "without `gradient_clip_val` but got 1.0: .*DartsModule.grad_clip"),
        ({"accumulate_grad_batches": 2}, "without `accumulate_grad_batches` but got 2"),
        ({"precision": "bf16-true"}, "but got 'bf16-true'"),
        ({"max_epochs": -1, "max_steps": 2}, "max_epochs=.* but got -1"),
    ],
)
def test_refused_trainer_flags(flag: dict[str, Any], message: str) -> None:
    with pytest.raises(MisconfigurationException, match=message):
        fit(darts(), **flag)


def test_half_precision_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pl.Trainer, "precision", "16-mixed")  # on a CPU Lightning itself would take bf16-mixed
    with pytest.raises(MisconfigurationException, match=r"but got '16-mixed': .* use 'bf16-mixed'"):
        fit(darts())


@pytest.mark.parametrize(
    "optimizer",
    [
        partial(Adam, lr=1e-3),
        partial(SGD, lr=0.1, momentum=0.9, nesterov=True),
        partial(SGD, lr=0.1, momentum=0.9, dampening=0.5),
    ],
)
def test_second_order_needs_plain_sgd(optimizer: Callable[..., Any]) -> None:
    with pytest.raises(MisconfigurationException, match="Expected plain SGD"):
        fit(darts(weights_optimizer=optimizer))


def test_first_order_takes_any_optimizer() -> None:
    module = darts(order="first", weights_optimizer=partial(AdamW, lr=1e-3), alphas_optimizer=partial(SGD, lr=0.1))
    before = copy.deepcopy(module.state_dict())
    trainer = fit(module)
    assert [type(optimizer) for optimizer in trainer.optimizers] == [AdamW, SGD]
    assert {"/alphas.cell", "/supernet.stem.0.weight"} <= set(changes(dict(before), dict(module.state_dict())))


@pytest.mark.parametrize(
    ("train", "got"),
    [
        (DataLoader(WEIGHTS, 4), "but got list"),
        (CombinedLoader({"weights": DataLoader(WEIGHTS, 4), "other": DataLoader(WEIGHTS, 4)}), r"keys \['other', 'w"),
    ],
)
def test_unsplit_data_are_refused(train: Any, got: str) -> None:
    with pytest.raises(MisconfigurationException, match=f"Expected training batches .*{got}.*SearchSplit"):
        fit(darts(), train)


@pytest.mark.parametrize("order", ["first", "second"])
def test_divergence_is_an_error(order: str) -> None:
    module, trainer = darts(order=order, alphas_optimizer=partial(SGD, lr=float("inf"))), make_trainer()
    with pytest.raises(FloatingPointError, match="Expected finite alphas but got NaN or infinity in epoch 0"):
        trainer.fit(module, loaders(), DataLoader(ARCHITECTURE, 4))
    assert trainer.global_step == 0  # at once, not at the end of the epoch


def test_nan_alphas_derive_nothing() -> None:
    module = darts()
    with torch.no_grad():
        module.alphas["cell"][2, 3] = torch.nan
    with pytest.raises(FloatingPointError, match="the search has diverged"):
        module.derive()


def test_warmup_counts_only_the_weights_images() -> None:
    module = darts(order="first", warmup_epochs=1)
    trainer = fit(module, max_epochs=2)
    assert trainer.callback_metrics["search/examples_seen"] == 8 + (8 + 8)


def test_a_search_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(
        MisconfigurationException, match=r"Expected more epochs than the 2 `warmup_epochs`.*max_epochs=2"
    ):
        fit(darts(warmup_epochs=2), max_epochs=2)
    fit(darts(order="first", warmup_epochs=2), fast_dev_run=1)


def test_the_schedule_never_rises() -> None:
    module = darts(order="first", weights_optimizer=partial(AdamW, lr=3e-4))
    trainer = fit(module, max_epochs=2, limit_train_batches=1)
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(3e-4)


@pytest.mark.parametrize("grad_clip", [0.0, -1.0])
def test_gradients_cannot_be_clipped_to_nothing(grad_clip: float) -> None:
    with pytest.raises(ValueError, match=r"Expected `grad_clip` to be above 0 but got"):
        DartsModule(grad_clip=grad_clip)


def test_the_task_has_the_classes_of_the_network() -> None:
    task = darts(scale={"channels": 4, "cells": 1, "classes": 3}).task
    assert isinstance(task, ImageClassification)
    assert task.classes == 3


def test_data_with_other_classes_are_refused() -> None:
    module = darts("darts?nodes=2", scale={"channels": 4, "layers": 3, "in_channels": 1, "classes": 12})
    with pytest.raises(MisconfigurationException, match=r"Expected data with 12 classes but got 10; .*'classes': 10"):
        make_trainer().fit(module, datamodule=DigitsDataModule(search=True))


def test_images_with_other_channels_are_refused() -> None:
    grey = TensorDataset(torch.zeros(4, 1, 8, 8), torch.tensor([0, 1, 2, 3]))
    for space in SCALES:
        with pytest.raises(ValueError, match=r"Expected images of 3 channels but got 1; .*'in_channels': 1"):
            fit(darts(space), loaders(grey, grey))
