"""The contract of a search method, as tests."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from lightning_nas._lightning import CombinedLoader, pl
from lightning_nas.architecture import Architecture
from lightning_nas.methods.base import SearchModule

EPOCHS = 3


class RandomImages(pl.LightningDataModule):
    """Eight random images of 8x8 pixels for the weights and four for the architecture, in an order that never changes.

    The k-th batches of all processes together are the k-th batch of one process with a larger batch size.

    Args:
        batch_size: Images a batch and process, in each of the two streams.
    """

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self.batch_size = batch_size

    def train_dataloader(self) -> CombinedLoader:
        """Return both streams; that of the architecture starts again within an epoch."""
        streams = {"weights": self._loader(8, seed=0), "architecture": self._loader(4, seed=1)}
        return CombinedLoader(streams, "max_size_cycle")

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the images for the architecture."""
        return self._loader(4, seed=1)

    def _loader(self, count: int, seed: int) -> DataLoader[Any]:
        generator = torch.Generator().manual_seed(seed)
        images, labels = torch.randn(count, 3, 8, 8, generator=generator), torch.arange(count)
        data = TensorDataset(images, labels)
        rank, world = (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)
        sampler: DistributedSampler[Any] = DistributedSampler(data, world, rank, shuffle=False)
        return DataLoader(data, self.batch_size, sampler=sampler)


