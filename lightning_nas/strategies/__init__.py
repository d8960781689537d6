"""Search strategies: they ask for scores of architectures and are told them."""

from lightning_nas.hull import lower_hull, within_band
from lightning_nas.strategies.base import Strategy
from lightning_nas.strategies.evolution import EvolutionStrategy
from lightning_nas.strategies.growing_space import GrowingSpace
from lightning_nas.strategies.hull_pool import HullPool
from lightning_nas.strategies.job import Job
from lightning_nas.strategies.level_correlation import LevelCorrelation
from lightning_nas.strategies.petridish import PetridishStrategy
from lightning_nas.strategies.predictor import PredictorStrategy
from lightning_nas.strategies.progressive import ProgressiveStrategy
from lightning_nas.strategies.proposal import Proposal
from lightning_nas.strategies.random import RandomStrategy
from lightning_nas.strategies.reinforce import ReinforceStrategy
from lightning_nas.strategies.search_cost import search_cost

__all__ = [
    "EvolutionStrategy",
    "GrowingSpace",
    "HullPool",
    "Job",
    "LevelCorrelation",
    "PetridishStrategy",
    "PredictorStrategy",
    "ProgressiveStrategy",
    "Proposal",
    "RandomStrategy",
    "ReinforceStrategy",
    "Strategy",
    "lower_hull",
    "search_cost",
    "within_band",
]
