"""Small real images that need no download."""

import torch

from lightning_nas.datamodules.image_data_module import ImageDataModule, Part
from lightning_nas.datamodules.image_set import ImageSet
from lightning_nas.datamodules.tensor_images import TensorImages

_TEST_IMAGES = 360


class DigitsDataModule(ImageDataModule):
    """The 1,797 handwritten digits of scikit-learn: 8x8 pixels, one channel, 10 classes.

    The same 360 images, chosen at random once, always form the test set, whatever the seed. The others are for
    training.

    Args:
        batch_size: See ``ImageDataModule``, as for all that follow.
        eval_batch_size: Images a step in validation and testing.
        search: Split the training images in two.
        search_fraction: Share of the training images for the weights.
        augment_architecture: Augment the architecture's images of a search, too.
        val_fraction: Share of the training images held out for validation.
        max_train_images: Size of a random subset.
        crop_padding: Pixels of zeros around a training image before it is cropped.
        flip: Mirror every second training image; a mirrored digit is seldom a digit.
        cutout: Side in pixels of the square set to zero.
        num_workers: Loader processes.
        seed: Seed of all random choices but the test set.
    """

    classes = 10
    image_shape = (1, 8, 8)

    def __init__(
        self,
        *,
        batch_size: int = 64,
        eval_batch_size: int | None = None,
        search: bool = False,
        search_fraction: float = 0.5,
        augment_architecture: bool = True,
        val_fraction: float = 0.1,
        max_train_images: int | None = None,
        crop_padding: int = 1,
        flip: bool = False,
        cutout: int = 0,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
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
            mean=(0.3057,),  # of the training images
            std=(0.3759,),
            num_workers=num_workers,
            seed=seed,
        )

    def load(self, part: Part) -> ImageSet | None:
        """Read the images that come with scikit-learn.

        Raises:
            ImportError: If scikit-learn is not installed.
        """
        if part == "val":
            return None
        digits = _all_digits()
        order = torch.randperm(len(digits), generator=torch.Generator().manual_seed(0)).tolist()
        return TensorImages(*digits.__getitems__(order[:_TEST_IMAGES] if part == "test" else order[_TEST_IMAGES:]))


def _all_digits() -> TensorImages:
    try:
        from sklearn.datasets import load_digits  # type: ignore[import-untyped]  # scikit-learn ships no types
    except ImportError as error:
        raise ImportError(
            'Expected scikit-learn for DigitsDataModule but it is missing: pip install "lightning-nas[demo]".'
        ) from error
    digits = load_digits()
    images = torch.from_numpy(digits.images) * (255 / 16)  # grey values run from 0 to 16
    return TensorImages(images.round().to(torch.uint8).unsqueeze(1), torch.from_numpy(digits.target).long())
