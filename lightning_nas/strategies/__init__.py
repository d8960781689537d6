"""Search strategies: they ask for scores of architectures and are told them."""

from lightning_nas.strategies.base import Strategy
from lightning_nas.strategies.evolution import EvolutionStrategy
from lightning_nas.strategies.predictor import PredictorStrategy
from lightning_nas.strategies.progressive import ProgressiveStrategy
from lightning_nas.strategies.proposal import Proposal
from lightning_nas.strategies.random import RandomStrategy
from lightning_nas.strategies.reinforce import ReinforceStrategy

__all__ = [
    "EvolutionStrategy",
    "PredictorStrategy",
    "ProgressiveStrategy",
    "Proposal",
    "RandomStrategy",
    "ReinforceStrategy",
    "Strategy",
]
