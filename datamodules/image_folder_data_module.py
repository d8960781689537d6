"""Anybody's pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from lightning_nas.checks import check_at_least, check_choice
from lightning_nas.datamodules import batch_transforms
from lightning_nas.datamodules.color_transforms import color_jitter
from lightning_nas.datamodules.decode_image import image_size_of
from lightning_nas.datamodules.file_images import FileImages
from lightning_nas.datamodules.image_data_module import ImageDataModule, Part
from lightning_nas.datamodules.image_set import ImageSet
from lightning_nas.datamodules.labelled_files import LabelledFiles, class_names

# CIFAR-10's; those of ImageNet (0.485, 0.456, 0.406; 0.229, 0.224, 0.225) are hardly different.
_MEAN = (0.49139968, 0.48215827, 0.44653124)
_STD = (0.24703233, 0.24348505, 0.26158768)


class ImageFolderDataModule(ImageDataModule):
    """Images in ``root/train/<class>/``, ``root/val/<class>/`` and ``root/test/<class>/``.

    ``val`` and ``test`` may be missing. Every file below a class folder must be an image, save hidden files. Images are
    decoded once and kept in memory if they fit ``memory_limit``, otherwise decoded each time. For a search the training
    images are split at random, and ``val`` is not used.

    Args:
        root: Folder with the folder ``train``.
        image_size: Side of the square images that a network gets; None keeps the size of the files, which must then be
            the same for all.
        decode_size: Resize the shorter side of a file to so many pixels and keep the square in the centre, at least
            ``image_size`` (the default). Boxes of ``"imagenet"`` come from that square; otherwise ``image_size`` is cut
            from its centre. The ImageNet recipes validate with 224 of 256.
        channels: 3 for colour, 1 for grey; files are converted.
        augment: ``"crop_flip"`` crops and mirrors as ``crop_padding`` and ``flip`` say; ``"imagenet"`` cuts boxes of 8
            to 100 % of the area, resizes them, mirrors as ``flip`` says and changes the colours; ``"none"`` does none
            of it. ``cutout`` applies to all three.
        memory_limit: Bytes that the decoded images of one part may take in memory.
        batch_size: See ``ImageDataModule``, as for all that follow.
        eval_batch_size: Images a step in validation and testing.
        search: Split the training images in two.
        search_fraction: Share of the training images for the weights.
        augment_architecture: Augment the architecture's images of a search, too.
        val_fraction: Share of the training images held out for validation if there is no folder ``val``.
        max_train_images: Size of a random subset; other files are not decoded.
        crop_padding: Pixels of zeros around a training image before it is cropped.
        flip: Mirror every second training image.
        cutout: Side in pixels of the square set to zero.
        mean: Mean of each channel of pixels in [0, 1]; None takes CIFAR-10's, and their average for one channel.
        std: Standard deviation of each channel; None as for ``mean``.
        num_workers: Loader processes.
        seed: Seed of all random choices.
    """

    def __init__(
        self,
        root: str | Path,
        image_size: int | None = None,
        *,
        decode_size: int | None = None,
        channels: Literal[1, 3] = 3,
        augment: Literal["crop_flip", "imagenet", "none"] = "crop_flip",
        memory_limit: int = 4 * 2**30,
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
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        check_at_least("image_size", image_size, 1)
        if decode_size is not None:
            check_at_least("decode_size", decode_size, image_size or decode_size + 1, "and `image_size` to be given")
        check_choice("channels", channels, (1, 3))
        check_choice("augment", augment, ("crop_flip", "imagenet", "none"))
        check_at_least("memory_limit", memory_limit, 0)
        root = str(root)  # a Path among the hyperparameters could not be loaded from a checkpoint
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
            mean=_for_channels(_MEAN, channels) if mean is None else mean,
            std=_for_channels(_STD, channels) if std is None else std,
            num_workers=num_workers,
            seed=seed,
        )
        self.root = Path(root)
        self.image_size = image_size
        self.decode_size = image_size if decode_size is None else decode_size
        self.channels = channels
        self.augment = augment
        self.memory_limit = memory_limit
        self.class_names: list[str] = []

    def load(self, part: Part) -> ImageSet | None:
        """Read the images of one part.

        Raises:
            FileNotFoundError: If ``root`` or its folder ``train`` does not exist.
            ValueError: If the folders or files are not as expected; the message names them.
        """
        self._look()
        if not (self.root / part).is_dir():
            return None
        self._check_same_classes(part)
        if part == "train":
            files = self._train_files.take(self.choose(len(self._train_files)))
        else:
            files = LabelledFiles.scan(self.root / part)
        shape = self.image_shape if self.decode_size is None else (self.channels, self.decode_size, self.decode_size)
        images = FileImages(files, shape, self.decode_size, self._train_files.paths[0])
        show_progress = self.trainer is None or self.trainer.is_global_zero
        return images.decode_all(show_progress) if images.nbytes <= self.memory_limit else images

    def _look(self) -> None:
        """Find the classes, the training files and the size of the images, once."""
        if self.class_names:
            return
        names = self._names_in_train()
        files = LabelledFiles.scan(self.root / "train")
        size = image_size_of(files.paths[0]) if self.image_size is None else (self.image_size, self.image_size)
        self.image_shape = (self.channels, *size)
        self._train_files, self.class_names, self.classes = files, names, len(names)

    def _names_in_train(self) -> list[str]:
        train = self.root / "train"
        for folder in (self.root, train):
            if not folder.is_dir():
                raise FileNotFoundError(
                    f"Expected images in {train}/<class>/ but got no folder {folder}; correct `root` or create it."
                )
        names = class_names(train)
        if len(names) < 2:
            raise ValueError(f"Expected at least two class folders in {train} but got {names}.")
        return names

    def _check_same_classes(self, part: Part) -> None:
        names = class_names(self.root / part)
        if names != self.class_names:
            missing, extra = (
                sorted(set(a) - set(b)) for a, b in ((self.class_names, names), (names, self.class_names))
            )
            raise ValueError(
                f"Expected the class folders of {self.root / part} to be those of {self.root / 'train'} but got "
                f"{missing} missing and {extra} too many."
            )

    def test_dataloader(self) -> torch.utils.data.DataLoader[tuple[Tensor, Tensor]]:
        """Return the test loader.

        Raises:
            FileNotFoundError: If there is no folder ``test``.
        """
        if not (self.root / "test").is_dir():
            raise FileNotFoundError(
                f"Expected test images in {self.root / 'test'}/<class>/ but got no such folder; create it, or do not "
                "test."
            )
        return super().test_dataloader()

    def distort(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Augment training images [N, C, H, W] as ``augment`` says."""
        if self.augment == "none":
            return self._centre(images)
        if self.augment == "crop_flip":
            return super().distort(self._centre(images), generator)
        images = batch_transforms.random_resized_crop(images, self.image_shape[1:], generator)
        images = batch_transforms.random_flip(images, generator) if self.flip else images
        return color_jitter(images, 0.4, 0.4, 0.4, 0.2, generator)

    def eval_transform(self, images: Tensor) -> Tensor:
        """Return the centres of uint8 images [N, C, H, W], normalised."""
        return super().eval_transform(self._centre(images))

    def _centre(self, images: Tensor) -> Tensor:
        height, width = self.image_shape[1:]
        top, left = (images.shape[-2] - height) // 2, (images.shape[-1] - width) // 2
        return images[..., top : top + height, left : left + width]


def _for_channels(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    return values if channels == len(values) else (sum(values) / len(values),) * channels
