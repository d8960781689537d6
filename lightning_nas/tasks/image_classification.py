"""Classification of images."""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy

from lightning_nas.checks import check_at_least, check_fraction
from lightning_nas.spaces.auxiliary import AuxiliaryLogits
from lightning_nas.tasks.base import Evaluation, Network, Task


class ImageClassification(Task):
    """Cross-entropy of ``(images [N, C, H, W], labels [N])`` batches; the objective is ``val/accuracy``.

    Args:
        classes: Number of classes.
        label_smoothing: Share of the target spread over all classes where gradients are computed; validation and test
            use the plain cross-entropy.
        auxiliary_weight: Weight of an auxiliary classifier's loss, for networks that return ``AuxiliaryLogits``.

    Raises:
        ValueError: If there are fewer than two classes, or the smoothing is not in [0, 1).
    """

    objective: tuple[str, Literal["min", "max"]] = ("val/accuracy", "max")

    def __init__(self, classes: int = 10, label_smoothing: float = 0.0, auxiliary_weight: float = 0.4) -> None:
        check_at_least("classes", classes, 2)
        check_fraction("label_smoothing", label_smoothing, zero_allowed=True)
        self.classes = classes
        self.label_smoothing = label_smoothing
        self.auxiliary_weight = auxiliary_weight

    def evaluate(self, network: Network, batch: Any) -> Evaluation:
        """Return loss, logits ``[N, classes]`` and labels ``[N]``."""
        images, labels = batch
        output = network(images)
        logits: Tensor = output.logits if isinstance(output, AuxiliaryLogits) else output
        if logits.shape[1:] != (self.classes,):
            raise ValueError(
                f"Expected a network with {self.classes} outputs for ImageClassification(classes={self.classes}) "
                f"but got {tuple(logits.shape[1:])}; give both the same number: scale={{'classes': n}}, "
                "task=ImageClassification(n)"
            )
        loss = self._loss(logits, labels)
        if isinstance(output, AuxiliaryLogits):
            loss = loss + self.auxiliary_weight * self._loss(output.auxiliary, labels)
        return Evaluation(loss, logits.detach(), labels)

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        smoothing = self.label_smoothing if torch.is_grad_enabled() else 0.0
        return cross_entropy(logits, labels, label_smoothing=smoothing)

    def metrics(self) -> dict[str, Metric]:
        """Return the accuracy over all examples."""
        return {"accuracy": MulticlassAccuracy(self.classes, average="micro")}
