"""What a user's project must be like to be searched."""

import inspect

from lightning_nas._lightning import MisconfigurationException, pl
from lightning_nas.methods.base import PRECISIONS


def check_searchable(trainer: pl.Trainer, module: pl.LightningModule, *, own_loss: bool) -> None:
    """Raise a MisconfigurationException that names the reason unless a module can be searched.

    Args:
        trainer: The Trainer.
        module: The module.
        own_loss: Whether the loss of the alphas is given rather than the module's ``training_step``.
    """
    _check_precision_and_strategy(trainer)
    if not own_loss:
        _check_training_step(module)


def check_package(trainer: object) -> None:
    """Raise a MisconfigurationException unless a Trainer is of the Lightning package that this process uses."""
    if not isinstance(trainer, pl.Trainer):
        raise MisconfigurationException(
            f"Expected a Trainer of {pl.__name__}, which lightning_nas has taken in this process, but got one of "
            f"{type(trainer).__module__}; use one of the two Lightning packages only, and import lightning.pytorch, "
            "if it is that one, before lightning_nas"
        )


def takes_batch_idx(module: pl.LightningModule) -> bool:
    """Return whether Lightning passes ``batch_idx`` to the module's ``training_step``."""
    parameters = inspect.signature(module.training_step).parameters
    kinds = [parameter.kind for parameter in parameters.values()]
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return inspect.Parameter.VAR_POSITIONAL in kinds or sum(kind in positional for kind in kinds) > 1


def _check_precision_and_strategy(trainer: pl.Trainer) -> None:
    if trainer.precision not in PRECISIONS:
        raise MisconfigurationException(
            f"Expected Trainer(precision=...) of {PRECISIONS} but got {trainer.precision!r}: alphas and their "
            "gradients need float32, use 'bf16-mixed' for speed"
        )
    strategies = pl.strategies.SingleDeviceStrategy, pl.strategies.DDPStrategy
    if not isinstance(trainer.strategy, strategies) or isinstance(trainer.strategy, pl.strategies.DeepSpeedStrategy):
        raise MisconfigurationException(
            "Expected one device or a strategy of DistributedDataParallel, which have all weights in every process, "
            f"but got {type(trainer.strategy).__name__}; use Trainer(strategy='ddp')"
        )


def _check_training_step(module: pl.LightningModule) -> None:
    name = type(module).__name__
    if not module.automatic_optimization:
        raise MisconfigurationException(
            f"Expected {name} with automatic optimization, so that its training_step returns the loss of a batch, but "
            "got automatic_optimization=False; give DifferentiableSearch(loss=...), a function of module and batch"
        )
    if "dataloader_iter" in inspect.signature(module.training_step).parameters:
        raise MisconfigurationException(
            f"Expected {name}.training_step to take a batch but it takes `dataloader_iter`; give "
            "DifferentiableSearch(loss=...), a function of module and batch"
        )
