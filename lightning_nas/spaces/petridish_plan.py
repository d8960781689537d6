"""Where the cells of a Petridish network stand, and what grows in them."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from lightning_nas.operations.convolution import relu_conv_norm
from lightning_nas.operations.factorized_reduce import FactorizedReduce
from lightning_nas.operations.weak_learner import Term

Mode = Literal["cell", "macro"]
Place = str  # "normal" or "reduce"; "layer0", "layer1", ... of the seed
Terms = tuple[Term, ...]
Growth = Mapping[Place, tuple[Terms, ...]]  # the increments of every place where there are some, in their order
BEFORE_LAST, LAST, FIRST_NODE = 0, 1, 2  # the numbers of what a cell reads; its own nodes come after its two inputs


@dataclass(frozen=True)
class PetridishIncrement:
    """What one growth adds.

    Args:
        place: ``"normal"`` or ``"reduce"``, or a layer of the seed, ``"layer0"``.
        terms: Up to three operations, each with the number of the input that it reads.
    """

    place: Place
    terms: Terms


def growth_of(increments: Iterable[PetridishIncrement]) -> Growth:
    """Return increments by their places."""
    growth: dict[Place, tuple[Terms, ...]] = {}
    for increment in increments:
        growth[increment.place] = (*growth.get(increment.place, ()), increment.terms)
    return growth


@dataclass(frozen=True)
class PetridishCellPlan:
    """Where a cell stands: its place of growth, the channels of its inputs and its own, what it and the last are."""

    place: Place
    before_last: int
    last: int
    channels: int
    reduction: bool
    after_reduction: bool

    def stride(self, source: int) -> int:
        """Return the stride of an operation on input ``source``: only the inputs of a reduction cell are halved."""
        return 2 if self.reduction and source < FIRST_NODE else 1

    def preprocessing(self, source: int) -> nn.Module:
        """Return what brings an input of the cell to its channels, and to the size of the other input."""
        inputs = self.last if source == LAST else self.before_last
        if source == BEFORE_LAST and self.after_reduction:
            return FactorizedReduce(inputs, self.channels)
        return nn.Identity() if inputs == self.channels else relu_conv_norm(inputs, self.channels)


def count_layers(cells: int) -> int:
    """Return the number of layers of a seed: three times ``cells`` normal ones, and two between them that reduce."""
    return 3 * cells + 2


def is_reduction(layer: int, cells: int) -> bool:
    """Return whether a layer of the seed halves height and width."""
    return layer % (cells + 1) == cells


def places_of(mode: Mode, cells: int) -> tuple[Place, ...]:
    """Return all places where a network can grow."""
    return ("normal", "reduce") if mode == "cell" else tuple(f"layer{k}" for k in range(count_layers(cells)))


def arrange_cells(mode: Mode, cells: int, repeat: int) -> Iterator[tuple[Place, bool]]:
    """Yield every cell's place of growth, and whether it reduces; normal layers of a seed come ``repeat`` times."""
    for layer in range(count_layers(cells)):
        reduction = is_reduction(layer, cells)
        place = f"layer{layer}" if mode == "macro" else "reduce" if reduction else "normal"
        yield from [(place, reduction)] * (1 if reduction else repeat)


def plan_petridish_cells(arranged: Sequence[tuple[Place, bool]], filters: int) -> Iterator[PetridishCellPlan]:
    """Yield the plan of every cell; the first reads the stem, three times its channels, twice."""
    before_last = last = 3 * filters
    channels, after_reduction = filters, False
    for place, reduction in arranged:
        channels = 2 * channels if reduction else channels
        yield PetridishCellPlan(place, before_last, last, channels, reduction, after_reduction)
        before_last, last, after_reduction = last, channels, reduction


def count_growths(places: int, max_growth: int, terms: int, operations: int) -> int:
    """Return in how many ways networks can grow, if the order of increments counts at one place only."""
    ways = [1]  # of growing so often at one place
    for nodes in range(max_growth):
        candidates = operations * (FIRST_NODE + nodes)
        ways.append(ways[-1] * sum(math.comb(candidates, k) for k in range(1, terms + 1)))
    totals = [1] + [0] * max_growth  # of growing so often in all, at the places so far
    for _ in range(places):
        totals = [sum(totals[k] * ways[n - k] for k in range(n + 1)) for n in range(len(totals))]
    return sum(totals)
