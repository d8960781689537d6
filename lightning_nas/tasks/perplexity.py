"""Perplexity of logits."""

from torch import Tensor
from torch.nn.functional import cross_entropy
from torchmetrics.text import Perplexity

from lightning_nas.tasks.text_batch import IGNORED


class LogitPerplexity(Perplexity):
    """The exponential of the mean cross-entropy over all tokens that have a target.

    Torchmetrics takes the logarithm of probabilities, which are zero in single precision for a token that is a hundred
    logits below the best; one such token makes it infinite.
    """

    def __init__(self) -> None:
        super().__init__(ignore_index=IGNORED)

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Take in logits ``[steps, texts, vocabulary]`` and targets ``[steps, texts]``."""
        total = cross_entropy(preds.flatten(0, 1).float(), target.flatten(), ignore_index=IGNORED, reduction="sum")
        self.total_log_probs += total
        self.count += (target != IGNORED).sum()
