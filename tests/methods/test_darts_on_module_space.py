"""The methods on a user's own model, batches and task."""

from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.optim import SGD
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, Dataset
from torchmetrics import MeanAbsoluteError, Metric

from lightning_nas._lightning import CombinedLoader, MisconfigurationException, pl
from lightning_nas.architecture import Architecture
from lightning_nas.methods import DartsModule, RetrainModule, SearchModule
from lightning_nas.methods.alphas import initial_alphas
from lightning_nas.spaces import Choice, InputChoice, ModuleSpace, OpChoice, RepeatChoice
from lightning_nas.tasks import Classification, Evaluation, Regression, Task
from lightning_nas.testing import SearchModuleContract


def activation() -> OpChoice:
    return OpChoice({"relu": nn.ReLU(), "tanh": nn.Tanh()}, key="activation")


class Images(nn.Module):
    """A small network with every kind of choice; with or without BatchNorm."""

    def __init__(self, channels: int = 4, normalised: bool = False) -> None:
        super().__init__()
        norm = partial(nn.BatchNorm2d, channels) if normalised else partial(nn.GroupNorm, 1, channels)
        self.stem = nn.Conv2d(3, channels, 3)
        deep = nn.Sequential(OpChoice({"conv": nn.Conv2d(channels, channels, 1), "skip": nn.Identity()}), activation())
        self.body = OpChoice({"deep": deep, "pool": nn.AvgPool2d(3, 1, 1), "skip": nn.Identity()}, key="body")
        self.repeat = RepeatChoice(
            lambda: nn.Sequential(nn.Conv2d(channels, channels, 1), norm(), activation()), (0, 1, 2), key="depth"
        )
        self.skips = InputChoice(3, 2, key="skips", reduction="concat")
        self.head = nn.Linear(2 * channels, 8)

    def forward(self, x: Tensor) -> Tensor:
        stem = self.stem(x)
        body = self.body(stem)
        output: Tensor = self.head(self.skips([stem, body, self.repeat(body)]).mean((2, 3)))
        return output


class TestFirstOrder(SearchModuleContract):
    equals_large_batch = True

    def module(self) -> SearchModule:
        return DartsModule(ModuleSpace(Images, example=(3, 8, 8)), Classification(8), order="first", grad_clip=0.5)


class TestSecondOrder(SearchModuleContract):
    equals_large_batch = True

    def module(self) -> SearchModule:
        space = ModuleSpace(partial(Images, channels=3))
        return DartsModule(space, Classification(8), virtual_step="global", clip_virtual=True, grad_clip=0.5)


class TestWithBatchNorm(SearchModuleContract):
    def module(self) -> SearchModule:
        space, scale = ModuleSpace(Images, name="mine"), {"channels": 3, "normalised": True}
        return DartsModule(space, Classification(8), scale=scale, order="first", warmup_epochs=1)


# ---------------------------------------------------------------- batches of any kind


class Rows(Dataset[Any]):
    """Rows of two inputs, as a tuple or a dictionary; the target is a label or a number."""

    def __init__(self, named: bool, labels: bool) -> None:
        generator = torch.Generator().manual_seed(0)
        self.x, self.y = torch.randn(8, 4, generator=generator), torch.randn(8, 2, generator=generator)
        self.targets = torch.arange(8) % 3 if labels else torch.randn(8, generator=generator)
        self.named = named

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Any:
        x, y, target = self.x[index], self.y[index], self.targets[index]
        return {"y": y, "goal": target, "x": x} if self.named else (x, y, target)


class TwoInputs(nn.Module):
    """Takes ``x`` and ``y``, which must not be mixed up."""

    def __init__(self, outputs: int = 1) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 6), nn.Linear(2, 6)
        self.act = activation()
        self.hidden = OpChoice({"wide": nn.Sequential(nn.Linear(6, 9), nn.Linear(9, 6)), "skip": nn.Identity()})
        self.head = nn.Linear(6, outputs)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        output: Tensor = self.head(self.hidden(self.act(self.first(x) + self.second(y))))
        return output


