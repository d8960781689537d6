"""How ENAS stacks the cells of its micro space."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from lightning_nas.operations.convolution import build_operation, relu_conv_norm
from lightning_nas.operations.factorized_reduce import FactorizedReduce
from lightning_nas.operations.norm import Norm


class Halvings(nn.ModuleDict):
    """Reductions of the loose ends that are twice as high and wide as the cell's output, by state."""

    def forward(self, j: int, state: Tensor) -> Tensor:
        """Return state ``j`` in the size of the cell's output."""
        output: Tensor = self[str(j)](state) if str(j) in self else state
        return output


@dataclass(frozen=True)
class MicroCellPlan:
    """Where a cell stands.

    Args:
        kind: ``"normal"`` or ``"reduce"``.
        before_last: Channels of the first input.
        last: Channels of the second input.
        channels: Channels of the cell's own states.
        before_last_larger: Whether the first input is twice as high and wide as the second.
        strided: Whether the cell halves on its edges from the inputs.
        halved_first: Whether a factorised reduction comes before the cell, and makes its second input of the first.
    """

    kind: str
    before_last: int
    last: int
    channels: int
    before_last_larger: bool
    strided: bool
    halved_first: bool

    def stride(self, source: int) -> int:
        """Return the stride of an edge from state ``source``: only edges from the inputs 0 and 1 can halve."""
        return 2 if self.strided and source < 2 else 1

    def operation(self, source: int, name: str, norm: Norm) -> nn.Module:
        """Return an operation on state ``source``."""
        stride = self.stride(source)
        if name == "skip_connect" and stride == 2:
            return FactorizedReduce(self.channels, self.channels, norm, relu=False)
        return build_operation(name, self.channels, stride, norm=norm)

    def calibration(self, norm: Norm) -> tuple[nn.Module, nn.Module]:
        """Return the two layers that bring the inputs to one size and to the cell's channels."""
        before_last, last, channels = self.before_last, self.last, self.channels
        second = nn.Identity() if last == channels else relu_conv_norm(last, channels, norm=norm)
        if self.before_last_larger:
            return FactorizedReduce(before_last, channels, norm), second
        first = nn.Identity() if before_last == channels else relu_conv_norm(before_last, channels, norm=norm)
        return first, second

    def halvings(self, loose_ends: Iterable[int], norm: Norm) -> Halvings:
        """Return what brings the loose ends to one size."""
        large = (j for j in loose_ends if self.stride(j) == 2)
        return Halvings({str(j): FactorizedReduce(self.channels, self.channels, norm, relu=False) for j in large})


def micro_reductions(layers: int) -> tuple[int, int]:
    """Return the indices of the two reduction cells among ``layers`` normal ones."""
    return layers // 3, 2 * (layers // 3) + 1


def plan_micro_cells(
    channels: int, layers: int, widths: Mapping[str, int], *, strided: bool = True
) -> Iterator[MicroCellPlan]:
    """Yield the plan of every cell behind a stem of three times the channels; channels double where a cell reduces.

    Args:
        channels: Channels of the first cell.
        layers: Number of normal cells; two reduction cells are added.
        widths: What a ``"normal"`` and a ``"reduce"`` cell put out, as a multiple of their channels.
        strided: Whether reduction cells halve on their edges, or are preceded by a factorised reduction.
    """
    before_last, last, larger = 3 * channels, 3 * channels, False
    for index in range(layers + 2):
        reduces = index in micro_reductions(layers)
        channels = 2 * channels if reduces else channels
        halved_first = reduces and not strided
        if halved_first:
            before_last, last, larger = last, channels, True
        kind = "reduce" if reduces else "normal"
        yield MicroCellPlan(kind, before_last, last, channels, larger, reduces and strided, halved_first)
        before_last, last, larger = last, channels * widths[kind], reduces and strided
