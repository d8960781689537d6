"""Layers that the convolutional networks of ENAS share."""

from functools import partial

import torch
from torch import nn

from lightning_nas.operations.norm import Norm

# Shared weights see another path in every batch: no running average fits any of them, so each batch is its own measure.
shared_norm: Norm = partial(nn.BatchNorm2d, track_running_stats=False)


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
