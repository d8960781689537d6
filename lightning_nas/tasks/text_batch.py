"""What a batch of text is."""

from typing import Any, NamedTuple

from torch import Tensor

IGNORED = -100  # what torch's `cross_entropy` leaves out, and torchmetrics with `ignore_index=-100`


class TextBatch(NamedTuple):
    """A window of several texts that are read side by side.

    The next window goes on where this one ends, so a network may carry its state from one to the next.

    Attributes:
        inputs: Token numbers, int64 ``[steps, texts]``.
        targets: The tokens that follow, ``[steps, texts]``; ``IGNORED`` where there is none.
        state: Where the network stood before the window; None at the beginning of the texts.
    """

    inputs: Tensor
    targets: Tensor
    state: Any = None
