"""Search methods and retraining, as LightningModules."""

from lightning_nas.methods.base import SearchModule
from lightning_nas.methods.child_search import ChildSearchModule
from lightning_nas.methods.darts import DartsModule
from lightning_nas.methods.enas import EnasModule
from lightning_nas.methods.evolution import EvolutionModule
from lightning_nas.methods.nas import NasModule
from lightning_nas.methods.petridish import PetridishModule
from lightning_nas.methods.pnas import PnasModule
from lightning_nas.methods.random_search import RandomSearchModule
from lightning_nas.methods.retrain import RetrainModule

__all__ = [
    "ChildSearchModule",
    "DartsModule",
    "EnasModule",
    "EvolutionModule",
    "NasModule",
    "PetridishModule",
    "PnasModule",
    "RandomSearchModule",
    "RetrainModule",
    "SearchModule",
]
