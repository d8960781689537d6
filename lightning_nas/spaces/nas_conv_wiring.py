"""Which outputs of the layers are read where, and how they are brought to one size."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from torch import Tensor
from torch.nn import functional

Padding = Literal["bottom_right", "center"]
PADDINGS: tuple[Padding, ...] = ("bottom_right", "center")
AcrossPools = Literal["pool", "pad"]
ACROSS_POOLS: tuple[AcrossPools, ...] = ("pool", "pad")


def thirds(layers: int) -> tuple[int, ...]:
    """Return the layers before which the networks of variant v3 pool: after a third and two thirds of them.

    Thirteen blocks of three convolutions are pooled before convolution 13 and after convolution 24, counted from 1.
    """
    return (layers // 3, 2 * (layers // 3)) if layers >= 3 else ()


@dataclass(frozen=True)
class NasConvWiring:
    """What the layers and the classifier read.

    Args:
        reads: For each layer the outputs that it reads; ``-1`` is the image.
        pools: The layers before which outputs are pooled.
    """

    reads: tuple[tuple[int, ...], ...]
    pools: tuple[int, ...] = ()

    @cached_property
    def unread(self) -> tuple[int, ...]:
        """The layers that no layer reads, which the classifier reads; the last one always."""
        read = {source for sources in self.reads for source in sources}
        return tuple(layer for layer in range(len(self.reads)) if layer not in read)

    def read_from(self, layer: int) -> frozenset[int]:
        """Return the outputs that this layer, a later one or the classifier reads."""
        return frozenset(source for sources in (*self.reads[layer:], self.unread) for source in sources)

    def pools_between(self, source: int, layer: int) -> int:
        """Return how often an output is pooled before a layer reads it."""
        return sum(source < pool <= layer for pool in self.pools)


def pad_to_largest(maps: Sequence[Tensor], padding: Padding) -> list[Tensor]:
    """Pad maps ``[N, C, H, W]`` with zeros to the largest height and, apart from that, to the largest width."""
    height, width = max(x.shape[2] for x in maps), max(x.shape[3] for x in maps)
    return [_pad(x, height - x.shape[2], width - x.shape[3], padding) for x in maps]


def _pad(x: Tensor, rows: int, columns: int, padding: Padding) -> Tensor:
    if not (rows or columns):
        return x
    above, left = (rows // 2, columns // 2) if padding == "center" else (0, 0)
    return functional.pad(x, (left, columns - left, above, rows - above))
