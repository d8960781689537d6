"""Differentiable architecture search in a project that is already there."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Adam, Optimizer
from torch.utils.data import DataLoader

import lightning_nas
from lightning_nas._lightning import pl
from lightning_nas.architecture import Architecture
from lightning_nas.bound_budget import BoundBudget
from lightning_nas.budget import CostBudget
from lightning_nas.callbacks.alpha_gradient import AlphaGradient, Loss
from lightning_nas.callbacks.alphas import Alphas
from lightning_nas.callbacks.architecture_stream import ArchitectureStream
from lightning_nas.callbacks.searchable import check_package, check_searchable
from lightning_nas.callbacks.validation_metrics import validation_metrics
from lightning_nas.checks import check_at_least
from lightning_nas.methods.alphas import check_warmup
from lightning_nas.run_folder import run_folder
from lightning_nas.spaces.choices.base import Choice
from lightning_nas.spaces.choices.choice_map import ChoiceMap
from lightning_nas.spaces.inputs import as_inputs

OptimizerCallable = Callable[[Iterable[nn.Parameter]], Optimizer]


class DifferentiableSearch(pl.Callback):
    """Searches the architecture of any LightningModule that holds choices, while it is trained as ever (DARTS).

    Before every optimiser step of the module's, the alphas step on the loss of a batch of other data (first order). In
    between, and in validation, an ``OpChoice``, ``InputChoice`` or ``RepeatChoice`` of the module computes the mixture
    that the alphas stand for. The alphas belong to this callback: optimisers, schedulers, clipping, hooks and logged
    values of the module are as without it. ``architecture.json`` is written after every epoch; give it to
    ``apply_architecture`` and train without the callback.

    To compute the loss of the alphas the module's ``training_step`` is called once more, with logging off. Afterwards
    buffers, metrics, random numbers and the attributes of all modules are put back, and what they hold if they are
    tensors, arrays, random generators, lists, sets or dictionaries. Other objects that change themselves are not, such
    as an ``AverageMeter`` of your own: give a ``loss`` then, a function that computes the loss only. It is needed, too,
    where ``training_step`` steps optimisers or schedulers, which is refused.

    Lightning calls callbacks first: the alphas step before the module's own ``on_train_batch_start``. What that hook
    sets for a batch their loss does not see yet; at the first batch it must be there already.

    Checkpoints hold the alphas; a Trainer takes one such callback. Runs are resumed exactly if the rest of the project
    can be.

    Args:
        arch_dataloader: A ``DataLoader`` over other examples than the training's, of a data set with a length; or a
            function without arguments that returns it when the training starts. Its data and settings are used; they
            are always shuffled, in an order that is a function of ``seed`` and epoch. Examples of validation may be
            used, but metrics on them are then biased: the architecture has been fitted to them.
        loss: Computes the loss of a batch, a scalar tensor, from the module and the batch; by default the module's
            ``training_step`` does. Needed with manual optimisation.
        dirpath: Folder for ``architecture.json``; by default that of the logger's run, or else the Trainer's.
        warmup_epochs: Epochs at the start in which only weights are trained.
        optimizer: Makes the alphas' optimiser; by default Adam(lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3).
        budget: What the derived network may cost; multiply-adds are counted for the module's ``example_input_array``.
        seed: Seed of the alphas, of the order of their batches and of the random numbers in their steps.

    Raises:
        TypeError: If ``arch_dataloader`` is neither a loader nor a function, or ``loss`` is no function.
        ValueError: If ``warmup_epochs`` is negative.

    Example:
        >>> from torch.utils.data import DataLoader, TensorDataset
        >>> loader = DataLoader(TensorDataset(torch.randn(8, 4), torch.randn(8, 1)), batch_size=4, shuffle=True)
        >>> trainer = pl.Trainer(accelerator="cpu", callbacks=[DifferentiableSearch(loader)], logger=False)
    """

    def __init__(
        self,
        arch_dataloader: DataLoader[Any] | Callable[[], DataLoader[Any]],
        *,
        loss: Loss | None = None,
        dirpath: str | Path | None = None,
        warmup_epochs: int = 0,
        optimizer: OptimizerCallable | None = None,
        budget: CostBudget | None = None,
        seed: int = 0,
    ) -> None:
        if not isinstance(arch_dataloader, DataLoader) and not callable(arch_dataloader):
            raise TypeError(
                "Expected `arch_dataloader` to be a DataLoader, or a function that returns one, but got "
                f"{type(arch_dataloader).__name__}"
            )
        if loss is not None and not callable(loss):
            raise TypeError(f"Expected `loss` to be a function of module and batch but got {type(loss).__name__}")
        check_at_least("warmup_epochs", warmup_epochs, 0)
        self.arch_dataloader = arch_dataloader
        self.loss = loss
        self.dirpath = None if dirpath is None else Path(dirpath)
        self.warmup_epochs = warmup_epochs
        self.optimizer = optimizer or partial(Adam, lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3)
        self.budget = budget
        self.seed = seed
        self._active = False  # whether the module computes with the alphas now
        self._alphas: Alphas | None = None
        self._bound: BoundBudget | None = None
        self._steps: Optimizer | None = None
        self._gradient: AlphaGradient | None = None
        self._space = ""
        self._epoch = 0  # of what the alphas are now
        self._written: int | None = None
        self._loaded: dict[str, Any] = {}  # the state to go on from, until there is a module

    def state_dict(self) -> dict[str, Any]:
        """Return the alphas and their optimiser's state as plain data."""
        if self._loaded or self._alphas is None:
            return dict(self._loaded)
        steps = None if self._steps is None else self._steps.state_dict()
        return {"alphas": self._alphas.state(), "optimizer": steps, "epoch": self._epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state, at once or as soon as there is a module."""
        self._loaded = dict(state_dict)
        if self._active:
            self._take_up()

    def _take_up(self) -> None:
        """Set the alphas to the loaded state, and their optimiser once there is one."""
        assert self._alphas is not None
        if self._loaded:
            self._alphas.load(self._loaded["alphas"])
            self._epoch = self._loaded["epoch"]
            if self._steps is not None and self._loaded["optimizer"] is not None:
                self._steps.load_state_dict(self._loaded["optimizer"])
            self._loaded = {}
        self._alphas.show()

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuse what cannot be searched; choices may be made later, in the module's own ``setup``."""
        check_package(trainer)
        if stage == "fit":
            check_searchable(trainer, pl_module, own_loss=self.loss is not None)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Make alphas for the choices of the module, and what steps them."""
        check_warmup(trainer, self.warmup_epochs)
        stream = ArchitectureStream(self._loader(), self.seed, trainer.global_rank, trainer.world_size)
        self._written = None
        alphas = self._start(trainer, pl_module, search=True)
        self._gradient = AlphaGradient(alphas, stream, self.loss, self._bound, self.seed)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validate with the alphas, also outside of a fit."""
        self._show(trainer, pl_module)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Test with the alphas."""
        self._show(trainer, pl_module)

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Predict with the alphas."""
        self._show(trainer, pl_module)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Step the alphas, once before every step of the module's own optimiser."""
        self._epoch = trainer.current_epoch
        if batch_idx % trainer.accumulate_grad_batches or self._epoch < self.warmup_epochs:
            return
        assert self._alphas is not None
        assert self._steps is not None
        assert self._gradient is not None
        self._alphas.step(self._steps, self._gradient(trainer, pl_module, batch_idx))
        self._alphas.check_finite(self._epoch)
        self._alphas.show()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log where the search stands, and write what it has found."""
        assert self._alphas is not None
        self._epoch = trainer.current_epoch
        entropies = self._alphas.entropies()
        state = {f"search/choice_entropy/{key}": rows.mean() for key, rows in entropies.items()}
        state["search/entropy"] = torch.cat(list(entropies.values())).mean()
        if self._bound is not None:
            state["search/cost"] = self._bound.cost(self._alphas.mixtures())
        pl_module.log_dict(state, sync_dist=True)  # equal everywhere; Lightning warns without it
        self._write(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write what was found, if the end of the last epoch was not reached, or was before an interruption."""
        if self._written is None or self._written < self._epoch:
            self._write(trainer)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Leave the module as it was."""
        self._stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Leave the module as it was."""
        self._stop()

    def derive(self) -> Architecture:
        """Return the architecture of the current alphas: the strongest candidates, or those that keep the budget.

        Raises:
            RuntimeError: If there are no alphas in this process.
        """
        if self._alphas is None:
            raise RuntimeError(
                "Expected derive() after a search in this process but there was none; processes started by ddp_spawn "
                "or ddp_fork keep their alphas, read architecture.json"
            )
        self._alphas.check_finite(self._epoch)
        weights = {key: mixture.weights for key, mixture in self._alphas.mixtures().items()}
        discretize = self._alphas.choices.discretize if self._bound is None else self._bound.discretize
        provenance = {
            "method": type(self).__name__,
            "seed": self.seed,
            "epoch": self._epoch,
            "lightning_nas": lightning_nas.__version__,
        }
        return Architecture(self._space, discretize(weights), provenance)

    def _loader(self) -> DataLoader[Any]:
        loader = self.arch_dataloader if isinstance(self.arch_dataloader, DataLoader) else self.arch_dataloader()
        if not isinstance(loader, DataLoader):
            raise TypeError(f"Expected `arch_dataloader` to return a DataLoader but got {type(loader).__name__}")
        return loader

    def _show(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let the module compute with the alphas, if it holds choices still."""
        if any(isinstance(child, Choice) for child in pl_module.modules()):
            self._start(trainer, pl_module)

    def _start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *, search: bool = False) -> Alphas:
        """Let the module compute with the alphas: those of before, if there are any."""
        if self._active and self._alphas is not None:
            return self._alphas
        before, choices = self._alphas, ChoiceMap(pl_module)
        precision = torch.float64 if trainer.precision == "64-true" else torch.float32
        self._alphas = Alphas(choices, self.seed, torch.empty(0, device=pl_module.device, dtype=precision))
        # a search of another module begins anew; validating what was loaded from a checkpoint does not
        if before is not None and not (search and before.choices.places[0].choice is not choices.places[0].choice):
            self._alphas.load(before.state())
        self._bound = None if self.budget is None else self._bind(self.budget, pl_module, choices)
        self._steps = self.optimizer(self._alphas.tables.values()) if search else None
        self._space = f"module:{type(pl_module).__name__}"
        self._active = True
        self._take_up()
        return self._alphas

    def _stop(self) -> None:
        if self._active and self._alphas is not None:
            self._alphas.choices.set_mixtures({})
        self._active = False
        self._gradient = None

    def _bind(self, budget: CostBudget, module: pl.LightningModule, choices: ChoiceMap) -> BoundBudget:
        example: Any = module.example_input_array
        return budget.bind(module, choices, None if example is None else as_inputs(example))

    def _write(self, trainer: pl.Trainer) -> None:
        self._written = self._epoch
        metrics = validation_metrics(trainer.callback_metrics)
        if trainer.is_global_zero:
            architecture = replace(self.derive(), metrics=metrics)
            architecture.save((self.dirpath or run_folder(trainer)) / "architecture.json")
