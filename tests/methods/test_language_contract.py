"""Searches on text keep to the contract of search methods, also when resumed within an epoch."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import SGD

from lightning_nas._lightning import pl
from lightning_nas.methods import DartsModule, EnasModule, RandomSearchModule, RetrainModule, SearchModule
from lightning_nas.testing import SearchModuleContract
from lightning_nas.testing.search_module import EPOCHS, Recorder, assert_same
from tests.methods.tiny_text import WORDS, TinyText

SMALL: dict[str, Any] = {"vocabulary": WORDS, "hidden": 4}
PLAIN = {**SMALL, "dropout": 0.0, "dropouth": 0.0, "dropoutx": 0.0, "dropouti": 0.0, "dropoute": 0.0}
QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
}


class EveryStep(pl.callbacks.Checkpoint):
    """Writes a checkpoint after every batch.

    Args:
        folder: Where to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        trainer.save_checkpoint(self.folder / f"step{trainer.global_step}.ckpt")


def sgd(parameters: Any) -> SGD:
    return SGD(parameters, lr=2.0, weight_decay=1e-3)


class LanguageContract(SearchModuleContract):
    within = (2, 8)  # steps after which a search is interrupted, of five an epoch
    streams: tuple[str, ...] = ("weights", "architecture")

    def datamodule(self, batch_size: int) -> pl.LightningDataModule:
        return TinyText(batch_size, search=True, jitter="halve")

    def test_resumed_within_an_epoch(self, straight: Path, tmp_path: Path) -> None:
        """Bit for bit: hidden states go on where they stood."""
        trainer = pl.Trainer(
            max_epochs=EPOCHS, default_root_dir=tmp_path, callbacks=[EveryStep(tmp_path), Recorder(tmp_path)], **QUIET
        )
        trainer.fit(self.module(), datamodule=self.datamodule(4))
        assert_same(self.final(straight), self.final(tmp_path))
        for step in self.within:
            checkpoint = tmp_path / f"step{step}.ckpt"
            (states,) = torch.load(checkpoint, weights_only=True)["states"]
            assert states.keys() >= set(self.streams)
            assert_same(self.final(straight), self.search(tmp_path / f"from{step}", checkpoint))

    def test_resumed_without_the_hidden_states_it_is_another_search(self, straight: Path, tmp_path: Path) -> None:
        """So the test above compares something that matters."""
        trainer = pl.Trainer(
            max_steps=2, max_epochs=EPOCHS, callbacks=[EveryStep(tmp_path)], default_root_dir=tmp_path, **QUIET
        )
        trainer.fit(self.module(), datamodule=self.datamodule(4))
        checkpoint = torch.load(tmp_path / "step2.ckpt", weights_only=True)
        del checkpoint["states"]
        torch.save(checkpoint, tmp_path / "forgotten.ckpt")
        forgotten = self.search(tmp_path / "forgotten", tmp_path / "forgotten.ckpt")
        with pytest.raises(AssertionError):
            assert_same(self.final(straight), forgotten)


class TestDarts(LanguageContract):
    def module(self) -> SearchModule:
        return DartsModule(
            "darts_recurrent?nodes=2", scale=SMALL, grad_clip=0.25, clip_virtual=True, weights_optimizer=sgd
        )


class TestDartsAsOneProcess(SearchModuleContract):
    """Without BatchNorm and dropout."""

    equals_large_batch = True

    def module(self) -> SearchModule:
        return DartsModule(
            "darts_recurrent?nodes=2",
            scale={**PLAIN, "norm": False},
            virtual_step="global",
            grad_clip=0.25,
            clip_virtual=True,
            weights_optimizer=sgd,
        )

    def datamodule(self, batch_size: int) -> pl.LightningDataModule:
        return TinyText(batch_size, search=True)


