"""The gradient for the alphas of a user's module."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lightning_nas._lightning import MisconfigurationException, pl
from lightning_nas.bound_budget import BoundBudget
from lightning_nas.callbacks.alphas import Alphas
from lightning_nas.callbacks.architecture_stream import ArchitectureStream
from lightning_nas.callbacks.searchable import takes_batch_idx
from lightning_nas.callbacks.unnoticed import unnoticed
from lightning_nas.methods.alphas import check_reached
from lightning_nas.methods.processes import mean_over_processes
from lightning_nas.seeding import derive_seed
from lightning_nas.spaces.mixture import Mixture

Loss = Callable[[pl.LightningModule, Any], Tensor]


@dataclass
class AlphaGradient:
    """Computes the first-order gradient of DARTS: that of the loss of other data than the training's, at the weights.

    Args:
        alphas: The alphas.
        stream: The other data.
        loss: Computes the loss of a batch; by default the module's ``training_step`` does.
        budget: Adds its term to the loss.
        seed: Seed of the random numbers in the step.
        first: Whether the next step is the first: later ones may skip a choice.
    """

    alphas: Alphas
    stream: ArchitectureStream
    loss: Loss | None
    budget: BoundBudget | None
    seed: int
    first: bool = True

    def __call__(self, trainer: pl.Trainer, module: pl.LightningModule, batch_idx: int) -> Sequence[Tensor]:
        """Return the gradient of every table, averaged over processes; the module does not notice.

        Args:
            trainer: The Trainer, in the middle of training.
            module: The module.
            batch_idx: Number of the training batch that comes next.
        """
        tables = [table.detach().requires_grad_() for table in self.alphas.tables.values()]
        mixtures = self.alphas.mixtures(tables)
        epoch, number = trainer.current_epoch, batch_idx // trainer.accumulate_grad_batches
        with unnoticed(module, derive_seed(self.seed, "alpha step", epoch, number, trainer.global_rank)):
            batch = _to_device(trainer, module, self.stream.batch(epoch, number))
            self.alphas.choices.set_mixtures(mixtures)
            with trainer.precision_plugin.train_step_context():
                loss = self._batch_loss(module, batch, batch_idx)
            if self.first:
                check_reached(loss, dict(zip(self.alphas.tables, tables, strict=True)), type(module).__name__)
            self.first = False
            gradients = torch.autograd.grad(self._with_penalty(loss, mixtures), tables, allow_unused=True)
        return mean_over_processes([_or_zeros(*pair) for pair in zip(gradients, tables, strict=True)], trainer)

    def _batch_loss(self, module: pl.LightningModule, batch: Any, batch_idx: int) -> Tensor:
        if self.loss is not None:
            output: Any = self.loss(module, batch)
        else:
            output = module.training_step(batch, batch_idx) if takes_batch_idx(module) else module.training_step(batch)
        loss = output.get("loss") if isinstance(output, Mapping) else output
        if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.requires_grad:
            got = f"a tensor {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            source = "training_step" if self.loss is None else "`loss`"
            raise MisconfigurationException(
                f"Expected {source} of {type(module).__name__} to return a loss, a scalar tensor with a gradient, for "
                f"every batch of `arch_dataloader` but got {got}; give DifferentiableSearch(loss=...) another one"
            )
        return loss

    def _with_penalty(self, loss: Tensor, mixtures: Mapping[str, Mixture]) -> Tensor:
        return loss if self.budget is None else loss + self.budget.penalty(mixtures)


def _to_device(trainer: pl.Trainer, module: pl.LightningModule, batch: Any) -> Any:
    """Do with a batch what Lightning does with a training batch."""
    name = "on_before_batch_transfer"
    data = getattr(trainer, "datamodule", None)
    overridden = data is not None and getattr(type(data), name) is not getattr(pl.LightningDataModule, name)
    hook = getattr(data if overridden else module, name)
    batch = hook(trainer.precision_plugin.convert_input(batch), 0)
    return trainer.strategy.batch_to_device(batch, dataloader_idx=0)


def _or_zeros(gradient: Tensor | None, table: Tensor) -> Tensor:
    return torch.zeros_like(table) if gradient is None else gradient
