"""What all strategies share and the contract does not say."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch

from lightning_nas.architecture import Architecture
from lightning_nas.spaces import EnasMacroSpace, NasBench201Space
from lightning_nas.strategies import Proposal, RandomStrategy, Strategy
from lightning_nas.testing import StrategyContract
from tests.controllers.spaces import ListSpace, operation


class Sequence(Strategy):
    """Proposes what it was given, as far as it is new."""

    def __init__(self, architectures: list[Architecture], repeats: bool = False) -> None:
        super().__init__("nasbench201", repeats=repeats)
        self.left = list(architectures)
        self.learned: list[tuple[int, float | None]] = []

    def _propose(self) -> Architecture | None:
        while self.left:
            if self.is_new(architecture := self.left.pop(0)):
                return architecture
        return None

    def _learn(self, proposal: Proposal, score: float | None) -> None:
        self.learned.append((proposal.number, score))


def cell(*operations: str) -> Architecture:
    space = NasBench201Space()
    names = [decision.name for decision in space.decisions]
    return Architecture(space.name, dict(zip(names, operations, strict=True)))


PLAIN = cell("nor_conv_3x3", *["none"] * 4, "skip_connect")
UNUSED = cell("nor_conv_3x3", *["none"] * 4, "avg_pool_3x3")  # in both, node 2 gets nothing
OTHER = cell(*["nor_conv_1x1"] * 6)


def test_two_ways_to_write_an_architecture_count_as_one() -> None:
    assert [p.architecture for p in Sequence([PLAIN, UNUSED, OTHER]).ask(3)] == [PLAIN, OTHER]
    assert [p.architecture for p in Sequence([PLAIN, UNUSED, PLAIN], repeats=True).ask(3)] == [PLAIN, UNUSED, PLAIN]


def test_ask_returns_fewer_when_nothing_is_left() -> None:
    strategy = Sequence([PLAIN, OTHER])
    assert [len(strategy.ask(n)) for n in (1, 5, 1)] == [1, 1, 0]


def test_it_learns_once_from_every_proposal_in_the_order_of_the_scores() -> None:
    strategy = Sequence([PLAIN, OTHER])
    first, second = strategy.ask(2)
    strategy.tell(second, float("nan"))
    strategy.tell(first, 1)
    strategy.tell(second, 3.0)
    assert strategy.learned == [(1, None), (0, 1.0)]
    assert list(strategy.scores.items()) == [(1, None), (0, 1.0)]


def test_the_earliest_told_of_equals_is_the_best() -> None:
    strategy = Sequence([PLAIN, OTHER])
    first, second = strategy.ask(2)
    strategy.tell(second, 1.0)
    strategy.tell(first, 1.0)
    assert strategy.best == OTHER


def test_proposals_of_several_spaces() -> None:
    space = EnasMacroSpace(layers=4)
    strategy = RandomStrategy("nasbench201")
    assert strategy.space_of(PLAIN) is strategy.space
    other = Architecture(space.name, {decision.name: decision.choices[0] for decision in space.decisions})
    assert strategy.space_of(other).name == "enas_macro?layers=4"
    assert strategy.key(other) == other


def test_a_space_that_is_not_registered() -> None:
    strategy = RandomStrategy(ListSpace([operation("one", ("a", "b"))]))
    loaded = RandomStrategy(strategy.space)
    strategy.ask()
    loaded.load_state_dict(strategy.state_dict())
    assert loaded.ask() == strategy.ask()


def test_a_loaded_strategy_knows_what_is_awaited_and_what_is_best() -> None:
    strategy = Sequence([PLAIN, OTHER, cell(*["skip_connect"] * 6), cell(*["avg_pool_3x3"] * 6)])
    first, second, third, fourth = strategy.ask(4)
    for proposal, score in ((fourth, 1.0), (first, 1.0), (third, None)):
        strategy.tell(proposal, score)
    loaded = Sequence([])
    loaded.load_state_dict(strategy.state_dict())
    assert loaded.waiting == strategy.waiting == [second]
    assert loaded.best == strategy.best == fourth.architecture
    loaded.tell(second, 2.0)
    assert loaded.waiting == []
    assert loaded.best == OTHER
    loaded.load_state_dict(strategy.state_dict())
    assert loaded.best == fourth.architecture


class Counting(NasBench201Space):
    """Counts how often it samples, and how often it looks for equal architectures."""

    def __init__(self) -> None:
        self.sampled = self.compared = 0

    def sample(self, generator: torch.Generator) -> Architecture:
        self.sampled += 1
        return super().sample(generator)

    def canonical(self, architecture: Architecture) -> Architecture:
        self.compared += 1
        return super().canonical(architecture)


def test_an_architecture_is_compared_once() -> None:
    space = Counting()
    assert len(RandomStrategy(space).ask(200)) == 200
    assert space.compared == space.sampled > 200


class Forgetful(RandomStrategy):
    """Its state lacks the generator's."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        generator = self.generator
        super().load_state_dict(state)
        self.generator = generator


@pytest.mark.parametrize(
    ("make", "test"),
    [
        (lambda seed: Forgetful("nasbench201", seed=seed), "test_going_back_to_a_state"),
        (lambda seed: RandomStrategy("nasbench201", seed=0 * seed), "test_equal_seeds_search_alike"),
        (lambda seed: RandomStrategy("nasbench201", seed=seed, repeats=True), "test_nothing_is_proposed_twice"),
        (lambda seed: RandomStrategy("nasbench201", seed=seed), "test_it_learns"),
    ],
)
def test_the_contract_finds_what_is_wrong(make: Callable[[int], Strategy], test: str) -> None:
    class Contract(StrategyContract):
        learns = True

        def strategy(self, seed: int = 0) -> Strategy:
            return make(seed)

    arguments = [1] if test == "test_nothing_is_proposed_twice" else []
    with pytest.raises(AssertionError):
        getattr(Contract(), test)(*arguments)
