"""A text cut into pieces that are read side by side."""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from lightning_nas.tasks.text_batch import IGNORED, TextBatch


def side_by_side(tokens: Tensor, before: int, pieces: int, own: slice) -> TextBatch:
    """Cut a text into pieces of equal length, and return some as one long window.

    Every token of the text is the target of exactly one place. When the length of the text is not divisible by the
    number of pieces, the last ones are a token shorter; the place that is left over has no target.

    Args:
        tokens: Token numbers ``[tokens]``.
        before: The token from which the first one is predicted.
        pieces: Number of pieces.
        own: Which of them to return.

    Returns:
        Contiguous columns, one for each piece.
    """
    steps = math.ceil(len(tokens) / pieces)
    first = torch.tensor([before], dtype=tokens.dtype)
    inputs = torch.cat([first, tokens[:-1]])
    columns = [_columns(text, pieces, own, steps, fill) for text, fill in ((inputs, before), (tokens, IGNORED))]
    return TextBatch(*columns)


def _columns(text: Tensor, pieces: int, own: slice, steps: int, fill: int) -> Tensor:
    columns = pad_sequence(list(text.tensor_split(pieces)[own]), padding_value=fill)
    return pad(columns, (0, 0, 0, steps - len(columns)), value=fill)
