"""Neural architecture search as PyTorch Lightning modules, data modules and callbacks.

The names below are imported when they are first used: ``import lightning_nas`` loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_nas.architecture import Architecture, Decision
    from lightning_nas.budget import CostBudget
    from lightning_nas.callbacks import (
        ArchitectureLog,
        CostMeter,
        DeriveArchitecture,
        DifferentiableSearch,
        GrowthGallery,
        HessianEigenvalue,
        NonMonotonicAveraging,
        ParetoFront,
        SkipCollapse,
    )
    from lightning_nas.costs import count_multiply_adds, count_parameters, measure_latency
    from lightning_nas.datamodules import (
        CIFAR10DataModule,
        CIFAR100DataModule,
        DigitsDataModule,
        ImageFolderDataModule,
        PennTreebankDataModule,
        PydocTextDataModule,
        SearchSplit,
        TextFilesDataModule,
    )
    from lightning_nas.methods import (
        ChildSearchModule,
        DartsModule,
        EnasModule,
        EvolutionModule,
        NasModule,
        PetridishModule,
        PnasModule,
        RandomSearchModule,
        RetrainModule,
        SearchModule,
    )
    from lightning_nas.objective import Objective
    from lightning_nas.spaces import (
        DartsRecurrentSpace,
        DartsSpace,
        EnasMacroSpace,
        EnasMicroSpace,
        EnasRecurrentSpace,
        InputChoice,
        Mixture,
        ModuleSpace,
        NasBench201Space,
        NasConvSpace,
        NasnetSpace,
        NasRecurrentSpace,
        OpChoice,
        PetridishSpace,
        RepeatChoice,
        SearchSpace,
        apply_architecture,
        get_space,
    )
    from lightning_nas.strategies import Proposal, Strategy
    from lightning_nas.tasks import Classification, ImageClassification, LanguageModeling, Regression, Task

__version__ = "0.1.0.dev0"

_ROOMS: dict[str, tuple[str, ...]] = {
    "architecture": ("Architecture", "Decision"),
    "budget": ("CostBudget",),
    "callbacks": (
        "ArchitectureLog",
        "CostMeter",
        "DeriveArchitecture",
        "DifferentiableSearch",
        "GrowthGallery",
        "HessianEigenvalue",
        "NonMonotonicAveraging",
        "ParetoFront",
        "SkipCollapse",
    ),
    "costs": ("count_multiply_adds", "count_parameters", "measure_latency"),
    "datamodules": (
        "CIFAR10DataModule",
        "CIFAR100DataModule",
        "DigitsDataModule",
        "ImageFolderDataModule",
        "PennTreebankDataModule",
        "PydocTextDataModule",
        "SearchSplit",
        "TextFilesDataModule",
    ),
    "methods": (
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
    ),
    "objective": ("Objective",),
    "controllers": (),
    "predictors": (),
    "strategies": ("Proposal", "Strategy"),
    "tables": (),
    "spaces": (
        "DartsRecurrentSpace",
        "DartsSpace",
        "EnasMacroSpace",
        "EnasMicroSpace",
        "EnasRecurrentSpace",
        "InputChoice",
        "Mixture",
        "ModuleSpace",
        "NasBench201Space",
        "NasConvSpace",
        "NasRecurrentSpace",
        "NasnetSpace",
        "OpChoice",
        "PetridishSpace",
        "RepeatChoice",
        "SearchSpace",
        "apply_architecture",
        "get_space",
    ),
    "tasks": ("Classification", "ImageClassification", "LanguageModeling", "Regression", "Task"),
    "zoo": (),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [
    "Architecture",
    "ArchitectureLog",
    "CIFAR10DataModule",
    "CIFAR100DataModule",
    "ChildSearchModule",
    "Classification",
    "CostBudget",
    "CostMeter",
    "DartsModule",
    "DartsRecurrentSpace",
    "DartsSpace",
    "Decision",
    "DeriveArchitecture",
    "DifferentiableSearch",
    "DigitsDataModule",
    "EnasMacroSpace",
    "EnasMicroSpace",
    "EnasModule",
    "EnasRecurrentSpace",
    "EvolutionModule",
    "GrowthGallery",
    "HessianEigenvalue",
    "ImageClassification",
    "ImageFolderDataModule",
    "InputChoice",
    "LanguageModeling",
    "Mixture",
    "ModuleSpace",
    "NasBench201Space",
    "NasConvSpace",
    "NasModule",
    "NasRecurrentSpace",
    "NasnetSpace",
    "NonMonotonicAveraging",
    "Objective",
    "OpChoice",
    "ParetoFront",
    "PennTreebankDataModule",
    "PetridishModule",
    "PetridishSpace",
    "PnasModule",
    "Proposal",
    "PydocTextDataModule",
    "RandomSearchModule",
    "Regression",
    "RepeatChoice",
    "RetrainModule",
    "SearchModule",
    "SearchSpace",
    "SearchSplit",
    "SkipCollapse",
    "Strategy",
    "Task",
    "TextFilesDataModule",
    "__version__",
    "apply_architecture",
    "count_multiply_adds",
    "count_parameters",
    "get_space",
    "measure_latency",
]


def __getattr__(name: str) -> Any:
    if name in _ROOM_OF:
        value = getattr(import_module(f"lightning_nas.{_ROOM_OF[name]}"), name)
    elif name in _ROOMS:
        value = import_module(f"lightning_nas.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_ROOMS})
