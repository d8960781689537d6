"""Where a run writes its files, and whether it does."""

from pathlib import Path

from lightning_nas._lightning import pl


def run_folder(trainer: pl.Trainer) -> Path:
    """Return the folder of this run: the logger's, as Lightning's ModelCheckpoint has it, or else the Trainer's."""
    if not trainer.loggers:
        return Path(trainer.default_root_dir)
    logger = trainer.loggers[0]
    version = logger.version if isinstance(logger.version, str) else f"version_{logger.version}"
    return Path(logger.save_dir or trainer.default_root_dir, str(logger.name), version)


def is_trial(trainer: pl.Trainer) -> bool:
    """Return whether this is a ``fast_dev_run``, which leaves nothing behind."""
    return bool(getattr(trainer, "fast_dev_run", False))
