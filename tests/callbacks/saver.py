"""Checkpoints at two places, one of which Lightning makes hard."""

from pathlib import Path
from typing import Any, Literal

from lightning_nas._lightning import pl


class Saver(pl.callbacks.Checkpoint):
    """Writes ``<epoch>.ckpt`` after every epoch, or at its last batch: what is resumed there never ends that epoch."""

    def __init__(self, folder: Path, when: Literal["epoch", "last batch"] = "epoch") -> None:
        self.folder, self.when = folder, when

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        if self.when == "last batch" and trainer.is_last_batch:
            self._save(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.when == "epoch":
            self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        trainer.save_checkpoint(self.folder / f"{trainer.current_epoch}.ckpt")
