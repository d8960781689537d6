"""Architectures as predictors read them."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Tokens:
    """A batch of ``n`` architectures as integers.

    Args:
        ids: ``[n, blocks, fields]``: what was chosen, as an index into the choices of the field.
        mask: ``[n, blocks]``: true where there is a block; what ``ids`` says elsewhere does not count. The blocks of an
            architecture come first.
    """

    ids: Tensor
    mask: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: slice | Tensor) -> "Tokens":
        return Tokens(self.ids[index], self.mask[index])
