"""Search guided by a predictor."""

import math
from collections.abc import Mapping
from itertools import cycle, islice
from typing import Any

import torch
from torch import Tensor

from lightning_nas.architecture import Architecture
from lightning_nas.checks import check_at_least
from lightning_nas.predictors.ensemble import PredictorEnsemble
from lightning_nas.predictors.fitting import Fitting
from lightning_nas.predictors.score_predictor import ScorePredictor
from lightning_nas.predictors.space_encoder import make_encoder
from lightning_nas.seeding import derive_seed
from lightning_nas.spaces.base import SearchSpace
from lightning_nas.strategies.base import Strategy

SECOND_MUTATION = 0.3  # probability that a mutant is mutated once more
FITTING = Fitting(epochs=100, full_batch=1024)  # a search fits often


class PredictorStrategy(Strategy):
    """Fits predictors to all known scores and proposes what they expect most of; for any space.

    The first proposals are random. From then on, whenever ``refit_every`` more scores are known and a twentieth more
    than at the last fit, an ensemble of the predictors of PNAS (arXiv 1712.00559) is fitted to the ranks of all known
    scores, from scratch. Candidates, half of them random and half mutants of the best known architectures, are proposed
    in the order of the mean prediction plus ``exploration`` times the disagreement of the members. It never waits:
    whoever asks before scores are known gets the next of the candidates, and random architectures when there are none.

    A failed architecture counts as bad as the worst known one.

    Args:
        space: What to search.
        initial: Scores, failures included, that must be known before anything is predicted.
        refit_every: New scores between fits, at least.
        candidates: Architectures among which a fit chooses.
        parents: Number of best known architectures whose mutants are candidates.
        exploration: Weight of the disagreement.
        predictor: What predicts, instead of the ensemble.
        seed: Seed of everything random.
        repeats: Whether an architecture may be proposed again.

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> strategy = PredictorStrategy("nasbench201", initial=5)
        >>> for _ in range(12):
        ...     for proposal in strategy.ask():
        ...         operations = list(proposal.architecture.values.values())
        ...         strategy.tell(proposal, operations.count("nor_conv_3x3"))
        >>> strategy.best.metrics["score"] >= 3
        True
    """

    def __init__(
        self,
        space: SearchSpace | str,
        *,
        initial: int = 20,
        refit_every: int = 5,
        candidates: int = 400,
        parents: int = 10,
        exploration: float = 1.0,
        predictor: ScorePredictor | None = None,
        seed: int = 0,
        repeats: bool = False,
    ) -> None:
        super().__init__(space, seed=seed, repeats=repeats)
        sizes = {"initial": initial, "refit_every": refit_every, "candidates": candidates, "parents": parents}
        for name, value in sizes.items():
            check_at_least(name, value, 1)
        if not math.isfinite(exploration):
            raise ValueError(f"Expected `exploration` to be a finite number but got {exploration}")
        self.initial = initial
        self.refit_every = refit_every
        self.candidates = candidates
        self.parents = parents
        self.exploration = exploration
        self.encoder = make_encoder(self.space)
        self.predictor = predictor or PredictorEnsemble(
            self.encoder.encoding, scale="rank", fitting=FITTING, embedding=16, hidden=64
        )
        self.fitted = 0  # number of scores that the last fit knew
        self._queue: list[Architecture] = []  # candidates of the last fit, the best first

    def _propose(self) -> Architecture | None:
        if self._is_fit_due():
            self._fit()
        while self._queue:
            if self.is_new(candidate := self._queue.pop(0)):
                return candidate
        return self.sample_new()

    def _is_fit_due(self) -> bool:
        due = self.fitted + max(self.refit_every, self.fitted // 20) if self.fitted else self.initial
        scored = any(score is not None for score in self.scores.values())
        return len(self.scores) >= due and scored and self.space.size > 1

    def _fit(self) -> None:
        self.fitted = len(self.scores)
        known = [self.key(self.proposals[number].architecture) for number in self.scores]
        scores = self._scores()
        self.predictor.fit(self.encoder.encode(known), scores, seed=derive_seed(self.seed, "fit", self.fitted))
        best = scores.argsort(descending=True, stable=True)[: self.parents].tolist()
        self._queue = self._ranked(self._draw([known[k] for k in best]))

    def _scores(self) -> Tensor:
        """Return the known scores, that of the worst for failures."""
        worst = min(score for score in self.scores.values() if score is not None)
        return torch.tensor([worst if s is None else s for s in self.scores.values()], dtype=torch.float64)

    def _draw(self, parents: list[Architecture]) -> list[Architecture]:
        """Return new candidates, each once."""
        drawn = [self.space.sample(self.generator) for _ in range(self.candidates // 2)]
        drawn += [self._mutate(parent) for parent in islice(cycle(parents), self.candidates - len(drawn))]
        distinct = {self.key(architecture): architecture for architecture in drawn}
        return [candidate for key, candidate in distinct.items() if self.repeats or key not in self._proposed]

    def _mutate(self, parent: Architecture) -> Architecture:
        mutant = self.space.mutate(parent, self.generator)
        again = float(torch.rand((), generator=self.generator)) < SECOND_MUTATION
        return self.space.mutate(mutant, self.generator) if again else mutant

    def _ranked(self, candidates: list[Architecture]) -> list[Architecture]:
        """Return the candidates in the order of their promise, the best first."""
        if not candidates:
            return []
        prediction = self.predictor.predict(self.encoder.encode([self.key(candidate) for candidate in candidates]))
        promise = prediction.mean + self.exploration * prediction.deviation
        return [candidates[k] for k in promise.argsort(descending=True, stable=True).tolist()]

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the future depends on, as plain data and tensors."""
        queue = [architecture.to_dict() for architecture in self._queue]
        return {**super().state_dict(), "fitted": self.fitted, "queue": queue}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state.

        Raises:
            ValueError: If it is the state of another strategy, or of one on another space.
        """
        super().load_state_dict(state)
        self.fitted = state["fitted"]
        self._queue = [Architecture.from_dict(data) for data in state["queue"]]
