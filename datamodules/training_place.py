"""How far the training has come."""

from dataclasses import dataclass

from lightning_nas._lightning import pl


@dataclass(frozen=True)
class TrainingPlace:
    """Where the next training batch lies, for building loaders.

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
        epochs, batches = trainer.fit_loop.epoch_progress.current, trainer.fit_loop.epoch_loop.batch_progress
        epoch, batch = epochs.processed, 0
        if trainer.fit_loop.restarting:
            if batches.is_last_batch and batches.current.processed == batches.current.ready:
                # Saved between the last batch and the end of its epoch: the Trainer counts the epoch after it has
                # asked for the loaders.
                epoch = epochs.started
            else:
                batch = batches.current.processed
        return cls(epoch, batch, trainer.global_rank, trainer.world_size)
