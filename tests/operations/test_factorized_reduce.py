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


def test_odd_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="even number of channels out of FactorizedReduce but got 5"):
        FactorizedReduce(4, 5)
