"""A layer of the networks of "Neural architecture search with reinforcement learning"."""

from dataclasses import dataclass

IMAGE = -1  # the number of the image among the outputs; layers are numbered from 0


@dataclass(frozen=True)
class NasConvLayer:
    """What is decided of a layer.

    Args:
        kernel: Height and width of the filters.
        stride: Steps down and to the right.
        filters: Number of filters.
        reads: The outputs that the layer reads, in their order; ``-1`` is the image.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    filters: int
    reads: tuple[int, ...]

    @property
    def text(self) -> str:
        """Height and width of the filters, strides if there are any, number of filters: ``"3x5/2x1 24"``."""
        stride = "" if self.stride == (1, 1) else "/{}x{}".format(*self.stride)
        return "{}x{}".format(*self.kernel) + f"{stride} {self.filters}"
