"""Predictors of an architecture's score from the architecture alone."""

from lightning_nas.predictors.base import Predictor
from lightning_nas.predictors.correlation import spearman
from lightning_nas.predictors.encoding import Encoding
from lightning_nas.predictors.ensemble import PredictorEnsemble
from lightning_nas.predictors.fitting import Fitting
from lightning_nas.predictors.lstm import LstmPredictor
from lightning_nas.predictors.mlp import MlpPredictor
from lightning_nas.predictors.prediction import Prediction
from lightning_nas.predictors.score_predictor import ScorePredictor
from lightning_nas.predictors.tokens import Tokens

__all__ = [
    "Encoding",
    "Fitting",
    "LstmPredictor",
    "MlpPredictor",
    "Prediction",
    "Predictor",
    "PredictorEnsemble",
    "ScorePredictor",
    "Tokens",
    "spearman",
]
