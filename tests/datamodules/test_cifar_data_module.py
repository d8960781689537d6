import pickle
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch

from lightning_nas._lightning import CombinedLoader
from lightning_nas.datamodules.cifar10_data_module import CIFAR10DataModule
from lightning_nas.datamodules.cifar100_data_module import CIFAR100DataModule
from lightning_nas.datamodules.cifar_data_module import CIFARDataModule
from lightning_nas.datamodules.tensor_images import TensorImages

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # Lightning's CombinedLoader, torch 2.14


def write(path: Path, count: int, key: str, seed: int) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    content = {"data": random.integers(256, size=(count, 3072), dtype=np.uint8), key: [i % 10 for i in range(count)]}
    path.write_bytes(pickle.dumps(content))
    return content


@pytest.fixture
def cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[dict[str, Any]]]:
    """Write files in the official form, and let torchvision accept their checksums."""
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    batches = [write(folder / f"data_batch_{number}", 8, "labels", number) for number in range(1, 6)]
    batches.append(write(folder / "test_batch", 6, "labels", 6))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [str(i) for i in range(10)]}))
    return tmp_path, batches


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)


def test_pixels_and_labels(cifar10: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, batches = cifar10
    data = CIFAR10DataModule(folder)
    data.prepare_data()
    train, test = data.load("train"), data.load("test")
    assert isinstance(train, TensorImages)
    assert isinstance(test, TensorImages)
    expected = np.concatenate([batch["data"] for batch in batches[:5]]).reshape(-1, 3, 32, 32)
    assert np.array_equal(train.images.numpy(), expected)
    assert train.labels.tolist() == [label for batch in batches[:5] for label in batch["labels"]]
    assert np.array_equal(test.images.numpy(), batches[5]["data"].reshape(-1, 3, 32, 32))
    assert data.load("val") is None
    assert (data.classes, data.image_shape) == (10, (3, 32, 32))


def test_search_splits_by_order(cifar10: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, batches = cifar10
    data = CIFAR10DataModule(folder, search=True, batch_size=20)
    data.setup("fit")
    loader = data.train_dataloader()
    assert isinstance(loader, CombinedLoader)
    pixels = torch.from_numpy(np.concatenate([batch["data"] for batch in batches[:5]])).view(40, 3, 32, 32)
    for stream, half in (("weights", pixels[:20]), ("architecture", pixels[20:])):
        images, _ = next(iter(loader.iterables[stream]))
        assert {image.numpy().tobytes() for image in images} == {image.numpy().tobytes() for image in half}
        assert not torch.equal(images, half)


def test_defaults() -> None:
    data = CIFAR10DataModule()
    assert (data.crop_padding, data.flip, data.cutout, data.search) == (4, True, 0, False)
    assert data.mean == (0.49139968, 0.48215827, 0.44653124)
    assert data.std == (0.24703233, 0.24348505, 0.26158768)
    assert data.hparams["data_dir"] == "data"
    assert data.augment_architecture
    assert not CIFAR10DataModule(augment_architecture=False).augment_architecture
    assert (CIFAR100DataModule().classes, len(CIFAR100DataModule().mean)) == (100, 3)


def test_cifar100(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    write(folder / "train", 12, "fine_labels", 0)
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": ["a"]}))
    data = CIFAR100DataModule(tmp_path, val_fraction=0)
    data.setup("fit")
    _, labels = next(iter(data.train_dataloader()))
    assert sorted(labels.tolist()) == sorted(i % 10 for i in range(12))


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("module", "archive", "folder"),
    [
        (CIFAR10DataModule, "cifar-10-python.tar.gz", "cifar-10-batches-py"),
        (CIFAR100DataModule, "cifar-100-python.tar.gz", "cifar-100-python"),
    ],
)
def test_offline(tmp_path: Path, module: type[CIFARDataModule], archive: str, folder: str) -> None:
    data = module(tmp_path / "x")
    message = f"Expected {archive} or its folder {folder} in {tmp_path / 'x'} but got no complete copy.*no network.*"
    with pytest.raises(
        RuntimeError, match=message + r"or use ImageFolderDataModule with images in root/\{train,test\}"
    ):
        data.prepare_data()
    with pytest.raises(RuntimeError, match=r"Dataset not found or corrupted.*Put the official archive"):
        data.setup("fit")


@pytest.mark.usefixtures("offline")
def test_damaged_files(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    for name in ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"):
        write(tmp_path / "cifar-10-batches-py" / name, 2, "labels", 0)
    with pytest.raises(RuntimeError, match="no complete copy"):
        CIFAR10DataModule(tmp_path).setup("test")
