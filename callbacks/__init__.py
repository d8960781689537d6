"""Callbacks for searches and for any Lightning project."""

from lightning_nas.callbacks.architecture_log import ArchitectureLog
from lightning_nas.callbacks.cost_meter import CostMeter
from lightning_nas.callbacks.derive_architecture import DeriveArchitecture
from lightning_nas.callbacks.differentiable_search import DifferentiableSearch
from lightning_nas.callbacks.growth_gallery import GrowthGallery
from lightning_nas.callbacks.hessian_eigenvalue import HessianEigenvalue
from lightning_nas.callbacks.non_monotonic_averaging import NonMonotonicAveraging
from lightning_nas.callbacks.pareto_front import ParetoFront
from lightning_nas.callbacks.skip_collapse import SkipCollapse

__all__ = [
    "ArchitectureLog",
    "CostMeter",
    "DeriveArchitecture",
    "DifferentiableSearch",
    "GrowthGallery",
    "HessianEigenvalue",
    "NonMonotonicAveraging",
    "ParetoFront",
    "SkipCollapse",
]
