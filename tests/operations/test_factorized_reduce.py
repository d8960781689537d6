"""FactorizedReduce by hand."""

import pytest
import torch
from torch import nn

from lightning_nas.operations import FactorizedReduce


def plain(inputs: int, outputs: int) -> FactorizedReduce:
    """Return the layer without normalisation, all weights one."""
    layer = FactorizedReduce(inputs, outputs, norm=lambda channels: nn.Identity())
    for parameter in layer.parameters():
        nn.init.ones_(parameter)
    return layer


def test_the_second_half_sees_the_shifted_pixels() -> None:
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    first, second = plain(1, 2)(image)[0]
    assert first.tolist() == [[0, 2], [8, 10]]
    assert second.tolist() == [[5, 7], [13, 15]]


def test_negative_pixels_are_cut_first() -> None:
    image = -torch.ones(1, 3, 4, 4)
    image[0, 0, 0, 0] = 2.0
    first, second = plain(3, 2)(image)[0]
    assert first.tolist() == [[2, 0], [0, 0]]
    assert not second.any()


def test_channels_may_change() -> None:
    assert FactorizedReduce(6, 4)(torch.randn(2, 6, 8, 4)).shape == (2, 4, 4, 2)


def test_of_odd_channels_the_second_half_has_one_more() -> None:
    layer = FactorizedReduce(4, 5)
    assert (layer.conv_1.out_channels, layer.conv_2.out_channels) == (2, 3)
    assert layer(torch.randn(2, 4, 8, 6)).shape == (2, 5, 4, 3)


def test_of_odd_sizes_zeros_are_shifted_in() -> None:
    image = torch.arange(15.0).reshape(1, 1, 3, 5)
    first, second = plain(1, 2)(image)[0]
    assert first.tolist() == [[0, 2, 4], [10, 12, 14]]
    assert second.tolist() == [[6, 8, 0], [0, 0, 0]]


def test_one_channel_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`outputs` to be at least 2 \(FactorizedReduce has two halves\) but got 1"):
        FactorizedReduce(4, 1)
