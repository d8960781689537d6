"""A child under training."""

import math
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from lightning_nas.architecture import Architecture
from lightning_nas.costs import count_costs
from lightning_nas.methods.batches import batch_size
from lightning_nas.methods.child_record import ChildRecord, Status
from lightning_nas.methods.epoch_metrics import EpochMetrics
from lightning_nas.methods.optimizers import OptimizerCallable, SchedulerCallable
from lightning_nas.methods.schedules import scaled_rates
from lightning_nas.modes import evaluating
from lightning_nas.seeding import fixed_seed
from lightning_nas.spaces.base import SearchSpace
from lightning_nas.spaces.inputs import as_inputs
from lightning_nas.strategies.proposal import Proposal
from lightning_nas.tasks.base import Evaluation, Task


class Child:
    """The network of a proposal with its optimiser and its schedule, and how far its training has come.

    Args:
        proposal: What the strategy has proposed.
        network: Its network, on the device on which it is trained.
        optimizer: Makes its optimiser.
        scheduler: Makes its schedule, stepped each epoch.
        grad_clip: Norm to which gradients are clipped, or ``None``.
        costs: Parameters and multiply-adds of the network.
        epoch_metrics: Metrics of the epoch under way, by stage.
    """

    def __init__(
        self,
        proposal: Proposal,
        network: nn.Module,
        optimizer: OptimizerCallable,
        scheduler: SchedulerCallable,
        grad_clip: float | None,
        costs: dict[str, int],
        epoch_metrics: Mapping[str, EpochMetrics],
    ) -> None:
        self.proposal = proposal
        self.network = network
        self.optimizer = optimizer(network.parameters())
        self.scheduler = scheduler(self.optimizer)
        self.grad_clip = grad_clip
        self.costs = costs
        self.epoch_metrics = epoch_metrics
        self.examples = 0
        self.curve: list[float] = []
        self.metrics: dict[str, float] = {}
        self._seconds = 0.0  # before a resumption
        self._started = time.perf_counter()

    @property
    def epoch(self) -> int:
        """Number of epochs that are over."""
        return len(self.curve)

    def step(self, task: Task, batch: Any) -> Evaluation:
        """Train on a batch; return what the network made of it before.

        Raises:
            FloatingPointError: If the loss is not finite.
        """
        self.network.train()
        self.optimizer.zero_grad()
        evaluation = task.evaluate(self.network, batch)
        if not torch.isfinite(evaluation.loss):
            raise FloatingPointError(f"the loss was {float(evaluation.loss.detach())} in epoch {self.epoch}")
        torch.autograd.backward(evaluation.training_loss)
        if self.grad_clip is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.grad_clip)
        with scaled_rates(self.optimizer, task.rate_factor(batch)):
            self.optimizer.step()
        self.examples += batch_size(batch)
        self.epoch_metrics["train"].update(evaluation, batch_size(batch))
        return evaluation

    def validate(self, task: Task, batch: Any) -> Evaluation:
        """Validate on a batch."""
        with evaluating(self.network):
            evaluation = task.evaluate(self.network, batch)
        self.epoch_metrics["val"].update(evaluation, batch_size(batch))
        return evaluation

    def summary(self) -> dict[str, float]:
        """Return the metrics of the epoch under way."""
        return {name: value for metrics in self.epoch_metrics.values() for name, value in metrics.summary().items()}

    def end_epoch(self, metrics: dict[str, float], name: str, mode: str) -> None:
        """Take in what an epoch has come to.

        Args:
            metrics: All metrics of the epoch.
            name: Name of the objective.
            mode: ``"max"`` or ``"min"``.

        Raises:
            LookupError: If the objective is not among the metrics.
            FloatingPointError: If it is not finite.
        """
        if name not in metrics:
            raise LookupError(f"Expected {name!r}, the task's objective, among the metrics but got {list(metrics)}")
        objective = metrics[name] * (1 if mode == "max" else -1)
        if not math.isfinite(objective):
            raise FloatingPointError(f"the objective was {objective} after epoch {self.epoch}")
        with warnings.catch_warnings():  # resumed after the last batch, this optimiser has made no step
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step", UserWarning)
            self.scheduler.step()
        self.curve.append(objective)
        self.metrics = {name: value for name, value in metrics.items() if math.isfinite(value)}

    def record(self, status: Status, window: int, error: str = "") -> ChildRecord:
        """Return what is kept of the child.

        Args:
            status: How it ended.
            window: Its score is the best objective of so many last epochs.
            error: What went wrong, if it failed.
        """
        score = None if status == "failed" else max(self.curve[-window:])
        return ChildRecord(
            self.proposal.number,
            self.proposal.architecture,
            status,
            score,
            self.epoch,
            self.examples,
            self.seconds,
            self.costs,
            self.metrics,
            tuple(self.curve),
            error,
        )

    @property
    def seconds(self) -> float:
        """How long it has been trained."""
        return self._seconds + time.perf_counter() - self._started

    def drop(self) -> None:
        """Free the memory now: optimiser and schedule refer to each other, so that Python would free it much later."""
        self.optimizer.param_groups.clear()
        self.optimizer.state.clear()

    def state_dict(self) -> dict[str, Any]:
        """Return everything that is needed to go on, as plain data and tensors."""
        return {
            "number": self.proposal.number,
            "examples": self.examples,
            "seconds": self.seconds,
            "curve": list(self.curve),
            "metrics": dict(self.metrics),
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "epoch": {stage: metrics.state_dict() for stage, metrics in self.epoch_metrics.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.examples, self._seconds = state["examples"], state["seconds"]
        self.curve, self.metrics = list(state["curve"]), dict(state["metrics"])
        for name in ("network", "optimizer", "scheduler"):
            getattr(self, name).load_state_dict(state[name])
        for stage, metrics in self.epoch_metrics.items():
            metrics.load_state_dict(state["epoch"][stage])


def build_network(
    space: SearchSpace,
    architecture: Architecture,
    scale: Mapping[str, Any],
    seed: int,
    input_shape: Sequence[int] | None,
) -> tuple[nn.Module, dict[str, int]]:
    """Return the network of an architecture, and its costs.

    Args:
        space: The space of the architecture.
        architecture: What to build.
        scale: Its size.
        seed: Seed of its weights.
        input_shape: Shape of one input, to count multiply-adds; by default the space's ``example``.
    """
    with fixed_seed(seed):
        network = space.build(architecture, **scale)
    return network, count_costs(network, space.example if input_shape is None else as_inputs(input_shape))
