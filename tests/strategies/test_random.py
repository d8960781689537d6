from collections import Counter

import pytest

from lightning_nas.spaces import NasBench201Space
from lightning_nas.strategies import RandomStrategy, Strategy
from lightning_nas.testing import StrategyContract
from tests.controllers.spaces import ListSpace, operation

SMALL = ListSpace([operation("first", ("a", "b", "c")), operation("second", ("a", "b"))])


class TestRandomStrategy(StrategyContract):
    def strategy(self, seed: int = 0) -> Strategy:
        return RandomStrategy("nasbench201", seed=seed)


def test_it_proposes_everything_once() -> None:
    strategy = RandomStrategy(SMALL)
    proposals = strategy.ask(10)
    assert len(proposals) == len({proposal.architecture for proposal in proposals}) == 6
    assert strategy.ask() == []


def test_what_computes_the_same_is_proposed_once() -> None:
    strategy = RandomStrategy("nasbench201")
    space = NasBench201Space()
    texts = {space.to_string(proposal.architecture) for proposal in strategy.ask(1000)}
    assert len(texts) == 1000
    assert len({space.canonical(space.from_string(text)) for text in texts}) == 1000


def test_with_repeats_draws_are_independent() -> None:
    strategy = RandomStrategy(SMALL, repeats=True)
    counts = Counter(proposal.architecture for proposal in strategy.ask(6000))
    assert len(counts) == 6
    assert min(counts.values()) == pytest.approx(1000, abs=120)  # four standard deviations
    assert max(counts.values()) == pytest.approx(1000, abs=120)
