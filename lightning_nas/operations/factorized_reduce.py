"""Halving of height and width without losing pixels."""

import torch
from torch import Tensor, nn

from lightning_nas.operations.norm import Norm


class FactorizedReduce(nn.Module):
    """ReLU, two 1x1 convolutions of stride 2, one of them shifted by a pixel, side by side, then normalisation.

    Args:
        inputs: Channels in.
        outputs: Channels out, an even number.
        norm: Makes the normalisation for a number of channels.
        relu: Whether the ReLU comes first.

    Raises:
        ValueError: If ``outputs`` is odd.
    """

    def __init__(self, inputs: int, outputs: int, norm: Norm = nn.BatchNorm2d, *, relu: bool = True) -> None:
        super().__init__()
        if outputs % 2:
            raise ValueError(f"Expected an even number of channels out of FactorizedReduce but got {outputs}")
        self.relu = relu
        self.conv_1 = nn.Conv2d(inputs, outputs // 2, 1, 2, bias=False)
        self.conv_2 = nn.Conv2d(inputs, outputs // 2, 1, 2, bias=False)
        self.bn = norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, inputs, H, W]`` to ``[N, outputs, H / 2, W / 2]``; H and W are even."""
        x = torch.relu(x) if self.relu else x
        halves: Tensor = torch.cat([self.conv_1(x), self.conv_2(x[:, :, 1:, 1:])], 1)
        normed: Tensor = self.bn(halves)
        return normed
