"""Where loaders begin, and what each process gets where each trains a network of its own."""

from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_nas._lightning import pl
from lightning_nas.datamodules.digits_data_module import DigitsDataModule
from lightning_nas.datamodules.training_place import TrainingPlace

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers",
    # Lightning's own fork of processes that hold threads, on Python 3.12 and later.
    "ignore:.*multi-threaded, use of fork:DeprecationWarning",
)


class Recorder(pl.LightningModule):
    """Writes what a process has seen in each epoch."""

    def __init__(self, folder: Path, own: bool | None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.folder = folder
        self.seen: dict[str, list[Any]] = {"train": [], "val": [], "place": []}
        if own is not None:
            self.trains_own_child = own

    def on_train_epoch_start(self) -> None:
        place = TrainingPlace.of(self.trainer)
        self.seen["place"].append([place.epoch, place.batch, place.rank, place.world])

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        self.seen["train"].append(batch[0].sum((1, 2, 3)).tolist())
        return self.weight * 1.0

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.seen["val"].append(batch[0].sum((1, 2, 3)).tolist())

    def on_train_end(self) -> None:
        torch.save(self.seen, self.folder / f"{self.trainer.world_size}_{self.trainer.global_rank}.pt")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def seen(folder: Path, own: bool | None, devices: int) -> list[dict[str, list[Any]]]:
    """Return what each process has seen in two epochs of 20 images, and 10 for validation."""
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=devices,
        strategy="auto" if devices == 1 else "ddp_fork",
        max_epochs=2,
        num_sanity_val_steps=0,
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    data = DigitsDataModule(max_train_images=30, batch_size=4, val_fraction=1 / 3, crop_padding=0)
    trainer.fit(Recorder(folder, own), datamodule=data)
    return [torch.load(folder / f"{devices}_{rank}.pt", weights_only=True) for rank in range(devices)]


def test_without_a_trainer_it_is_the_beginning() -> None:
    assert TrainingPlace.of(None) == TrainingPlace(0, 0, 0, 1)


def test_every_process_that_trains_its_own_gets_all(tmp_path: Path) -> None:
    (one,) = seen(tmp_path, True, 1)
    first, second = seen(tmp_path, True, 2)
    assert first == second == one
    assert one["place"] == [[0, 0, 0, 1], [1, 0, 0, 1]]
    assert [len(batch) for batch in one["train"]] == [4] * 10
    assert [len(batch) for batch in one["val"]] == [4, 4, 2] * 2
    assert one["val"][:3] == one["val"][3:]
    assert sorted(chain(*one["train"][:5])) == sorted(chain(*one["train"][5:]))
    assert one["train"][:5] != one["train"][5:]


@pytest.mark.parametrize("own", [None, False])
def test_others_share(own: bool | None, tmp_path: Path) -> None:
    (one,) = seen(tmp_path, own, 1)
    parts = seen(tmp_path, own, 2)
    assert [part["place"] for part in parts] == [[[0, 0, 0, 2], [1, 0, 0, 2]], [[0, 0, 1, 2], [1, 0, 1, 2]]]
    for stage, images in (("train", 20), ("val", 10)):
        both = [image for part in parts for batch in part[stage][: len(part[stage]) // 2] for image in batch]
        assert sorted(both) == sorted(chain(*one[stage][: len(one[stage]) // 2]))
        assert len(both) == images
