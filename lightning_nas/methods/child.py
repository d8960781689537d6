"""A child under training."""

import math
import time
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lightning_nas.methods.batches import batch_size
from lightning_nas.methods.child_record import ChildRecord, Status
from lightning_nas.methods.epoch_metrics import EpochMetrics
from lightning_nas.methods.lasso import Lasso
from lightning_nas.methods.schedules import scaled_rates
from lightning_nas.modes import evaluating
from lightning_nas.strategies.proposal import Proposal
from lightning_nas.tasks.base import Evaluation, Task


class Child:
    """The network of a proposal with its optimiser and its schedule, and how far its training has come.

    Args:
        proposal: What the strategy has proposed.
        network: Its network, on the device on which it is trained.
        optimizer: Its optimiser.
        scheduler: Its schedule, stepped each epoch.
        grad_clip: Norm to which gradients are clipped, or ``None``.
        costs: Parameters and multiply-adds of the network.
        epoch_metrics: Metrics of the epoch under way, by stage.

    Attributes:
        lasso: What its training adds to the loss, if anything.
    """

    def __init__(
        self,
        proposal: Proposal,
        network: nn.Module,
        optimizer: Optimizer,
        scheduler: LRScheduler,
        grad_clip: float | None,
        costs: dict[str, int],
        epoch_metrics: Mapping[str, EpochMetrics],
    ) -> None:
        self.proposal = proposal
        self.network = network
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.grad_clip = grad_clip
        self.costs = costs
        self.epoch_metrics = epoch_metrics
        self.lasso: Lasso | None = None
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
        loss = evaluation.training_loss
        torch.autograd.backward(loss if self.lasso is None else loss + self.lasso.penalty())
        if self.lasso is not None:
            self.lasso.observe()  # before gradients are clipped
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
        summary = {} if self.lasso is None else self.lasso.summary()
        for metrics in self.epoch_metrics.values():
            summary |= metrics.summary()
        return summary

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
            "lasso": self.lasso.state_dict() if self.lasso else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.examples, self._seconds = state["examples"], state["seconds"]
        self.curve, self.metrics = list(state["curve"]), dict(state["metrics"])
        for name in ("network", "optimizer", "scheduler"):
            getattr(self, name).load_state_dict(state[name])
        for stage, metrics in self.epoch_metrics.items():
            metrics.load_state_dict(state["epoch"][stage])
        if self.lasso is not None:
            self.lasso.load_state_dict(state["lasso"])
