"""Regularised evolution (Real et al. 2018, arXiv 1802.01548)."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch

from lightning_nas.architecture import Architecture
from lightning_nas.checks import check_at_least, check_choice, check_fraction
from lightning_nas.spaces.base import SearchSpace
from lightning_nas.strategies.base import ATTEMPTS, Strategy
from lightning_nas.strategies.proposal import Proposal

Kill = Literal["oldest", "worst_in_sample", "worst"]


class EvolutionStrategy(Strategy):
    """Proposes mutants of the best of a few that are drawn from a population, in which each lives for a time only.

    The first proposals are random. What has been evaluated joins the population in the order in which its score is
    told; from ``population`` members on, each that joins takes the place of another. ``best`` is the best ever told,
    alive or not. Failed architectures never join. It never waits: while the scores of some proposals are not known,
    parents are drawn from what is there.

    The paper evaluates again what is proposed again, which it holds to be part of the method: ``repeats=True``. Without
    repeats a mutant that is known already is given up, and another parent is drawn.

    Args:
        space: What to search; it says what a mutation is.
        population: Number of members, P.
        sample: How many members are drawn, with replacement, to take the best of as the parent, S.
        identity: Probability that the child is its parent, to be evaluated again. Only with ``repeats``.
        kill: Which member goes: the ``"oldest"``, as in the paper, or the ``"worst"`` of all, or the
            ``"worst_in_sample"`` of those that the parent was the best of.
        seed: Seed of everything random.
        repeats: Whether an architecture may be proposed again.

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> strategy = EvolutionStrategy("nasbench201", population=20, sample=5)
        >>> def convolutions(architecture):
        ...     return float(list(architecture.values.values()).count("nor_conv_3x3"))
        >>> for _ in range(200):
        ...     for proposal in strategy.ask():
        ...         strategy.tell(proposal, convolutions(proposal.architecture))
        >>> strategy.best.metrics["score"]
        6.0
    """

    def __init__(
        self,
        space: SearchSpace | str,
        *,
        population: int = 100,
        sample: int = 25,
        identity: float = 0.05,
        kill: Kill = "oldest",
        seed: int = 0,
        repeats: bool = False,
    ) -> None:
        super().__init__(space, seed=seed, repeats=repeats)
        check_at_least("population", population, 1)
        check_at_least("sample", sample, 1)
        check_fraction("identity", identity, zero_allowed=True)
        check_choice("kill", kill, get_args(Kill))
        self.population = population
        self.sample = sample
        self.identity = identity
        self.kill = kill
        self.members: list[int] = []  # the numbers of the proposals that are alive, the oldest first
        self._drawn: dict[int, list[int]] = {}  # what the parents of waiting proposals were the best of

    def _propose(self) -> Architecture | None:
        if len(self.members) < self.population or self.space.size == 1:  # a single architecture has no mutants
            return self.sample_new()
        for _ in range(ATTEMPTS):
            drawn = self._draw()
            child = self._child(self.proposals[max(drawn, key=self._score)].architecture)
            if self.is_new(child):
                self._drawn[len(self.proposals)] = drawn
                return child
        return self.sample_new()  # the population's neighbourhood is known: look elsewhere

    def _draw(self) -> list[int]:
        picked = torch.randint(len(self.members), (self.sample,), generator=self.generator)
        return [self.members[k] for k in picked.tolist()]

    def _child(self, parent: Architecture) -> Architecture:
        if self.repeats and float(torch.rand((), generator=self.generator)) < self.identity:
            return parent
        return self.space.mutate(parent, self.generator)

    def _learn(self, proposal: Proposal, score: float | None) -> None:
        drawn = self._drawn.pop(proposal.number, [])
        if score is None:
            return
        self.members.append(proposal.number)
        if len(self.members) > self.population:
            self.members.remove(self._victim(drawn))

    def _victim(self, drawn: list[int]) -> int:
        if self.kill == "oldest":
            return self.members[0]
        # others may have killed all of them while the child was evaluated
        sample = [number for number in drawn if number in self.members] if self.kill == "worst_in_sample" else []
        return min(sample or self.members, key=self._score)

    def _score(self, number: int) -> float:
        score = self.scores[number]
        assert score is not None, "a failed proposal is no member"
        return score

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the future depends on, the population among it."""
        drawn = [[number, list(sample)] for number, sample in self._drawn.items()]
        return {**super().state_dict(), "members": list(self.members), "drawn": drawn}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state.

        Raises:
            ValueError: If it is the state of another strategy, or of one on another space.
        """
        super().load_state_dict(state)
        self.members = list(state["members"])
        self._drawn = {number: list(sample) for number, sample in state["drawn"]}