def run(module: pl.LightningModule, data: Dataset[Any], folder: Path | None = None, **options: Any) -> pl.Trainer:
    """Train for two epochs on the CPU, and return the Trainer with its metrics."""
    silent = ("logger", "enable_progress_bar", "enable_model_summary")
    settings = {**dict.fromkeys(silent, False), "accelerator": "cpu", "max_epochs": 2, "num_sanity_val_steps": 0}
    trainer = pl.Trainer(**{**settings, "enable_checkpointing": False, **options})
    loader: Any = DataLoader(data, 4)
    train = CombinedLoader({"weights": loader, "architecture": loader}) if isinstance(module, SearchModule) else loader
    trainer.fit(module, train, loader)
    return trainer


def expected_metrics(network: Any, data: Rows) -> dict[str, float]:
    """Return what is to be logged after a validation, computed from all rows at once."""
    with torch.no_grad():
        output = network(data.x, data.y)
        if data.targets.dtype == torch.int64:
            loss = nn.functional.cross_entropy(output, data.targets)
            return {"val/loss": float(loss)}
        difference = output.squeeze(1) - data.targets
        return {"val/loss": float(difference.square().mean()), "val/mae": float(difference.abs().mean())}


@pytest.mark.parametrize("named", [False, True], ids=["tuples", "dictionaries"])
@pytest.mark.parametrize(
    ("task", "outputs"),
    [(Classification(3, target="goal"), 3), (Regression(target="goal"), 1)],
    ids=["labels", "numbers"],
)
class TestBatches:
    def test_search(self, task: Task, outputs: int, named: bool) -> None:
        data = Rows(named, labels=outputs == 3)
        module = DartsModule(ModuleSpace(TwoInputs), task, scale={"outputs": outputs})
        before = {name: alpha.clone() for name, alpha in module.alphas.items()}
        logged = run(module, data).callback_metrics
        assert all(not torch.equal(before[name], alpha) for name, alpha in module.alphas.items())
        mixtures = module.mixtures(list(module.alphas.values()))
        expected = expected_metrics(partial(module.supernet, mixtures=mixtures), data)
        assert {name: float(logged[name]) for name in expected} == pytest.approx(expected, rel=1e-5)
        assert int(module.examples_seen) == 2 * (8 + 8)

    def test_retraining(self, task: Task, outputs: int, named: bool) -> None:
        data, space = Rows(named, labels=outputs == 3), ModuleSpace(TwoInputs)
        architecture = Architecture(space.name, {"activation": "tanh", "hidden": "wide"})
        module = RetrainModule(space, architecture, task, scale={"outputs": outputs})
        assert not [part for part in module.modules() if isinstance(part, Choice)]
        before = [parameter.clone() for parameter in module.network.parameters()]
        logged = run(module, data).callback_metrics
        assert all(not torch.equal(a, b) for a, b in zip(before, module.network.parameters(), strict=True))
        expected = expected_metrics(module.network, data)
        assert {name: float(logged[name]) for name in expected} == pytest.approx(expected, rel=1e-5)


class Denoising(Task):
    """A user's own task: give back what was given, without the noise."""

    objective = ("val/mae", "min")

    def evaluate(self, network: Any, batch: Any) -> Evaluation:
        output = network(batch["x"] + 0.1, y=batch["y"])
        return Evaluation(mse_loss(output, batch["x"]), output.detach(), batch["x"])

    def metrics(self) -> dict[str, Metric]:
        return {"mae": MeanAbsoluteError()}


def test_a_task_of_the_users_own() -> None:
    space, data = ModuleSpace(partial(TwoInputs, outputs=4)), Rows(named=True, labels=False)
    module = DartsModule(space, Denoising(), order="first")
    trainer = run(module, data)
    mixtures = module.mixtures(list(module.alphas.values()))
    with torch.no_grad():
        difference = module.supernet(data.x + 0.1, data.y, mixtures) - data.x
    assert float(trainer.callback_metrics["val/mae"]) == pytest.approx(float(difference.abs().mean()), rel=1e-5)
    assert float(trainer.callback_metrics["val/loss"]) == pytest.approx(float(difference.square().mean()), rel=1e-5)
    retrained = run(RetrainModule(space, module.derive(), Denoising()), data).callback_metrics
    assert {"train/mae", "val/mae", "train/loss", "val/loss"} <= retrained.keys()


