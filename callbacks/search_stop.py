"""What callbacks have in common that end a search."""

import warnings
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from lightning_nas._lightning import pl
from lightning_nas.architecture import Architecture
from lightning_nas.checks import check_choice
from lightning_nas.run_folder import run_folder

Action = Literal["stop", "warn"]


class SearchStop(pl.Callback, ABC):
    """Base of callbacks that end a search by a criterion, and keep the architecture that it points to.

    They look at a search after the last batch of every epoch; an epoch that is cut short is passed over. A run that is
    resumed after the criterion held stops at once.

    Args:
        action: ``"stop"`` the search, or ``"warn"`` only.
        dirpath: Folder for the architecture; by default that of the logger's run, or else the Trainer's.
    """

    name: ClassVar[str]  # of the file and of the metric

    def __init__(self, action: Action, dirpath: str | Path | None) -> None:
        check_choice("action", action, get_args(Action))
        self.action = action
        self.dirpath = None if dirpath is None else Path(dirpath)
        self.architecture: Architecture | None = None

    @abstractmethod
    def forget(self) -> None:
        """Be as new: another search begins."""

    @abstractmethod
    def look(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any) -> None:
        """Look at the search after the last step of an epoch, and ``finish`` if the criterion holds."""

    @property
    def state_key(self) -> str:
        """Tells the callbacks of one Trainer apart by their folders."""
        return f"{type(self).__name__}[{self.dirpath}]"

    def state_dict(self) -> dict[str, Any]:
        """Return the architecture that was kept, as plain data."""
        return {"architecture": None if self.architecture is None else self.architecture.to_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the state of the run that is resumed."""
        kept = state_dict["architecture"]
        self.architecture = None if kept is None else Architecture.from_dict(kept)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Forget an earlier search; the state of a run that is resumed is loaded after this."""
        if stage == "fit" and trainer.current_epoch == 0:
            self.architecture = None
            self.forget()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop again where the run that is resumed has stopped; its folder may be a new one."""
        if self.architecture is not None:
            self._write(trainer, self.architecture)
            trainer.should_stop = self.action == "stop" or trainer.should_stop

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at the search at the end of an epoch, before a checkpoint can be written."""
        # a run resumed from the last batch of an epoch never gets to on_train_epoch_end
        if trainer.is_last_batch:
            self.look(trainer, pl_module, batch)

    def finish(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, architecture: Architecture, epoch: int, reason: str
    ) -> None:
        """Keep an architecture, and stop or warn; once in a search.

        Args:
            trainer: The Trainer.
            pl_module: The search.
            architecture: What to keep.
            epoch: Its epoch.
            reason: Why, for the message.
        """
        if self.architecture is not None:
            return
        self.architecture = architecture
        self.log_number(pl_module, f"search/{self.name}_epoch", float(epoch))
        self._write(trainer, architecture)
        if self.action == "stop":
            trainer.should_stop = True
        elif trainer.is_global_zero:
            warnings.warn(f"{reason}; {self.name}.json holds the architecture of epoch {epoch}", stacklevel=2)

    def _write(self, trainer: pl.Trainer, architecture: Architecture) -> None:
        if trainer.is_global_zero:
            architecture.save((self.dirpath or run_folder(trainer)) / f"{self.name}.json")

    def log_number(self, pl_module: pl.LightningModule, name: str, value: float) -> None:
        """Log a number that all processes agree on, once an epoch."""
        # sync_dist: Lightning warns without it
        pl_module.log(name, value, on_step=False, on_epoch=True, sync_dist=True, batch_size=1)
