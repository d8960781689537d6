from collections.abc import Sized
from itertools import pairwise
from typing import Any, cast

import pytest
import torch
from torch.utils.data import DataLoader

from lightning_nas._lightning import CombinedLoader
from lightning_nas.datamodules import batch_transforms
from lightning_nas.datamodules.image_data_module import ImageDataModule, Part
from lightning_nas.datamodules.image_set import ImageSet
from lightning_nas.datamodules.resumable_loader import ResumableLoader
from lightning_nas.datamodules.tensor_images import TensorImages
from lightning_nas.seeding import make_generator

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # Lightning's CombinedLoader, torch 2.14


class Numbered(ImageDataModule):
    """Images whose label is their number."""

    image_shape = (3, 6, 6)
    classes = 100

    def __init__(self, sizes: dict[str, int] | None = None, **arguments: Any) -> None:
        self.sizes = {"train": 40} if sizes is None else sizes
        self.loads: list[str] = []
        super().__init__(**{"batch_size": 8, "mean": (0.4, 0.5, 0.6), "std": (0.1, 0.2, 0.3), **arguments})

    def load(self, part: Part) -> ImageSet | None:
        self.loads.append(part)
        if part not in self.sizes:
            return None
        shape = (self.sizes[part], *self.image_shape)
        pixels = torch.randint(256, shape, generator=make_generator(part), dtype=torch.uint8)
        return TensorImages(pixels, torch.arange(len(pixels)))


class ByOrder(Numbered):
    split_by_order = True


def labels(loader: object) -> list[int]:
    assert isinstance(loader, DataLoader)
    return [label for _, batch in loader for label in batch.tolist()]


def streams(data: ImageDataModule) -> dict[str, ResumableLoader]:
    loader = data.train_dataloader()
    assert isinstance(loader, CombinedLoader)
    return cast(dict[str, ResumableLoader], loader.iterables)


def ready(data: Numbered) -> Numbered:
    data.setup("fit")
    return data


def test_batches_are_uint8_with_int64_labels() -> None:
    images, numbers = next(iter(ready(Numbered()).train_dataloader()))
    assert (images.dtype, tuple(images.shape)) == (torch.uint8, (8, 3, 6, 6))
    assert (numbers.dtype, tuple(numbers.shape)) == (torch.int64, (8,))


def test_train_and_validation_parts() -> None:
    data = ready(Numbered(val_fraction=0.2))
    train, val = labels(data.train_dataloader()), labels(data.val_dataloader())
    assert (len(train), len(val)) == (32, 8)
    assert sorted(train + val) == list(range(40))
    assert labels(data.val_dataloader()) == val  # in one order
    other = ready(Numbered(val_fraction=0.2, seed=1))
    assert sorted(labels(other.val_dataloader())) != sorted(val)


def test_no_validation_part() -> None:
    data = ready(Numbered(val_fraction=0))
    assert data.val_dataloader() == []
    assert sorted(labels(data.train_dataloader())) == list(range(40))


def test_own_validation_images_are_used() -> None:
    data = ready(Numbered({"train": 40, "val": 5}, val_fraction=0.2))
    assert labels(data.val_dataloader()) == list(range(5))
    assert sorted(labels(data.train_dataloader())) == list(range(40))


def test_search_parts_at_random() -> None:
    data = ready(Numbered({"train": 40, "val": 5}, search=True, search_fraction=0.7))
    parts = {stream: labels(loader) for stream, loader in streams(data).items()}
    assert list(parts) == ["weights", "architecture"]
    assert [len(part) for part in parts.values()] == [28, 12]
    assert sorted(parts["weights"] + parts["architecture"]) == list(range(40))
    assert sorted(parts["weights"]) != list(range(28))
    assert sorted(labels(data.val_dataloader())) == sorted(parts["architecture"])
    assert data.loads == ["train"]


def test_search_parts_by_order() -> None:
    data = ready(ByOrder(search=True))
    weights, architecture = (labels(loader) for loader in streams(data).values())
    assert sorted(weights) == list(range(20))
    assert weights != sorted(weights)
    assert sorted(architecture) == list(range(20, 40))
    assert labels(data.val_dataloader()) == list(range(20, 40))


def test_search_batch_is_a_dict_and_the_short_stream_cycles() -> None:
    data = ready(Numbered(search=True, search_fraction=0.7))
    loader = data.train_dataloader()
    seen = [batch for batch, _, _ in loader]
    assert len(seen) == 4
    assert set(seen[0]) == {"weights", "architecture"}
    assert [len(batch["architecture"][1]) for batch in seen] == [8, 4, 8, 4]
    assert torch.equal(seen[0]["architecture"][1], seen[2]["architecture"][1])


def test_random_subset() -> None:
    data = ready(Numbered(val_fraction=0, max_train_images=10))
    chosen = labels(data.train_dataloader())
    assert len(set(chosen)) == 10
    assert sorted(chosen) != list(range(10))
    weights, architecture = (labels(x) for x in streams(ready(ByOrder(search=True, max_train_images=10))).values())
    assert sorted(weights) + sorted(architecture) == sorted(chosen)
    assert len(labels(ready(Numbered(val_fraction=0, max_train_images=99)).train_dataloader())) == 40


def test_single_last_image_is_dropped() -> None:
    assert len(labels(ready(Numbered({"train": 41}, val_fraction=0)).train_dataloader())) == 40
    assert len(labels(ready(Numbered({"train": 42}, val_fraction=0)).train_dataloader())) == 42


