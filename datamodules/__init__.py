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
    from lightning_nas.datamodules.penn_treebank_data_module import PennTreebankDataModule
    from lightning_nas.datamodules.pydoc_text_data_module import PydocTextDataModule
    from lightning_nas.datamodules.resumable_sampler import ResumableSampler
    from lightning_nas.datamodules.search_split import SearchSplit
    from lightning_nas.datamodules.text_data_module import TextDataModule
    from lightning_nas.datamodules.text_files_data_module import TextFilesDataModule
    from lightning_nas.datamodules.vocabulary import Vocabulary

__all__ = [
    "CIFAR10DataModule",
    "CIFAR100DataModule",
    "DigitsDataModule",
    "ImageDataModule",
    "ImageFolderDataModule",
    "PennTreebankDataModule",
    "PydocTextDataModule",
    "ResumableSampler",
    "SearchSplit",
    "TextDataModule",
    "TextFilesDataModule",
    "Vocabulary",
]

_FILES = {
    "CIFAR10DataModule": "cifar10_data_module",
    "CIFAR100DataModule": "cifar100_data_module",
    "DigitsDataModule": "digits_data_module",
    "ImageDataModule": "image_data_module",
    "ImageFolderDataModule": "image_folder_data_module",
    "PennTreebankDataModule": "penn_treebank_data_module",
    "PydocTextDataModule": "pydoc_text_data_module",
    "ResumableSampler": "resumable_sampler",
    "SearchSplit": "search_split",
    "TextDataModule": "text_data_module",
    "TextFilesDataModule": "text_files_data_module",
    "Vocabulary": "vocabulary",
}


def __getattr__(name: str) -> object:
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_FILES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
