"""Classification of anything."""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy

from lightning_nas.checks import check_at_least, check_fraction
from lightning_nas.tasks.base import Evaluation, Network, Task
from lightning_nas.tasks.supervised import check_tensor, predict

IGNORED = -100  # label of what is no example, padding say; torch's default


class Classification(Task):
    """Cross-entropy of logits ``[N, classes, ...]`` and labels ``[N, ...]``; the objective is ``val/accuracy``.

    Labels of -100, of padding say, count neither in the loss nor in the accuracy.

    A batch is a tuple ``(inputs, ..., labels)``, or a dictionary in which everything but the labels is an input of the
    network by that name.

    Args:
        classes: Number of classes.
        label_smoothing: Share of the target spread over all classes where gradients are computed; validation and test
            use the plain cross-entropy.
        target: Name of the labels in a dictionary.

    Raises:
        ValueError: If there are fewer than two classes, or the smoothing is not in [0, 1).

    Example:
        >>> batch = {"x": torch.eye(3), "label": torch.tensor([0, 1, 2])}
        >>> float(Classification(3, target="label").loss(lambda x: 100 * x, batch))
        0.0
    """

    objective: tuple[str, Literal["min", "max"]] = ("val/accuracy", "max")

    def __init__(self, classes: int, label_smoothing: float = 0.0, target: str = "target") -> None:
        check_at_least("classes", classes, 2)
        check_fraction("label_smoothing", label_smoothing, zero_allowed=True)
        self.classes = classes
        self.label_smoothing = label_smoothing
        self.target = target

    def evaluate(self, network: Network, batch: Any) -> Evaluation:
        """Return loss, logits ``[N, classes, ...]`` and labels ``[N, ...]``."""
        output, labels = predict(network, batch, self.target)
        logits = check_tensor(output, self)
        return Evaluation(self.cross_entropy(logits, labels), logits.detach(), labels)

    def cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of logits.

        Raises:
            ValueError: If there are not as many logits as classes.
        """
        if logits.dim() < 2 or logits.shape[1] != self.classes or logits.shape[2:] != labels.shape[1:]:
            raise ValueError(
                f"Expected a network with {self.classes} outputs for {type(self).__name__}(classes={self.classes}) "
                f"but got {tuple(logits.shape[1:])} for labels {tuple(labels.shape)}; give both the same number: "
                f"scale={{'classes': n}}, task={type(self).__name__}(n)"
            )
        smoothing = self.label_smoothing if torch.is_grad_enabled() else 0.0
        return cross_entropy(logits, labels, label_smoothing=smoothing, ignore_index=IGNORED)

    def metrics(self) -> dict[str, Metric]:
        """Return the accuracy over all examples; labels that the loss ignores do not count."""
        return {"accuracy": MulticlassAccuracy(self.classes, average="micro", ignore_index=IGNORED)}
