"""Training of a derived network from scratch."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR

from lightning_nas._lightning import MisconfigurationException
from lightning_nas.architecture import Architecture
from lightning_nas.checks import check_fraction, check_positive
from lightning_nas.methods.base import TaskModule
from lightning_nas.methods.batches import batch_size, check_ordinary
from lightning_nas.methods.optimizers import OptimizerCallable, SchedulerCallable
from lightning_nas.methods.schedules import scaled_rates
from lightning_nas.operations.drop_path import set_drop_path
from lightning_nas.seeding import derive_seed, fixed_seed
from lightning_nas.spaces.base import SearchSpace
from lightning_nas.tasks.base import Evaluation, Task
from lightning_nas.tracking import GROUP_LENGTH
from lightning_nas.zoo import find_architecture


class RetrainModule(TaskModule):
    """Trains the network of an architecture, by default with the recipe of DARTS for CIFAR-10.

    Cutout is the data module's; the Trainer's ``gradient_clip_val`` takes the place of ``grad_clip`` where given.
    ``load_from_checkpoint`` needs no arguments but a ``task``, ``optimizer`` or ``scheduler`` that is not the default.

    Args:
        space: A search space, or the name of one; by default the space that the architecture names.
        architecture: An architecture, a JSON file of one, what such a file holds (``checkpoint["architecture"]`` of a
            search), or a name in ``lightning_nas.zoo``.
        task: What is learned; by default image classification with the classes that ``scale`` says, or else 10.
        scale: Size of the network, passed to ``space.build``; the paper's by default.
        auxiliary: Train with the paper's auxiliary classifier, where the space has one.
        drop_path: Probability of dropping a path at the end; it grows from 0, linearly in epochs.
        grad_clip: Norm to which gradients are clipped, or ``None``.
        optimizer: Makes the optimiser; by default SGD(lr=0.025, momentum=0.9, weight_decay=3e-4).
        scheduler: Makes the learning rate schedule, stepped each epoch; by default a cosine to zero.
        seed: Seed of the initial weights and of dropped paths.

    Raises:
        ValueError: If there is no architecture, or it is not of the space, or ``drop_path`` is not in [0, 1).

    Example:
        >>> module = RetrainModule("darts", "DARTS_V2", scale={"channels": 4, "layers": 3}, auxiliary=False)
        >>> sum(p.numel() for p in module.network.parameters())
        2858
    """

    stages = ("train", "val", "test")
    job_type = "retrain"

    def __init__(
        self,
        space: SearchSpace | str | None = None,
        architecture: Architecture | Mapping[str, Any] | str | Path | None = None,
        task: Task | None = None,
        *,
        scale: Mapping[str, Any] | None = None,
        auxiliary: bool = True,
        drop_path: float = 0.2,
        grad_clip: float | None = 5.0,
        optimizer: OptimizerCallable | None = None,
        scheduler: SchedulerCallable | None = None,
        seed: int = 0,
    ) -> None:
        if architecture is None:
            raise ValueError("Expected an `architecture` to train (an Architecture, a file or a name) but got none")
        if isinstance(architecture, Mapping):
            architecture = Architecture.from_dict(dict(architecture))
        elif not isinstance(architecture, Architecture):
            architecture = find_architecture(architecture)
        super().__init__(architecture.space if space is None else space, task, scale, seed)
        check_fraction("drop_path", drop_path, zero_allowed=True)
        check_positive("grad_clip", grad_clip)
        self.architecture = architecture
        self.auxiliary = auxiliary
        self.drop_path = drop_path
        self.grad_clip = grad_clip
        self.optimizer = optimizer or partial(SGD, lr=0.025, momentum=0.9, weight_decay=3e-4)
        self.scheduler = scheduler
        with fixed_seed(derive_seed(seed, "weights")):
            self.network = self.space.build(architecture, auxiliary=auxiliary, **self.scale)
        # plain data only: a checkpoint must load with weights_only
        self.save_hyperparameters(ignore=["space", "architecture", "task", "scale", "optimizer", "scheduler"])
        plain = {"space": self.space.name, "architecture": architecture.to_dict(), "scale": self.scale}
        self.save_hyperparameters(plain)

    @property
    def group(self) -> str:
        """The group of the search that has found the architecture, or where a published one comes from."""
        where = self.architecture.provenance
        return str(where.get("group", where.get("source", self.architecture.space)))[:GROUP_LENGTH]

    def configure_optimizers(self) -> Any:
        """Return the optimiser and its schedule, stepped each epoch."""
        optimizer = self.optimizer(self.network.parameters())
        if self.scheduler is not None:
            return [optimizer], [self.scheduler(optimizer)]
        epochs = self.trainer.max_epochs
        if epochs is None or epochs < 1:
            raise MisconfigurationException(
                f"Expected Trainer(max_epochs=...) for the cosine schedule but got {epochs}; give it, or a `scheduler`"
            )
        return [optimizer], [CosineAnnealingLR(optimizer, epochs)]

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by the Trainer's flag where it is given, by ``grad_clip`` otherwise."""
        value = self.grad_clip if gradient_clip_val is None else gradient_clip_val
        if value is not None:
            self.clip_gradients(optimizer, value, gradient_clip_algorithm or "norm")

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Set the probability of dropping a path for this epoch, and seed torch for this batch."""
        super().on_train_batch_start(batch, batch_idx)
        self._rate_factor = self.task.rate_factor(batch)
        # at every batch: a run resumed in the middle of an epoch never gets to its start
        epochs = self.trainer.max_epochs or 0
        set_drop_path(self.network, self.drop_path * self.current_epoch / epochs if epochs > 0 else self.drop_path)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Run the network."""
        return self.network(*inputs, **named)

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Any,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Step with the learning rate that the task wants for this batch."""
        with scaled_rates(optimizer, self._rate_factor):
            super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        check_ordinary(batch)
        return self._evaluate("train", batch, batch_idx).training_loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Evaluate a batch."""
        self._evaluate("val", batch, batch_idx)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Evaluate a batch."""
        self._evaluate("test", batch, batch_idx)

    def _evaluate(self, stage: str, batch: Any, batch_idx: int) -> Evaluation:
        evaluation = self.task.evaluate(self.network, self.continued(stage, batch, batch_idx))
        self.record(stage, evaluation, batch_size(batch))
        self.carry(stage, evaluation)
        return evaluation
