"""The predictor that averages over blocks."""

import torch
from torch import Tensor

from lightning_nas.predictors.base import Predictor
from lightning_nas.predictors.encoding import Encoding
from lightning_nas.predictors.tokens import Tokens


class MlpPredictor(Predictor):
    """Embeds the fields of a block, takes the mean over blocks, and applies two hidden layers (PNAS, arXiv 1712.00559).

    The mean is what lets it rank cells with more blocks than it was fitted on. Because embedding and first layer are
    linear, the mean is taken over the blocks' indicators, and the first layer is applied to the embedding table: the
    same function, at a cost that does not depend on the number of blocks.

    Example:
        >>> encoding = Encoding(tables=(6, 8), fields=(0, 0, 1, 1))
        >>> predictor = MlpPredictor(encoding)
        >>> predictor(predictor.features(encoding.tokens([[[0, 1, 2, 3]]]))).shape
        torch.Size([1, 1])
    """

    first: Tensor
    first_bias: Tensor
    second: Tensor
    second_bias: Tensor
    output: Tensor

    def shapes(self, encoding: Encoding, embedding: int, hidden: int) -> dict[str, tuple[int, ...]]:
        """Return the shape of each parameter of one member."""
        return {
            "embedding": (sum(encoding.tables), embedding),
            "first": (len(encoding.fields) * embedding, hidden),
            "first_bias": (hidden,),
            "second": (hidden, hidden),
            "second_bias": (hidden,),
            "output": (hidden, 1),
            "output_bias": (1,),
        }

    def features(self, tokens: Tokens) -> Tensor:
        """Return ``[n, rows of the tables of all fields]``: the share of the blocks in which a field has a value."""
        mask = tokens.mask.float()
        weight = mask / mask.sum(1, keepdim=True).clamp(min=1)
        shares = []
        for field, table in enumerate(self.encoding.fields):
            empty = torch.zeros(len(tokens), self.encoding.tables[table])
            shares.append(empty.scatter_add(1, tokens.ids[:, :, field], weight))
        return torch.cat(shares, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Return the predictions ``[members, n]``."""
        x = (features @ self._first_of_tables() + self.first_bias[:, None]).relu()
        x = torch.baddbmm(self.second_bias[:, None], x, self.second).relu()
        return torch.baddbmm(self.output_bias[:, None], x, self.output).squeeze(-1).sigmoid()

    def _first_of_tables(self) -> Tensor:
        """Return ``[members, rows, hidden]``: what the first layer makes of each row of each field's table."""
        ways = self.first.chunk(len(self.encoding.fields), 1)
        sizes = self.encoding.tables
        parts = [
            self.embedding[:, start : start + sizes[table]] @ way
            for start, table, way in zip(self.encoding.starts, self.encoding.fields, ways, strict=True)
        ]
        return torch.cat(parts, 1)
