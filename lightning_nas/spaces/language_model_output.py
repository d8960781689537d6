"""What a language model returns."""

from typing import NamedTuple

from torch import Tensor

State = tuple[Tensor | tuple[Tensor, ...], ...]  # of every layer


class LanguageModelOutput(NamedTuple):
    """Logits, and what the loss and the next part of the texts need besides.

    Args:
        logits: ``[steps, texts, vocabulary]``.
        state: The state of every layer behind the last step, attached to the graph.
        outputs: ``[steps, texts, hidden]`` of the last layer, after dropout.
        raw: The same before dropout.
    """

    logits: Tensor
    state: State
    outputs: Tensor
    raw: Tensor
