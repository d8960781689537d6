"""How far the training has come."""

from dataclasses import dataclass
from typing import Any

from lightning_nas._lightning import pl


def epochs_done(trainer: pl.Trainer) -> int:
    """Return how many epochs of training are over: the number of the epoch under way."""
    progress: Any = trainer.fit_loop.epoch_progress.current  # Lightning annotates too narrow a type
    done: int = progress.processed
    return done


def needs_all_data(trainer: pl.Trainer | None) -> bool:
    """Return whether every process trains a network of its own (``trains_own_child`` of the module), on all data."""
    return trainer is not None and getattr(trainer.lightning_module, "trains_own_child", False)


@dataclass(frozen=True)
class TrainingPlace:
    """Where the next training batch lies, for building loaders.

    Where every process needs all data, each is the one process of a world of one.

    The Trainer's counters are the only source. They are in every checkpoint, so loaders built from them go on exactly
    where an interrupted run stopped, without a state of their own.
    """

    epoch: int = 0
    batch: int = 0
    rank: int = 0
    world: int = 1

    @classmethod
    def of(cls, trainer: pl.Trainer | None) -> "TrainingPlace":
        """Read the place from a Trainer; without one it is the beginning in a single process."""
        if trainer is None:
            return cls()
        epoch, batch = _resumed(trainer) if trainer.fit_loop.restarting else (epochs_done(trainer), 0)
        return (
            cls(epoch, batch) if needs_all_data(trainer) else cls(epoch, batch, trainer.global_rank, trainer.world_size)
        )


def _resumed(trainer: pl.Trainer) -> tuple[int, int]:
    """Return epoch and batch that follow on those of a checkpoint."""
    epochs: Any = trainer.fit_loop.epoch_progress.current  # see epochs_done
    batches: Any = trainer.fit_loop.epoch_loop.batch_progress
    if batches.is_last_batch and batches.current.processed == batches.current.ready:
        # The checkpoint may lie between the last batch and the end of its epoch. The Trainer counts that epoch as done
        # only after it has asked for the loaders, but as started before.
        return epochs.started, 0
    return epochs.processed, batches.current.processed
