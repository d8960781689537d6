"""What the callback computes and finds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD, Adam
from torch.testing import assert_close
from torch.utils.data import DataLoader, TensorDataset

from lightning_nas import DifferentiableSearch, InputChoice, OpChoice
from lightning_nas._lightning import pl
from tests.callbacks.project import (
    FILTERS,
    Project,
    alphas,
    architecture,
    architecture_batches,
    examples,
    fit,
    initial_alphas,
    mse,
    searching,
    sgd,
    training,
    validation,
    weights,
)

pytestmark = [pytest.mark.filterwarnings(text) for text in FILTERS]


def plain_loss(project: Project, tables: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    """The loss of the mixture, written down without choices."""
    mixed, depth = tables["activation"][0].softmax(0), tables["depth"][0].softmax(0)
    hidden = project.first(x)
    hidden = mixed[0] * torch.tanh(hidden) + mixed[1] * hidden.relu() + mixed[2] * hidden
    once = project.blocks.blocks[0](hidden)
    output = project.last(depth[0] * once + depth[1] * project.blocks.blocks[1](once))
    return functional.mse_loss(output, y)


def batches(loader: DataLoader[Any]) -> list[list[Tensor]]:
    return list(loader)


def test_gradient_is_that_of_the_other_batch_at_the_weights_before_the_step(tmp_path: Path) -> None:
    search = searching(tmp_path, optimizer=sgd(1.0))
    before = initial_alphas(tmp_path, precision="64-true")
    fit(Project(), [search], epochs=1, limit_train_batches=1, precision="64-true")
    x, y = (tensor.double() for tensor in architecture_batches(1)[0])
    project = Project().double()
    for key, table in before.items():
        for column in range(table.shape[1]):
            sides = []
            for step in (1e-5, -1e-5):
                moved = {name: value.clone() for name, value in before.items()}
                moved[key][0, column] += step
                sides.append(float(plain_loss(project, moved, x, y).detach()))
            slope = (sides[0] - sides[1]) / 2e-5
            assert abs(slope) > 1e-4
            assert float(table[0, column] - alphas(search)[key][0, column]) == pytest.approx(slope, rel=1e-6)


def test_training_is_a_plain_loop_of_two_optimisers(tmp_path: Path) -> None:
    search, found = searching(tmp_path, optimizer=lambda tables: Adam(tables, lr=0.1)), Project()
    before = initial_alphas(tmp_path)
    fit(found, [search], epochs=3)

    project = Project()
    tables = {key: table.requires_grad_() for key, table in before.items()}
    own, outer = SGD(project.parameters(), lr=0.1, momentum=0.9), Adam(tables.values(), lr=0.1)
    for epoch in range(3):
        for (x, y), other in zip(batches(training()), architecture_batches(4, epoch), strict=True):
            outer.zero_grad()
            torch.autograd.backward(plain_loss(project, tables, *other))
            outer.step()
            own.zero_grad()
            torch.autograd.backward(plain_loss(project, tables, x, y))
            own.step()
    for key, table in tables.items():
        assert_close(alphas(search)[key], table.detach(), rtol=1e-5, atol=1e-6)
    for name, value in weights(project).items():
        assert_close(weights(found)[name], value, rtol=1e-5, atol=1e-6)
    assert (alphas(search)["activation"] - initial_alphas(tmp_path)["activation"]).abs().max() > 0.1


def test_validation_and_training_use_the_alphas(tmp_path: Path) -> None:
    module, search = Project(), searching(tmp_path, optimizer=sgd(1.0))
    trainer = fit(module, [search], epochs=1)
    x, y = batches(validation())[0]
    assert float(trainer.callback_metrics["val_loss"]) == pytest.approx(
        float(plain_loss(module, alphas(search), x, y).detach())
    )
    (result,) = trainer.validate(module, validation(), verbose=False)
    assert result["val_loss"] == pytest.approx(float(plain_loss(module, alphas(search), x, y).detach()))
    (result,) = pl.Trainer(callbacks=[], logger=False, enable_progress_bar=False, accelerator="cpu").validate(
        module, validation(), verbose=False
    )
    equal = {key: torch.zeros_like(table) for key, table in alphas(search).items()}
    assert result["val_loss"] == pytest.approx(float(plain_loss(module, equal, x, y).detach()))


def test_validation_from_a_checkpoint_uses_its_alphas(tmp_path: Path) -> None:
    search = searching(tmp_path, optimizer=sgd(1.0))
    trainer = fit(Project(), [search], epochs=1)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    again = searching(tmp_path)
    tester = pl.Trainer(callbacks=[again], logger=False, enable_progress_bar=False, accelerator="cpu")
    (result,) = tester.validate(Project(), validation(), ckpt_path=tmp_path / "run.ckpt", verbose=False)
    assert result["val_loss"] == float(trainer.callback_metrics["val_loss"])
    assert again.derive() == search.derive()
    assert again.state_dict()["epoch"] == search.state_dict()["epoch"] == 0


def test_checkpoint_of_a_callback_that_has_not_started_is_what_it_was_given(tmp_path: Path) -> None:
    search = searching(tmp_path)
    assert search.state_dict() == {}
    state = {"alphas": {"activation": torch.ones(1, 3), "depth": torch.zeros(1, 2)}, "optimizer": None, "epoch": 4}
    search.load_state_dict(state)
    assert search.state_dict() == state
    fit(Project(), [search], epochs=1, limit_train_batches=0)
    assert torch.equal(alphas(search)["activation"], torch.ones(1, 3))


def test_warmup_trains_weights_only(tmp_path: Path) -> None:
    search = searching(tmp_path, warmup_epochs=2, optimizer=sgd(1.0))
    module = Project()
    tables: list[Tensor] = []

    class Watch(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            tables.append(alphas(search)["activation"])

    fit(module, [search, Watch()], epochs=3)
    assert torch.equal(tables[0], initial_alphas(tmp_path)["activation"])
    assert torch.equal(tables[0], tables[1])
    assert not torch.equal(tables[1], tables[2])


class Planted(pl.LightningModule):
    """The target is the sine of the first of two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.3))
        self.which = InputChoice(2, key="which")
        self.function = OpChoice({"zero": Zero(), "sine": Sine()}, key="function")

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        return functional.mse_loss(self.scale * self.function(self.which([x[:, 0], x[:, 1]])), y)

    def configure_optimizers(self) -> Any:
        return Adam(self.parameters(), lr=0.05)


