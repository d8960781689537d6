"""The contract of a search strategy, as tests."""

import io
import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_nas.architecture import Architecture, Value
from lightning_nas.strategies.base import Strategy
from lightning_nas.strategies.proposal import Proposal

FAILURES = (None, float("nan"), float("inf"), float("-inf"))


class StrategyContract(ABC):
    """What every strategy keeps to. Inherit it in a pytest file to test a strategy of your own.

    The scores are a formula, so a test takes as long as the strategy itself: keep it small.

    Example:
        >>> from lightning_nas.strategies import EvolutionStrategy
        >>> class TestMyStrategy(StrategyContract):
        ...     learns = True
        ...
        ...     def strategy(self, seed=0):
        ...         return EvolutionStrategy("nasbench201", population=10, sample=3, seed=seed)
    """

    learns = False  # True if proposals must get better with what was told
    waits = False  # True if it may ask for nothing more before scores are told: it cannot go on without some of them
    budget = 40  # number of proposals of a test; the space holds more
    budget_to_learn = 150

    @abstractmethod
    def strategy(self, seed: int = 0) -> Strategy:
        """Return a new strategy that does not repeat architectures."""

    def score(self, strategy: Strategy, architecture: Architecture) -> float:
        """Return the score of an architecture, from 0 to 1; by default the share of decisions for the last choice."""
        decisions = strategy.space_of(architecture).decisions
        return sum(_same(architecture.values[d.name], d.choices[-1]) for d in decisions) / len(decisions)

    def test_equal_seeds_search_alike(self) -> None:
        """Equal seeds propose the same, other seeds do not; the program's own random numbers play no part in it."""
        torch.manual_seed(0)
        random.seed(0)
        before = (torch.get_rng_state().tolist(), random.getstate())
        first = self._search(self.strategy())
        assert (torch.get_rng_state().tolist(), random.getstate()) == before
        torch.manual_seed(1)
        random.seed(1)
        assert self._search(self.strategy()) == first
        assert self._search(self.strategy(seed=1)) != first

    def test_proposals_are_numbered_members_of_their_spaces(self) -> None:
        """``ask(n)`` gives at most ``n``, all of them valid; what is not told yet is waiting."""
        strategy = self.strategy()
        asked: list[Proposal] = []
        for n in (1, 5, 2):
            proposals = strategy.ask(n)
            assert len(proposals) <= n
            asked += proposals
        assert [proposal.number for proposal in asked] == list(range(len(asked)))
        assert asked[0].number == 0
        for proposal in asked:
            strategy.space_of(proposal.architecture).validate(proposal.architecture)
        assert strategy.waiting == asked
        self._tell(strategy, asked[0])
        assert strategy.waiting == asked[1:]

    @pytest.mark.parametrize("n", [0, -1])
    def test_ask_refuses_fewer_than_one(self, n: int) -> None:
        """The message names the argument."""
        with pytest.raises(ValueError, match="Expected `n` to be at least 1"):
            self.strategy().ask(n)

    def test_best_is_the_best_told(self) -> None:
        """The earliest told among equals, its score in the metrics; nothing at first."""
        strategy = self.strategy()
        assert strategy.best is None
        told: list[tuple[float, Architecture]] = []
        for score in (0.25, 0.75, 0.5, 0.75, -1.0):
            proposal = self._next(strategy)
            strategy.tell(proposal, score)
            told.append((score, proposal.architecture))
            best_score, best = max(told, key=lambda pair: pair[0])
            assert strategy.best == best
            assert strategy.best is not None
            assert strategy.best.metrics == {"score": best_score}

    def test_foreign_proposals_are_refused(self) -> None:
        """Unknown numbers, and known numbers of other architectures; nothing is learned from them."""
        strategy = self.strategy()
        first, second = self._next(strategy), self._next(strategy)
        before = _plain(strategy.state_dict())
        for foreign in (replace(first, number=10**6), replace(first, number=-1), replace(first, number=second.number)):
            with pytest.raises(ValueError, match="Expected a proposal that this strategy has made"):
                strategy.tell(foreign, 0.5)
        assert _plain(strategy.state_dict()) == before

    def test_only_the_first_tell_counts(self) -> None:
        """A proposal told again, with another score, changes nothing, now or later."""
        once, twice = self.strategy(), self.strategy()
        for number in range(self.budget):
            for strategy in (once, twice):
                self._tell(strategy, self._next(strategy))
            twice.tell(twice.proposals[number // 2], 2.0)
        assert _plain(twice.state_dict()) == _plain(once.state_dict())

    def test_all_failures_are_alike(self) -> None:
        """No score, NaN and infinity say the same: the search goes on, and what has failed is not the best."""
        states: list[Any] = []
        for failure in FAILURES:
            strategy = self.strategy()
            scores = [failure if number % 3 else None for number in range(self.budget // 2)]
            for score in scores:
                strategy.tell(self._next(strategy), score)
            assert strategy.best is None
            assert strategy.scores == dict.fromkeys(range(len(scores)))
            self._tell(strategy, proposal := self._next(strategy))
            assert strategy.best == proposal.architecture
            states.append(_plain(strategy.state_dict()))
        assert states == [states[0]] * len(FAILURES)

    def test_failures_do_not_end_the_search(self) -> None:
        """When every third evaluation fails, as many are proposed, and the best is found among the others."""
        strategy = self.strategy()
        for number in range(self.budget):
            proposal = self._next(strategy)
            strategy.tell(proposal, self.score(strategy, proposal.architecture) if number % 3 else None)
        valid = [score for number, score in strategy.scores.items() if number % 3]
        assert len(strategy.proposals) == self.budget
        assert strategy.best is not None
        assert strategy.best.metrics["score"] == max(score for score in valid if score is not None)

    def test_late_and_missing_scores(self) -> None:
        """Scores may come in any order and after others were asked for, and some never."""
        strategy = self.strategy()
        for _ in range(self.budget // 5):
            proposals = [self._next(strategy) for _ in range(4)]
            for proposal in (strategy.waiting[0], proposals[3], proposals[1]):
                self._tell(strategy, proposal)
        assert len(strategy.proposals) >= 4 * (self.budget // 5)
        expected = {number: self.score(strategy, strategy.proposals[number].architecture) for number in strategy.scores}
        assert strategy.scores == expected
        assert strategy.best is not None
        assert strategy.best.metrics["score"] == max(expected.values())

    def test_it_does_not_wait(self) -> None:
        """Without a single score, it proposes as many as it is asked for."""
        if self.waits:
            pytest.skip("waits is True")
        strategy = self.strategy()
        assert [len(strategy.ask(n)) for n in (1, 10, self.budget - 11)] == [1, 10, self.budget - 11]

    @pytest.mark.parametrize("batch", [1, 7])
    def test_nothing_is_proposed_twice(self, batch: int) -> None:
        """Two ways to write one architecture count as one."""
        strategy = self.strategy()
        assert not strategy.repeats
        self._search(strategy, batch)
        keys = [strategy.space_of(p.architecture).canonical(p.architecture) for p in strategy.proposals]
        assert len(set(keys)) == len(keys) == self.budget

    def test_states_are_plain_and_of_their_moment(self) -> None:
        """A state holds lists, dictionaries, texts, numbers and tensors only, and the search does not change it."""
        strategy = self.strategy()
        self._search(strategy)
        state = strategy.state_dict()
        before = _plain(state)
        self._search(strategy, more=5)
        assert _plain(state) == before
        assert _plain(strategy.state_dict()) != before

    @pytest.mark.parametrize("moment", [0, 1, 7, 19, 33])
    def test_a_loaded_strategy_goes_on_alike(self, moment: int) -> None:
        """After ``torch.save`` and ``torch.load``, with scores outstanding, all goes on as without."""
        original = self.strategy()
        self._search(original, batch=3, more=min(moment, self.budget))
        outstanding = original.ask(4)
        if outstanding:
            self._tell(original, outstanding[-1])
        loaded = self.strategy(seed=5)
        loaded.load_state_dict(_saved(original.state_dict()))
        assert _plain(loaded.state_dict()) == _plain(original.state_dict())
        assert (loaded.proposals, loaded.scores) == (original.proposals, original.scores)
        assert (loaded.waiting, loaded.best) == (original.waiting, original.best)
        for strategy in (original, loaded):
            strategy.ask(2)
            for proposal in reversed(strategy.waiting[1:]):
                self._tell(strategy, proposal)
            self._search(strategy, batch=3, more=self.budget // 2)
        assert loaded.proposals == original.proposals
        assert _plain(loaded.state_dict()) == _plain(original.state_dict())

    def test_going_back_to_a_state(self) -> None:
        """A strategy that loads a state of its own past goes on from there, as it did the first time."""
        strategy = self.strategy()
        self._search(strategy, more=self.budget // 2)
        state = _saved(strategy.state_dict())
        self._search(strategy, more=self.budget // 2)
        first = list(strategy.proposals)
        strategy.load_state_dict(state)
        self._search(strategy, more=self.budget // 2)
        assert strategy.proposals == first

    @pytest.mark.parametrize("name", ["strategy", "space"])
    def test_states_of_others_are_refused(self, name: str) -> None:
        """The message says of what the state is."""
        state = {**self.strategy().state_dict(), name: "another"}
        with pytest.raises(ValueError, match=r"Expected the state of a strategy .* but got one of .*another"):
            self.strategy().load_state_dict(state)

    def test_inference_mode_changes_nothing(self) -> None:
        """A Trainer validates in inference mode: what is asked and told there is as good as anywhere."""
        outside, inside = self.strategy(), self.strategy()
        expected = self._search(outside)
        with torch.inference_mode():
            self._search(inside, more=self.budget // 2)
        self._search(inside, more=self.budget - len(inside.proposals))
        assert inside.proposals == expected

    def test_it_learns(self) -> None:
        """The last proposals score better than random architectures."""
        if not self.learns:
            pytest.skip("learns is False")
        strategy, generator = self.strategy(), torch.Generator().manual_seed(0)
        self._search(strategy, more=self.budget_to_learn)
        last = [proposal.architecture for proposal in strategy.proposals[-self.budget_to_learn // 4 :]]
        chance = [strategy.space.sample(generator) for _ in range(200)]
        assert self._mean(strategy, last) > self._mean(strategy, chance) + 0.15

    def _mean(self, strategy: Strategy, architectures: Sequence[Architecture]) -> float:
        return sum(self.score(strategy, architecture) for architecture in architectures) / len(architectures)

    def _search(self, strategy: Strategy, batch: int = 1, more: int | None = None) -> list[Proposal]:
        """Ask for, and tell, as many more proposals; return all."""
        target = len(strategy.proposals) + (self.budget if more is None else more)
        while len(strategy.proposals) < target:
            proposals = strategy.ask(min(batch, target - len(strategy.proposals)))
            for proposal in proposals or strategy.waiting[:1]:
                self._tell(strategy, proposal)
            assert proposals or strategy.scores, "it has nothing to propose"
        return list(strategy.proposals)

    def _next(self, strategy: Strategy) -> Proposal:
        """Return one new proposal; scores that it waits for are told."""
        while not (proposals := strategy.ask()):
            assert strategy.waiting, "it has nothing to propose"
            self._tell(strategy, strategy.waiting[0])
        return proposals[0]

    def _tell(self, strategy: Strategy, proposal: Proposal) -> None:
        strategy.tell(proposal, self.score(strategy, proposal.architecture))


def _same(value: Value, choice: Value) -> bool:
    return type(value) is type(choice) and value == choice


def _saved(state: Mapping[str, Any]) -> Any:
    """Return a state as a checkpoint gives it back."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def _plain(value: Any) -> Any:
    """Return a state as something that can be compared; refuse whatever is no plain data."""
    if isinstance(value, Tensor):
        return ("tensor", str(value.dtype), value.tolist())
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    assert value is None or type(value) in (bool, int, float, str), f"{type(value)} is no plain data"
    return value
