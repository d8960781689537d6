"""Evaluation mode is put on and taken off again, module by module."""

import pytest
from torch import nn

from lightning_nas.modes import evaluating


def partly_frozen() -> nn.Sequential:
    frozen = nn.BatchNorm1d(2).eval()
    return nn.Sequential(nn.Dropout(), nn.Sequential(frozen, nn.Dropout()), nn.ReLU())


def modes(network: nn.Module) -> list[bool]:
    return [module.training for module in network.modules()]


def test_all_modules_are_evaluating_and_get_their_own_mode_back() -> None:
    network = partly_frozen()
    before = modes(network)
    with evaluating(network):
        assert modes(network) == [False] * 6
    assert modes(network) == before == [True, True, True, False, True, True]


def test_after_an_error_too() -> None:
    network = partly_frozen()
    before = modes(network)
    with pytest.raises(ZeroDivisionError), evaluating(network):
        raise ZeroDivisionError
    assert modes(network) == before


def test_modules_that_are_added_meanwhile_keep_their_mode() -> None:
    network = nn.Sequential(nn.ReLU())
    with evaluating(network):
        network.append(nn.Dropout())
    assert modes(network) == [True, True, True]
