"""Images kept in memory."""

import torch
from torch import Tensor

from lightning_nas.datamodules.image_set import Batch, ImageSet


class TensorImages(ImageSet):
    """Labelled images kept in memory.

    Args:
        images: [N, C, H, W], uint8.
        labels: [N], int64.
    """

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images = images
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, indices: list[int]) -> Batch:
        """Return images [N, C, H, W] and labels [N]."""
        chosen = torch.tensor(indices)
        return self.images.index_select(0, chosen), self.labels.index_select(0, chosen)
