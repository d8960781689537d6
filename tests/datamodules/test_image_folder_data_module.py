import zipfile
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_nas._lightning import CombinedLoader
from lightning_nas.datamodules import batch_transforms
from lightning_nas.datamodules.color_transforms import color_jitter
from lightning_nas.datamodules.decode_image import decode_image
from lightning_nas.datamodules.file_images import FileImages
from lightning_nas.datamodules.image_folder_data_module import ImageFolderDataModule
from lightning_nas.datamodules.image_set import ImageSet
from lightning_nas.datamodules.tensor_images import TensorImages
from lightning_nas.seeding import make_generator

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # Lightning's CombinedLoader, torch 2.14

REAL = Path(__file__).parents[3] / "shared" / "data" / "cifar10" / "cifar10-jpeg.zip"


def save(path: Path, shade: int, size: tuple[int, int] = (6, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), shade, dtype=np.uint8)).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Ten training images a class of shades 0..9 and 100..109, two test images a class."""
    for label, name in enumerate(("ant", "bee")):
        for number in range(10):
            save(tmp_path / "train" / name / f"{number}.png", 100 * label + number)
        for number in range(2):
            save(tmp_path / "test" / name / f"{number}.png", 200 + 10 * label + number)
    return tmp_path


def loaded(root: Path, part: Any = "train", **arguments: Any) -> ImageSet:
    images = ImageFolderDataModule(root, **arguments).load(part)
    assert images is not None
    return images


def shades(images: ImageSet) -> list[int]:
    pixels, _ = images.__getitems__(list(range(len(images))))
    assert (pixels == pixels[:, :1, :1, :1]).all()
    return cast(list[int], pixels[:, 0, 0, 0].tolist())


def test_images_and_labels(root: Path) -> None:
    data = ImageFolderDataModule(root, val_fraction=0)
    data.setup("fit")
    data.setup("test")
    assert (data.classes, data.class_names, data.image_shape) == (2, ["ant", "bee"], (3, 6, 6))
    images, labels = next(iter(data.train_dataloader()))
    assert images.dtype == torch.uint8
    assert sorted(zip(images[:, 0, 0, 0].tolist(), labels.tolist(), strict=True)) == [
        *((shade, 0) for shade in range(10)),
        *((100 + shade, 1) for shade in range(10)),
    ]
    images, labels = next(iter(data.test_dataloader()))
    assert images[:, 0, 0, 0].tolist() == [200, 201, 210, 211]
    assert labels.tolist() == [0, 0, 1, 1]


def test_images_on_disk_are_the_images_in_memory(root: Path) -> None:
    memory, disk = loaded(root), loaded(root, memory_limit=20 * 108 - 1)
    assert isinstance(memory, TensorImages)
    assert isinstance(disk, FileImages)
    assert isinstance(loaded(root, memory_limit=20 * 108), TensorImages)
    for left, right in zip(memory.__getitems__([3, 17, 0]), disk.__getitems__([3, 17, 0]), strict=True):
        assert left.dtype == right.dtype
        assert torch.equal(left, right)


def test_images_on_disk_can_be_loaded_by_workers(root: Path) -> None:
    data = ImageFolderDataModule(root, memory_limit=0, val_fraction=0, num_workers=1, batch_size=7)
    data.setup("fit")
    batches = list(data.train_dataloader())
    assert [len(labels) for _, labels in batches] == [7, 7, 6]
    assert sorted(torch.cat([images[:, 0, 0, 0] for images, _ in batches]).tolist()) == [*range(10), *range(100, 110)]


def test_search_split_mixes_the_classes(root: Path) -> None:
    data = ImageFolderDataModule(root, search=True)
    data.setup("fit")
    loader = data.train_dataloader()
    assert isinstance(loader, CombinedLoader)
    parts = [next(iter(loader.iterables[stream])) for stream in ("weights", "architecture")]
    assert all(set(labels.tolist()) == {0, 1} for _, labels in parts)
    together = torch.cat([images[:, 0, 0, 0] for images, _ in parts]).tolist()
    assert sorted(together) == [*range(10), *range(100, 110)]


def test_own_validation_folder(root: Path) -> None:
    for name in ("ant", "bee"):
        save(root / "val" / name / "0.png", 55)
    data = ImageFolderDataModule(root)
    data.setup("fit")
    assert len(data.val_dataloader().dataset) == 2  # type: ignore[union-attr,arg-type]  # one DataLoader
    assert len(data.train_dataloader().dataset) == 20  # type: ignore[union-attr,arg-type]  # one DataLoader


def test_only_chosen_files_are_decoded(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[Path] = []

    def counting(path: Path, *rest: Any) -> torch.Tensor:
        decoded.append(path)
        return decode_image(path, *rest)

    monkeypatch.setattr("lightning_nas.datamodules.file_images.decode_image", counting)
    images = loaded(root, max_train_images=5)
    assert len(decoded) == len(set(decoded)) == len(images) == 5
    assert shades(images) == [100 * (path.parent.name == "bee") + int(path.stem) for path in decoded]


def test_sizes(root: Path) -> None:
    save(root / "train" / "bee" / "wide.png", 120, (8, 12))
    images = loaded(root, image_size=4)
    pixels, _ = images.__getitems__(list(range(21)))
    assert pixels.shape == (21, 3, 4, 4)
    message = (
        f"Expected images of one size but got 6x6 in {root / 'train/ant/0.png'} and 8x12 in "
        f"{root / 'train/bee/wide.png'}.*set `image_size`"
    )
    with pytest.raises(ValueError, match=message):
        loaded(root)
    with pytest.raises(ValueError, match=message):
        loaded(root, memory_limit=0).__getitems__([0, 20])


def test_channels(root: Path) -> None:
    images = loaded(root, channels=1)
    assert images.__getitems__([0])[0].shape == (1, 1, 6, 6)
    data = ImageFolderDataModule(root, channels=1)
    data.setup("fit")
    assert data.image_shape == (1, 6, 6)
    assert (np.round(data.mean, 4).tolist(), np.round(data.std, 4).tolist()) == ([0.4734], [0.2507])


def test_mean_and_std() -> None:
    assert ImageFolderDataModule("x").mean == (0.49139968, 0.48215827, 0.44653124)
    data = ImageFolderDataModule("x", mean=[0.1, 0.2, 0.3], std=[1, 2, 3])
    assert (data.mean, data.std) == ([0.1, 0.2, 0.3], [1, 2, 3])


@pytest.mark.parametrize("augment", [True, False])
def test_architecture_images_are_augmented_or_not(augment: bool) -> None:
    assert ImageFolderDataModule("x").augment_architecture
    assert ImageFolderDataModule("x", augment_architecture=augment).augment_architecture is augment


def test_augmentations() -> None:
    images = torch.randint(256, (5, 3, 6, 6), generator=make_generator(0), dtype=torch.uint8)
    generators = [make_generator(1) for _ in range(5)]
    data = ImageFolderDataModule("x", augment="none", cutout=2)
    data.image_shape = (3, 6, 6)
    assert torch.equal(data.distort(images, generators[0]), images)
    assert (data.train_transform(images, generators[0]) == 0).any()
    moved = batch_transforms.random_crop(images, 4, generators[1])
    moved = batch_transforms.random_flip(moved, generators[1])
    data = ImageFolderDataModule("x")
    data.image_shape = (3, 6, 6)
    assert torch.equal(data.distort(images, generators[2]), moved)
    data = ImageFolderDataModule("x", 8, augment="imagenet")
    data.image_shape = (3, 8, 8)
    result = data.distort(images, generators[3])
    expected = batch_transforms.random_resized_crop(images, (8, 8), generators[4])
    expected = batch_transforms.random_flip(expected, generators[4])
    assert torch.equal(result, color_jitter(expected, 0.4, 0.4, 0.4, 0.2, generators[4]))


def test_a_larger_square_is_kept_than_a_network_gets(root: Path) -> None:
    data = ImageFolderDataModule(
        root, 4, decode_size=6, augment="none", val_fraction=0.0, mean=(0, 0, 0), std=(1, 1, 1)
    )
    data.setup("fit")
    images, _ = next(iter(data.train_dataloader()))
    assert images.shape[1:] == (3, 6, 6)
    assert data.image_shape == (3, 4, 4)
    assert torch.equal(data.eval_transform(images), images[:, :, 1:5, 1:5] / 255)
    assert torch.equal(data.distort(images, make_generator(0)), images[:, :, 1:5, 1:5])
    with pytest.raises(ValueError, match=r"Expected `decode_size` to be at least 4.* but got 3"):
        ImageFolderDataModule(root, 4, decode_size=3)
    with pytest.raises(ValueError, match=r"Expected `decode_size` .*`image_size` to be given"):
        ImageFolderDataModule(root, decode_size=3)


def test_hidden_files_are_ignored(root: Path) -> None:
    (root / "train" / "ant" / ".DS_Store").write_text("x")
    (root / "train" / ".cache").mkdir()
    assert len(loaded(root)) == 20


def test_root_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"but got no folder {tmp_path / 'x'}; correct `root`"):
        ImageFolderDataModule(tmp_path / "x").setup("fit")


def test_train_is_missing(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=rf"images in {tmp_path}/train/<class>/ but got no folder {tmp_path}/train"
    ):
        ImageFolderDataModule(tmp_path).setup("test")


def test_one_class(tmp_path: Path) -> None:
    save(tmp_path / "train" / "ant" / "0.png", 1)
    with pytest.raises(ValueError, match=r"Expected at least two class folders in .*train but got \['ant'\]"):
        ImageFolderDataModule(tmp_path).setup("fit")


def test_empty_class(root: Path) -> None:
    (root / "train" / "cat").mkdir()
    with pytest.raises(ValueError, match=f"Expected images in every class folder but got none in {root}/train/cat"):
        ImageFolderDataModule(root).setup("fit")


def test_other_classes(root: Path) -> None:
    (root / "test" / "bee").rename(root / "test" / "cat")
    data = ImageFolderDataModule(root)
    data.setup("fit")
    message = rf"folders of {root}/test to be those of {root}/train but got \['bee'\] missing and \['cat'\] too many"
    with pytest.raises(ValueError, match=message):
        data.setup("test")


@pytest.mark.parametrize("memory_limit", [0, 10**6])
def test_damaged_file_is_named(root: Path, memory_limit: int) -> None:
    path = root / "train" / "ant" / "5.png"
    path.write_bytes(b"no image")
    with pytest.raises(ValueError, match=f"Expected an image file but got {path}"):
        shades(loaded(root, memory_limit=memory_limit))


def test_no_test_folder(root: Path) -> None:
    (root / "test").rename(root / "spare")
    data = ImageFolderDataModule(root)
    data.setup("test")
    with pytest.raises(
        FileNotFoundError, match=rf"Expected test images in {root}/test/<class>/ but got no such folder"
    ):
        data.test_dataloader()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_size": 0}, "Expected `image_size` to be at least 1 but got 0"),
        ({"channels": 2}, r"Expected `channels` to be one of \[1, 3\] but got 2"),
        ({"augment": "all"}, r"Expected `augment` to be one of \['crop_flip', 'imagenet', 'none'\] but got 'all'"),
        ({"memory_limit": -1}, "Expected `memory_limit` to be at least 0 but got -1"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImageFolderDataModule("x", **arguments)


@pytest.mark.skipif(not REAL.exists(), reason=f"the real CIFAR-10 images are not at {REAL}")
def test_real_images(tmp_path: Path) -> None:
    with zipfile.ZipFile(REAL) as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")]
        wanted = [name for name in names if "/cat/" in name or "/ship/" in name]
        archive.extractall(tmp_path, [name for part in ("/train/", "/test/") for name in wanted if part in name][::60])
    data = ImageFolderDataModule(tmp_path / "cifar10", search=True)
    data.setup("fit")
    data.setup("test")
    assert (data.classes, data.class_names, data.image_shape) == (2, ["cat", "ship"], (3, 32, 32))
    pixels = data.eval_transform(cast(TensorImages, data.load("train")).images)
    assert pixels.shape[0] == pytest.approx(10000 / 60, abs=2)
    # Two classes of ten: near the statistics of all.
    assert pixels.mean().abs() < 0.3
    assert 0.8 < pixels.std() < 1.2
