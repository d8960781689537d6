"""Layers that the convolutional networks of ENAS share."""

from functools import partial

import torch
from torch import Tensor, nn

from lightning_nas.operations.norm import Norm

# Shared weights see another path in every batch: no running average fits any of them, so each batch is its own measure.
shared_norm: Norm = partial(nn.BatchNorm2d, track_running_stats=False)


class FactorizedReduction(nn.Module):
    """Two 1x1 convolutions of stride 2, one of them shifted by a pixel, side by side, then normalisation; no ReLU.

    Args:
        inputs: Channels in.
        outputs: Channels out, an even number.
        norm: Makes the normalisation for a number of channels.

    Raises:
        ValueError: If ``outputs`` is odd.
    """

    def __init__(self, inputs: int, outputs: int, norm: Norm = nn.BatchNorm2d) -> None:
        super().__init__()
        if outputs % 2:
            raise ValueError(f"Expected an even number of channels out of FactorizedReduction but got {outputs}")
        self.convs = nn.ModuleList(nn.Conv2d(inputs, outputs // 2, 1, 2, bias=False) for _ in range(2))
        self.bn = norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, inputs, H, W]`` to ``[N, outputs, H / 2, W / 2]``; H and W are even."""
        shifted = (x, x[:, :, 1:, 1:])
        normed: Tensor = self.bn(torch.cat([conv(part) for conv, part in zip(self.convs, shifted, strict=True)], 1))
        return normed


class Classifier(nn.Sequential):
    """Global average pooling, dropout, and a linear layer without bias: ``[N, inputs, H, W]`` to ``[N, classes]``.

    Args:
        inputs: Channels in.
        classes: Number of classes.
        dropout: Share of the pooled channels set to zero in training.
    """

    def __init__(self, inputs: int, classes: int, dropout: float) -> None:
        linear = nn.Linear(inputs, classes, bias=False)
        super().__init__(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), linear)


@torch.no_grad()
def he_init(network: nn.Module) -> None:
    """Draw the weights of all convolutions and linear layers as He et al. (2015) do, with their real fan-in."""
    for module in network.modules():
        # there is nothing to draw on the meta device, where torch takes longest to draw it
        if isinstance(module, nn.Conv2d | nn.Linear) and not module.weight.is_meta:
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
