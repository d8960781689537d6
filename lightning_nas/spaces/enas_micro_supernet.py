"""The search network of ENAS's micro space, and one path of it."""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal, Self, cast

import torch
from torch import Tensor, nn

from lightning_nas.operations.factorized_reduce import FactorizedReduce
from lightning_nas.spaces.cell_plan import check_images
from lightning_nas.spaces.enas_layers import Classifier, he_init, shared_norm
from lightning_nas.spaces.enas_micro_plan import MicroCellPlan, plan_micro_cells
from lightning_nas.spaces.genotype import CELLS
from lightning_nas.spaces.mixture import Mixture

Reduction = Literal["factorized", "stride"]
Row = tuple[Tensor, tuple[int, ...]]  # weights [candidates], and the indices of the active ones


@dataclass(frozen=True)
class MicroScale:
    """Size of a search network; ``EnasMicroSpace.supernet`` explains the fields."""

    channels: int
    layers: int
    classes: int
    in_channels: int
    dropout: float
    reduction: Reduction


@dataclass(frozen=True)
class CellMembers:
    """What a cell holds: all there is in a supernet, what an architecture uses in a path of it.

    Args:
        slots: Names of the candidates of every slot; two slots a node.
        loose_ends: States that can be put out.
    """

    slots: tuple[tuple[str, ...], ...]
    loose_ends: tuple[int, ...]


class Slot(nn.ModuleDict):
    """One of the two places of a node: its candidates by name, ``"<source>/<operation>"``, each with own weights."""

    def __init__(self, names: Sequence[str], plan: MicroCellPlan) -> None:
        super().__init__()
        self.sources = tuple(int(name.split("/")[0]) for name in names)
        for name, source in zip(names, self.sources, strict=True):
            self[name] = plan.operation(source, name.split("/")[1], shared_norm)

    def forward(self, states: Sequence[Tensor], row: Row | None) -> Tensor:
        """Return the weighted sum of the active candidates ``[N, C, H, W]``, each on its source.

        Args:
            states: The cell's states so far.
            row: Weights ``[candidates]``, and the indices of the active ones; none where there is one candidate only.
        """
        candidates = list(self.values())
        output: Tensor
        if row is None:
            output = candidates[0](states[self.sources[0]])
            return output
        weights, active = row
        output = reduce(operator.add, [weights[k] * candidates[k](states[self.sources[k]]) for k in active])
        return output

    def reads(self, row: Row | None) -> set[int]:
        """Return the states that the active candidates read."""
        return set(self.sources) if row is None else {self.sources[k] for k in row[1]}


class Combine(nn.Module):
    """ReLU, 1x1 convolution, BatchNorm: from the loose ends of a cell to its channels.

    The convolution's weights stand apart for every state, so that only those of the loose ends get a gradient.
    """

    def __init__(self, loose_ends: Sequence[int], channels: int) -> None:
        super().__init__()
        shape = (channels, channels, 1, 1)
        self.weights = nn.ParameterDict({str(j): nn.Parameter(torch.empty(shape)) for j in loose_ends})
        for weight in self.weights.values():
            nn.init.kaiming_normal_(weight, nonlinearity="relu")
        self.bn = shared_norm(channels)

    def forward(self, loose: Mapping[int, Tensor]) -> Tensor:
        """Map loose ends ``[N, C, H, W]``, by state, to ``[N, C, H, W]``."""
        weight = torch.cat([self.weights[str(j)] for j in loose], 1)
        output: Tensor = self.bn(nn.functional.conv2d(torch.cat(list(loose.values()), 1).relu(), weight))
        return output


