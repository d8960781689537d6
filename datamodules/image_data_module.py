"""What all data modules of labelled images have in common."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from lightning_nas._lightning import CombinedLoader, pl
from lightning_nas.checks import check_at_least, check_fraction, check_mean_std
from lightning_nas.datamodules import batch_transforms
from lightning_nas.datamodules.image_set import Batch, ImageSet, pass_on
from lightning_nas.datamodules.resumable_loader import ResumableLoader, training_loader
from lightning_nas.datamodules.resumable_sampler import ResumableSampler
from lightning_nas.datamodules.splitting import choose_indices, split_indices
from lightning_nas.datamodules.training_place import TrainingPlace, epochs_done, needs_all_data
from lightning_nas.seeding import derive_seed, make_generator

Part = Literal["train", "val", "test"]
Images = ImageSet | Subset[Batch]


class ImageDataModule(pl.LightningDataModule, ABC):
    """Labelled images for a search and for the training of what it found.

    Loaders yield ``(images uint8 [N, C, H, W], labels int64 [N])``. After the move to the device,
    ``on_after_batch_transfer`` augments whole training batches, and normalises all batches to float. Its random numbers
    depend on the seed, epoch, batch, rank and stream only, so a resumed run sees the same pixels. Without a Trainer
    the hook only normalises.

    A subclass loads the images (``load``) and says what ``classes`` and ``image_shape`` are, at the latest in ``load``.

    Args:
        batch_size: Training images a step and process, at least 2 (batch normalisation needs them).
        eval_batch_size: Images a step in validation and testing; None takes ``batch_size``.
        search: Split the training images in two. The training batch is then a dict with a batch of ``"weights"`` and
            one of ``"architecture"`` images; validation takes the ``"architecture"`` images.
        search_fraction: Share of the training images for the weights.
        augment_architecture: Augment the ``"architecture"`` images of a search as those for the weights: right for
            DARTS, whose alphas they train. False only normalises them: right for ENAS, which measures rewards on them.
        val_fraction: Share of the training images held out for validation when ``search`` is false and the data set has
            no validation images of its own. 0 trains on all images and validates on none.
        max_train_images: Use a random subset of so many training images, for quick runs.
        crop_padding: Pixels of zeros around a training image before it is cropped at random; 0 does not crop.
        flip: Mirror every second training image.
        cutout: Side in pixels of the square set to zero in training images; 0 for none.
        mean: Mean of each channel of pixels in [0, 1].
        std: Standard deviation of each channel.
        num_workers: Loader processes.
        seed: Seed of the subset, the splits, the order and the augmentation.

    Raises:
        ValueError: If an argument is out of range.
    """

    classes: int
    image_shape: tuple[int, int, int]
    split_by_order: ClassVar[bool] = False

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
        crop_padding: int = 0,
        flip: bool = False,
        cutout: int = 0,
        mean: Sequence[float] = (0.5,),
        std: Sequence[float] = (0.25,),
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        check_at_least("batch_size", batch_size, 2, "batch normalisation needs two images")
        check_at_least("eval_batch_size", eval_batch_size, 1)
        check_fraction("search_fraction", search_fraction)
        check_fraction("val_fraction", val_fraction, zero_allowed=True)
        check_at_least("max_train_images", max_train_images, 2)
        check_at_least("crop_padding", crop_padding, 0)
        check_at_least("cutout", cutout, 0)
        check_mean_std(mean, std)
        check_at_least("num_workers", num_workers, 0)
        super().__init__()
        # Not for the logger: it refuses a module and a data module that both have, say, a `seed`, with other values.
        self.save_hyperparameters(logger=False)
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.search = search
        self.search_fraction = search_fraction
        self.augment_architecture = augment_architecture
        self.val_fraction = val_fraction
        self.max_train_images = max_train_images
        self.crop_padding = crop_padding
        self.flip = flip
        self.cutout = cutout
        self.mean = mean
        self.std = std
        self.num_workers = num_workers
        self.seed = seed
        self._parts: dict[str, Images] = {}

    @abstractmethod
    def load(self, part: Part) -> ImageSet | None:
        """Return the data set's own images of one part, or None if it has no such part.

        It is called in every process, after ``prepare_data``. When reading is slow it may return only the training
        images ``self.choose(count)``.
        """

    def choose(self, count: int) -> list[int]:
        """Return which of ``count`` training images ``max_train_images`` leaves, in ascending order."""
        return choose_indices(count, self.max_train_images, self.seed)

    def setup(self, stage: str) -> None:
        """Load and split the images that a stage needs, unless an earlier stage has done so.

        Raises:
            ValueError: If there are too few images to split, or ``mean`` does not fit the channels.
        """
        if stage in ("fit", "validate") and "train" not in self._parts:
            self._parts |= self._split_train()
        if stage == "test" and "test" not in self._parts:
            test = self.load("test")
            self._parts |= {} if test is None else {"test": test}
        if self._parts:
            self._check_channels()

    def _split_train(self) -> dict[str, Images]:
        images = self.load("train")
        if images is None:
            raise ValueError(f"Expected {type(self).__name__}.load('train') to return images but got None.")
        chosen = self.choose(len(images))
        train: Images = images if len(chosen) == len(images) else Subset(images, chosen)
        return {"train": train, **(self._search_parts(train) if self.search else self._train_and_val(train))}

    def _search_parts(self, train: Images) -> dict[str, Images]:
        seed = None if self.split_by_order else self.seed
        weights, architecture = split_indices(len(train), self.search_fraction, seed, least=2)
        held_out = Subset(train, architecture)
        return {"weights": Subset(train, weights), "architecture": held_out, "val": held_out}

    def _train_and_val(self, train: Images) -> dict[str, Images]:
        val = self.load("val")
        if val is not None:
            return {"val": val}
        if self.val_fraction == 0:
            return {}
        kept, held_out = split_indices(len(train), 1 - self.val_fraction, self.seed)
        return {"train": Subset(train, kept), "val": Subset(train, held_out)}

    def _check_channels(self) -> None:
        if len(self.mean) != self.image_shape[0]:
            raise ValueError(
                f"Expected `mean` and `std` to hold one number for each of the {self.image_shape[0]} channels but got "
                f"{len(self.mean)}."
            )

    def train_dataloader(self) -> ResumableLoader | CombinedLoader:
        """Return the training loader, or both loaders of a search; the shorter one starts again within an epoch."""
        place = TrainingPlace.of(self.trainer)
        if not self.search:
            return self._train_loader("train", place)
        loaders = {stream: self._train_loader(stream, place) for stream in ("weights", "architecture")}
        return CombinedLoader(loaders, "max_size_cycle")

    def val_dataloader(self) -> DataLoader[Any] | list[DataLoader[Any]]:
        """Return the validation loader, or an empty list if there are no validation images.

        Lightning warns of an empty list once; ``Trainer(limit_val_batches=0)`` says that it is meant.
        """
        self._part("train")
        return self._eval_loader(self._part("val")) if "val" in self._parts else []

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the test loader.

        Raises:
            RuntimeError: If there are no test images, or ``setup`` was not called.
        """
        return self._eval_loader(self._part("test"))

    def _part(self, name: str) -> Images:
        if name not in self._parts:
            stage = "test" if name == "test" else "fit"
            raise RuntimeError(
                f"Expected {name} images in {type(self).__name__} but got none: either setup({stage!r}) was not "
                f"called, or the data set has no {name} images."
            )
        return self._parts[name]

    def _train_loader(self, stream: str, place: TrainingPlace) -> ResumableLoader:
        seed = derive_seed(self.seed, stream)
        return training_loader(
            self._part(stream), place, batch_size=self.batch_size, seed=seed, **self._loader_options()
        )

    def _eval_loader(self, images: Images) -> DataLoader[Any]:
        generator = make_generator(self.seed, "eval")
        size = self.eval_batch_size or self.batch_size
        # Lightning gives each process a part, except where the sampler is a distributed one already
        sampler = ResumableSampler(images, shuffle=False) if needs_all_data(self.trainer) else None
        return DataLoader(images, batch_size=size, sampler=sampler, generator=generator, **self._loader_options())

    def _loader_options(self) -> dict[str, Any]:
        return {
            "num_workers": self.num_workers,
            "persistent_workers": self.num_workers > 0,
            "pin_memory": torch.cuda.is_available(),
            "collate_fn": pass_on,
        }

    def distort(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Move and mirror training images [N, C, H, W]; a subclass may do more."""
        images = batch_transforms.random_crop(images, self.crop_padding, generator)
        return batch_transforms.random_flip(images, generator) if self.flip else images

    def train_transform(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return uint8 images [N, C, H, W] augmented, normalised and with a square cut out."""
        images = self.eval_transform(self.distort(images, generator))
        return batch_transforms.cutout(images, self.cutout, generator)

    def eval_transform(self, images: Tensor) -> Tensor:
        """Return uint8 images [N, C, H, W] normalised."""
        return batch_transforms.normalise(images, self.mean, self.std)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Transform a batch, or both batches of a search."""
        if isinstance(batch, dict):
            return {stream: self._transform(part, stream) for stream, part in batch.items()}
        return self._transform(batch, "train")

    def _transform(self, batch: Batch, stream: str) -> Batch:
        images, labels = batch
        if self.trainer is None:
            return self.eval_transform(images), labels
        if self.trainer.training and (self.augment_architecture or stream != "architecture"):
            images = self.train_transform(images, self._generator(self.trainer, stream))
        else:
            images = self.eval_transform(images)
        return images.to(self.trainer.lightning_module.dtype), labels  # float64 or bfloat16 with "true" precisions

    def _generator(self, trainer: pl.Trainer, stream: str) -> torch.Generator:
        # The Trainer counts a batch as ready after this hook, so the count is the index of this batch.
        epoch, index = epochs_done(trainer), trainer.fit_loop.epoch_loop.batch_progress.current.ready
        return make_generator(self.seed, stream, epoch, index, trainer.global_rank)
