"""Candidate operations of convolutional cells, under the names that the field uses.

Layer orders are those of the DARTS code (quark0/darts, ``cnn/operations.py``). No convolution has a bias.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lightning_nas.operations.factorized_reduce import FactorizedReduce
from lightning_nas.operations.norm import Norm


def relu_conv_norm(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, norm: Norm = nn.BatchNorm2d
) -> nn.Sequential:
    """ReLU, ``kernel`` x ``kernel`` convolution with same padding, normalisation."""
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        norm(outputs),
    )


def depthwise_separable(channels: int, kernel: int, stride: int, dilation: int, norm: Norm) -> list[nn.Module]:
    """ReLU, depthwise convolution, 1x1 convolution, normalisation."""
    padding = dilation * (kernel // 2)
    return [
        nn.ReLU(),
        nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
        norm(channels),
    ]


def sep_conv(channels: int, kernel: int, stride: int, norm: Norm) -> nn.Sequential:
    """Depthwise separable convolution, applied twice; only the first one strides."""
    first = depthwise_separable(channels, kernel, stride, 1, norm)
    return nn.Sequential(*first, *depthwise_separable(channels, kernel, 1, 1, norm))


def dil_conv(channels: int, kernel: int, stride: int, norm: Norm) -> nn.Sequential:
    """Depthwise separable convolution with dilation 2, applied once."""
    return nn.Sequential(*depthwise_separable(channels, kernel, stride, 2, norm))


def conv_7x1_1x7(channels: int, stride: int, norm: Norm) -> nn.Sequential:
    """ReLU, a 1x7 and a 7x1 full convolution, normalisation; each strides along its own axis."""
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, channels, (1, 7), (1, stride), (0, 3), bias=False),
        nn.Conv2d(channels, channels, (7, 1), (stride, 1), (3, 0), bias=False),
        norm(channels),
    )


def skip_connect(channels: int, stride: int, norm: Norm) -> nn.Module:
    """Identity, or a ``FactorizedReduce`` where the edge strides."""
    return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels, norm)


def max_pool_3x3(channels: int, stride: int, norm: Norm) -> nn.Module:
    """3x3 max pooling, same padding."""
    return nn.MaxPool2d(3, stride, 1)


def avg_pool_3x3(channels: int, stride: int, norm: Norm) -> nn.Module:
    """3x3 average pooling, same padding, padded pixels not counted."""
    return nn.AvgPool2d(3, stride, 1, count_include_pad=False)


class Zero(nn.Module):
    """Zeros of the shape that an operation with this stride returns."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, C, H, W]`` to zeros ``[N, C, H / stride, W / stride]``."""
        return torch.zeros_like(x[:, :, :: self.stride, :: self.stride])


OPERATIONS: dict[str, Callable[[int, int, Norm], nn.Module]] = {
    "none": lambda channels, stride, norm: Zero(stride),
    "max_pool_3x3": max_pool_3x3,
    "avg_pool_3x3": avg_pool_3x3,
    "skip_connect": skip_connect,
    "sep_conv_3x3": lambda channels, stride, norm: sep_conv(channels, 3, stride, norm),
    "sep_conv_5x5": lambda channels, stride, norm: sep_conv(channels, 5, stride, norm),
    "sep_conv_7x7": lambda channels, stride, norm: sep_conv(channels, 7, stride, norm),
    "dil_conv_3x3": lambda channels, stride, norm: dil_conv(channels, 3, stride, norm),
    "dil_conv_5x5": lambda channels, stride, norm: dil_conv(channels, 5, stride, norm),
    "conv_7x1_1x7": conv_7x1_1x7,
    "nor_conv_1x1": lambda channels, stride, norm: relu_conv_norm(channels, channels, 1, stride, norm),
    "nor_conv_3x3": lambda channels, stride, norm: relu_conv_norm(channels, channels, 3, stride, norm),
}


def build_operation(
    name: str, channels: int, stride: int = 1, *, norm: Norm = nn.BatchNorm2d, pool_norm: bool = False
) -> nn.Module:
    """Build the operation ``name``: ``[N, C, H, W]`` to ``[N, C, H / stride, W / stride]``.

    Args:
        name: A key of ``OPERATIONS``.
        channels: Channels in and out.
        stride: 1 or 2.
        norm: Makes the normalisation for a number of channels.
        pool_norm: Whether a normalisation follows a pooling, as in the DARTS search.

    Raises:
        ValueError: If the operation is unknown.
    """
    if name not in OPERATIONS:
        raise ValueError(f"Expected an operation of {sorted(OPERATIONS)} but got {name!r}")
    operation = OPERATIONS[name](channels, stride, norm)
    return nn.Sequential(operation, norm(channels)) if pool_norm and "pool" in name else operation