class TestEnas(LanguageContract):
    streams = ("weights",)  # rewards start from zero

    def module(self) -> SearchModule:
        return EnasModule(
            "enas_recurrent?nodes=3",
            scale=SMALL,
            grad_clip=0.25,
            weights_optimizer=sgd,
            controller_steps=2,
            samples_per_step=2,
            derive_samples=3,
            reward_batches=2,
        )


class TestRandomSearch(LanguageContract):
    streams = ("train",)

    def module(self) -> SearchModule:
        return RandomSearchModule("nas_recurrent?base=2", scale=SMALL, epochs_per_child=2, optimizer=sgd)

    def datamodule(self, batch_size: int) -> pl.LightningDataModule:
        return TinyText(batch_size, jitter=True)

    def search(
        self, folder: Path, ckpt_path: Path | None = None, *, batch_size: int = 4, **options: Any
    ) -> dict[str, Any]:
        return super().search(folder, ckpt_path, batch_size=batch_size, **options)


class Final(pl.callbacks.Checkpoint):
    """Writes what each process has arrived at.

    Args:
        folder: Where to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        logged = {name: value.double() for name, value in trainer.callback_metrics.items()}
        torch.save([pl_module.state_dict(), logged], self.folder / f"rank{trainer.global_rank}.pt")


def retrain(folder: Path, batch_size: int, ckpt_path: Path | None = None, **options: Any) -> list[dict[str, Any]]:
    """Train a discrete cell; return weights and metrics of the first process."""
    folder.mkdir()
    optimizer: dict[str, Any] = {"optimizer": sgd, "grad_clip": 0.25}
    scale = options.pop("scale", PLAIN)
    module = RetrainModule(architecture="ENAS_RNN", scale=scale, **optimizer)
    trainer = pl.Trainer(max_epochs=2, callbacks=[EveryStep(folder), Final(folder)], **QUIET, **options)
    trainer.fit(module, datamodule=TinyText(batch_size, jitter="halve"), ckpt_path=ckpt_path)
    final: list[dict[str, Any]] = torch.load(folder / "rank0.pt", weights_only=True)
    return final


def test_retraining_in_two_processes_is_that_of_the_whole_batch(tmp_path: Path) -> None:
    two = retrain(tmp_path / "two", 2, precision="64-true", devices=2, strategy="ddp_fork")
    one = retrain(tmp_path / "one", 4, precision="64-true")
    assert_same(torch.load(tmp_path / "two" / "rank1.pt", weights_only=True)[0], two[0])
    assert_same(two[0], one[0], tolerance=1e-9)
    assert float(two[1]["train/loss"]) == pytest.approx(float(one[1]["train/loss"]), rel=1e-9)
    assert float(two[1]["train/perplexity"]) == pytest.approx(float(one[1]["train/perplexity"]), rel=1e-6)


@pytest.mark.parametrize("step", [2, 7])
def test_retraining_resumed_within_an_epoch(step: int, tmp_path: Path) -> None:
    """Bit for bit, with dropout."""
    straight = retrain(tmp_path / "straight", 4, scale=SMALL)
    resumed = retrain(tmp_path / "resumed", 4, tmp_path / "straight" / f"step{step}.ckpt", scale=SMALL)
    assert_same(straight[0], resumed[0])
    assert straight[1]["val/perplexity"] == resumed[1]["val/perplexity"]


@pytest.mark.parametrize("children", [1, 3])
def test_checkpoint_of_processes_without_a_child(children: int, tmp_path: Path) -> None:
    """Those without hidden states must not leave the others waiting."""
    module = RandomSearchModule(
        "nas_recurrent?base=2", scale=SMALL, epochs_per_child=1, max_children=children, optimizer=sgd
    )
    trainer = pl.Trainer(
        max_epochs=4, callbacks=[Recorder(tmp_path)], default_root_dir=tmp_path, devices=2, strategy="ddp_fork", **QUIET
    )
    trainer.fit(module, datamodule=TinyText())
    logged = [(tmp_path / f"logged{rank}.json").read_text() for rank in (0, 1)]
    assert logged[0] == logged[1]
    assert f'"search/children": {float(children)}' in logged[0]
