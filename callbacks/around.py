"""What callbacks ask of the run that they are in."""

from typing import Any, cast

from lightning_nas._lightning import pl
from lightning_nas.callbacks.differentiable_search import DifferentiableSearch


def callbacks_of(trainer: pl.Trainer) -> list[pl.Callback]:
    """Return the callbacks of a Trainer."""
    callbacks: list[pl.Callback] = cast("Any", trainer).callbacks  # Lightning sets it from outside of the class
    return callbacks


def differentiable_search(trainer: pl.Trainer) -> DifferentiableSearch | None:
    """Return the callback that searches the Trainer's module, if there is one."""
    return next((callback for callback in callbacks_of(trainer) if isinstance(callback, DifferentiableSearch)), None)


def epoch_step(trainer: pl.Trainer) -> int:
    """Return the step at which Lightning logs the metrics of the epoch that has ended."""
    return max(trainer.global_step - 1, 0)
