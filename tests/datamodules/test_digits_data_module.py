import sys
from typing import cast

import pytest
import torch

from lightning_nas.datamodules.digits_data_module import DigitsDataModule
from lightning_nas.datamodules.tensor_images import TensorImages

load_digits = pytest.importorskip("sklearn.datasets").load_digits


def parts(data: DigitsDataModule) -> tuple[TensorImages, TensorImages]:
    return cast(TensorImages, data.load("train")), cast(TensorImages, data.load("test"))


def test_all_digits_are_in_one_part() -> None:
    train, test = parts(DigitsDataModule())
    assert (len(train), len(test)) == (1437, 360)
    digits = load_digits()
    expected = sorted((image * 255 / 16).round().astype("uint8").tobytes() for image in digits.images)
    assert sorted(image.numpy().tobytes() for image in torch.cat([train.images, test.images])) == expected
    assert train.images.shape[1:] == (1, 8, 8)
    assert train.images.dtype == torch.uint8
    assert int(train.images.max()) == 255
    labels = torch.cat([train.labels, test.labels])
    assert labels.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_labels_belong_to_the_images() -> None:
    digits = load_digits()
    known = {
        (image * 255 / 16).round().astype("uint8").tobytes(): label
        for image, label in zip(digits.images, digits.target, strict=True)
    }
    _, test = parts(DigitsDataModule())
    assert [known[image.numpy().tobytes()] for image in test.images] == test.labels.tolist()


def test_test_part_does_not_depend_on_the_seed() -> None:
    _, first = parts(DigitsDataModule(seed=0))
    _, second = parts(DigitsDataModule(seed=1))
    assert torch.equal(first.images, second.images)
    assert min(first.labels.bincount(minlength=10)) > 20


def test_training_images_are_normalised() -> None:
    data = DigitsDataModule()
    train, _ = parts(data)
    pixels = data.eval_transform(train.images)
    assert abs(pixels.mean()) < 1e-3
    assert abs(pixels.std() - 1) < 1e-3


def test_defaults() -> None:
    data = DigitsDataModule(search=True)
    data.setup("fit")
    assert data.augment_architecture
    assert not DigitsDataModule(augment_architecture=False).augment_architecture
    assert (data.crop_padding, data.flip, data.classes, data.image_shape) == (1, False, 10, (1, 8, 8))
    assert len(data.val_dataloader().dataset) == 719  # type: ignore[union-attr,arg-type]  # one DataLoader


def test_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r'pip install "lightning-nas\[demo\]"'):
        DigitsDataModule().setup("fit")
