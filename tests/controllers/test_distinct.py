"""Which decisions of a space must differ."""

import pytest
import torch
from torch import nn

from lightning_nas.architecture import Architecture
from lightning_nas.spaces import DartsSpace, InputChoice, ModuleSpace, NasBench201Space, OpChoice, SearchSpace


def choosing() -> nn.Module:
    activation = OpChoice({"relu": nn.ReLU(), "tanh": nn.Tanh()}, key="activation")
    return nn.ModuleList([InputChoice(3, 2, key="two"), activation, InputChoice(2, key="one")])


def test_inputs_of_darts_nodes() -> None:
    assert DartsSpace(nodes=2).distinct == (
        ("normal/node0/input0", "normal/node0/input1"),
        ("normal/node1/input0", "normal/node1/input1"),
        ("reduce/node0/input0", "reduce/node0/input1"),
        ("reduce/node1/input0", "reduce/node1/input1"),
    )
    assert DartsSpace(distinct_inputs=False).distinct == ()


def test_slots_of_an_input_choice() -> None:
    assert ModuleSpace(choosing).distinct == (("two/0", "two/1"),)


def test_nothing_in_a_plain_space() -> None:
    assert NasBench201Space().distinct == ()


@pytest.mark.parametrize("space", [DartsSpace(nodes=1), ModuleSpace(choosing)])
def test_an_architecture_is_valid_if_and_only_if_they_differ(space: SearchSpace) -> None:
    (first, second), *_ = space.distinct
    architecture = space.sample(torch.Generator().manual_seed(0))
    space.validate(architecture)
    equal = Architecture(space.name, {**architecture.values, second: architecture.values[first]})
    with pytest.raises(ValueError, match="different"):
        space.validate(equal)