def test_only_what_a_stage_needs_is_loaded_once() -> None:
    data = Numbered({"train": 40, "test": 3})
    data.setup("test")
    data.setup("test")
    assert data.loads == ["test"]
    assert labels(data.test_dataloader()) == [0, 1, 2]
    data.setup("validate")
    data.setup("fit")
    data.setup("predict")
    assert data.loads == ["test", "train", "val"]


def test_evaluation_batch_size() -> None:
    data = ready(Numbered(val_fraction=0.5, eval_batch_size=3))
    val, plain = data.val_dataloader(), ready(Numbered()).val_dataloader()
    assert isinstance(val, DataLoader)
    assert isinstance(plain, DataLoader)
    assert (val.batch_size, plain.batch_size) == (3, 8)


def test_train_transform_is_crop_flip_normalise_cutout() -> None:
    data = Numbered(crop_padding=2, flip=True, cutout=3)
    images = cast(TensorImages, data.load("train")).images
    result = data.train_transform(images, make_generator(5))
    generator = make_generator(5)
    expected = batch_transforms.random_flip(batch_transforms.random_crop(images, 2, generator), generator)
    expected = (expected / 255 - torch.tensor(data.mean).view(3, 1, 1)) / torch.tensor(data.std).view(3, 1, 1)
    assert torch.allclose(result, batch_transforms.cutout(expected, 3, generator), atol=1e-5)
    assert (result == 0).flatten(1).any(1).all()  # the hole is 0 after normalisation


def test_without_a_trainer_batches_are_normalised_only() -> None:
    data = ready(Numbered(crop_padding=2, flip=True, cutout=3, search=True))
    batch, _, _ = next(iter(data.train_dataloader()))
    result = data.on_after_batch_transfer(batch, 0)
    for stream, (images, numbers) in batch.items():
        assert torch.equal(result[stream][0], batch_transforms.normalise(images, data.mean, data.std))
        assert torch.equal(result[stream][1], numbers)


def test_workers_do_not_change_the_order() -> None:
    alone, helped = (labels(ready(Numbered(num_workers=workers)).train_dataloader()) for workers in (0, 1))
    assert alone == helped


def test_image_sets_give_single_images_too() -> None:
    images = cast(TensorImages, Numbered().load("train"))
    image, number = images[3]
    assert torch.equal(image, images.images[3])
    assert (number.item(), len(cast(Sized, images))) == (3, 40)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"batch_size": 1},
            r"Expected `batch_size` to be at least 2 \(batch normalisation needs two images\) but got 1",
        ),
        ({"eval_batch_size": 0}, "Expected `eval_batch_size` to be at least 1 but got 0"),
        ({"search_fraction": 1.0}, r"Expected `search_fraction` to be a share with 0 < fraction < 1 but got 1\.0"),
        ({"search_fraction": 0.0}, r"Expected `search_fraction` to be a share with 0 < fraction < 1 but got 0\.0"),
        ({"val_fraction": -0.1}, r"Expected `val_fraction` to be a share with 0 <= fraction < 1 but got -0\.1"),
        ({"val_fraction": 1}, "Expected `val_fraction` to be a share with 0 <= fraction < 1 but got 1"),
        ({"max_train_images": 1}, "Expected `max_train_images` to be at least 2 but got 1"),
        ({"crop_padding": -1}, "Expected `crop_padding` to be at least 0 but got -1"),
        ({"cutout": -1}, "Expected `cutout` to be at least 0 but got -1"),
        ({"num_workers": -1}, "Expected `num_workers` to be at least 0 but got -1"),
        ({"mean": (0.1, 0.2)}, "Expected `mean` and `std` of equal length"),
        ({"std": (0.1, 0.0, 0.3)}, r"and `std` above 0 but got .*0\.0"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Numbered(**arguments)


def test_wrong_number_of_channels() -> None:
    with pytest.raises(ValueError, match="one number for each of the 3 channels but got 1"):
        Numbered(mean=(0.5,), std=(0.5,)).setup("fit")


def test_too_few_images_to_split() -> None:
    with pytest.raises(ValueError, match="both parts to hold at least 2 samples but got 2 and 1"):
        Numbered({"train": 3}, search=True, search_fraction=0.6).setup("fit")


def test_no_training_images() -> None:
    with pytest.raises(ValueError, match=r"Expected Numbered.load\('train'\) to return images but got None"):
        Numbered({}).setup("fit")


def test_loaders_before_setup() -> None:
    for loader in ("train_dataloader", "val_dataloader"):
        with pytest.raises(
            RuntimeError, match=r"Expected train images in Numbered but got none: either setup\('fit'\)"
        ):
            getattr(Numbered(), loader)()


def test_no_test_images() -> None:
    data = Numbered()
    data.setup("test")
    with pytest.raises(RuntimeError, match=r"setup\('test'\) was not called, or the data set has no test images"):
        data.test_dataloader()


def test_epochs_differ() -> None:
    loader = ready(Numbered(val_fraction=0)).train_dataloader()
    assert isinstance(loader, ResumableLoader)
    orders: list[list[int]] = []
    for epoch in range(3):
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]  # a ResumableSampler
        orders.append(labels(loader))
    assert all(first != second for first, second in pairwise(orders))
