"""What the callback refuses, and with which words."""

import math
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import StepLR
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, IterableDataset, WeightedRandomSampler

from lightning_nas import Architecture, CostBudget, DifferentiableSearch, OpChoice, apply_architecture
from lightning_nas._lightning import MisconfigurationException, pl
from tests.callbacks.project import (
    FILTERS,
    QUIET,
    Project,
    alphas,
    architecture,
    examples,
    fit,
    initial_alphas,
    mse,
    searching,
    sgd,
    validation,
)

pytestmark = [pytest.mark.filterwarnings(text) for text in FILTERS]


def test_state_of_other_choices_is_refused(tmp_path: Path) -> None:
    search = searching(tmp_path)
    search.load_state_dict({"alphas": {"other": torch.ones(1, 3)}, "optimizer": None, "epoch": 4})
    with pytest.raises(ValueError, match=r"Expected alphas of choices .*activation.* but got those of \{'other'"):
        fit(Project(), [search], epochs=1)


def test_diverged_search_stops(tmp_path: Path) -> None:
    module = Project()
    search = searching(tmp_path, loss=lambda own, batch: math.inf * mse(own, batch))
    with pytest.raises(FloatingPointError, match=r"Expected finite alphas but got NaN or infinity in epoch 0"):
        fit(module, [search])
    assert module.activation.mixture is None


def test_no_choices_are_refused(tmp_path: Path) -> None:
    module = apply_architecture(Project(), Architecture("x", {"activation": "tanh", "depth": 1}))
    assert isinstance(module, Project)
    with pytest.raises(ValueError, match=r"Expected Project to hold an OpChoice"):
        fit(module, [searching(tmp_path)])


def test_what_was_decided_can_be_validated_with_the_callback(tmp_path: Path) -> None:
    search = searching(tmp_path, optimizer=sgd(1.0))
    fit(module := Project(), [search])
    found = apply_architecture(module, search.derive())
    trainers = pl.Trainer(**QUIET), pl.Trainer(callbacks=[search], **QUIET)
    plain, result = (trainer.validate(found, validation(), verbose=False) for trainer in trainers)
    assert plain == result


class OtherTrainer(pl.Trainer):
    """A user's own kind of Trainer."""


def test_trainer_of_the_other_package_is_refused(tmp_path: Path) -> None:
    (other,) = {"lightning.pytorch", "pytorch_lightning"} - {pl.__name__}
    # stands for it: the process must not import both packages
    trainer = type("Trainer", (), {"__module__": f"{other}.trainer.trainer"})()
    message = rf"Expected a Trainer of {pl.__name__},.*but got one of {other}.trainer.trainer;.*before lightning_nas"
    for stage in ("fit", "validate"):
        with pytest.raises(MisconfigurationException, match=message):
            searching(tmp_path).setup(trainer, Project(), stage)
    searching(tmp_path).setup(OtherTrainer(**QUIET), Project(), "fit")


def test_step_that_steps_is_refused(tmp_path: Path) -> None:
    class Scheduling(Project):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            cast("Any", self.lr_schedulers()).step()
            return super().training_step(batch, batch_idx)

        def configure_optimizers(self) -> Any:
            optimizer = SGD(self.parameters(), lr=0.1)
            return [optimizer], [{"scheduler": StepLR(optimizer, 1), "interval": "step", "frequency": 1000}]

    message = r"leaves steps to the Trainer but it called StepLR.step\(\);.*DifferentiableSearch\(loss=...\)"
    with pytest.raises(MisconfigurationException, match=message):
        fit(Scheduling(), [searching(tmp_path)])


def test_choices_that_the_loss_does_not_use_are_refused(tmp_path: Path) -> None:
    search = searching(tmp_path, loss=lambda module, batch: module.first(batch[0]).sum())
    message = r"the loss of Project to depend on all choices but it does not on \['activation', 'depth'\]: they are not"
    with pytest.raises(MisconfigurationException, match=message):
        fit(Project(), [search])


class Checkpointed(Project):
    """Computes its second choice inside of activation checkpointing."""

    def __init__(self, use_reentrant: bool) -> None:
        super().__init__()
        self.use_reentrant = use_reentrant

    def forward(self, x: Tensor) -> Tensor:
        hidden = checkpoint(self.blocks, self.activation(self.first(x)), use_reentrant=self.use_reentrant)
        output: Tensor = self.last(hidden)
        return output


def test_reentrant_checkpointing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MisconfigurationException, match=r"does not on \['depth'\].*use_reentrant=True"):
        fit(Checkpointed(use_reentrant=True), [searching(tmp_path)])