class Recorder(pl.callbacks.Checkpoint):
    """Writes a checkpoint after every epoch, and the final state of each process.

    Args:
        folder: Where to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write a checkpoint; as a ``Checkpoint`` this callback is called after the module."""
        trainer.save_checkpoint(self.folder / f"epoch{trainer.current_epoch}.ckpt")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write what this process has arrived at."""
        assert isinstance(pl_module, SearchModule)
        state = {
            "module": pl_module.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in trainer.optimizers],
            "architecture": pl_module.derive().to_dict(),
        }
        torch.save(state, self.folder / f"rank{trainer.global_rank}.pt")
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        (self.folder / f"logged{trainer.global_rank}.json").write_text(json.dumps(logged), encoding="utf-8")


class SearchModuleContract(ABC):
    """What every search method keeps to. Inherit it in a pytest file to test a method of your own.

    Every test runs small searches on the CPU: three epochs, on random images unless you give other data.

    Example:
        >>> from lightning_nas.methods import DartsModule
        >>> class TestMyMethod(SearchModuleContract):
        ...     def module(self):
        ...         return DartsModule("nasbench201", scale={"channels": 4, "cells": 1})
    """

    # Whether two processes compute what one with twice the batch size does, which BatchNorm never allows: its
    # statistics are those of one process. Compared in float64.
    equals_large_batch = False

    @abstractmethod
    def module(self) -> SearchModule:
        """Return a fresh module, the same each time."""

    def datamodule(self, batch_size: int) -> pl.LightningDataModule:
        """Return fresh data, whose order depends on nothing but the Trainer's epoch and rank."""
        return RandomImages(batch_size)

    def search(
        self, folder: Path, ckpt_path: Path | None = None, *, batch_size: int = 4, **options: Any
    ) -> dict[str, Any]:
        """Run a search, and return the state that it ends in; its files are in ``folder``."""
        folder.mkdir(exist_ok=True)
        settings: dict[str, Any] = {"accelerator": "cpu", "devices": 1, "max_epochs": EPOCHS, **options}
        trainer = pl.Trainer(
            callbacks=[Recorder(folder)],
            default_root_dir=folder,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            **settings,
        )
        trainer.fit(self.module(), datamodule=self.datamodule(batch_size), ckpt_path=ckpt_path)
        return self.final(folder)

    def final(self, folder: Path, rank: int = 0) -> dict[str, Any]:
        """Return the state that a process ended in."""
        state: dict[str, Any] = torch.load(folder / f"rank{rank}.pt", weights_only=True)
        return state

    @pytest.fixture(scope="class")
    @classmethod
    def straight(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """Return the folder of an uninterrupted search."""
        folder = tmp_path_factory.mktemp("straight")
        with torch.random.fork_rng([]):
            torch.manual_seed(1)
            cls().search(folder)
        return folder

    def test_search_changes_something(self, straight: Path) -> None:
        """The other tests compare final states, which would mean little otherwise."""
        before, after = self.module().state_dict(), self.final(straight)["module"]
        assert before.keys() == after.keys()
        assert any(not torch.equal(before[name], after[name]) for name in before)

    def test_logs_its_cost_and_its_best(self, straight: Path) -> None:
        """Under the names that all searches have, so that loggers can compare them."""
        logged = json.loads((straight / "logged0.json").read_text(encoding="utf-8"))
        assert logged["search/examples_seen"] == float(self.final(straight)["module"]["examples_seen"]) > 0
        assert logged["search/device_hours"] > 0
        assert "search/children" in logged
        accuracy = self.module().task.objective[0].endswith("accuracy")
        assert ("search/best_error" if accuracy else "search/best_score") in logged

    def test_same_seed_same_search(self, straight: Path, tmp_path: Path) -> None:
        """Bit for bit, whatever the global random state."""
        with torch.random.fork_rng([]):
            torch.manual_seed(2)
            assert_same(self.final(straight), self.search(tmp_path))

    def test_resumed_search_is_the_uninterrupted_one(self, straight: Path, tmp_path: Path) -> None:
        """Bit for bit, from the end of every epoch."""
        for epoch in range(EPOCHS - 1):
            resumed = self.search(tmp_path / f"from{epoch}", straight / f"epoch{epoch}.ckpt")
            assert_same(self.final(straight), resumed)

    def test_checkpoint_is_plain_data_with_the_architecture(self, straight: Path) -> None:
        """Lightning refuses to resume from anything else."""
        final = self.final(straight)
        checkpoint = torch.load(straight / f"epoch{EPOCHS - 1}.ckpt", weights_only=True)
        module = self.module()
        module.load_state_dict(checkpoint["state_dict"])
        saved = Architecture.from_dict(checkpoint["architecture"])
        assert saved == Architecture.from_dict(final["architecture"]) == module.derive()
        assert saved.provenance["epoch"] == EPOCHS - 1
        assert_same(checkpoint["state_dict"], final["module"])

    def test_derived_architecture_survives_json(self, tmp_path: Path) -> None:
        """With where it comes from, and it belongs to the space."""
        module = self.module()
        architecture = module.derive()
        module.space.validate(architecture)
        architecture.save(tmp_path / "architecture.json")
        read = Architecture.load(tmp_path / "architecture.json")
        assert read == architecture
        assert dict(read.provenance) == json.loads(json.dumps(dict(architecture.provenance)))
        assert read.provenance["method"] == type(module).__name__

    def test_derive_changes_nothing(self) -> None:
        """It can be called at any time, and says the same each time."""
        module, random_state = self.module(), torch.get_rng_state()
        before = deepcopy(module.state_dict())
        assert module.derive() == module.derive()
        assert_same(before, module.state_dict())
        assert torch.equal(random_state, torch.get_rng_state())

    def test_two_processes_agree(self, tmp_path: Path) -> None:
        """Each holds the same weights, optimisers and architecture at the end."""
        self.search(tmp_path, batch_size=2, devices=2, strategy="ddp_fork")
        first, second = (self.final(tmp_path, rank) for rank in (0, 1))
        # running statistics of BatchNorm are those of one process
        for state in (first, second):
            own = [name for name in state["module"] if name.endswith(("running_mean", "running_var"))]
            for name in own:
                del state["module"][name]
        assert_same(first, second)

    def test_two_processes_equal_one_with_the_whole_batch(self, tmp_path: Path) -> None:
        """To six digits, if ``equals_large_batch``."""
        if not self.equals_large_batch:
            pytest.skip("equals_large_batch is False")
        parallel: dict[str, Any] = {"devices": 2, "strategy": "ddp_fork"}
        two = self.search(tmp_path / "two", batch_size=2, precision="64-true", **parallel)
        one = self.search(tmp_path / "one", batch_size=4, precision="64-true")
        assert Architecture.from_dict(two["architecture"]) == Architecture.from_dict(one["architecture"])
        for name in ("module", "optimizers"):
            assert_same(two[name], one[name], tolerance=1e-6)


def assert_same(first: object, second: object, tolerance: float = 0.0) -> None:
    """Compare two pieces of plain data, tensors to a relative tolerance; differences are reported with their place."""
    left, right = dict(_leaves(first)), dict(_leaves(second))
    assert left.keys() == right.keys()
    for place, value in left.items():
        if isinstance(value, Tensor):
            message = partial("{}: {}".format, place)
            assert_close(value, right[place], rtol=tolerance, atol=1e-3 * tolerance, msg=message)
        else:
            assert value == right[place], f"{place}: {value!r} is not {right[place]!r}"


def _leaves(data: object, place: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield from _leaves(value, f"{place}/{key}")
    elif isinstance(data, list | tuple):
        for index, value in enumerate(data):
            yield from _leaves(value, f"{place}/{index}")
    else:
        yield place, data