# ---------------------------------------------------------------- searching, deriving, loading again


def test_search_finds_the_only_candidate_that_can_learn() -> None:
    """The target is a linear function of the input; the other candidate knows nothing of it."""

    class Zero(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 0 * x

    def model() -> nn.Module:
        return nn.Sequential(OpChoice({"zero": Zero(), "same": nn.Identity()}, key="input"), nn.Linear(4, 1))

    x = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))
    data: Any = torch.utils.data.TensorDataset(x, x.sum(1))
    module = DartsModule(
        ModuleSpace(model),
        Regression(),
        order="first",
        weights_optimizer=partial(SGD, lr=0.1),
        alphas_optimizer=partial(torch.optim.Adam, lr=0.1),
    )
    run(module, data, max_epochs=10)
    assert module.derive().values == {"input": "same"}
    assert float(module.alphas["input"].softmax(1)[0, 1]) > 0.9


class TestLoading:
    def test_search(self, tmp_path: Path) -> None:
        space = ModuleSpace(TwoInputs)
        module = DartsModule(space, Regression(target="goal"), scale={"outputs": 1}, order="first")
        run(module, Rows(named=True, labels=False)).save_checkpoint(tmp_path / "search.ckpt")
        loaded = DartsModule.load_from_checkpoint(tmp_path / "search.ckpt", space=space, task=Regression(target="goal"))
        assert loaded.derive() == module.derive()
        assert_close(dict(loaded.state_dict()), dict(module.state_dict()), rtol=0, atol=0)

    def test_retraining(self, tmp_path: Path) -> None:
        space = ModuleSpace(TwoInputs)
        module = RetrainModule(space, space.sample(torch.Generator().manual_seed(0)), Regression(target="goal"))
        run(module, Rows(named=True, labels=False)).save_checkpoint(tmp_path / "retrain.ckpt")
        options: Any = {"space": space, "task": Regression(target="goal")}
        loaded = RetrainModule.load_from_checkpoint(tmp_path / "retrain.ckpt", **options)
        assert loaded.architecture == module.architecture
        assert_close(dict(loaded.state_dict()), dict(module.state_dict()), rtol=0, atol=0)
        with pytest.raises(ValueError, match=r"got 'module:TwoInputs'; a space of your own .* give the space itself"):
            RetrainModule.load_from_checkpoint(tmp_path / "retrain.ckpt", task=Regression(target="goal"))

    def test_without_the_space(self, tmp_path: Path) -> None:
        module = DartsModule(ModuleSpace(TwoInputs), Regression(target="goal"), order="first")
        run(module, Rows(named=True, labels=False)).save_checkpoint(tmp_path / "search.ckpt")
        with pytest.raises(ValueError, match=r"got 'module:TwoInputs'; a space of your own .* give the space itself"):
            DartsModule.load_from_checkpoint(tmp_path / "search.ckpt", task=Regression(target="goal"))
        with pytest.raises(ValueError, match=r"got 'module:TwoInputs'; a space of your own .* give the space itself"):
            RetrainModule(architecture=module.derive())

    def test_retraining_starts_from_new_weights_of_the_seed(self) -> None:
        space = ModuleSpace(TwoInputs)
        architecture = Architecture(space.name, {"activation": "tanh", "hidden": "wide"})
        first, same, other = (RetrainModule(space, architecture, Regression(), seed=seed) for seed in (0, 0, 1))
        assert_close(dict(first.state_dict()), dict(same.state_dict()), rtol=0, atol=0)
        assert not torch.equal(first.network.head.weight, other.network.head.weight)  # type: ignore[union-attr,arg-type]


# ---------------------------------------------------------------- what cannot be searched


def widths() -> nn.Module:
    choice = OpChoice({"narrow": nn.Linear(4, 1), "wide": nn.Linear(4, 3)}, key="width")
    return nn.Sequential(nn.Linear(4, 4), choice, nn.Flatten())


