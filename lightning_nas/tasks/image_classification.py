"""Classification of images."""

from typing import Any

from lightning_nas.spaces.auxiliary import AuxiliaryLogits
from lightning_nas.tasks.base import Evaluation, Network
from lightning_nas.tasks.classification import Classification
from lightning_nas.tasks.supervised import check_tensor, predict


class ImageClassification(Classification):
    """Cross-entropy of ``(images [N, C, H, W], labels [N])`` batches; the objective is ``val/accuracy``.

    Args:
        classes: Number of classes.
        label_smoothing: Share of the target spread over all classes where gradients are computed; validation and test
            use the plain cross-entropy.
        auxiliary_weight: Weight of an auxiliary classifier's loss, for networks that return ``AuxiliaryLogits``.
        target: Name of the labels, for batches that are dictionaries.

    Raises:
        ValueError: If there are fewer than two classes, or the smoothing is not in [0, 1).
    """

    def __init__(
        self,
        classes: int = 10,
        label_smoothing: float = 0.0,
        auxiliary_weight: float = 0.4,
        target: str = "target",
    ) -> None:
        super().__init__(classes, label_smoothing, target)
        self.auxiliary_weight = auxiliary_weight

    def evaluate(self, network: Network, batch: Any) -> Evaluation:
        """Return loss, logits ``[N, classes]`` and labels ``[N]``."""
        output, labels = predict(network, batch, self.target)
        if not isinstance(output, AuxiliaryLogits):
            logits = check_tensor(output, self)
            return Evaluation(self.cross_entropy(logits, labels), logits.detach(), labels)
        loss = self.cross_entropy(output.logits, labels)
        loss = loss + self.auxiliary_weight * self.cross_entropy(output.auxiliary, labels)
        return Evaluation(loss, output.logits.detach(), labels)
