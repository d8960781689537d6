"""Prediction of the next token of a text."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchmetrics import Metric

from lightning_nas.checks import check_at_least
from lightning_nas.tasks.base import Evaluation, Network, Task
from lightning_nas.tasks.perplexity import LogitPerplexity
from lightning_nas.tasks.text_batch import IGNORED, TextBatch


class LanguageModeling(Task):
    """Cross-entropy of the next token, in windows of texts that continue each other; the objective is perplexity.

    A batch is a ``TextBatch``. The network is called with its tokens ``[steps, texts]`` and the state in which it was
    left by the window before (``None`` at the beginning of an epoch), and returns ``LanguageModelOutput``. States are
    cut from the graph.

    Args:
        vocabulary: Number of tokens.
        ar: Weight of activation regularisation, the mean square of the outputs after dropout (Merity et al. 2017).
        tar: Weight of temporal activation regularisation, the mean square of the outputs' changes from step to step.
        window: Length of the windows that learning rates are meant for: they are multiplied by a window's length over
            this one. ``None`` leaves them.
        reward: What a controller is rewarded with is this over the perplexity, as in ENAS.

    Raises:
        ValueError: If the vocabulary has fewer than two tokens, or an argument is out of range.

    Example:
        >>> LanguageModeling(10_000).objective
        ('val/perplexity', 'min')
    """

    objective: tuple[str, Literal["min", "max"]] = ("val/perplexity", "min")

    def __init__(
        self,
        vocabulary: int = 10_000,
        *,
        ar: float = 0.0,
        tar: float = 1e-3,
        window: int | None = 35,
        reward: float = 80.0,
    ) -> None:
        check_at_least("vocabulary", vocabulary, 2)
        check_at_least("window", window, 1)
        if ar < 0 or tar < 0:
            raise ValueError(f"Expected weights `ar` and `tar` of 0 or more but got {ar} and {tar}")
        self.classes = vocabulary
        self.ar = ar
        self.tar = tar
        self.window = window
        self.reward_constant = reward

    def evaluate(self, network: Network, batch: Any) -> Evaluation:
        """Return loss, logits ``[steps, texts, vocabulary]``, the next tokens ``[steps, texts]``, penalty and state."""
        if not isinstance(batch, TextBatch):
            raise TypeError(f"Expected batches that are TextBatch for LanguageModeling but got {type(batch).__name__}")
        output = network(batch.inputs, batch.state)
        logits = self._check(output.logits)
        targets = batch.targets.flatten()
        total = cross_entropy(logits.flatten(0, 1), targets, ignore_index=IGNORED, reduction="sum")
        loss = total / (targets != IGNORED).sum().clamp(min=1)  # a process may have read all of its texts before others
        penalty = self._penalty(output.outputs, output.raw) if torch.is_grad_enabled() else None
        return Evaluation(loss, logits.detach(), batch.targets, penalty, _each(output.state, Tensor.detach))

    def _check(self, logits: Tensor) -> Tensor:
        if logits.shape[-1] != self.classes:
            raise ValueError(
                f"Expected a network with {self.classes} outputs for LanguageModeling({self.classes}) but got "
                f"{logits.shape[-1]}; give both the same number: scale={{'vocabulary': n}}, task=LanguageModeling(n)"
            )
        return logits

    def _penalty(self, outputs: Tensor, raw: Tensor) -> Tensor | None:
        penalty = outputs.new_zeros(())
        if self.ar:
            penalty = penalty + self.ar * outputs.square().mean()
        if self.tar and len(raw) > 1:
            penalty = penalty + self.tar * raw.diff(dim=0).square().mean()
        return penalty

    def continue_from(self, batch: Any, state: Any) -> Any:
        """Return a batch that begins in a state, on the batch's device."""
        return batch._replace(state=_each(state, lambda part: part.to(batch.inputs.device)))

    def rate_factor(self, batch: Any) -> float:
        """Return the length of a batch's windows over the length that learning rates are meant for."""
        return 1.0 if self.window is None else len(batch.inputs) / self.window

    def reward(self, evaluation: Evaluation) -> Tensor:
        """Return the constant over the batch's perplexity."""
        return self.reward_constant / evaluation.loss.detach().exp()

    def metrics(self) -> dict[str, Metric]:
        """Return the perplexity: the exponential of the mean loss over all tokens, whatever the batches."""
        return {"perplexity": LogitPerplexity()}


def _each(state: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return a tensor, or nested tuples of tensors, changed; ``None`` stays."""
    if isinstance(state, list | tuple):
        return tuple(_each(part, change) for part in state)
    return None if state is None else change(state)
