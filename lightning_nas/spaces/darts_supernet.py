"""The search network of DARTS."""

import operator
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce

import torch
from torch import Tensor, nn

from lightning_nas.operations.convolution import build_operation
from lightning_nas.operations.mixed import MixedOperation
from lightning_nas.operations.norm import search_norm
from lightning_nas.spaces.cell_plan import CellPlan, check_images, plan_cells, reductions
from lightning_nas.spaces.darts_stem import CifarStem
from lightning_nas.spaces.mixture import Mixture


def edge_index(node: int, source: int) -> int:
    """Return the number of the edge into ``node`` from state ``source``; edges are numbered node by node."""
    return node * (node + 3) // 2 + source


class MixedCell(nn.Module):
    """A cell in which every edge mixes all operations."""

    def __init__(self, plan: CellPlan, operations: Sequence[str], nodes: int) -> None:
        super().__init__()
        self.preprocess0, self.preprocess1 = plan.preprocessing(search_norm)
        self.nodes = nodes
        self.edges = nn.ModuleList(
            MixedOperation(
                {
                    name: build_operation(name, plan.channels, plan.stride(j), norm=search_norm, pool_norm=True)
                    for name in operations
                }
            )
            for node in range(nodes)
            for j in range(node + 2)
        )

    def forward(self, before_last: Tensor, last: Tensor, mixture: Mixture) -> Tensor:
        """Return the concatenated nodes, ``[N, nodes * channels, H, W]``."""
        states = [self.preprocess0(before_last), self.preprocess1(last)]
        for node in range(self.nodes):
            edges = [edge_index(node, j) for j in range(len(states))]
            inputs = [
                self.edges[edge](h, *mixture.row(edge))
                for edge, h in zip(edges, states, strict=True)
                if mixture.computes(edge)
            ]
            states.append(reduce(operator.add, inputs))
        return torch.cat(states[2:], 1)


class DartsSupernet(nn.Module):
    """The network that DARTS searches on, edge by edge: the plain form of the paper.

    Parameter names tell the place: ``cells.<cell>.edges.<edge>.<operation>.<layer>``. Build it with
    ``DartsSpace.supernet``, which explains the arguments.
    """

    def __init__(
        self,
        operations: Sequence[str],
        nodes: int,
        channels: int,
        layers: int,
        classes: int,
        in_channels: int,
        stem_multiplier: int,
    ) -> None:
        super().__init__()
        self.operations = tuple(operations)
        self.nodes = nodes
        self.scale = (channels, layers, classes)
        self.in_channels = in_channels
        self.divisor = 2 ** len(set(reductions(layers)))
        stem = stem_multiplier * channels
        self.stem = CifarStem(in_channels, stem)
        plans = list(plan_cells(stem, stem, channels, layers, {"normal": nodes, "reduce": nodes}))
        self.kinds = [plan.cell for plan in plans]
        self.cells = nn.ModuleList(MixedCell(plan, operations, nodes) for plan in plans)
        self.classifier = nn.Linear(nodes * plans[-1].channels, classes)

    def forward(self, images: Tensor, mixtures: Mapping[str, Mixture]) -> Tensor:
        """Return the logits ``[N, classes]`` of images ``[N, C, H, W]``."""
        *_, features = self.features(images, mixtures)
        logits: Tensor = self.classifier(features.mean((2, 3)))
        return logits

    def features(self, images: Tensor, mixtures: Mapping[str, Mixture]) -> Iterator[Tensor]:
        """Yield the output of every cell."""
        check_images(images, self.in_channels, self.divisor)
        before_last, last = self.stem(images)
        for kind, cell in zip(self.kinds, self.cells, strict=True):
            before_last, last = last, cell(before_last, last, mixtures[kind])
            yield last
