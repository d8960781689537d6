"""The predictor that reads one token after the other."""

import torch
from torch import Tensor
from torch.nn import functional

from lightning_nas.predictors.base import Predictor
from lightning_nas.predictors.encoding import Encoding
from lightning_nas.predictors.tokens import Tokens

NOTHING = -1  # feature behind the end of a shorter cell
Step = tuple[Tensor | None, Tensor]  # states that are read from, None for all in their order; next token of each


class LstmPredictor(Predictor):
    """One LSTM layer over the fields of all blocks in order; the last state is the cell (PNAS, arXiv 1712.00559).

    There is one bias per gate. Tokens have few values, so what the input adds to the gates is computed once per row of
    the tables, not once per token.

    Example:
        >>> encoding = Encoding(tables=(6, 8), fields=(0, 0, 1, 1))
        >>> predictor = LstmPredictor(encoding)
        >>> predictor(predictor.features(encoding.tokens([[[0, 1, 2, 3]]]))).shape
        torch.Size([1, 1])
    """

    of_input: Tensor
    of_state: Tensor
    gate_bias: Tensor
    output: Tensor

    def shapes(self, encoding: Encoding, embedding: int, hidden: int) -> dict[str, tuple[int, ...]]:
        """Return the shape of each parameter of one member."""
        return {
            "embedding": (sum(encoding.tables), embedding),
            "of_input": (embedding, 4 * hidden),
            "of_state": (hidden, 4 * hidden),
            "gate_bias": (4 * hidden,),
            "output": (hidden, 1),
            "output_bias": (1,),
        }

    def features(self, tokens: Tokens) -> Tensor:
        """Return ``[n, blocks * fields]``: rows of the stacked tables, ``NOTHING`` where there is no block."""
        rows = tokens.ids + torch.tensor(self.encoding.starts)
        return rows.masked_fill(~tokens.mask[:, :, None], NOTHING).flatten(1)

    def forward(self, features: Tensor) -> Tensor:
        """Return the predictions ``[members, n]``."""
        if features.ndim == 3:
            hidden = self._last_state([(None, token) for token in features.unbind(2)], features.shape[1])
        else:
            steps, groups = prefixes(features)
            hidden = self._last_state(steps, 1)[:, groups]
        return torch.baddbmm(self.output_bias[:, None], hidden, self.output).squeeze(-1).sigmoid()

    def _last_state(self, steps: list[Step], n: int) -> Tensor:
        """Return ``[members, rows, hidden]``, the state after all steps, from ``n`` rows of zeros on."""
        gates = self.embedding @ self.of_input + self.gate_bias[:, None]  # [members, rows of the tables, 4 hidden]
        first = torch.arange(self.members)[:, None] * gates.shape[1]
        cell = hidden = gates.new_zeros(self.members, n, self.of_state.shape[1])
        for origin, token in steps:
            if origin is not None:
                cell, hidden = cell[:, origin], hidden[:, origin]
            of_token = functional.embedding(token.clamp(min=0) + first, gates.flatten(0, 1))
            i, f, g, o = torch.baddbmm(of_token, hidden, self.of_state).chunk(4, 2)
            next_cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
            there = (token != NOTHING)[..., None]
            hidden = torch.where(there, o.sigmoid() * next_cell.tanh(), hidden)
            cell = torch.where(there, next_cell, cell)
        return hidden


def prefixes(features: Tensor) -> tuple[list[Step], Tensor]:
    """Return the steps that read every prefix once that rows next to each other share, and the last state of each row.

    The cells that a search scores are the same smaller cell with all blocks more, so most of their tokens are shared.

    Args:
        features: ``[n, tokens]``.

    Example:
        >>> steps, groups = prefixes(torch.tensor([[4, 1], [4, 1], [4, 2]]))
        >>> [token.tolist() for _, token in steps], groups.tolist()
        ([[4], [1, 2]], [0, 0, 1])
    """
    fresh = torch.ones_like(features, dtype=torch.bool)
    fresh[1:] = (features[1:] != features[:-1]).cumsum(1) > 0
    groups = fresh.cumsum(0) - 1  # of each row and token the state behind it
    before = functional.pad(groups[:, :-1], (1, 0))
    steps: list[Step] = [(before[new, t], features[new, t]) for t, new in enumerate(fresh.unbind(1))]
    return steps, groups[:, -1]
