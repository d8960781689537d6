"""Search spaces: their decisions, supernets and discrete networks."""

from lightning_nas.spaces.auxiliary import AuxiliaryLogits
from lightning_nas.spaces.base import SearchSpace
from lightning_nas.spaces.darts import DartsSpace
from lightning_nas.spaces.decision_group import DecisionGroup
from lightning_nas.spaces.genotype import Genotype
from lightning_nas.spaces.graph import CellGraph
from lightning_nas.spaces.mixture import Mixture
from lightning_nas.spaces.nasbench201 import NasBench201Space
from lightning_nas.spaces.registry import SPACES, get_space

__all__ = [
    "SPACES",
    "AuxiliaryLogits",
    "CellGraph",
    "DartsSpace",
    "DecisionGroup",
    "Genotype",
    "Mixture",
    "NasBench201Space",
    "SearchSpace",
    "get_space",
]