def recurrent() -> nn.Module:
    return nn.Sequential(
        nn.ModuleList([nn.Linear(4, 4)])[0], OpChoice({"gru": nn.GRU(4, 4), "linear": nn.Linear(4, 4)})
    )


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (widths, r"got {'narrow': \(\d, 1\), 'wide': \(\d, 3\)} in OpChoice 'width'$"),
        (recurrent, r"got {'gru': 'tuple', 'linear': \(\d, 4\)} in OpChoice '1'; wrap \['gru'\] so that each"),
    ],
)
class TestNotMixable:
    def test_with_an_example_at_construction(self, factory: Any, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            DartsModule(ModuleSpace(factory, example=(4,)), Regression())

    def test_without_one_on_the_first_batch(self, factory: Any, message: str) -> None:
        module = DartsModule(ModuleSpace(factory), Regression())
        data: Any = torch.utils.data.TensorDataset(torch.zeros(4, 4), torch.zeros(4))
        with pytest.raises(ValueError, match=message):
            run(module, data)


# ---------------------------------------------------------------- choices that the loss does not reach


class Checkpointed(nn.Module):
    """Computes a choice inside of activation checkpointing."""

    def __init__(self, reentrant: bool | None = None, zero: bool = False) -> None:
        super().__init__()
        self.reentrant = reentrant
        self.first, self.act, self.head = nn.Linear(4, 6), activation(), nn.Linear(6, 1)
        if zero:
            nn.init.zeros_(self.head.weight)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        if self.reentrant is None:
            return cast("Tensor", self.head(self.act(hidden)))
        return cast("Tensor", self.head(checkpoint(self.act, hidden, use_reentrant=self.reentrant)))


def alphas_after(space: ModuleSpace, order: Any = "first", **scale: Any) -> dict[str, Tensor]:
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    alphas = partial(SGD, lr=1.0)
    module = DartsModule(space, Regression(), order=order, scale=scale, alphas_optimizer=alphas)
    run(module, torch.utils.data.TensorDataset(x, x.sum(1)))
    return {key: table.detach().clone() for key, table in module.alphas.items()}


@pytest.mark.parametrize("order", ["first", "second"])
class TestUnreachedChoices:
    def test_reentrant_checkpointing_is_refused(self, order: str) -> None:
        first = (
            r"loss of Checkpointed to depend on all choices but it does not on \['activation'\]: .*use_reentrant=True"
        )
        message = first if order == "first" else "When use_reentrant=True, torch.utils.checkpoint is incompatible"
        with pytest.raises((MisconfigurationException, RuntimeError), match=message):
            alphas_after(ModuleSpace(Checkpointed), order, reentrant=True)

    def test_other_checkpointing_changes_nothing(self, order: str) -> None:
        checkpointed, plain = (alphas_after(ModuleSpace(Checkpointed), order, reentrant=kind) for kind in (False, None))
        assert_close(checkpointed, plain)

    def test_a_choice_that_is_not_called_is_refused(self, order: str) -> None:
        class Idle(Checkpointed):
            def __init__(self) -> None:
                super().__init__()
                self.idle = OpChoice({"a": nn.Linear(6, 6), "b": nn.Identity()}, key="idle")
                self.single = OpChoice({"a": nn.Linear(6, 6)}, key="single")  # nothing to choose

        with pytest.raises(MisconfigurationException, match=r"the loss of Idle .* does not on \['idle'\]"):
            alphas_after(ModuleSpace(Idle), order)

    def test_a_gradient_of_zero_is_fine(self, order: str) -> None:
        """Behind weights that start at zero the first gradient is zero, and later ones are not."""
        space = ModuleSpace(Checkpointed)
        initial = initial_alphas(space.groups, 0)["activation"]
        assert not torch.equal(alphas_after(space, order, zero=True)["activation"], initial)


def test_a_kind_of_cell_that_a_small_supernet_lacks_is_fine() -> None:
    module = DartsModule("darts", scale={"layers": 1, "channels": 4}, order="first")
    images: Any = torch.utils.data.TensorDataset(torch.randn(4, 3, 8, 8), torch.arange(4))
    run(module, images, max_epochs=1, limit_val_batches=0)
    assert torch.isfinite(module.alphas["normal"]).all()
