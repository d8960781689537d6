"""What a strategy needs of a predictor."""

from typing import Protocol

from torch import Tensor

from lightning_nas.predictors.prediction import Prediction
from lightning_nas.predictors.tokens import Tokens


class ScorePredictor(Protocol):
    """Learns scores from tokens; ``PredictorEnsemble``, or a predictor of your own.

    What it predicts after ``fit`` must depend on the arguments of ``fit`` only: a resumed search fits again.
    """

    def fit(
        self,
        tokens: Tokens,
        scores: Tensor,
        *,
        seed: int = 0,
        start: float | None = None,
        learning_rate: float | None = None,
    ) -> object:
        """Forget everything, and learn the scores.

        Args:
            tokens: The architectures.
            scores: ``[n]``, finite; more is better.
            seed: Seed of everything random.
            start: The score that an untrained member predicts, nearly.
            learning_rate: A rate that the search prescribes.
        """

    def predict(self, tokens: Tokens) -> Prediction:
        """Return the predicted scores."""
