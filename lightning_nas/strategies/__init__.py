"""Search strategies: they ask for scores of architectures and are told them."""

from lightning_nas.strategies.base import Strategy
from lightning_nas.strategies.evolution import EvolutionStrategy
from lightning_nas.strategies.level_correlation import LevelCorrelation
from lightning_nas.strategies.predictor import PredictorStrategy
from lightning_nas.strategies.progressive import ProgressiveStrategy
from lightning_nas.strategies.proposal import Proposal
from lightning_nas.strategies.random import RandomStrategy
from lightning_nas.strategies.reinforce import ReinforceStrategy
from lightning_nas.strategies.search_cost import search_cost

__all__ = [
    "EvolutionStrategy",
    "LevelCorrelation",
    "PredictorStrategy",
    "ProgressiveStrategy",
    "Proposal",
    "RandomStrategy",
    "ReinforceStrategy",
    "Strategy",
    "search_cost",
]