class Sine(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(x)


class Zero(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 0 * x


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_finds_what_is_right(tmp_path: Path, seed: int) -> None:
    def data(key: int) -> DataLoader[Any]:
        x = torch.randn(64, 2, generator=torch.Generator().manual_seed(key))
        return DataLoader(TensorDataset(x, torch.sin(x[:, 0])), 16, shuffle=True)

    search = DifferentiableSearch(data(1), dirpath=tmp_path, seed=seed, optimizer=lambda tables: Adam(tables, lr=0.1))
    fit(Planted(), [search], epochs=10, train=data(0), limit_val_batches=0)
    assert dict(search.derive().values) == {"which": 0, "function": "sine"}


def test_same_seed_same_search_whatever_the_global_random_state(tmp_path: Path) -> None:
    def run(seed: int, global_seed: int) -> Tensor:
        torch.manual_seed(global_seed)
        search = searching(tmp_path, seed=seed, loader=architecture(shuffle=True), optimizer=sgd(1.0))
        fit(Project(), [search], epochs=1)
        return alphas(search)["activation"]

    first = run(5, 1)
    assert torch.equal(first, run(5, 2))
    assert not torch.equal(first, run(6, 1))


def test_search_goes_on_in_a_second_fit_of_the_module_and_begins_anew_with_another(tmp_path: Path) -> None:
    module, search = Project(), searching(tmp_path, optimizer=sgd(1.0))
    fit(module, [search], epochs=1)
    first = alphas(search)["activation"]
    fit(module, [search], epochs=1, limit_train_batches=0)
    assert torch.equal(alphas(search)["activation"], first)
    fit(Project(), [search], epochs=1)
    assert torch.equal(alphas(search)["activation"], first)


def test_loader_may_come_from_a_function_called_when_training_starts(tmp_path: Path) -> None:
    class Data(pl.LightningDataModule):
        def setup(self, stage: str) -> None:
            self.examples = examples(1, 12)

        def train_dataloader(self) -> Any:
            return training()

        def val_dataloader(self) -> Any:
            return DataLoader(self.examples, 4)

    data = Data()
    from_function = searching(tmp_path, loader=data.val_dataloader, optimizer=sgd(1.0))
    fit(Project(), [from_function], datamodule=data)
    direct = searching(tmp_path, optimizer=sgd(1.0))
    fit(Project(), [direct])
    assert torch.equal(alphas(from_function)["activation"], alphas(direct)["activation"])


def test_loss_may_be_given(tmp_path: Path) -> None:
    given, own = (searching(tmp_path, loss=loss, optimizer=sgd(1.0)) for loss in (mse, None))
    fit(Project(), [given])
    fit(Project(), [own])
    assert torch.equal(alphas(given)["activation"], alphas(own)["activation"])
    doubled = searching(tmp_path, loss=lambda module, batch: 2 * mse(module, batch), optimizer=sgd(0.5))
    fit(Project(), [doubled])
    assert_close(alphas(doubled)["activation"], alphas(own)["activation"])


def test_bf16_mixed_keeps_alphas_in_float32(tmp_path: Path) -> None:
    exact, mixed = (searching(tmp_path, optimizer=sgd(1.0)) for _ in range(2))
    fit(Project(), [exact], epochs=1)
    fit(Project(), [mixed], epochs=1, precision="bf16-mixed")
    assert alphas(mixed)["activation"].dtype == torch.float32
    moved = alphas(mixed)["activation"] - initial_alphas(tmp_path)["activation"]
    assert_close(moved, alphas(exact)["activation"] - initial_alphas(tmp_path)["activation"], rtol=0.1, atol=1e-3)


def test_choices_may_be_made_in_the_modules_own_hooks(tmp_path: Path) -> None:
    class Late(Project):
        def __init__(self) -> None:
            super().__init__()
            self.made = self.activation, self.blocks
            del self.activation, self.blocks

        def setup(self, stage: str) -> None:
            self.activation, _ = self.made

        def configure_model(self) -> None:
            _, self.blocks = self.made

    late, early = (searching(tmp_path, optimizer=sgd(1.0)) for _ in range(2))
    fit(Late(), [late], epochs=1)
    fit(Project(), [early], epochs=1)
    assert torch.equal(alphas(late)["activation"], alphas(early)["activation"])
    assert torch.equal(alphas(late)["depth"], alphas(early)["depth"])
