"""How the architectures of a space become tokens."""

from collections.abc import Sequence

from lightning_nas.architecture import Architecture
from lightning_nas.predictors.cell_encoder import CellEncoder, has_rows
from lightning_nas.predictors.encoding import Encoding
from lightning_nas.predictors.tokens import Tokens
from lightning_nas.spaces.base import SearchSpace
from lightning_nas.spaces.nasnet import NasnetSpace


class SpaceEncoder:
    """Encodes any space as one block with a field per decision, each with a table of its own.

    Args:
        space: Whose architectures to encode.

    Example:
        >>> from lightning_nas.spaces import get_space
        >>> SpaceEncoder(get_space("nasbench201")).encoding.tables
        (5, 5, 5, 5, 5, 5)
    """

    def __init__(self, space: SearchSpace) -> None:
        self.decisions = space.decisions
        self.places = [{choice: k for k, choice in enumerate(d.choices)} for d in self.decisions]
        self.encoding = Encoding(tuple(map(len, self.places)), tuple(range(len(self.places))))

    def encode(self, architectures: Sequence[Architecture]) -> Tokens:
        """Return the architectures as tokens."""
        named = [(d.name, place) for d, place in zip(self.decisions, self.places, strict=True)]
        return self.encoding.tokens([[[place[a.values[name]] for name, place in named]] for a in architectures])


def make_encoder(space: SearchSpace) -> SpaceEncoder | CellEncoder:
    """Return what encodes the architectures of ``space``: as cells of blocks where they are that."""
    return CellEncoder(space) if isinstance(space, NasnetSpace) and has_rows(space) else SpaceEncoder(space)
