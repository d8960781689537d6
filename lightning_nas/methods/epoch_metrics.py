"""Loss and metrics of an epoch, of one process."""

from typing import Any

from torch import Tensor
from torchmetrics import Metric, MetricCollection

from lightning_nas.tasks.base import Evaluation


class EpochMetrics:
    """Means over the batches of one stage of an epoch that belong to this process alone.

    Lightning's own means are over all processes, which is wrong where each trains another network.

    Args:
        stage: ``"train"`` or ``"val"``.
        collection: The metrics, with the stage as their prefix.
    """

    def __init__(self, stage: str, collection: MetricCollection) -> None:
        self.stage = stage
        self.collection = collection
        for metric in collection.modules():
            if isinstance(metric, Metric):
                metric.distributed_available_fn = _never
        self._losses: list[tuple[Tensor | float, int]] = []  # with the sizes of the batches
        self._values: dict[str, float] | None = None  # of a checkpoint, until there is another batch

    def update(self, evaluation: Evaluation, size: int) -> None:
        """Take in a batch of so many examples."""
        self._values = None
        self.collection.update(evaluation.predictions, evaluation.targets)
        self._losses.append((evaluation.loss.detach(), size))

    def reset(self) -> None:
        """Forget all batches."""
        self._losses, self._values = [], None
        self.collection.reset()

    def summary(self) -> dict[str, float]:
        """Return the mean loss and the metrics by name; nothing before the first batch."""
        if not self._losses:
            return {}
        values = self._values or {name: float(value) for name, value in self.collection.compute().items()}
        loss = sum(float(loss) * size for loss, size in self._losses) / sum(size for _, size in self._losses)
        return {**values, f"{self.stage}/loss": loss}

    def state_dict(self) -> dict[str, Any]:
        """Return everything that is needed to go on in the middle of an epoch, as plain data and tensors."""
        metrics = {name: metric.metric_state for name, metric in self.collection.items(keep_base=True)}
        losses = [[float(loss), size] for loss, size in self._losses]
        return {"losses": losses, "values": self.summary(), "metrics": metrics}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.reset()
        self._losses = [(loss, size) for loss, size in state["losses"]]
        self._values = dict(state["values"])
        for name, metric in self.collection.items(keep_base=True, copy_state=False):
            for part, value in state["metrics"][name].items():
                setattr(metric, part, _to(value, metric))


def _to(value: Tensor | list[Tensor], metric: Metric) -> Tensor | list[Tensor]:
    return [part.to(metric.device) for part in value] if isinstance(value, list) else value.to(metric.device)


def _never() -> bool:
    return False
