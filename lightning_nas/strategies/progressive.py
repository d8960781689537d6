"""Progressive search from small cells to large ones (PNAS, Liu et al. 2018, arXiv 1712.00559)."""

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from statistics import fmean
from typing import Any, Literal

import torch
from torch import Tensor

from lightning_nas.architecture import Architecture
from lightning_nas.checks import check_at_least, check_choice
from lightning_nas.predictors.cell_encoder import CellEncoder
from lightning_nas.predictors.correlation import spearman
from lightning_nas.predictors.ensemble import PredictorEnsemble, PredictorKind
from lightning_nas.predictors.fitting import Fitting
from lightning_nas.predictors.score_predictor import ScorePredictor
from lightning_nas.seeding import derive_seed
from lightning_nas.spaces.base import SearchSpace
from lightning_nas.spaces.nasnet import NasnetSpace
from lightning_nas.strategies.base import Strategy
from lightning_nas.strategies.level_correlation import LevelCorrelation
from lightning_nas.strategies.proposal import Proposal

FIRST_RATE, LATER_RATE = 0.01, 0.002  # Adam's rate when fitting to one-block cells, and at every later level
AHEAD = 4  # a look at that many times the beam at once, for cells that are the same


class ProgressiveStrategy(Strategy):
    """Searches cells of one block, then of two, and so on; a predictor chooses which larger cells are tried (PNAS).

    Level 1 is every cell of one block. When all scores of a level are known, the predictor is fitted to all scores so
    far, every cell of the level gets every possible block more, and the ``beam`` best of these by prediction are the
    next level. ``ask`` returns nothing while scores of a level are awaited. Proposals of level ``b`` are architectures
    of ``space.with_blocks(b)``. With the paper's setting (five blocks, eight operations, a beam of 256) 136 + 4 * 256 =
    1,160 cells are proposed.

    A failed cell (score ``None``) counts for the predictor as ``failed_score`` and is not expanded. A level whose
    scores will never come is closed by telling ``None`` for each, as ``give_up`` does; what comes later is then
    ignored. The search ends early if all cells of a level fail.

    The rates of Adam are 0.01 at level 1 and 0.002 later; an untrained predictor expects the mean of level 1.

    Args:
        space: The cells of the last level; one cell for both strides.
        beam: Cells of a level, from the second on (K); all, where there are fewer.
        predictor: ``"mlp"`` or ``"lstm"`` for an ensemble of these, or what predicts. Of the paper's two, the MLP ranks
            cells that are larger than those it knows better.
        members: Size of the ensemble.
        epochs: Passes over the data when the ensemble is fitted, which the paper does not give.
        failed_score: What a failed cell counts as; by default the worst score known. The chance of the task is another.
        reorder: Whether cells that differ in the order of their blocks only count as one.
        winner: ``best`` is that of the ``"last"`` level that has scores, so in the end a cell of all blocks even if a
            smaller one was better; or of ``"any"`` level.
        seed: Seed of everything random.

    Raises:
        ValueError: If a setting is out of range, or the space is another, or has two cells or chosen outputs.

    Attributes:
        correlations: How well the predictor has ranked each level.

    Example:
        >>> space = NasnetSpace(blocks=2, operations=("identity", "max_pool_3x3"))
        >>> strategy = ProgressiveStrategy(space, beam=3, epochs=20)
        >>> for proposal in strategy.ask(100):
        ...     strategy.tell(proposal, 0.5 + proposal.number / 100)
        >>> len(strategy.scores), strategy.level, len(strategy.ask(100)), strategy.level
        (10, 1, 3, 2)
    """

    def __init__(
        self,
        space: NasnetSpace | str = "nasnet",
        beam: int = 256,
        predictor: PredictorKind | ScorePredictor = "mlp",
        *,
        members: int = 5,
        epochs: int = 300,
        failed_score: float | None = None,
        reorder: bool = True,
        winner: Literal["last", "any"] = "last",
        seed: int = 0,
    ) -> None:
        super().__init__(space, seed=seed)
        check_at_least("beam", beam, 1)
        check_choice("winner", winner, ["last", "any"])
        if failed_score is not None and not math.isfinite(failed_score):
            raise ValueError(f"Expected `failed_score` to be a finite number or None but got {failed_score}")
        self.beam = beam
        self.failed_score = failed_score
        self.reorder = reorder
        self.winner = winner
        if not isinstance(self.space, NasnetSpace):
            raise ValueError(f"Expected `space` to be a NasnetSpace but got {self.space.name!r}")
        self.cells = self.space
        self.levels = [self.cells.with_blocks(blocks) for blocks in range(1, self.cells.blocks + 1)]
        self.encoding = CellEncoder(self.cells).encoding
        if isinstance(predictor, str):
            predictor = PredictorEnsemble(self.encoding, predictor, members=members, fitting=Fitting(epochs=epochs))
        self.predictor: ScorePredictor = predictor
        self.correlations: list[LevelCorrelation] = []
        self._rows = [self.cells.expand(torch.zeros(1, 0, dtype=torch.long))]  # of each level, as proposed
        self._predicted = torch.zeros(0)  # scores of the cells of this level, from before any was known

    @property
    def level(self) -> int:
        """Number of blocks of the cells that are being proposed."""
        return len(self._rows)

    def give_up(self) -> None:
        """Count all proposals whose scores are awaited as failed, so that the search goes on without them."""
        for proposal in self.waiting:
            self.tell(proposal, None)

    @property
    def best(self) -> Architecture | None:
        """The architecture of the best score at the last level that has one, or at any level, see ``winner``."""
        valid = {number: score for number, score in self.scores.items() if score is not None}
        if not valid:
            return None
        if self.winner == "last":
            last = max(map(self._level_of, valid))
            valid = {number: score for number, score in valid.items() if self._level_of(number) == last}
        number = max(valid, key=valid.__getitem__)
        return replace(self.proposals[number].architecture, metrics={"score": valid[number]})

    def space_of(self, architecture: Architecture) -> SearchSpace:
        """Return the space of a proposed architecture, that of its number of blocks."""
        own = (space for space in self.levels if space.name == architecture.space)
        return next(own, None) or super().space_of(architecture)

    def _propose(self) -> Architecture | None:
        if not self._left and (self.waiting or not self._next_level()):
            return None
        place = len(self._rows[-1]) - self._left
        return self.cells.architectures(self._rows[-1][place : place + 1])[0]

    @property
    def _left(self) -> int:
        """Number of cells of this level that have not been proposed; levels are proposed one after the other."""
        return sum(map(len, self._rows)) - len(self.proposals)

    def _level_of(self, number: int) -> int:
        return next(level for level in range(1, self.level + 1) if number < sum(map(len, self._rows[:level])))

    def _next_level(self) -> bool:
        """Choose the cells of the next level; return whether there are any."""
        numbers = range(len(self.proposals) - len(self._rows[-1]), len(self.proposals))
        beam = self._rows[-1][[self.scores[number] is not None for number in numbers]]
        if self.level == len(self.levels) or not len(beam):
            return False
        self._fit()
        rows = self.cells.expand(beam)
        predicted = self.predictor.predict(self.encoding.of_rows([rows])).mean
        chosen, places = self._best_rows(rows, predicted)
        self._rows.append(chosen)
        self._predicted = predicted[places]
        return True

    def _fit(self) -> None:
        tokens = self.encoding.of_rows(self._rows)
        known = [self.scores[number] for number in range(len(self.proposals))]
        valid = [score for score in known if score is not None]
        failed = min(valid) if self.failed_score is None else self.failed_score
        scores = torch.tensor([failed if score is None else score for score in known], dtype=torch.float64)
        start = fmean(score for score in known[: len(self._rows[0])] if score is not None)
        rate = FIRST_RATE if self.level == 1 else LATER_RATE
        seed = derive_seed(self.seed, "level", self.level)
        self.predictor.fit(tokens, scores, seed=seed, start=start, learning_rate=rate)
        fitted = spearman(self.predictor.predict(tokens).mean, scores)
        self.correlations.append(LevelCorrelation(self.level, fitted))

    def _best_rows(self, rows: Tensor, predicted: Tensor) -> tuple[Tensor, Tensor]:
        """Return the best different cells, the best first, and where in ``rows`` they are.

        Rows are compared a few at a time: to write hundreds of thousands in all orders of their blocks takes minutes.
        """
        chosen: dict[tuple[int, ...], int] = {}
        order = predicted.argsort(descending=True, stable=True)
        for start in range(0, len(order), AHEAD * self.beam):
            places = order[start : start + AHEAD * self.beam]
            forms = self.cells.canonical_rows(rows[places]) if self.reorder else rows[places]
            for form, place in zip(forms.tolist(), places.tolist(), strict=True):
                chosen.setdefault(tuple(form), place)
            if len(chosen) >= self.beam:
                break
        best = list(chosen.items())[: self.beam]
        return torch.tensor([form for form, _ in best]), torch.tensor([place for _, place in best])

    def _learn(self, proposal: Proposal, score: float | None) -> None:
        if self.level == 1 or self._left or self.waiting:
            return
        first = len(self.proposals) - len(self._predicted)
        known = {k: s for k in range(len(self._predicted)) if (s := self.scores[first + k]) is not None}
        if len(known) > 1:
            ahead = spearman(self._predicted[list(known)], torch.tensor(list(known.values()), dtype=torch.float64))
            self.correlations[-1] = replace(self.correlations[-1], ahead=ahead)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the future depends on, as plain data and tensors."""
        return {
            **super().state_dict(),
            "rows": list(self._rows),
            "predicted": self._predicted,
            "correlations": [asdict(correlation) for correlation in self.correlations],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state.

        Raises:
            ValueError: If it is the state of another strategy, or of one on another space.
        """
        super().load_state_dict(state)
        self._rows = [rows.cpu() for rows in state["rows"]]
        self._predicted = state["predicted"].cpu()
        self.correlations = [LevelCorrelation(**correlation) for correlation in state["correlations"]]
