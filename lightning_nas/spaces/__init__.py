"""Search spaces: their decisions, supernets and discrete networks."""

from lightning_nas.spaces.auxiliary import AuxiliaryLogits
from lightning_nas.spaces.base import SearchSpace
from lightning_nas.spaces.choices import Choice, InputChoice, OpChoice, RepeatChoice, apply_architecture
from lightning_nas.spaces.darts import DartsSpace
from lightning_nas.spaces.darts_recurrent import DartsRecurrentSpace
from lightning_nas.spaces.decision_group import DecisionGroup
from lightning_nas.spaces.enas_macro import EnasMacroSpace
from lightning_nas.spaces.enas_micro import EnasMicroSpace
from lightning_nas.spaces.enas_recurrent import EnasRecurrentSpace
from lightning_nas.spaces.genotype import Genotype
from lightning_nas.spaces.graph import CellGraph
from lightning_nas.spaces.language_model import LanguageModel, LanguageScale
from lightning_nas.spaces.language_model_output import LanguageModelOutput
from lightning_nas.spaces.mixture import Mixture
from lightning_nas.spaces.module_space import ModuleSpace
from lightning_nas.spaces.nas_conv import NasConvSpace
from lightning_nas.spaces.nas_recurrent import NasRecurrentSpace
from lightning_nas.spaces.nasbench201 import NasBench201Space
from lightning_nas.spaces.nasnet import NasnetSpace
from lightning_nas.spaces.petridish import PetridishSpace
from lightning_nas.spaces.petridish_network import PetridishNetwork
from lightning_nas.spaces.registry import SPACES, get_space

__all__ = [
    "SPACES",
    "AuxiliaryLogits",
    "CellGraph",
    "Choice",
    "DartsRecurrentSpace",
    "DartsSpace",
    "DecisionGroup",
    "EnasMacroSpace",
    "EnasMicroSpace",
    "EnasRecurrentSpace",
    "Genotype",
    "InputChoice",
    "LanguageModel",
    "LanguageModelOutput",
    "LanguageScale",
    "Mixture",
    "ModuleSpace",
    "NasBench201Space",
    "NasConvSpace",
    "NasRecurrentSpace",
    "NasnetSpace",
    "OpChoice",
    "PetridishNetwork",
    "PetridishSpace",
    "RepeatChoice",
    "SearchSpace",
    "apply_architecture",
    "get_space",
]
