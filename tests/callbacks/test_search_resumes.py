"""Searches by the callback that are cut, repeated, or run in several processes."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import Adam
from torch.utils.data import DataLoader

from lightning_nas import Architecture, DifferentiableSearch
from lightning_nas._lightning import pl
from lightning_nas.datamodules.resumable_loader import training_loader
from lightning_nas.datamodules.training_place import TrainingPlace
from lightning_nas.seeding import derive_seed
from lightning_nas.testing.search_module import assert_same
from tests.callbacks.project import FILTERS, QUIET, Project, architecture, examples, mse, searching, validation

pytestmark = [pytest.mark.filterwarnings(text) for text in FILTERS]

EPOCHS = 3


class Resumable(Project):
    """A project that can be resumed exactly: random numbers and order are functions of the place in training."""

    def __init__(self, dropout: float, batch_size: int) -> None:
        super().__init__(dropout)
        self.batch_size = batch_size

    def train_dataloader(self) -> DataLoader[Any]:
        return training_loader(examples(0), TrainingPlace.of(self.trainer), batch_size=self.batch_size, seed=4)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        torch.manual_seed(derive_seed(self.current_epoch, batch_idx, self.global_rank))


class Recorder(pl.callbacks.Checkpoint):
    """Writes a checkpoint in the middle and at the end of every epoch, and the final state of each process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if args[-1] == 1:
            trainer.save_checkpoint(self.folder / f"within{trainer.current_epoch}.ckpt")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.save_checkpoint(self.folder / f"after{trainer.current_epoch}.ckpt")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        (search,) = (c for c in vars(trainer)["callbacks"] if isinstance(c, DifferentiableSearch))
        state = {
            "module": pl_module.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in trainer.optimizers],
            "search": search.state_dict(),
            "architecture": search.derive().to_dict(),
        }
        torch.save(state, self.folder / f"rank{trainer.global_rank}.pt")


def run(
    folder: Path,
    ckpt_path: Path | None = None,
    *,
    dropout: float = 0.5,
    batch: int = 4,
    loss: Any = None,
    **options: Any,
) -> Any:
    """Train; return the final state of the first process."""
    folder.mkdir(exist_ok=True)
    loader = architecture(batch, shuffle=True, count=8)  # twice around in an epoch of the training
    search = searching(folder, loader=loader, loss=loss, seed=7, optimizer=lambda tables: Adam(tables, lr=0.05))
    settings = {**QUIET, "enable_checkpointing": True, **options}
    trainer = pl.Trainer(max_epochs=EPOCHS, callbacks=[search, Recorder(folder)], **settings)
    trainer.fit(Resumable(dropout, batch), val_dataloaders=validation(), ckpt_path=ckpt_path)
    return final(folder)


def final(folder: Path, rank: int = 0) -> Any:
    return torch.load(folder / f"rank{rank}.pt", weights_only=True)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("straight")
    run(folder)
    return folder


@pytest.mark.parametrize("place", ["after0", "after1", "within0", "within2"])
def test_resumed_search_is_the_uninterrupted_one(straight: Path, tmp_path: Path, place: str) -> None:
    torch.manual_seed(99)
    resumed = run(tmp_path / "resumed", straight / f"{place}.ckpt")
    assert_same(final(straight), resumed)
    written, expected = (Architecture.load(f / "architecture.json").to_dict() for f in (tmp_path / "resumed", straight))
    assert written == expected


def test_state_of_the_optimiser_of_the_alphas_counts(straight: Path, tmp_path: Path) -> None:
    """The other tests would mean little if nothing moved."""
    state = final(straight)["search"]
    assert state["optimizer"]["state"][0]["step"] == 4 * EPOCHS
    checkpoint = torch.load(straight / "after0.ckpt", weights_only=True)
    saved = checkpoint["callbacks"]["DifferentiableSearch"]
    assert (state["alphas"]["activation"] - saved["alphas"]["activation"]).abs().max() > 0.05
    saved["optimizer"] = {**saved["optimizer"], "state": {}}
    torch.save(checkpoint, tmp_path / "forgetful.ckpt")
    assert not torch.equal(
        run(tmp_path, tmp_path / "forgetful.ckpt")["search"]["alphas"]["activation"], state["alphas"]["activation"]
    )


def test_two_processes_agree_and_equal_one_with_the_whole_batch(tmp_path: Path) -> None:
    exact: dict[str, Any] = {"precision": "64-true", "dropout": 0.0}
    run(tmp_path / "two", batch=2, devices=2, strategy="ddp_fork", **exact)
    one = run(tmp_path / "one", batch=4, **exact)
    first, second = (final(tmp_path / "two", rank) for rank in (0, 1))
    assert_same(first, second)
    assert_same(first, one, tolerance=1e-9)
    files = [Architecture.load(tmp_path / name / "architecture.json") for name in ("one", "two")]
    assert files[0] == files[1]


def test_two_processes_with_dropout_agree(tmp_path: Path) -> None:
    run(tmp_path, batch=2, devices=2, strategy="ddp_fork")
    assert_same(final(tmp_path), final(tmp_path, rank=1))


def test_processes_draw_their_own_random_numbers(tmp_path: Path) -> None:
    def noisy(module: pl.LightningModule, batch: Any) -> Tensor:
        with (tmp_path / f"noise{module.global_rank}").open("a") as file:
            file.write(f"{float(torch.rand(()))}\n")
        return mse(module, batch)

    run(tmp_path, batch=2, loss=noisy, devices=2, strategy="ddp_fork")
    drawn = (tmp_path / "noise0").read_text().split() + (tmp_path / "noise1").read_text().split()
    assert len(drawn) == len(set(drawn)) == 2 * 4 * EPOCHS


SCRIPT = """
import warnings
warnings.simplefilter("ignore")
import {package} as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from lightning_nas import DifferentiableSearch, OpChoice, apply_architecture
from lightning_nas._lightning import package_name

class Model(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(OpChoice({{"tanh": nn.Tanh(), "relu": nn.ReLU()}}, key="activation"), nn.Linear(2, 1))
    def training_step(self, batch, batch_idx):
        loss = nn.functional.mse_loss(self.net(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

assert package_name() == "{package}"
x = torch.randn(16, 2, generator=torch.Generator().manual_seed(0))
loader = DataLoader(TensorDataset(x, torch.tanh(x).sum(1, keepdim=True)), 4)
search = DifferentiableSearch(loader, dirpath="out", optimizer=lambda tables: torch.optim.SGD(tables, lr=1.0))
quiet = dict(logger=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu", max_epochs=2)
torch.manual_seed(0)
pl.Trainer(callbacks=[search], **quiet).fit(Model(), loader)
plain = apply_architecture(Model(), "out/architecture.json")
pl.Trainer(**quiet).fit(plain, loader)
print("found", search.derive(), search.state_dict()["alphas"]["activation"].tolist(), plain.net[0])
"""


def test_both_lightning_packages_find_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (other,) = {"lightning.pytorch", "pytorch_lightning"} - {pl.__name__}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(package=other)], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    monkeypatch.chdir(tmp_path)
    exec(SCRIPT.format(package=pl.__name__), {"__name__": "script"})
    outputs = [text.splitlines()[-1] for text in (done.stdout, capsys.readouterr().out)]
    assert outputs[0] == outputs[1]
    assert outputs[0].startswith("found Architecture('module:Model', {'activation': 'tanh'})")
    assert outputs[0].endswith("Tanh()")