@pytest.mark.parametrize("budget", [None, CostBudget("params", weight=0.1)])
def test_a_budget_does_not_hide_what_is_not_used(tmp_path: Path, budget: CostBudget | None) -> None:
    module = Project()
    module.unused = OpChoice({"a": nn.Linear(4, 4), "b": nn.Identity()}, key="unused")
    module.single = OpChoice({"a": nn.Linear(4, 4)}, key="single")  # nothing to choose
    with pytest.raises(MisconfigurationException, match=r"does not on \['unused'\]"):
        fit(module, [searching(tmp_path, budget=budget)])


def test_other_checkpointing_changes_nothing(tmp_path: Path) -> None:
    checkpointed, plain = (searching(tmp_path, optimizer=sgd(1.0)) for _ in range(2))
    fit(Checkpointed(use_reentrant=False), [checkpointed])
    fit(Project(), [plain])
    for key, table in alphas(plain).items():
        assert torch.equal(alphas(checkpointed)[key], table)


def test_choices_behind_weights_that_start_at_zero_are_searched(tmp_path: Path) -> None:
    module, search = Project(), searching(tmp_path, optimizer=sgd(1.0))
    nn.init.zeros_(module.last.weight)
    fit(module, [search], epochs=1)
    assert not torch.equal(alphas(search)["depth"], initial_alphas(tmp_path)["depth"])


def test_a_choice_may_be_skipped_later(tmp_path: Path) -> None:
    class Skipping(Project):
        def forward(self, x: Tensor) -> Tensor:
            hidden = self.activation(self.first(x))
            output: Tensor = self.last(hidden if self.current_epoch else self.blocks(hidden))
            return output

    search = searching(tmp_path, optimizer=sgd(1.0))
    fit(Skipping(), [search], epochs=2)
    assert search.derive().provenance["epoch"] == 1


