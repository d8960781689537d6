"""Halving of height and width without losing pixels."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_nas.checks import check_at_least
from lightning_nas.operations.norm import Norm


class FactorizedReduce(nn.Module):
    """ReLU, two 1x1 convolutions of stride 2, one of them shifted by a pixel, side by side, then normalisation.

    Args:
        inputs: Channels in.
        outputs: Channels out, 2 at least; of an odd number the second half has one more.
        norm: Makes the normalisation for a number of channels.
        relu: Whether the ReLU comes first.

    Raises:
        ValueError: If ``outputs`` is below 2.
    """

    def __init__(self, inputs: int, outputs: int, norm: Norm = nn.BatchNorm2d, *, relu: bool = True) -> None:
        super().__init__()
        check_at_least("outputs", outputs, 2, "FactorizedReduce has two halves")
        self.relu = relu
        self.conv_1 = nn.Conv2d(inputs, outputs // 2, 1, 2, bias=False)
        self.conv_2 = nn.Conv2d(inputs, outputs - outputs // 2, 1, 2, bias=False)
        self.bn = norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, inputs, H, W]`` to ``[N, outputs, H / 2, W / 2]``, rounded up; zeros are shifted in."""
        x = torch.relu(x) if self.relu else x
        shifted = x[:, :, 1:, 1:]
        if x.shape[2] % 2 or x.shape[3] % 2:  # the last row or column of an even size is not looked at
            shifted = functional.pad(shifted, (0, x.shape[3] % 2, 0, x.shape[2] % 2))
        halves: Tensor = torch.cat([self.conv_1(x), self.conv_2(shifted)], 1)
        normed: Tensor = self.bn(halves)
        return normed
