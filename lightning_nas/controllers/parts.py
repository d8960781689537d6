"""The trained parts of the controller."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

State = tuple[Tensor, Tensor]  # cell and hidden state, each [n, hidden]


class Lstm(nn.Module):
    """One layer of an LSTM: one matrix ``[2 hidden, 4 hidden]``, gates in the order i, f, o, g.

    Args:
        hidden: Width of input and state.
        biases: Whether the gates have the two vectors of biases of ``torch.nn.LSTM``.
    """

    def __init__(self, hidden: int, biases: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(2 * hidden, 4 * hidden))
        self.biases = nn.Parameter(torch.empty(2, 4 * hidden)) if biases else None

    def forward(self, x: Tensor, state: State) -> State:
        """Return the next state."""
        cell, hidden = state
        gates = torch.cat([x, hidden], 1) @ self.weight
        i, f, o, g = (gates if self.biases is None else gates + self.biases.sum(0)).chunk(4, 1)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        return cell, o.sigmoid() * cell.tanh()


class Attention(nn.Module):
    """Scores of anchors for a state: ``v^T tanh(anchor W1 + state W2)``.

    Args:
        hidden: Width of anchors and state.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.key = nn.Parameter(torch.empty(hidden, hidden))  # W1
        self.query = nn.Parameter(torch.empty(hidden, hidden))  # W2
        self.v = nn.Parameter(torch.empty(hidden, 1))

    def forward(self, keys: Tensor, state: Tensor) -> Tensor:
        """Return a score per key.

        Args:
            keys: ``[n, anchors, hidden]``, already multiplied by ``W1``.
            state: ``[n, hidden]``.
        """
        return ((keys + (state @ self.query)[:, None]).tanh() @ self.v).squeeze(-1)


class Vocabulary(nn.Module):
    """Embeddings and softmax head of a set of choices.

    Args:
        size: Number of choices.
        hidden: Width of embeddings and state.
        bias: Initial values of the head's trained bias; ``None`` for a head without one.
    """

    def __init__(self, size: int, hidden: int, bias: Sequence[float] | None = None) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.empty(size, hidden))
        self.head = nn.Parameter(torch.empty(hidden, size))
        self.bias = None if bias is None else nn.Parameter(torch.tensor(bias))

    def forward(self, state: Tensor) -> Tensor:
        """Return the logits ``[n, choices]``."""
        logits = state @ self.head
        return logits if self.bias is None else logits + self.bias
