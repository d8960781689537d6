"""Random search as a controller."""

import math

import pytest
import torch
from torch.testing import assert_close

from lightning_nas.controllers import Reinforce, UniformController
from lightning_nas.spaces import DartsSpace
from tests.controllers.spaces import macro

SPACE = DartsSpace(nodes=2)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_draws_as_the_space_does() -> None:
    controller, generator = UniformController(SPACE), seeded()
    samples = controller.sample(5, seeded())
    assert controller.architectures(samples.choices) == [SPACE.sample(generator) for _ in range(5)]


def test_all_are_equally_likely() -> None:
    controller = UniformController(SPACE)
    samples = controller.sample(5, seeded())
    expected = torch.full((5,), math.log(SPACE.size))
    assert_close(samples.entropy, expected)
    assert_close(samples.log_prob, -expected)
    assert_close(controller.log_prob(controller.architectures(samples.choices)), -expected)
    assert samples.skip_penalty.eq(0).all()


def test_the_loss_can_be_differentiated_to_no_effect() -> None:
    controller = UniformController(macro(3))
    samples = controller.sample(4, seeded())
    loss = Reinforce().loss(samples, torch.rand(4, generator=seeded()))
    torch.autograd.backward(loss)
    assert not list(controller.parameters())
    assert not controller.state_dict()


def test_refuses_what_is_no_choice() -> None:
    with pytest.raises(ValueError, match="Expected `n` to be at least 1 but got 0"):
        UniformController(SPACE).sample(0, seeded())
    with pytest.raises(ValueError, match="Expected `choices` to be indices of shape"):
        UniformController(SPACE).evaluate(torch.zeros(2, 3, dtype=torch.int64))
