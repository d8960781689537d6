"""How cells of blocks become tokens."""

from collections.abc import Sequence

from lightning_nas.architecture import Architecture
from lightning_nas.predictors.encoding import Encoding
from lightning_nas.predictors.tokens import Tokens
from lightning_nas.spaces.nasnet import NasnetSpace


class CellEncoder:
    """Encodes cells as PNAS does: a block is I1, I2, O1, O2; inputs share an embedding table, and so do operations.

    Args:
        space: The largest of the cells to encode: one cell, without chosen outputs.

    Raises:
        ValueError: If the space has two cells or chosen outputs.

    Example:
        >>> CellEncoder(NasnetSpace()).encoding
        Encoding(tables=(6, 8), fields=(0, 0, 1, 1))
    """

    def __init__(self, space: NasnetSpace) -> None:
        if not has_rows(space):
            raise ValueError(f"Expected a `space` of one cell without chosen outputs but got {space.name!r}")
        self.space = space
        self.encoding = Encoding((space.blocks + 1, len(space.operations)), (0, 0, 1, 1))

    def encode(self, architectures: Sequence[Architecture]) -> Tokens:
        """Return the architectures, all with the blocks of the space, as tokens."""
        return self.encoding.of_rows([self.space.rows(architectures)])


def has_rows(space: NasnetSpace) -> bool:
    """Return whether the blocks of a cell say all about an architecture."""
    return space.cells == "one" and space.concat != "chosen"
