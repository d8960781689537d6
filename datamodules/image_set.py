"""Labelled images that are read a whole batch at a time."""

from abc import ABC, abstractmethod
from typing import TypeVar

from torch import Tensor
from torch.utils.data import Dataset

Batch = tuple[Tensor, Tensor]
AnyBatch = TypeVar("AnyBatch")


def pass_on(batch: AnyBatch) -> AnyBatch:
    """Return the batch as it is: the ``collate_fn`` for data sets that already return batches."""
    return batch


class ImageSet(Dataset[Batch], ABC):
    """Labelled uint8 images.

    A ``DataLoader`` asks ``__getitems__`` for a batch of images at once. It needs ``collate_fn=pass_on``, because what
    it receives is a batch already.
    """

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitems__(self, indices: list[int]) -> Batch:
        """Return images [N, C, H, W] as uint8 and labels [N] as int64."""

    def __getitem__(self, index: int) -> Batch:
        images, labels = self.__getitems__([index])
        return images[0], labels[0]
