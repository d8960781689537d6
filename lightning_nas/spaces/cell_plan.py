"""How DARTS stacks its cells."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from lightning_nas.operations.convolution import relu_conv_norm
from lightning_nas.operations.factorized_reduce import FactorizedReduce
from lightning_nas.operations.norm import Norm


@dataclass(frozen=True)
class CellPlan:
    """Where a cell stands: the channels of its two inputs, its own, and what it and its predecessor are."""

    before_last: int
    last: int
    channels: int
    reduction: bool
    after_reduction: bool

    @property
    def cell(self) -> str:
        """Which of the two cells it is."""
        return "reduce" if self.reduction else "normal"

    def stride(self, source: int) -> int:
        """Return the stride of an edge from state ``source``: only the inputs of a reduction cell are halved."""
        return 2 if self.reduction and source < 2 else 1

    def preprocessing(self, norm: Norm) -> tuple[nn.Module, nn.Module]:
        """Return the two layers that bring the cell's inputs to its own channels and size."""
        first: nn.Module = (
            FactorizedReduce(self.before_last, self.channels, norm)
            if self.after_reduction
            else relu_conv_norm(self.before_last, self.channels, norm=norm)
        )
        return first, relu_conv_norm(self.last, self.channels, norm=norm)


def reductions(layers: int) -> tuple[int, int]:
    """Return the indices of the reduction cells: at a third and at two thirds."""
    return layers // 3, 2 * layers // 3


def plan_cells(
    before_last: int, last: int, channels: int, layers: int, widths: dict[str, int], *, after_reduction: bool = False
) -> Iterator[CellPlan]:
    """Yield the plan of every cell; channels double where a cell reduces.

    Args:
        before_last: Channels of the first input of the first cell.
        last: Channels of the second input of the first cell.
        channels: Channels of the first cell.
        layers: Number of cells.
        widths: Number of nodes that a ``"normal"`` and a ``"reduce"`` cell put out.
        after_reduction: Whether the first input of the first cell is twice as large as the second.
    """
    for index in range(layers):
        reduction = index in reductions(layers)
        channels = channels * 2 if reduction else channels
        plan = CellPlan(before_last, last, channels, reduction, after_reduction)
        yield plan
        before_last, last = last, channels * widths[plan.cell]
        after_reduction = reduction


def check_images(images: Tensor, channels: int, divisor: int) -> None:
    """Raise a ``ValueError`` unless images ``[N, C, H, W]`` fit a network.

    Args:
        images: What the network got.
        channels: Channels that its stem reads.
        divisor: What height and width must be divisible by, to be halved as often as the network does.
    """
    found, height, width = images.shape[-3:]
    if found != channels:
        raise ValueError(
            f"Expected images of {channels} channels but got {found}; give the network scale={{'in_channels': {found}}}"
        )
    if height % divisor or width % divisor:
        raise ValueError(
            f"Expected images with height and width divisible by {divisor} but got {height}x{width}; "
            "resize or pad them (ImageFolderDataModule has `image_size`)"
        )
