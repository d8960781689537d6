"""Several predictors, each fitted on a part of the data."""

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from lightning_nas.checks import check_at_least, check_choice, check_scale
from lightning_nas.predictors.base import Predictor
from lightning_nas.predictors.correlation import ranks
from lightning_nas.predictors.encoding import Encoding
from lightning_nas.predictors.fitting import Fitting, outside_trainer
from lightning_nas.predictors.lstm import LstmPredictor
from lightning_nas.predictors.mlp import MlpPredictor
from lightning_nas.predictors.prediction import Prediction
from lightning_nas.predictors.scale import SCALES, Scale, ScoreScale
from lightning_nas.predictors.tokens import Tokens
from lightning_nas.seeding import derive_seed, make_generator

PredictorKind = Literal["mlp", "lstm"]
PREDICTORS: dict[str, type[Predictor]] = {"mlp": MlpPredictor, "lstm": LstmPredictor}
CHUNK = 1024  # architectures scored at once: what all members make of them stays in the processor's cache


class PredictorEnsemble:
    """Predictors that are trained from scratch, member ``j`` on all data but fold ``j`` (PNAS: five members).

    All are trained in one computation. The weights depend on the data and the seed only, never on earlier fits.

    Args:
        encoding: What the tokens mean.
        kind: ``"mlp"`` or ``"lstm"``.
        members: How many.
        scale: How scores become targets of the sigmoid, see ``ScoreScale.of``. Predictions are scores again; with
            ``"rank"`` they are ranks.
        fitting: How members are trained.
        embedding: Width of the embeddings.
        hidden: Width of the hidden layers.

    Example:
        >>> encoding = Encoding(tables=(4,), fields=(0, 0))
        >>> ensemble = PredictorEnsemble(encoding, fitting=Fitting(epochs=50))
        >>> tokens = encoding.tokens([[[i, j]] for i in range(4) for j in range(4)])
        >>> losses = ensemble.fit(tokens, tokens.ids.sum((1, 2)) / 10)
        >>> ensemble.predict(tokens).mean.shape
        torch.Size([16])
    """

    def __init__(
        self,
        encoding: Encoding,
        kind: PredictorKind = "mlp",
        *,
        members: int = 5,
        scale: Scale = "auto",
        fitting: Fitting | None = None,
        embedding: int = 100,
        hidden: int = 100,
    ) -> None:
        check_choice("kind", kind, list(PREDICTORS))
        check_choice("scale", scale, SCALES)
        check_at_least("members", members, 1)
        check_scale(embedding=embedding, hidden=hidden)
        self.encoding = encoding
        self.kind = kind
        self.members = members
        self.scale: Scale = scale
        self.fitting = fitting or Fitting()
        self.embedding = embedding
        self.hidden = hidden
        self.predictor: Predictor | None = None
        self.score_scale = ScoreScale(0.0, 1.0)

    def fit(
        self,
        tokens: Tokens,
        scores: Tensor,
        *,
        seed: int = 0,
        start: float | None = None,
        learning_rate: float | None = None,
    ) -> Tensor:
        """Train all members from scratch, and return the mean absolute error of each on its data, ``[members]``.

        The error is that of the sigmoid's targets, which are the scores where these are in [0, 1].

        Args:
            tokens: The architectures.
            scores: ``[n]``, finite; more is better.
            seed: Seed of folds, initial weights and batches.
            start: The score that an untrained member predicts, nearly; by default the mean score.
            learning_rate: Other than that of ``fitting``.
        """
        check_at_least("scores", len(scores), 1)
        known = ranks(scores) if self.scale == "rank" else scores.double()
        self.score_scale = ScoreScale.of(known, "range" if self.scale == "rank" else self.scale)
        first = known.mean() if start is None or self.scale == "rank" else torch.tensor(start)
        seeds = [derive_seed(seed, "predictor", member) for member in range(self.members)]
        self.predictor = self._make(seeds, float(self.score_scale.down(first).clamp(0.01, 0.99).logit()))
        fitting = replace(self.fitting, learning_rate=learning_rate or self.fitting.learning_rate)
        parts = all_but_a_fold(len(scores), self.members, seed)
        return fitting.fit(self.predictor, tokens, self.score_scale.down(known), parts, seeds)

    def _make(self, seeds: list[int], bias: float) -> Predictor:
        kind = PREDICTORS[self.kind]
        with outside_trainer():
            return kind(self.encoding, embedding=self.embedding, hidden=self.hidden, seeds=seeds, bias=bias)

    def predict(self, tokens: Tokens) -> Prediction:
        """Return what the members say, a chunk of the architectures at a time.

        Raises:
            RuntimeError: If nothing has been fitted.
        """
        if (predictor := self.predictor) is None:
            raise RuntimeError("Expected a fitted ensemble but got one that has not seen any score; call fit first")
        chunks = (tokens[start : start + CHUNK] for start in range(0, max(len(tokens), 1), CHUNK))
        with outside_trainer(), torch.no_grad():
            return Prediction(torch.cat([self.score_scale.up(predictor(predictor.features(c))) for c in chunks], 1))


def all_but_a_fold(n: int, members: int, seed: int) -> list[Tensor]:
    """Return for each member the indices of its data: a random fold of ``n / members`` is left out, each another.

    One member alone sees everything, and so does a member whose fold is all there is.
    """
    order = torch.randperm(n, generator=make_generator(seed, "folds"))
    folds = order.tensor_split(members) if members > 1 else [order[:0]]
    return [order if len(fold) == n else order[~torch.isin(order, fold)] for fold in folds]
