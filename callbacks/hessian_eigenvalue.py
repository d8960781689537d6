"""Watches the curvature of the loss in the alphas (RobustDARTS, Zela et al. 2020, arXiv 1909.09656)."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol, get_args, runtime_checkable

from torch import Tensor, nn

from lightning_nas._lightning import pl
from lightning_nas.architecture import Architecture
from lightning_nas.callbacks.eigenvalue_rule import epoch_before_rise
from lightning_nas.callbacks.search_stop import Action, SearchStop
from lightning_nas.callbacks.unnoticed import unnoticed
from lightning_nas.checks import check_at_least, check_choice, check_positive
from lightning_nas.methods.batches import split_streams
from lightning_nas.methods.hessian import dense_hessian, hessian_product, lanczos, largest_eigenvalue
from lightning_nas.methods.processes import mean_over_processes
from lightning_nas.seeding import derive_seed, make_generator

Method = Literal["lanczos", "dense"]


@runtime_checkable
class HasArchitectureLoss(Protocol):
    """A search whose loss is a function of alphas."""

    alphas: nn.ParameterDict

    def architecture_loss(self, alphas: Sequence[Tensor], batch: Any) -> Tensor:
        """Return the loss of a batch for tensors like those of ``alphas``, in their order."""

    def derive(self) -> Architecture:
        """Return the architecture that the search has arrived at."""


class HessianEigenvalue(SearchStop):
    """Logs the largest eigenvalue of the Hessian of the loss in all alphas, and ends the search when it rises.

    Sharp minima in the alphas go with derived networks that generalise badly. Every few epochs the Hessian is taken on
    the last architecture batch of the epoch, in training mode; ``search/hessian_eigenvalue`` is logged, and the search
    goes on as if nothing had happened. When the eigenvalue has risen (DARTS-ES, see ``epoch_before_rise``), the
    architecture of the epoch before the rise is kept in ``hessian_eigenvalue.json`` and ``callback.architecture``, its
    epoch is logged as ``search/hessian_eigenvalue_epoch``, and the search stops. With the defaults this can happen at
    epoch 22 first, for epoch 10. Works with ``DartsModule``, and any module that has ``alphas``,
    ``architecture_loss(alphas, batch)`` and ``derive()``. With several processes the Hessian is that of the mean of
    their losses; those that ``ddp_spawn`` or ``ddp_fork`` start keep ``callback.architecture``, read the file.

    Args:
        every_n_epochs: Epochs from one evaluation to the next, beginning with the first epoch.
        action: ``"stop"`` the search, or ``"warn"`` only.
        method: ``"lanczos"``, by a few products with the Hessian; or ``"dense"``, by all its rows as in the authors'
            code, exact but with as many products as there are alphas.
        steps: Products of ``"lanczos"``; with 15 the error was below 1e-6 of the eigenvalue in our searches.
        weight_decay: Added to the eigenvalue: the authors' code differentiates the gradient with the alphas' decay.
        ratio: How many times the older mean the newer one must exceed.
        first_epoch: First epoch whose architecture may be kept, counted from the end of the module's
            ``warmup_epochs`` if it has some.
        dirpath: Folder for ``hessian_eigenvalue.json``; by default that of the logger's run, or else the Trainer's.
        seed: Seed of dropout in the evaluation, and of the first vector.

    Raises:
        ValueError: If an argument is none of its options, or out of range.

    Example:
        >>> callback = HessianEigenvalue(every_n_epochs=1, action="warn")
        >>> trainer = pl.Trainer(accelerator="cpu", callbacks=[callback], logger=False)
    """

    name = "hessian_eigenvalue"

    def __init__(
        self,
        every_n_epochs: int = 2,
        *,
        action: Action = "stop",
        method: Method = "lanczos",
        steps: int = 15,
        weight_decay: float = 1e-3,
        ratio: float = 1.3,
        first_epoch: int = 10,
        dirpath: str | Path | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(action, dirpath)
        check_at_least("every_n_epochs", every_n_epochs, 1)
        check_choice("method", method, get_args(Method))
        check_at_least("steps", steps, 1)
        check_positive("ratio", ratio)
        check_at_least("first_epoch", first_epoch, 0)
        self.every_n_epochs = every_n_epochs
        self.method = method
        self.steps = steps
        self.weight_decay = weight_decay
        self.ratio = ratio
        self.first_epoch = first_epoch
        self.seed = seed
        self.forget()

    def forget(self) -> None:
        """Be as new: another search begins."""
        self.history: list[dict[str, Any]] = []  # epoch, eigenvalue and architecture of every evaluation

    def state_dict(self) -> dict[str, Any]:
        """Return the history as plain data."""
        return {**super().state_dict(), "history": list(self.history)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the history of the run that is resumed."""
        super().load_state_dict(state_dict)
        self.history = list(state_dict["history"])

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Check that the module's loss is a function of alphas."""
        super().setup(trainer, pl_module, stage)
        if not isinstance(pl_module, HasArchitectureLoss):
            raise TypeError(
                "Expected HessianEigenvalue to run with a search that has `alphas`, `architecture_loss(alphas, batch)` "
                f"and `derive()`, such as DartsModule, but got {type(pl_module)}"
            )

    def look(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any) -> None:
        """Evaluate, if this epoch is asked for, and end the search if the eigenvalue has risen."""
        assert isinstance(pl_module, HasArchitectureLoss)
        epoch = trainer.current_epoch
        if epoch % self.every_n_epochs:
            return
        _, architecture_batch = split_streams(batch)
        eigenvalue = self.eigenvalue(pl_module, architecture_batch)
        self.log_number(pl_module, "search/hessian_eigenvalue", eigenvalue)
        entry = {"epoch": epoch, "eigenvalue": eigenvalue, "architecture": pl_module.derive().to_dict()}
        self.history.append(entry)
        kept = self._before_rise(getattr(pl_module, "warmup_epochs", 0))
        if kept is not None:
            reason = f"Epoch {epoch}: the largest eigenvalue of the Hessian has risen since epoch {kept['epoch']}"
            self.finish(trainer, pl_module, Architecture.from_dict(kept["architecture"]), kept["epoch"], reason)

    def eigenvalue(self, module: pl.LightningModule, batch: Any) -> float:
        """Return the largest eigenvalue on an architecture batch, the same in all processes; NaN if it has none.

        Weights, their gradients, buffers, optimisers and random numbers are left as they are.
        """
        assert isinstance(module, HasArchitectureLoss)
        alphas = list(module.alphas.values())
        size = sum(alpha.numel() for alpha in alphas)
        seed = derive_seed(self.seed, "hessian", module.current_epoch, module.global_rank)
        with unnoticed(module, seed):
            loss = partial(module.architecture_loss, batch=batch)
            product = hessian_product(loss, alphas, partial(mean_over_processes, trainer=module.trainer))
            if self.method == "dense":
                matrix = dense_hessian(product, size)
            else:
                matrix = lanczos(product, size, self.steps, make_generator(self.seed, "lanczos"))
        return largest_eigenvalue(matrix) + self.weight_decay

    def _before_rise(self, warmup_epochs: int) -> dict[str, Any] | None:
        epochs = [entry["epoch"] for entry in self.history]
        eigenvalues = [entry["eigenvalue"] for entry in self.history]
        epoch = epoch_before_rise(epochs, eigenvalues, self.ratio, warmup_epochs + self.first_epoch)
        return None if epoch is None else self.history[epochs.index(epoch)]
