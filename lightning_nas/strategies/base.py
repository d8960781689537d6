"""The interface of a search strategy."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from lightning_nas.architecture import Architecture
from lightning_nas.checks import check_at_least
from lightning_nas.seeding import make_generator
from lightning_nas.spaces.base import SearchSpace
from lightning_nas.spaces.registry import get_space
from lightning_nas.strategies.proposal import Proposal

ATTEMPTS = 1000  # draws in a row that give nothing new before a strategy concludes that nothing new is left


def finite(score: float | None) -> float | None:
    """Return a score as a number, or ``None`` if it says that the evaluation failed."""
    return float(score) if score is not None and math.isfinite(score) else None


class Strategy(ABC):
    """Decides which architectures to evaluate next, from the scores of those before. It trains nothing itself.

    Proposals may be told in any order, late, or never. A score of ``None``, NaN or infinity means that the evaluation
    failed. A proposal told twice counts once: the second score is ignored. All randomness comes from one generator,
    which is part of ``state_dict``: plain data, from which an equal strategy goes on exactly as this one would have.

    Args:
        space: What to search.
        seed: Seed of everything random.
        repeats: Whether an architecture may be proposed again; two ways to write one architecture
            (``space.canonical``) count as one.

    Example:
        >>> from lightning_nas.strategies import RandomStrategy
        >>> strategy = RandomStrategy("nasbench201")
        >>> for proposal in strategy.ask(3):
        ...     strategy.tell(proposal, score=proposal.number)
        >>> strategy.best.metrics["score"]
        2.0
    """

    def __init__(self, space: SearchSpace | str, *, seed: int = 0, repeats: bool = False) -> None:
        self.space = get_space(space) if isinstance(space, str) else space
        self.seed = seed
        self.repeats = repeats
        self.generator = make_generator(seed, "strategy")
        self.proposals: list[Proposal] = []
        self.scores: dict[int, float | None] = {}  # by number, in the order in which they were told
        self._waiting: dict[int, Proposal] = {}
        self._best: tuple[int, float] | None = None  # number and score of the best proposal
        self._proposed: set[Architecture] = set()
        self._keyed: tuple[Architecture, Architecture] | None = None  # what was asked for its key last, and the key

    def ask(self, n: int = 1) -> list[Proposal]:
        """Return up to ``n`` new proposals: fewer when the strategy waits for scores, or has nothing left."""
        check_at_least("n", n, 1)
        asked: list[Proposal] = []
        while len(asked) < n and (proposed := self._propose()) is not None:
            new = proposed if isinstance(proposed, Proposal) else Proposal(len(self.proposals), proposed)
            asked.append(new)
            self.proposals.append(new)
            self._waiting[new.number] = new
            self._proposed.add(self.key(new.architecture))
        return asked

    def tell(self, proposal: Proposal, score: float | None) -> None:
        """Take the score of a proposal; more is better.

        Raises:
            ValueError: If the proposal is not one of this strategy.
        """
        self._check_own(proposal)
        if proposal.number in self.scores:
            return
        self.scores[proposal.number] = finite(score)
        del self._waiting[proposal.number]
        self._keep_best(proposal.number)
        self._learn(proposal, self.scores[proposal.number])

    def _check_own(self, proposal: Proposal) -> None:
        if not (0 <= proposal.number < len(self.proposals)) or self.proposals[proposal.number] != proposal:
            raise ValueError(f"Expected a proposal that this strategy has made but got {proposal}")

    @property
    def first_space(self) -> SearchSpace:
        """The space that the search began with; ``space`` differs where a strategy goes over to others."""
        return self.space

    @property
    def waiting(self) -> list[Proposal]:
        """The proposals whose scores are not known yet."""
        return list(self._waiting.values())

    @property
    def best(self) -> Architecture | None:
        """The architecture of the best score, which is in its ``metrics["score"]``; the earliest told among equals."""
        if self._best is None:
            return None
        number, score = self._best
        return replace(self.proposals[number].architecture, metrics={"score": score})

    def _keep_best(self, number: int) -> None:
        score = self.scores[number]
        if score is not None and (self._best is None or score > self._best[1]):
            self._best = (number, score)

    @abstractmethod
    def _propose(self) -> Architecture | Proposal | None:
        """Return what is next, or ``None`` to wait for scores, or when there is nothing left.

        An architecture, or a whole proposal where there is more to say; it must have the next number.
        """

    def _learn(self, proposal: Proposal, score: float | None) -> None:  # noqa: B027  # not all strategies learn
        """Take in a score that has just been told, ``None`` for a failure; each proposal comes once."""

    def key(self, architecture: Architecture) -> Architecture:
        """Return what all ways to write an architecture have in common."""
        if self._keyed is None or self._keyed[0] is not architecture:
            self._keyed = (architecture, self.space_of(architecture).canonical(architecture))
        return self._keyed[1]

    def space_of(self, architecture: Architecture) -> SearchSpace:
        """Return the space of a proposed architecture: the strategy's own, or one that its name says."""
        return self.space if architecture.space == self.space.name else get_space(architecture.space)

    def is_new(self, architecture: Architecture) -> bool:
        """Return whether an architecture may be proposed."""
        return self.repeats or self.key(architecture) not in self._proposed

    def sample_new(self) -> Architecture | None:
        """Return a random architecture that may be proposed, or ``None`` if there seems to be none left."""
        if not self.repeats and len(self._proposed) >= self.space.size:
            return None
        draws = (self.space.sample(self.generator) for _ in range(ATTEMPTS))
        return next((architecture for architecture in draws if self.is_new(architecture)), None)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the future depends on, as plain data and tensors."""
        return {
            "strategy": type(self).__name__,
            "space": self.first_space.name,
            "seed": self.seed,
            "generator": self.generator.get_state(),
            "proposals": [proposal.architecture.to_dict() for proposal in self.proposals],
            "scores": [[number, score] for number, score in self.scores.items()],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state.

        Raises:
            ValueError: If it is the state of another strategy, or of one on another space.
        """
        self._check_state(state)
        self.seed = state["seed"]
        self.generator = torch.Generator()
        self.generator.set_state(state["generator"].cpu())
        self.proposals = self._read_proposals(state)
        self.scores = dict(state["scores"])
        self._waiting = {proposal.number: proposal for proposal in self.proposals if proposal.number not in self.scores}
        self._best = None
        for number in self.scores:
            self._keep_best(number)
        self._proposed = {self.key(proposal.architecture) for proposal in self.proposals}

    def _read_proposals(self, state: Mapping[str, Any]) -> list[Proposal]:
        return [Proposal(k, Architecture.from_dict(data)) for k, data in enumerate(state["proposals"])]

    def _check_state(self, state: Mapping[str, Any]) -> None:
        """Raise a ``ValueError`` unless it is a state of such a strategy, before anything is changed."""
        own = (type(self).__name__, self.first_space.name)
        if (given := (state.get("strategy"), state.get("space"))) != own:
            raise ValueError(f"Expected the state of a strategy {own} but got one of {given}")
