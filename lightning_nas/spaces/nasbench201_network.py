"""The networks of NAS-Bench-201: the search network and the benchmark's own."""

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce
from typing import Self

from torch import Tensor, nn

from lightning_nas.checks import check_scale
from lightning_nas.operations.convolution import build_operation, relu_conv_norm
from lightning_nas.operations.mixed import MixedOperation
from lightning_nas.operations.norm import Norm
from lightning_nas.spaces.cell_plan import check_images
from lightning_nas.spaces.mixture import Mixture

# (source, target), in the order of the benchmark's strings
EDGES = tuple((source, target) for target in (1, 2, 3) for source in range(target))

# The authors' weight-sharing searches normalise each batch by itself, in evaluation too.
batch_norm: Norm = partial(nn.BatchNorm2d, affine=False, track_running_stats=False)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, the first of stride 2, beside an average pooling and a 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int, norm: Norm) -> None:
        super().__init__()
        self.conv_a = relu_conv_norm(inputs, outputs, 3, 2, norm)
        self.conv_b = relu_conv_norm(outputs, outputs, 3, 1, norm)
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(inputs, outputs, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, inputs, H, W]`` to ``[N, outputs, H / 2, W / 2]``."""
        output: Tensor = self.conv_b(self.conv_a(x)) + self.shortcut(x)
        return output


class Cell(nn.Module):
    """Four completely connected nodes; a node is the sum of its incoming edges."""

    def __init__(self, edges: Sequence[nn.Module]) -> None:
        super().__init__()
        self.edges = nn.ModuleList(edges)

    def forward(self, x: Tensor, mixture: Mixture | None = None) -> Tensor:
        """Map ``[N, C, H, W]`` to the same shape; a supernet's cell needs the mixture."""
        states = [x]
        for target in (1, 2, 3):
            incoming = [index for index, edge in enumerate(EDGES) if edge[1] == target]
            inputs = [
                self.edges[index](states[EDGES[index][0]], *(mixture.row(index) if mixture else ()))
                for index in incoming
            ]
            states.append(reduce(operator.add, inputs))
        return states[-1]


class Skeleton(nn.Module):
    """Stem, three stages of cells with residual blocks between them, classifier.

    ``body.<i>`` is a cell or a residual block, ``body.<i>.edges.<e>`` an edge of a cell, in the order of ``EDGES``.
    """

    def __init__(
        self,
        make_edge: Callable[[int, int], nn.Module],
        norm: Norm,
        channels: int,
        cells: int,
        classes: int,
        in_channels: int,
    ) -> None:
        super().__init__()
        check_scale(channels=channels, cells=cells, classes=classes, in_channels=in_channels)
        self.scale = {"channels": channels, "cells": cells, "classes": classes, "in_channels": in_channels}
        self.stem = nn.Sequential(nn.Conv2d(in_channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))
        body: list[nn.Module] = []
        for stage, width in enumerate((channels, 2 * channels, 4 * channels)):
            if stage:
                body.append(ResidualBlock(width // 2, width, norm))
            body += [Cell([make_edge(index, width) for index in range(len(EDGES))]) for _ in range(cells)]
        self.body = nn.ModuleList(body)
        self.last = nn.Sequential(nn.BatchNorm2d(4 * channels), nn.ReLU())
        self.classifier = nn.Linear(4 * channels, classes)

    def logits(self, images: Tensor, mixture: Mixture | None) -> Tensor:
        """Return the logits ``[N, classes]`` of images ``[N, C, H, W]``."""
        check_images(images, self.scale["in_channels"], 4)
        x = self.stem(images)
        for block in self.body:
            x = block(x, mixture) if isinstance(block, Cell) else block(x)
        logits: Tensor = self.classifier(self.last(x).mean((2, 3)))
        return logits


class NasBench201Supernet(Skeleton):
    """The search network. Build it with ``NasBench201Space.supernet``, which explains the arguments."""

    def __init__(self, operations: Sequence[str], channels: int, cells: int, classes: int, in_channels: int) -> None:
        def edge(_: int, width: int) -> nn.Module:
            return MixedOperation({name: build_operation(name, width, norm=batch_norm) for name in operations})

        super().__init__(edge, batch_norm, channels, cells, classes, in_channels)

    def forward(self, images: Tensor, mixtures: Mapping[str, Mixture]) -> Tensor:
        """Return the logits ``[N, classes]`` of images ``[N, C, H, W]``."""
        return self.logits(images, mixtures["cell"])


class NasBench201Network(Skeleton):
    """The network of an architecture. Build it with ``NasBench201Space.build``, which explains the arguments."""

    def __init__(
        self,
        operations: Sequence[str],
        channels: int,
        cells: int,
        classes: int,
        in_channels: int,
        norm: Norm = nn.BatchNorm2d,
    ) -> None:
        def edge(index: int, width: int) -> nn.Module:
            return build_operation(operations[index], width, norm=norm)

        super().__init__(edge, norm, channels, cells, classes, in_channels)

    @classmethod
    def inherit(cls, operations: Sequence[str], supernet: NasBench201Supernet) -> Self:
        """Build the network with the supernet's scale, its weights and its way of normalising."""
        network = cls(operations, **supernet.scale, norm=batch_norm)
        network.to(supernet.classifier.weight)  # its device and precision
        source = supernet.state_dict()
        renamed = {}
        for name in network.state_dict():
            head, is_edge, tail = name.partition(".edges.")
            edge, _, layer = tail.partition(".")
            renamed[name] = source[f"{head}.edges.{edge}.{operations[int(edge)]}.{layer}" if is_edge else name]
        network.load_state_dict(renamed)
        return network

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits ``[N, classes]`` of images ``[N, C, H, W]``."""
        return self.logits(images, None)
