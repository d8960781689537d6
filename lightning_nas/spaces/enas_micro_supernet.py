"""The search network of ENAS' micro space, and one path of it."""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from typing import Literal, Self

import torch
from torch import Tensor, nn

from lightning_nas.operations.convolution import build_operation
from lightning_nas.spaces.cell_plan import check_images
from lightning_nas.spaces.darts_stem import conv_norm
from lightning_nas.spaces.enas_layers import Classifier, FactorizedReduction, he_init, shared_norm
from lightning_nas.spaces.enas_micro_plan import MicroCellPlan, plan_micro_cells
from lightning_nas.spaces.mixture import Mixture

Reduction = Literal["factorized", "stride"]


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
        split = {name: name.split("/") for name in names}
        self.sources = tuple(int(source) for source, _ in split.values())
        super().__init__(
            {
                name: build_operation(operation, plan.channels, plan.stride(int(source)), norm=shared_norm)
                for name, (source, operation) in split.items()
            }
        )

    def forward(self, states: Sequence[Tensor], weights: Tensor, active: tuple[int, ...]) -> Tensor:
        """Return the weighted sum of the active candidates ``[N, C, H, W]``, each on its source.

        Args:
            states: The cell's states so far.
            weights: ``[candidates]``.
            active: Indices of the candidates to compute.
        """
        candidates = list(self.values())
        return reduce(operator.add, [weights[k] * candidates[k](states[self.sources[k]]) for k in active])

    def only(self, states: Sequence[Tensor]) -> Tensor:
        """Return the output of the one candidate there is."""
        [candidate] = self.values()
        output: Tensor = candidate(states[self.sources[0]])
        return output


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
        self.kind = plan.kind
        self.halve = FactorizedReduction(plan.before_last, plan.last, shared_norm) if plan.halved_first else None
        self.calibrate0, self.calibrate1 = plan.calibration(shared_norm)
        self.slots = nn.ModuleList(Slot(names, plan) for names in members.slots)
        self.halvings = plan.halvings(members.loose_ends, shared_norm)
        self.combine = Combine(members.loose_ends, plan.channels)

    def forward(
        self, before_last: Tensor, last: Tensor, mixtures: Sequence[Mixture] | None
    ) -> tuple[Tensor, Tensor]:
        """Return the inputs of the next cell: this one's second input, and its output.

        Args:
            before_last: ``[N, C', H', W']``.
            last: ``[N, C'', H'', W'']``.
            mixtures: One a node, of two rows; none where every slot holds a single candidate.
        """
        if self.halve is not None:
            before_last, last = last, self.halve(last)
        states, read = [self.calibrate0(before_last), self.calibrate1(last)], set[int]()
        for node in range(len(self.slots) // 2):
            inputs, sources = zip(*(self._slot(node, k, states, mixtures) for k in range(2)), strict=True)
            states.append(inputs[0] + inputs[1])
            read.update(*sources)
        return last, self.combine({j: self._halved(j, state) for j, state in enumerate(states) if j not in read})

    def _slot(
        self, node: int, k: int, states: Sequence[Tensor], mixtures: Sequence[Mixture] | None
    ) -> tuple[Tensor, set[int]]:
        """Return what a slot puts out, and the states that it reads."""
        slot = self.slots[2 * node + k]
        assert isinstance(slot, Slot)
        if mixtures is None:
            return slot.only(states), set(slot.sources)
        weights, active = mixtures[node].row(k)
        return slot(states, weights, active), {slot.sources[index] for index in active}

    def _halved(self, j: int, state: Tensor) -> Tensor:
        output: Tensor = self.halvings[str(j)](state) if str(j) in self.halvings else state
        return output


class MicroSkeleton(nn.Module):
    """Stem, cells, classifier; every BatchNorm uses the statistics of the batch, in evaluation mode too."""

    def __init__(self, members: Mapping[str, CellMembers], scale: MicroScale) -> None:
        super().__init__()
        self.scale = scale
        self.stem = nn.Sequential(
            nn.Conv2d(scale.in_channels, 3 * scale.channels, 3, padding=1, bias=False), shared_norm(3 * scale.channels)
        )
        strided = scale.reduction == "stride"
        plans = list(plan_micro_cells(scale.channels, scale.layers, {"normal": 1, "reduce": 1}, strided=strided))
        self.cells = nn.ModuleList(SearchCell(plan, members[plan.kind]) for plan in plans)
        self.classifier = Classifier(plans[-1].channels, scale.classes, scale.dropout)
        he_init(self)

    def logits(self, images: Tensor, mixtures: Mapping[str, Sequence[Mixture]] | None) -> Tensor:
        """Return the logits ``[N, classes]`` of images ``[N, C, H, W]``."""
        check_images(images, self.scale.in_channels, 4)
        stem = self.stem(images)
        inputs = (stem, stem)
        for cell in self.cells:
            assert isinstance(cell, SearchCell)
            inputs = cell(*inputs, None if mixtures is None else mixtures[cell.kind])
        logits: Tensor = self.classifier(inputs[1].relu())
        return logits


class EnasMicroSupernet(MicroSkeleton):
    """The network that ENAS searches on. Build it with ``EnasMicroSpace.supernet``, which explains the arguments.

    Only active candidates are computed. A cell puts out what no active candidate reads.
    """

    def __init__(self, members: Mapping[str, CellMembers], scale: MicroScale) -> None:
        super().__init__(members, scale)
        self.nodes = len(members["normal"].slots) // 2

    def forward(self, images: Tensor, mixtures: Mapping[str, Mixture]) -> Tensor:
        """Return the logits ``[N, classes]`` of images ``[N, C, H, W]``."""
        kinds = ("normal", "reduce")
        return self.logits(
            images, {kind: [mixtures[f"{kind}/node{i + 2}"] for i in range(self.nodes)] for kind in kinds}
        )


class EnasMicroPath(MicroSkeleton):
    """One path of a supernet, with weights of its own. Its state has the supernet's names."""

    @classmethod
    def inherit(cls, members: Mapping[str, CellMembers], supernet: EnasMicroSupernet) -> Self:
        """Copy a path out of a supernet."""
        path = cls(members, supernet.scale)
        path.to(supernet.classifier[-1].weight)  # its device and precision
        source = supernet.state_dict()
        path.load_state_dict({name: source[name] for name in path.state_dict()})
        return path

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits ``[N, classes]`` of images ``[N, C, H, W]``."""
        return self.logits(images, None)
