"""What is learned: loss and metrics, independent of the search method."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from torch import Tensor
from torchmetrics import Metric

Network = Callable[..., Any]


class Evaluation(NamedTuple):
    """Loss of a batch (a scalar tensor), and what its metrics compare."""

    loss: Tensor
    predictions: Tensor
    targets: Tensor


class Task(ABC):
    """What a batch means, how good a network is on it, and which metric the search is for.

    A subclass says how to evaluate a batch and which metrics to keep; methods never look into a batch themselves.
    """

    objective: tuple[str, Literal["min", "max"]]

    @abstractmethod
    def evaluate(self, network: Network, batch: Any) -> Evaluation:
        """Run the network on a batch. ``network`` takes what the task passes to it, and returns what it expects."""

    @abstractmethod
    def metrics(self) -> dict[str, Metric]:
        """Return fresh metrics by name; each is updated with predictions and targets."""

    def reward(self, evaluation: Evaluation) -> Tensor:
        """Return how good the network is on a batch, for a controller: the objective's metric, less is worse."""
        name, mode = self.objective
        if name == "val/loss":
            return -evaluation.loss.detach()
        metric = self.metrics()[name.removeprefix("val/")].to(evaluation.predictions.device)
        value: Tensor = metric(evaluation.predictions, evaluation.targets)
        return value if mode == "max" else -value

    def loss(self, network: Network, batch: Any) -> Tensor:
        """Return the loss of a batch, a scalar tensor."""
        return self.evaluate(network, batch).loss
