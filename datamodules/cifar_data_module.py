"""What CIFAR-10 and CIFAR-100 have in common."""

from abc import ABC
from pathlib import Path
from typing import Any, ClassVar

import torch

from lightning_nas.datamodules.image_data_module import ImageDataModule, Part
from lightning_nas.datamodules.image_set import ImageSet
from lightning_nas.datamodules.tensor_images import TensorImages


class CIFARDataModule(ImageDataModule, ABC):
    """The CIFAR images (Krizhevsky, 2009) as torchvision reads them: 50,000 for training and 10,000 for testing, 32x32.

    For a search the training images are split by order, first the weights' part, as in DARTS (Liu et al., 2019); the
    official order is random already.

    Args:
        data_dir: Folder with the official archive or its unpacked folder. It is downloaded when it is not there.
        batch_size: See ``ImageDataModule``, as for all that follow.
        eval_batch_size: Images a step in validation and testing.
        search: Split the training images in two.
        search_fraction: Share of the training images for the weights.
        augment_architecture: Augment the architecture's images of a search, too.
        val_fraction: Share of the training images held out for validation.
        max_train_images: Size of a random subset.
        crop_padding: Pixels of zeros around a training image before it is cropped.
        flip: Mirror every second training image.
        cutout: Side in pixels of the square set to zero.
        num_workers: Loader processes.
        seed: Seed of all random choices.
    """

    split_by_order = True
    image_shape = (3, 32, 32)
    torchvision_name: ClassVar[str]
    channel_mean: ClassVar[tuple[float, float, float]]
    channel_std: ClassVar[tuple[float, float, float]]

    def __init__(
        self,
        data_dir: str | Path = "data",
        *,
        batch_size: int = 64,
        eval_batch_size: int | None = None,
        search: bool = False,
        search_fraction: float = 0.5,
        augment_architecture: bool = True,
        val_fraction: float = 0.1,
        max_train_images: int | None = None,
        crop_padding: int = 4,
        flip: bool = True,
        cutout: int = 0,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        data_dir = str(data_dir)  # a Path among the hyperparameters could not be loaded from a checkpoint
        super().__init__(
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            search=search,
            search_fraction=search_fraction,
            augment_architecture=augment_architecture,
            val_fraction=val_fraction,
            max_train_images=max_train_images,
            crop_padding=crop_padding,
            flip=flip,
            cutout=cutout,
            mean=self.channel_mean,
            std=self.channel_std,
            num_workers=num_workers,
            seed=seed,
        )
        self.data_dir = Path(data_dir)

    def prepare_data(self) -> None:
        """Download the archive unless it is there.

        Raises:
            RuntimeError: If it is not there and cannot be downloaded.
        """
        self._official(train=False, download=True)

    def load(self, part: Part) -> ImageSet | None:
        """Read the official files.

        Raises:
            RuntimeError: If they are not there.
        """
        if part == "val":
            return None
        official = self._official(train=part == "train", download=False)
        images = torch.from_numpy(official.data).permute(0, 3, 1, 2).contiguous()
        return TensorImages(images, torch.tensor(official.targets))

    def _official(self, train: bool, download: bool) -> Any:
        from torchvision import datasets  # type: ignore[import-untyped]  # torchvision ships no types

        source = getattr(datasets, self.torchvision_name)
        try:
            return source(str(self.data_dir), train=train, download=download)
        except (OSError, RuntimeError) as error:
            raise RuntimeError(
                f"Expected {source.filename} or its folder {source.base_folder} in {self.data_dir.absolute()} but got "
                f"no complete copy, and downloading did not help ({error}). Put the official archive ({source.url}) "
                "there, or use ImageFolderDataModule with images in root/{train,test}/<class>/."
            ) from error
