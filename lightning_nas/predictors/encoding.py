"""From architectures to tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from lightning_nas.predictors.tokens import Tokens


@dataclass(frozen=True)
class Encoding:
    """What the tokens of a space mean: which embedding table each field of a block reads.

    Args:
        tables: Rows of each embedding table.
        fields: For each field of a block the index of its table; fields may share one.

    Raises:
        ValueError: If a field names a table that is not there.

    Example:
        >>> pnas = Encoding(tables=(6, 8), fields=(0, 0, 1, 1))  # I1 and I2 share a table, O1 and O2 another
        >>> pnas.tokens([[[0, 1, 7, 7]], [[0, 0, 3, 4], [2, 1, 0, 6]]]).mask
        tensor([[ True, False],
                [ True,  True]])
    """

    tables: tuple[int, ...]
    fields: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.fields or not set(self.fields) <= set(range(len(self.tables))):
            raise ValueError(f"Expected `fields` to name tables 0..{len(self.tables) - 1} but got {self.fields}")

    @property
    def starts(self) -> tuple[int, ...]:
        """For each field the place of its table's first row when all tables are stacked."""
        starts = [0, *accumulate(self.tables)]
        return tuple(starts[table] for table in self.fields)

    def tokens(self, cells: Sequence[Sequence[Sequence[int]]]) -> Tokens:
        """Return cells of any numbers of blocks as one batch, padded to the longest.

        Args:
            cells: For each architecture its blocks, for each block its fields.
        """
        longest = max((len(cell) for cell in cells), default=0)
        ids = torch.zeros(len(cells), longest, len(self.fields), dtype=torch.long)
        for row, cell in zip(ids, cells, strict=True):
            row[: len(cell)] = torch.tensor(cell, dtype=torch.long)
        return Tokens(ids, torch.arange(longest) < torch.tensor([len(cell) for cell in cells])[:, None])

    def of_rows(self, rows: Sequence[Tensor]) -> Tokens:
        """Return tables of cells as one batch, padded to the longest.

        Args:
            rows: Tables ``[n, blocks * fields]``, the blocks one after the other; tables may differ in their blocks.
        """
        blocks = [table.reshape(len(table), -1, len(self.fields)).long() for table in rows]
        longest = max(table.shape[1] for table in blocks)
        ids = [torch.nn.functional.pad(table, (0, 0, 0, longest - table.shape[1])) for table in blocks]
        masks = [(torch.arange(longest) < table.shape[1]).expand(len(table), longest) for table in blocks]
        return Tokens(torch.cat(ids), torch.cat(masks))
