"""Search methods and retraining, as LightningModules."""

from lightning_nas.methods.base import SearchModule
from lightning_nas.methods.darts import DartsModule
from lightning_nas.methods.enas import EnasModule
from lightning_nas.methods.retrain import RetrainModule

__all__ = ["DartsModule", "EnasModule", "RetrainModule", "SearchModule"]
