"""Data modules that give a search two streams of batches, and the parts they are made of.

Nothing heavy is imported until a name is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning_nas.datamodules.cifar10_data_module import CIFAR10DataModule
    from lightning_nas.datamodules.cifar100_data_module import CIFAR100DataModule
    from lightning_nas.datamodules.digits_data_module import DigitsDataModule
    from lightning_nas.datamodules.image_data_module import ImageDataModule
    from lightning_nas.datamodules.image_folder_data_module import ImageFolderDataModule
    from lightning_nas.datamodules.resumable_sampler import ResumableSampler
    from lightning_nas.datamodules.search_split import SearchSplit

__all__ = [
    "CIFAR10DataModule",
    "CIFAR100DataModule",
    "DigitsDataModule",
    "ImageDataModule",
    "ImageFolderDataModule",
    "ResumableSampler",
    "SearchSplit",
]

_FILES = {
    "CIFAR10DataModule": "cifar10_data_module",
    "CIFAR100DataModule": "cifar100_data_module",
    "DigitsDataModule": "digits_data_module",
    "ImageDataModule": "image_data_module",
    "ImageFolderDataModule": "image_folder_data_module",
    "ResumableSampler": "resumable_sampler",
    "SearchSplit": "search_split",
}


def __getattr__(name: str) -> object:
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_FILES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
