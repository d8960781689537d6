"""What is learned: loss and metrics, independent of the search method."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from torch import Tensor
from torchmetrics import Metric

Network = Callable[..., Any]


class Evaluation(NamedTuple):
    """Loss of a batch (a scalar tensor), and what its metrics compare.

    ``penalty`` is added to the loss where weights are trained. ``state`` is where the network stands after the batch,
    for batches that continue each other.
    """

    loss: Tensor
    predictions: Tensor
    targets: Tensor
    penalty: Tensor | None = None
    state: Any = None

    @property
    def training_loss(self) -> Tensor:
        """What weights are trained on."""
        return self.loss if self.penalty is None else self.loss + self.penalty


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

    def continue_from(self, batch: Any, state: Any) -> Any:
        """Return a batch that begins where another one has ended, in its ``Evaluation.state``; ``None`` is a start."""
        return batch

    def rate_factor(self, batch: Any) -> float:
        """Return what learning rates are multiplied by for a batch."""
        return 1.0

    def loss(self, network: Network, batch: Any) -> Tensor:
        """Return the loss of a batch without a penalty, a scalar tensor."""
        return self.evaluate(network, batch).loss
