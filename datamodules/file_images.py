"""Images that stay in their files until they are asked for."""

from pathlib import Path

import torch
from torch import Tensor

from lightning_nas.datamodules.decode_image import decode_image
from lightning_nas.datamodules.image_set import Batch, ImageSet
from lightning_nas.datamodules.labelled_files import LabelledFiles
from lightning_nas.datamodules.tensor_images import TensorImages


class FileImages(ImageSet):
    """Labelled image files, decoded on access.

    Args:
        files: The files and their labels.
        shape: Channels, height and width that every image must have.
        image_size: Resize the shorter side to so many pixels and crop to a square; None keeps the size.
        reference: The file that ``shape`` was read from, named when another file differs.
    """

    def __init__(
        self, files: LabelledFiles, shape: tuple[int, int, int], image_size: int | None, reference: Path
    ) -> None:
        self.files = files
        self.shape = shape
        self.image_size = image_size
        self.reference = reference

    def __len__(self) -> int:
        return len(self.files)

    @property
    def nbytes(self) -> int:
        """Bytes that all images take when decoded."""
        channels, height, width = self.shape
        return len(self) * channels * height * width

    def __getitems__(self, indices: list[int]) -> Batch:
        """Return images [N, C, H, W] and labels [N].

        Raises:
            ValueError: If a file is not an image, or its size differs from the others.
        """
        images = torch.stack([self._decode(index) for index in indices])
        return images, torch.tensor([self.files.labels[index] for index in indices])

    def decode_all(self, show_progress: bool = True) -> TensorImages:
        """Decode all files into memory.

        Args:
            show_progress: Show a progress bar on a terminal when it takes longer than two seconds.

        Raises:
            ValueError: If a file is not an image, or its size differs from the others.
        """
        from tqdm import tqdm  # type: ignore[import-untyped]  # tqdm ships no types

        images = torch.empty((len(self), *self.shape), dtype=torch.uint8)
        hidden = None if show_progress else True  # None: hidden where there is no terminal
        for index in tqdm(range(len(self)), desc="Decoding images", unit="image", delay=2, disable=hidden):
            images[index] = self._decode(index)
        return TensorImages(images, torch.tensor(self.files.labels))

    def _decode(self, index: int) -> Tensor:
        path = self.files.paths[index]
        image = decode_image(path, self.shape[0], self.image_size)
        if image.shape != self.shape:
            raise ValueError(
                f"Expected images of one size but got {self.shape[1]}x{self.shape[2]} in {self.reference} and "
                f"{image.shape[1]}x{image.shape[2]} in {path} (height x width); set `image_size` to resize them."
            )
        return image