class Manual(Project):
    """Two optimisers, manual optimisation."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        first, second = cast("list[Any]", self.optimizers())
        loss = mse(self, batch)
        for optimizer in (first, second):
            optimizer.zero_grad()
        self.manual_backward(loss)
        first.step()
        second.step()

    def configure_optimizers(self) -> Any:
        body = [p for name, p in self.named_parameters() if not name.startswith("last")]
        return [SGD(body, lr=0.1), SGD(self.last.parameters(), lr=0.01)]


def test_manual_optimization_needs_a_loss(tmp_path: Path) -> None:
    with pytest.raises(MisconfigurationException, match=r"Expected Manual with automatic.*DifferentiableSearch\(loss="):
        fit(Manual(), [searching(tmp_path)])


def test_two_optimisers_and_manual_optimization_work_with_a_loss(tmp_path: Path) -> None:
    module, search = Manual(), searching(tmp_path, loss=mse, optimizer=sgd(1.0))
    trainer = fit(module, [search], epochs=1, limit_train_batches=1)
    assert trainer.global_step == 2
    assert len(trainer.optimizers) == 2
    automatic = searching(tmp_path, optimizer=sgd(1.0))
    fit(Project(), [automatic], epochs=1, limit_train_batches=1)
    assert torch.equal(alphas(search)["activation"], alphas(automatic)["activation"])
    assert not torch.equal(module.last.weight, Project().last.weight)


@pytest.mark.filterwarnings("ignore:You are using the `dataloader_iter` step flavor")
def test_step_that_takes_an_iterator_is_refused(tmp_path: Path) -> None:
    class Iterating(Project):
        def training_step(self, dataloader_iter: Any) -> Any:  # type: ignore[override]  # Lightning allows it
            batch, *_ = next(dataloader_iter)
            return mse(self, batch)

    with pytest.raises(MisconfigurationException, match=r"Iterating.training_step to take a batch.*`dataloader_iter`"):
        fit(Iterating(), [searching(tmp_path)])


def test_step_without_batch_idx_works(tmp_path: Path) -> None:
    class Short(Project):
        def training_step(self, batch: Any) -> Any:  # type: ignore[override]  # Lightning allows it
            return {"loss": mse(self, batch)}

    short, full = (searching(tmp_path, optimizer=sgd(1.0)) for _ in range(2))
    fit(Short(), [short])
    fit(Project(), [full])
    assert torch.equal(alphas(short)["activation"], alphas(full)["activation"])


@pytest.mark.parametrize(
    ("output", "got"),
    [
        (None, "NoneType"),
        ({"x": 1}, "NoneType"),
        (torch.zeros(2), r"a tensor \(2,\)"),
        (torch.zeros(()), r"a tensor \("),
    ],
)
def test_step_without_a_loss_is_refused(tmp_path: Path, output: object, got: str) -> None:
    class Silent(Project):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return output

    message = rf"Expected training_step of Silent to return a loss.*but got {got}.*DifferentiableSearch\(loss=...\)"
    with pytest.raises(MisconfigurationException, match=message):
        fit(Silent(), [searching(tmp_path)])
    with pytest.raises(MisconfigurationException, match="Expected `loss` of Project to return a loss"):
        fit(Project(), [searching(tmp_path, loss=lambda module, batch: output)])


@pytest.mark.parametrize("precision", ["bf16-true", "16-true"])
def test_half_precision_is_refused(tmp_path: Path, precision: str) -> None:
    with pytest.raises(MisconfigurationException, match=rf"Expected Trainer\(precision=...\) of .*'{precision}'"):
        fit(Project(), [searching(tmp_path)], precision=precision)


def test_scaled_half_precision_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = pl.Trainer(logger=False, accelerator="cpu")
    monkeypatch.setattr(pl.Trainer, "precision", "16-mixed")  # on a CPU Lightning makes it bf16-mixed
    with pytest.raises(MisconfigurationException, match="but got '16-mixed'"):
        searching(tmp_path).setup(trainer, Project(), "fit")


class Sharded(pl.strategies.DDPStrategy):
    """Stands for a strategy that splits the weights."""


def test_strategies_that_split_the_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = pl.Trainer(logger=False, accelerator="cpu", devices=2, strategy=Sharded(start_method="fork"))
    searching(tmp_path).setup(trainer, Project(), "fit")  # a user's own kind of DistributedDataParallel is fine
    monkeypatch.setattr(pl.strategies, "DeepSpeedStrategy", Sharded)
    with pytest.raises(MisconfigurationException, match=r"Expected one device or a strategy of .* but got Sharded"):
        searching(tmp_path).setup(trainer, Project(), "fit")


def test_two_searches_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="more than one stateful callback of type `DifferentiableSearch`"):
        fit(Project(), [searching(tmp_path / "a"), searching(tmp_path / "b")])


def test_warmup_that_does_not_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MisconfigurationException, match=r"Expected more epochs than the 2 `warmup_epochs`"):
        fit(Project(), [searching(tmp_path, warmup_epochs=2)], epochs=2)


def test_step_that_changes_weights_is_refused(tmp_path: Path) -> None:
    class Averaging(Project):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            with torch.no_grad():
                self.last.bias.mul_(0.9)
            return mse(self, batch)

    with pytest.raises(MisconfigurationException, match=r"changes no weights by itself but it changed 'last.bias'"):
        fit(Averaging(), [searching(tmp_path)])


class Numbers(IterableDataset[int]):
    def __iter__(self) -> Any:
        return iter(range(5))


@pytest.mark.parametrize(
    ("loader", "error", "message"),
    [
        (lambda: [1, 2], TypeError, "Expected `arch_dataloader` to return a DataLoader but got list"),
        (DataLoader(Numbers()), TypeError, "architecture loader to have a data set with a length but got an Iterable"),
        (DataLoader(examples(0), None), TypeError, "the architecture loader to have a `batch_size`"),
        (
            DataLoader(examples(0), 2, sampler=WeightedRandomSampler([1.0] * 16, 16)),
            TypeError,
            "the architecture loader to be shuffled or sequential but got the sampler WeightedRandomSampler",
        ),
        (DataLoader(examples(0, 1), 2), ValueError, "Expected at least 2 training samples per process but got 1"),
        (
            DataLoader(examples(0, 3), 8, drop_last=True),
            ValueError,
            "at least one batch per process but got 3 examples for 1 processes and batches of 8 with drop_last=True",
        ),
    ],
)
def test_loaders_that_cannot_be_taken_over(tmp_path: Path, loader: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fit(Project(), [searching(tmp_path, loader=loader)])


def test_constructor_arguments() -> None:
    wrong: Any = [1, 2]
    with pytest.raises(TypeError, match=r"Expected `arch_dataloader` to be a DataLoader, or a function.*but got list"):
        DifferentiableSearch(wrong)
    with pytest.raises(TypeError, match="Expected `loss` to be a function of module and batch but got list"):
        DifferentiableSearch(architecture(), loss=wrong)
    with pytest.raises(ValueError, match="Expected `warmup_epochs` to be at least 0 but got -1"):
        DifferentiableSearch(architecture(), warmup_epochs=-1)
