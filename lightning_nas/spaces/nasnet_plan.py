"""How the cells of NASNet, AmoebaNet and PNAS are stacked."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from lightning_nas.operations.convolution import relu_conv_norm
from lightning_nas.operations.factorized_reduce import FactorizedReduce
from lightning_nas.operations.nasnet import BUILDERS
from lightning_nas.operations.norm import Norm
from lightning_nas.spaces.nasnet_wiring import OUTSIDE, NasnetWiring

Layout = Literal["pnas", "nasnet"]
Kind = Literal["normal", "reduce"]
STAGES = 3


@dataclass(frozen=True)
class NasnetCellPlan:
    """Where a cell stands.

    Args:
        kind: Which of the two cells it is.
        before_last: Channels of the first input.
        last: Channels of the second input.
        channels: Channels of the cell's own states.
        stride: Of the operations on the two inputs.
        before_last_larger: Whether the first input is twice as high and wide as the second.
        first: Whether it is the first cell, both of whose inputs are the stem's output.
    """

    kind: Kind
    before_last: int
    last: int
    channels: int
    stride: int
    before_last_larger: bool
    first: bool

    def preprocessing(self, wiring: NasnetWiring, norm: Norm) -> tuple[nn.Module, nn.Module]:
        """Return the two layers that bring the inputs to one size and to the cell's channels.

        The first cell takes its first input as it is. An input that the cell does not need is not touched.
        """
        second = relu_conv_norm(self.last, self.channels, norm=norm) if wiring.needs(1) else nn.Identity()
        if self.first or not wiring.needs(0):
            return nn.Identity(), second
        if self.before_last_larger:
            return FactorizedReduce(self.before_last, self.channels, norm), second
        alike = self.before_last == self.channels
        return nn.Identity() if alike else relu_conv_norm(self.before_last, self.channels, norm=norm), second

    def operation(self, source: int, name: str, norm: Norm) -> nn.Module:
        """Return an operation on state ``source``; only those on the inputs of the cell can stride."""
        stride = self.stride if source < OUTSIDE else 1
        return BUILDERS[name](self._channels_of(source), self.channels, stride, norm)

    def alignment(self, state: int, norm: Norm) -> nn.Module:
        """Return what brings an input that is put out to the size and the channels of the cell's output."""
        channels = self._channels_of(state)
        if self.stride == 2:
            return FactorizedReduce(channels, self.channels, norm, relu=False)
        if channels == self.channels:
            return nn.Identity()
        return nn.Sequential(nn.Conv2d(channels, self.channels, 1, bias=False), norm(self.channels))

    def _channels_of(self, state: int) -> int:
        return self.before_last if self.first and state == 0 else self.channels


def arrange_cells(
    channels: int, cells_per_stage: int, layout: Layout, *, stem_cells: bool
) -> Iterator[tuple[Kind, int, int]]:
    """Yield kind, channels and stride of every cell.

    Args:
        channels: Channels of the first cells behind the stem cells.
        cells_per_stage: N of the papers.
        layout: Three stages of N cells. ``"nasnet"``: a reduction cell stands between two stages. ``"pnas"``: the first
            cell of the second and third stage has stride 2.
        stem_cells: Whether two reduction cells, with a quarter and half the channels, come first.
    """
    if stem_cells:
        yield "reduce", channels // 4, 2
        yield "reduce", channels // 2, 2
    for stage in range(STAGES):
        if stage:
            yield "reduce", channels * 2**stage, 2
        for _ in range(cells_per_stage - 1 if stage and layout == "pnas" else cells_per_stage):
            yield "normal", channels * 2**stage, 1


def plan_nasnet_cells(
    stem: int, cells: Iterable[tuple[Kind, int, int]], widths: Mapping[Kind, int]
) -> list[NasnetCellPlan]:
    """Return the plan of every cell.

    Args:
        stem: Channels of the stem.
        cells: Kind, channels and stride of every cell.
        widths: Number of states that a cell puts out.
    """
    plans: list[NasnetCellPlan] = []
    before_last, last, larger = stem, stem, False
    for kind, channels, stride in cells:
        plans.append(NasnetCellPlan(kind, before_last, last, channels, stride, larger, first=not plans))
        before_last, last, larger = last, channels * widths[kind], stride == 2
    return plans


def needed_cells(plans: Sequence[NasnetCellPlan], wirings: Mapping[Kind, NasnetWiring]) -> frozenset[int]:
    """Return the indices of the cells that the classifier depends on.

    Where a cell does not read the last one, and no later cell does, the last one is not needed.
    """
    needed = {len(plans) - 1}
    for index in reversed(range(len(plans))):
        if index in needed:
            wiring = wirings[plans[index].kind]
            needed |= {index - OUTSIDE + state for state in range(OUTSIDE) if wiring.needs(state)}
    return frozenset(index for index in needed if index >= 0)
