"""Choices of depth: values by hand, how blocks are made, and what is refused."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_nas.spaces import Mixture, RepeatChoice

ONE = torch.ones(1)


class Add(nn.Module):
    """Adds a parameter, and counts how often."""

    def __init__(self, summand: float) -> None:
        super().__init__()
        self.summand = nn.Parameter(torch.tensor(float(summand)))
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x + self.summand


def adding(*depths: int, key: str | None = None) -> RepeatChoice:
    """Return blocks that add 1, 10, 100, ..."""
    return RepeatChoice(lambda index: Add(10.0**index), depths, key)


def value(output: Tensor) -> float:
    return output.detach().item()


def mix(choice: RepeatChoice, *weights: float, active: tuple[int, ...] | None = None) -> Tensor:
    choice.mixture = Mixture(
        torch.tensor([[float(weight) for weight in weights]]), None if active is None else (active,)
    )
    output: Tensor = choice(ONE)
    return output


def calls(choice: RepeatChoice) -> list[Any]:
    return [block.calls for block in choice.blocks]


class TestValues:
    def test_all_depths_weigh_the_same_without_a_mixture(self) -> None:
        assert value(adding(1, 3)(ONE)) == pytest.approx((2 + 112) / 2)

    def test_weighted_sum_and_every_block_is_computed_once(self) -> None:
        choice = adding(0, 1, 3)
        assert value(mix(choice, 0.5, 0.25, 0.25)) == pytest.approx(0.5 * 1 + 0.25 * 2 + 0.25 * 112)
        assert calls(choice) == [1, 1, 1]

    def test_depths_in_any_order(self) -> None:
        choice = adding(3, 0, 1)
        assert choice.values == (3, 0, 1)
        assert value(mix(choice, 0.25, 0.5, 0.25)) == pytest.approx(0.25 * 112 + 0.5 * 1 + 0.25 * 2)

    def test_blocks_beyond_the_deepest_active_depth_are_not_computed(self) -> None:
        choice = adding(0, 1, 3)
        output = mix(choice, 0.5, 0.25, 0.25, active=(0, 1))
        torch.autograd.backward(output)
        assert value(output) == pytest.approx(1)
        assert calls(choice) == [1, 0, 0]
        assert [block.summand.grad is None for block in choice.blocks] == [False, True, True]

    def test_blocks_on_the_way_to_a_lone_depth_are_computed(self) -> None:
        choice = adding(1, 3)
        assert value(mix(choice, 0, 1, active=(1,))) == 112
        assert calls(choice) == [1, 1, 1]

    def test_depth_zero_passes_the_input_on(self) -> None:
        choice = adding(0, 2)
        assert value(mix(choice, 1, 0, active=(0,))) == 1
        assert calls(choice) == [0, 0]
        assert value(RepeatChoice(lambda: Add(1.0), [0])(ONE)) == 1

    def test_a_lone_depth_may_return_anything(self) -> None:
        class Pair(nn.Module):
            def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
                return x, 2 * x

        first, second = RepeatChoice(Pair, [1])(ONE)
        assert (value(first), value(second)) == (1, 2)

    def test_replacement_has_the_first_blocks(self) -> None:
        choice = adding(0, 1, 3)
        replacement = choice.replacement((1,))
        assert isinstance(replacement, nn.Sequential)
        assert list(replacement) == [choice.blocks[0]]
        assert list(replacement.state_dict()) == ["0.summand"]
        assert value(choice.replacement((3,))(ONE)) == 112
        assert choice.replacement((0,))(ONE) is ONE

    def test_properties(self) -> None:
        choice = adding(1, 2, 4, key="depth")
        assert (choice.key, choice.kind, choice.slots) == ("depth", "number", 1)
        assert [choice.leads_to(str(block)) for block in range(4)] == [(1, 2, 4), (2, 4), (4,), (4,)]
        assert choice.container == "blocks"


class TestBlockFactories:
    def test_called_without_an_argument_or_with_the_index(self) -> None:
        def optional(index: int = 7) -> nn.Module:
            return Add(index)

        def starred(*anything: int) -> nn.Module:
            return Add(len(anything))

        def summands(factory: Any) -> list[float]:
            return [parameter.item() for parameter in RepeatChoice(factory, [3]).parameters()]

        assert summands(lambda: Add(2.0)) == [2, 2, 2]
        assert summands(lambda index: Add(2.0 * index)) == [0, 2, 4]
        assert summands(Add) == [0, 1, 2]
        assert summands(partial(Add, 5.0)) == [5, 5, 5]
        assert summands(optional) == [7, 7, 7]
        assert summands(starred) == [0, 0, 0]

    def test_one_block_for_the_deepest(self) -> None:
        made: list[int] = []

        def block(index: int) -> nn.Module:
            made.append(index)
            return nn.Identity()

        RepeatChoice(block, (4, 1))
        assert made == [0, 1, 2, 3]


class TestRefused:
    @pytest.mark.parametrize("depths", [(), (1, 1), (-1, 2), (1.0, 2), (True, 2)])
    def test_depths(self, depths: Any) -> None:
        with pytest.raises(ValueError, match="Expected `depths` to be different whole numbers from 0 on but got"):
            RepeatChoice(lambda: nn.Identity(), depths)

    def test_blocks_that_change_the_shape(self) -> None:
        choice = RepeatChoice(lambda index: nn.Linear(1 + index, 2 + index), (0, 1, 2), key="depth")
        with pytest.raises(ValueError, match=r"got {0: \(1,\), 1: \(2,\), 2: \(3,\)} in RepeatChoice 'depth'"):
            choice(ONE)

    def test_blocks_that_change_what_is_mixed(self) -> None:
        choice = RepeatChoice(lambda: nn.ReLU(inplace=True), (0, 1), key="depth")
        with pytest.raises(ValueError, match=r"\(inplace=False\) but got 1 in RepeatChoice 'depth'"):
            choice(-ONE)
        # the output of the first block is part of no mixture
        choice = RepeatChoice(lambda: nn.ReLU(inplace=True), (2,))
        assert value(choice(-ONE)) == 0

    def test_nothing_active(self) -> None:
        with pytest.raises(ValueError, match="a candidate to be active but got none in RepeatChoice 'depth'"):
            mix(adding(1, 2, key="depth"), 0.5, 0.5, active=())
