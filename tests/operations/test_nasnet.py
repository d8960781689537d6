"""The operations of NASNet cells: parameters by hand, shapes, and two of them on pixels."""

import pytest
import torch
from torch import nn

from lightning_nas.operations.nasnet import AMOEBANET_OPERATIONS, BUILDERS, NASNET_OPERATIONS, PNAS_OPERATIONS

# of 12 channels to 8: weights of the convolutions, then two numbers a channel for every normalisation
PARAMETERS = {
    "identity": 12 * 8 + 16,
    "avg_pool_3x3": 12 * 8 + 16,
    "max_pool_3x3": 12 * 8 + 16,
    "max_pool_5x5": 12 * 8 + 16,
    "max_pool_7x7": 12 * 8 + 16,
    "sep_conv_3x3": 12 * 9 + 12 * 8 + 16 + 8 * 9 + 8 * 8 + 16,
    "sep_conv_5x5": 12 * 25 + 12 * 8 + 16 + 8 * 25 + 8 * 8 + 16,
    "sep_conv_7x7": 12 * 49 + 12 * 8 + 16 + 8 * 49 + 8 * 8 + 16,
    "dil_conv_3x3": 12 * 9 + 12 * 8 + 16,
    "conv_1x7_7x1": 7 * 12 * 8 + 7 * 8 * 8 + 16,
    "conv_1x3_3x1": 3 * 12 * 8 + 3 * 8 * 8 + 16,
    "bottleneck_1x7_7x1": 12 * 2 + 4 + 2 * (7 * 2 * 2 + 4) + 2 * 8 + 16,
    "conv_1x1": 12 * 8 + 16,
    "conv_3x3": 9 * 12 * 8 + 16,
}


def size(operation: nn.Module) -> int:
    return sum(p.numel() for p in operation.parameters())


def test_every_operation_is_listed() -> None:
    assert BUILDERS.keys() == PARAMETERS.keys()
    assert (len(PNAS_OPERATIONS), len(AMOEBANET_OPERATIONS), len(NASNET_OPERATIONS)) == (8, 8, 13)
    assert {*PNAS_OPERATIONS, *AMOEBANET_OPERATIONS, *NASNET_OPERATIONS} == BUILDERS.keys()


@pytest.mark.parametrize("name", BUILDERS)
class TestEveryOperation:
    def test_parameters(self, name: str) -> None:
        assert size(BUILDERS[name](12, 8, 1, nn.BatchNorm2d)) == PARAMETERS[name]

    @pytest.mark.parametrize(("stride", "height", "width"), [(1, 9, 8), (2, 5, 4)])
    def test_shape(self, name: str, stride: int, height: int, width: int) -> None:
        operation = BUILDERS[name](12, 8, stride, nn.BatchNorm2d)
        assert operation(torch.randn(2, 12, 9, 8)).shape == (2, 8, height, width)

    def test_there_is_no_bias(self, name: str) -> None:
        convolutions = [m for m in BUILDERS[name](12, 8, 2, nn.BatchNorm2d).modules() if isinstance(m, nn.Conv2d)]
        assert convolutions
        assert all(convolution.bias is None for convolution in convolutions)

    def test_the_normalisation_is_the_given_one(self, name: str) -> None:
        operation = BUILDERS[name](12, 8, 2, lambda channels: nn.GroupNorm(1, channels))
        found = [m for m in operation.modules() if isinstance(m, nn.BatchNorm2d | nn.GroupNorm)]
        assert found
        assert all(isinstance(m, nn.GroupNorm) for m in found)


@pytest.mark.parametrize("name", ["identity", "avg_pool_3x3", "max_pool_3x3", "max_pool_5x5", "max_pool_7x7"])
def test_nothing_is_learned_where_channels_stay(name: str) -> None:
    assert size(BUILDERS[name](8, 8, 1, nn.BatchNorm2d)) == 0


def test_identity_is_the_input_itself() -> None:
    x = torch.randn(1, 8, 4, 4)
    assert BUILDERS["identity"](8, 8, 1, nn.BatchNorm2d)(x) is x
    assert size(BUILDERS["identity"](8, 8, 2, nn.BatchNorm2d)) == 8 * 8 + 16


def test_padding_does_not_count_in_the_mean() -> None:
    pooled = BUILDERS["avg_pool_3x3"](1, 1, 2, nn.BatchNorm2d)(torch.arange(16.0).reshape(1, 1, 4, 4))
    assert pooled.tolist() == [
        [[[(0 + 1 + 4 + 5) / 4, (1 + 2 + 3 + 5 + 6 + 7) / 6], [(4 + 5 + 8 + 9 + 12 + 13) / 6, 10.0]]]
    ]


def test_strides_of_the_bottleneck() -> None:
    operation = BUILDERS["bottleneck_1x7_7x1"](12, 8, 2, nn.BatchNorm2d)
    convolutions = [m for m in operation.modules() if isinstance(m, nn.Conv2d)]
    assert [(m.kernel_size, m.stride, m.out_channels) for m in convolutions] == [
        ((1, 1), (1, 1), 2),
        ((1, 7), (1, 2), 2),
        ((7, 1), (2, 1), 2),
        ((1, 1), (1, 1), 8),
    ]


def test_a_bottleneck_of_few_channels_has_one() -> None:
    assert BUILDERS["bottleneck_1x7_7x1"](3, 3, 1, nn.BatchNorm2d)(torch.randn(2, 3, 4, 4)).shape == (2, 3, 4, 4)