class SearchCell(nn.Module):
    """A cell with shared weights.

    ``slots.<2 * node + slot>.<source>/<operation>`` is a candidate, the first computed node being ``node`` 0.
    """

    def __init__(self, plan: MicroCellPlan, members: CellMembers) -> None:
        super().__init__()
        self.halve = (
            FactorizedReduce(plan.before_last, plan.last, shared_norm, relu=False) if plan.halved_first else None
        )
        self.calibrate0, self.calibrate1 = plan.calibration(shared_norm)
        self.slots = nn.ModuleList(Slot(names, plan) for names in members.slots)
        self.halvings = plan.halvings(members.loose_ends, shared_norm)
        self.combine = Combine(members.loose_ends, plan.channels)

    def forward(self, before_last: Tensor, last: Tensor, rows: Sequence[Row | None]) -> tuple[Tensor, Tensor]:
        """Return the inputs of the next cell: this one's second input, and its output.

        Args:
            before_last: ``[N, C', H', W']``.
            last: ``[N, C'', H'', W'']``.
            rows: For every slot its row of a mixture, or ``None`` where it holds a single candidate.
        """
        if self.halve is not None:
            before_last, last = last, self.halve(last)
        states, read = [self.calibrate0(before_last), self.calibrate1(last)], set[int]()
        places = list(zip(self.slots, rows, strict=True))
        for pair in zip(places[::2], places[1::2], strict=True):
            read.update(*(cast(Slot, slot).reads(row) for slot, row in pair))
            states.append(reduce(operator.add, [slot(states, row) for slot, row in pair]))
        return last, self.combine({j: self.halvings(j, state) for j, state in enumerate(states) if j not in read})


class MicroSkeleton(nn.Module):
    """Stem, cells, classifier; every BatchNorm uses the statistics of the batch, in evaluation mode too."""

    def __init__(self, members: Mapping[str, CellMembers], scale: MicroScale) -> None:
        super().__init__()
        self.scale = scale
        self.nodes = len(members["normal"].slots) // 2
        self.stem = nn.Sequential(
            nn.Conv2d(scale.in_channels, 3 * scale.channels, 3, padding=1, bias=False), shared_norm(3 * scale.channels)
        )
        strided = scale.reduction == "stride"
        plans = list(plan_micro_cells(scale.channels, scale.layers, {"normal": 1, "reduce": 1}, strided=strided))
        self.kinds = [plan.kind for plan in plans]
        self.cells = nn.ModuleList(SearchCell(plan, members[plan.kind]) for plan in plans)
        self.classifier = Classifier(plans[-1].channels, scale.classes, scale.dropout)
        he_init(self)

    def logits(self, images: Tensor, rows: Mapping[str, Sequence[Row | None]]) -> Tensor:
        """Return the logits ``[N, classes]`` of images ``[N, C, H, W]``."""
        check_images(images, self.scale.in_channels, 4)
        stem = self.stem(images)
        inputs = (stem, stem)
        for kind, cell in zip(self.kinds, self.cells, strict=True):
            inputs = cell(*inputs, rows[kind])
        logits: Tensor = self.classifier(inputs[1].relu())
        return logits


class EnasMicroSupernet(MicroSkeleton):
    """The network that ENAS searches on. Build it with ``EnasMicroSpace.supernet``, which explains the arguments.

    Only active candidates are computed. A cell puts out what no active candidate reads.
    """

    def forward(self, images: Tensor, mixtures: Mapping[str, Mixture]) -> Tensor:
        """Return the logits ``[N, classes]`` of images ``[N, C, H, W]``."""
        nodes = range(2, self.nodes + 2)
        return self.logits(
            images, {kind: [mixtures[f"{kind}/node{i}"].row(k) for i in nodes for k in range(2)] for kind in CELLS}
        )


class EnasMicroChild(MicroSkeleton):
    """One path of a supernet, with weights of its own. Its state has the supernet's names."""

    @classmethod
    def inherit(cls, members: Mapping[str, CellMembers], supernet: EnasMicroSupernet) -> Self:
        """Copy a path out of a supernet."""
        child = cls(members, supernet.scale)
        child.to(next(supernet.parameters()))  # its device and precision
        source = supernet.state_dict()
        child.load_state_dict({name: source[name] for name in child.state_dict()})
        return child

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits ``[N, classes]`` of images ``[N, C, H, W]``."""
        return self.logits(images, {kind: [None] * 2 * self.nodes for kind in CELLS})
