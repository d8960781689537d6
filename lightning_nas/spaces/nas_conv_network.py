"""The networks of "Neural architecture search with reinforcement learning" (Zoph & Le 2017, arXiv 1611.01578)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lightning_nas.checks import check_choice, check_scale
from lightning_nas.spaces.cell_plan import check_images
from lightning_nas.spaces.enas_layers import he_init
from lightning_nas.spaces.nas_conv_layer import IMAGE, NasConvLayer
from lightning_nas.spaces.nas_conv_wiring import (
    ACROSS_POOLS,
    PADDINGS,
    AcrossPools,
    NasConvWiring,
    Padding,
    pad_to_largest,
)

Outputs = dict[int, Tensor]  # by the number of the layer


def convolution(inputs: int, layer: NasConvLayer) -> nn.Sequential:
    """Convolution, BatchNorm, ReLU; height and width become ``ceil(H / stride)``."""
    height, width = layer.kernel
    same = ((height - 1) // 2, (width - 1) // 2)
    conv = nn.Conv2d(inputs, layer.filters, layer.kernel, layer.stride, same, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(layer.filters), nn.ReLU())


def join(maps: Sequence[Tensor]) -> Tensor:
    """Concatenate channels; a single map is not copied."""
    return maps[0] if len(maps) == 1 else torch.cat(list(maps), 1)


class DenseBlock(nn.ModuleList):
    """Convolutions, each of which reads the input and all before it; the output is all of theirs, concatenated.

    Args:
        inputs: Channels in.
        layer: What every convolution is like.
        convolutions: How many; one is a plain layer.
    """

    def __init__(self, inputs: int, layer: NasConvLayer, convolutions: int) -> None:
        super().__init__(convolution(inputs + k * layer.filters, layer) for k in range(convolutions))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[N, convolutions * filters, H, W]``."""
        known = [x]
        for unit in self:
            known.append(unit(join(known)))
        return join(known[1:])


class NasConvNetwork(nn.Module):
    """The network of an architecture. Build it with ``NasConvSpace.build``, which explains the arguments.

    Parameter names: ``layers.<layer>.<convolution of its block>``, ``classifier``.
    """

    def __init__(
        self,
        layers: Sequence[NasConvLayer],
        *,
        convolutions: int,
        pools: tuple[int, ...],
        pad: Padding,
        across_pools: AcrossPools,
        classes: int,
        in_channels: int,
    ) -> None:
        super().__init__()
        check_scale(classes=classes, in_channels=in_channels)
        check_choice("pad", pad, PADDINGS)
        check_choice("across_pools", across_pools, ACROSS_POOLS)
        self.pad, self.across_pools, self.in_channels = pad, across_pools, in_channels
        self.wiring = NasConvWiring(tuple(layer.reads for layer in layers), pools)

        widths = {IMAGE: in_channels, **{k: convolutions * layer.filters for k, layer in enumerate(layers)}}
        self.layers = nn.ModuleList(
            DenseBlock(sum(widths[source] for source in layer.reads), layer, convolutions) for layer in layers
        )
        self.pool = nn.MaxPool2d(2)
        self.global_pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(sum(widths[layer] for layer in self.wiring.unread), classes)
        he_init(self)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits ``[N, classes]`` of images ``[N, C, H, W]``."""
        check_images(images, self.in_channels, 2 ** len(self.wiring.pools))
        outputs: Outputs = {IMAGE: images}
        for k, layer in enumerate(self.layers):
            if k in self.wiring.pools:
                outputs = self._pooled(outputs, k)
            outputs[k] = layer(self._joined(outputs, self.wiring.reads[k]))
        logits: Tensor = self.classifier(self.global_pool(self._joined(outputs, self.wiring.unread)))
        return logits

    def _joined(self, outputs: Outputs, numbers: Sequence[int]) -> Tensor:
        return join(pad_to_largest([outputs[number] for number in numbers], self.pad))

    def _pooled(self, outputs: Outputs, layer: int) -> Outputs:
        """Return the outputs that are still read, pooled before a layer: all of them, or only the last one."""
        needed = self.wiring.read_from(layer)
        every = self.across_pools == "pool"
        return {j: self.pool(x) if every or j == layer - 1 else x for j, x in outputs.items() if j in needed}
