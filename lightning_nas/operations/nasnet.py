"""Candidate operations of NASNet, AmoebaNet and PNAS cells.

Unlike those of ``lightning_nas.operations.convolution`` they can change the number of channels: the first cell of a
network reads the stem as it is. Layers and orders are those of the published code (github.com/tensorflow/models,
slim ``nasnet_utils.py``). No convolution has a bias.
"""

from collections.abc import Callable

from torch import nn

from lightning_nas.operations.convolution import relu_conv_norm
from lightning_nas.operations.norm import Norm

NasnetOperation = Callable[[int, int, int, Norm], nn.Module]  # of inputs, outputs, stride and normalisation


def separable(kernel: int) -> NasnetOperation:
    """Twice: ReLU, depthwise convolution, 1x1 convolution, normalisation; the first depthwise one strides."""

    def build(inputs: int, outputs: int, stride: int, norm: Norm) -> nn.Module:
        first = _depthwise_separable(inputs, outputs, kernel, stride, 1, norm)
        return nn.Sequential(*first, *_depthwise_separable(outputs, outputs, kernel, 1, 1, norm))

    return build


def dilated(kernel: int) -> NasnetOperation:
    """ReLU, depthwise convolution with dilation 2, 1x1 convolution, normalisation."""

    def build(inputs: int, outputs: int, stride: int, norm: Norm) -> nn.Module:
        return nn.Sequential(*_depthwise_separable(inputs, outputs, kernel, stride, 2, norm))

    return build


def _depthwise_separable(
    inputs: int, outputs: int, kernel: int, stride: int, dilation: int, norm: Norm
) -> list[nn.Module]:
    padding = dilation * (kernel // 2)
    return [
        nn.ReLU(),
        nn.Conv2d(inputs, inputs, kernel, stride, padding, dilation, groups=inputs, bias=False),
        nn.Conv2d(inputs, outputs, 1, bias=False),
        norm(outputs),
    ]


def plain(kernel: int) -> NasnetOperation:
    """ReLU, convolution, normalisation."""
    return lambda inputs, outputs, stride, norm: relu_conv_norm(inputs, outputs, kernel, stride, norm)


def factorized(kernel: int) -> NasnetOperation:
    """ReLU, a 1 x ``kernel`` and a ``kernel`` x 1 convolution, normalisation; each strides along its own axis."""

    def build(inputs: int, outputs: int, stride: int, norm: Norm) -> nn.Module:
        row, column = _row_and_column(inputs, outputs, kernel, stride)
        return nn.Sequential(nn.ReLU(), row, column, norm(outputs))

    return build


def bottleneck(kernel: int) -> NasnetOperation:
    """The two convolutions of ``factorized`` between two 1x1 ones, on a quarter of the channels.

    A ReLU comes before and a normalisation after each of the four.
    """

    def build(inputs: int, outputs: int, stride: int, norm: Norm) -> nn.Module:
        width = max(1, outputs // 4)
        convolutions = [
            nn.Conv2d(inputs, width, 1, bias=False),
            *_row_and_column(width, width, kernel, stride),
            nn.Conv2d(width, outputs, 1, bias=False),
        ]
        layers = ((nn.ReLU(), convolution, norm(convolution.out_channels)) for convolution in convolutions)
        return nn.Sequential(*(layer for three in layers for layer in three))

    return build


def _row_and_column(inputs: int, outputs: int, kernel: int, stride: int) -> tuple[nn.Conv2d, nn.Conv2d]:
    return (
        nn.Conv2d(inputs, outputs, (1, kernel), (1, stride), (0, kernel // 2), bias=False),
        nn.Conv2d(outputs, outputs, (kernel, 1), (stride, 1), (kernel // 2, 0), bias=False),
    )


def identity(inputs: int, outputs: int, stride: int, norm: Norm) -> nn.Module:
    """Nothing, or ReLU, 1x1 convolution and normalisation where the size or the channels change."""
    return nn.Identity() if stride == 1 and inputs == outputs else relu_conv_norm(inputs, outputs, 1, stride, norm)


def max_pool(kernel: int) -> NasnetOperation:
    """Max pooling with same padding; where the channels change, a 1x1 convolution and a normalisation follow."""
    return lambda inputs, outputs, stride, norm: _pooled(
        nn.MaxPool2d(kernel, stride, kernel // 2), inputs, outputs, norm
    )


def avg_pool(kernel: int) -> NasnetOperation:
    """Average pooling with same padding that does not count; else as ``max_pool``."""

    def build(inputs: int, outputs: int, stride: int, norm: Norm) -> nn.Module:
        pool = nn.AvgPool2d(kernel, stride, kernel // 2, count_include_pad=False)
        return _pooled(pool, inputs, outputs, norm)

    return build


def _pooled(pool: nn.Module, inputs: int, outputs: int, norm: Norm) -> nn.Module:
    return pool if inputs == outputs else nn.Sequential(pool, nn.Conv2d(inputs, outputs, 1, bias=False), norm(outputs))


BUILDERS: dict[str, NasnetOperation] = {
    "sep_conv_3x3": separable(3),
    "sep_conv_5x5": separable(5),
    "sep_conv_7x7": separable(7),
    "conv_1x7_7x1": factorized(7),
    "identity": identity,
    "avg_pool_3x3": avg_pool(3),
    "max_pool_3x3": max_pool(3),
    "dil_conv_3x3": dilated(3),
    "bottleneck_1x7_7x1": bottleneck(7),
    "conv_1x3_3x1": factorized(3),
    "max_pool_5x5": max_pool(5),
    "max_pool_7x7": max_pool(7),
    "conv_1x1": plain(1),
    "conv_3x3": plain(3),
}

# The order of PNAS (arXiv 1712.00559, section 3.1).
PNAS_OPERATIONS = (
    "sep_conv_3x3",
    "sep_conv_5x5",
    "sep_conv_7x7",
    "conv_1x7_7x1",
    "identity",
    "avg_pool_3x3",
    "max_pool_3x3",
    "dil_conv_3x3",
)
# Those of AmoebaNet (arXiv 1802.01548): the same, but its 1x7 and 7x1 convolution is a bottleneck.
AMOEBANET_OPERATIONS = (
    "identity",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "sep_conv_7x7",
    "avg_pool_3x3",
    "max_pool_3x3",
    "dil_conv_3x3",
    "bottleneck_1x7_7x1",
)
# Those of NASNet (arXiv 1707.07012).
NASNET_OPERATIONS = (
    "identity",
    "conv_1x3_3x1",
    "conv_1x7_7x1",
    "dil_conv_3x3",
    "avg_pool_3x3",
    "max_pool_3x3",
    "max_pool_5x5",
    "max_pool_7x7",
    "conv_1x1",
    "conv_3x3",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "sep_conv_7x7",
)
