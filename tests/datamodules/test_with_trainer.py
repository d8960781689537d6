"""The data modules under a real Trainer: same pixels after a resume, in workers and in two processes."""

from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_nas._lightning import pl
from lightning_nas.datamodules.digits_data_module import DigitsDataModule
from lightning_nas.datamodules.image_data_module import ImageDataModule, Part
from lightning_nas.datamodules.image_set import ImageSet
from lightning_nas.datamodules.search_split import SearchSplit
from lightning_nas.datamodules.tensor_images import TensorImages
from lightning_nas.seeding import make_generator

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers",
    "ignore:.*LeafSpec:FutureWarning",  # Lightning 2.6.6 with torch 2.14, in CombinedLoader
    # Lightning's own fork of processes that hold threads, on Python 3.12 and later.
    "ignore:.*multi-threaded, use of fork:DeprecationWarning",
)


class Tiny(ImageDataModule):
    """Random images; the label is the image's number."""

    image_shape = (3, 6, 6)

    def __init__(self, train: int = 22, **arguments: Any) -> None:
        self.sizes = {"train": train, "test": 7}
        self.classes = train
        defaults = {"batch_size": 4, "crop_padding": 2, "flip": True, "cutout": 3, "mean": (0.4, 0.5, 0.6)}
        super().__init__(**{**defaults, "std": (0.1, 0.2, 0.3), **arguments})

    def load(self, part: Part) -> ImageSet | None:
        if part not in self.sizes:
            return None
        shape = (self.sizes[part], *self.image_shape)
        pixels = torch.randint(256, shape, generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
        return TensorImages(pixels, torch.arange(len(pixels)))


class Plain(pl.LightningDataModule):
    """Somebody else's data module."""

    def __init__(self, num_workers: int = 0) -> None:
        super().__init__()
        self.num_workers = num_workers

    def train_dataloader(self) -> DataLoader[Any]:
        numbers = torch.arange(22)
        data = TensorDataset(numbers.sqrt().view(-1, 1, 1, 1), numbers)
        return DataLoader(data, batch_size=4, shuffle=True, num_workers=self.num_workers)


class Seen(NamedTuple):
    stage: str
    epoch: int
    batch: int
    stream: str
    labels: list[int]
    checksum: float


class Recorder(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.seen: list[Seen] = []
        self.dtypes: set[torch.dtype] = set()

    def record(self, stage: str, batch: Any, batch_idx: int) -> Tensor:
        parts = batch if isinstance(batch, dict) else {"one": batch}
        for stream, (images, labels) in parts.items():
            scales = torch.arange(1, images.numel() + 1).view(images.shape)
            checksum = (images.double() * scales).sum().item()
            self.seen.append(Seen(stage, self.current_epoch, batch_idx, stream, labels.tolist(), checksum))
            self.dtypes.add(images.dtype)
        return self.weight * 1.0

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.record("train", batch, batch_idx)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.record("sanity" if self.trainer.sanity_checking else "val", batch, batch_idx)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.record("test", batch, batch_idx)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def of(self, stage: str) -> list[Seen]:
        return [entry for entry in self.seen if entry.stage == stage]


class Saver(pl.Callback):
    """Save a checkpoint at every moment at which somebody might."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, trainer: pl.Trainer, moment: str) -> None:
        trainer.save_checkpoint(self.folder / f"{trainer.current_epoch}-{trainer.global_step:02}-{moment}.ckpt")

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self.save(trainer, "batch")

    def on_validation_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if not trainer.sanity_checking:
            self.save(trainer, "validation")

    def on_train_epoch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self.save(trainer, "epoch")


def make_trainer(folder: Path, **arguments: Any) -> pl.Trainer:
    defaults: dict[str, Any] = {
        "accelerator": "cpu",
        "max_epochs": 3,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "default_root_dir": folder,
        "devices": 1,
    }
    return pl.Trainer(**{**defaults, **arguments})


def run(folder: Path, data: pl.LightningDataModule, ckpt_path: str | None = None, **arguments: Any) -> Recorder:
    model = Recorder()
    make_trainer(folder, **arguments).fit(model, datamodule=data, ckpt_path=ckpt_path)
    return model


def build(kind: str, num_workers: int) -> pl.LightningDataModule:
    if kind == "split":
        return SearchSplit(Plain(num_workers), fraction=0.7)
    # 15 and 7 images: 4 and 2 batches of at most 4, so that the shorter stream starts again within the epoch.
    return Tiny(search=kind == "search", search_fraction=0.7, val_fraction=0.2, num_workers=num_workers)


@pytest.mark.parametrize(
    ("kind", "num_workers"),
    [
        ("train", 0),
        ("search", 0),
        ("split", 0),
        ("search", 1),
        pytest.param("train", 1, marks=pytest.mark.slow),
        pytest.param("split", 1, marks=pytest.mark.slow),
    ],
)
def test_resumed_run_sees_the_same_pixels(tmp_path: Path, kind: str, num_workers: int) -> None:
    straight = run(tmp_path, build(kind, 0), callbacks=[Saver(tmp_path)]).of("train")
    if kind != "split":  # a plain module's short stream shows the same pixels again
        assert len({entry.checksum for entry in straight}) == len(straight)
    checkpoints = sorted(tmp_path.glob("*.ckpt"))
    assert len(checkpoints) == 3 * (straight[-1].batch + 3)
    streams = len({entry.stream for entry in straight})
    # With workers every run starts processes: the moments around the end of an epoch and one inside are enough.
    chosen = [path for path in checkpoints if num_workers == 0 or path.name[:4] in ("0-04", "1-06")]
    for path in chosen:
        done = int(path.name.split("-")[1]) * streams
        resumed = run(tmp_path, build(kind, num_workers), ckpt_path=str(path)).of("train")
        assert resumed == straight[done:], path.name


def test_batch_index_is_counted_by_the_trainer(tmp_path: Path) -> None:
    data = Tiny(val_fraction=0)
    seen = run(tmp_path, data, max_epochs=2, limit_val_batches=0).seen
    again = Tiny(val_fraction=0)
    all_images = again.load("train")
    assert all_images is not None
    for entry in seen:
        images, _ = all_images.__getitems__(entry.labels)
        generator = make_generator(0, "train", entry.epoch, entry.batch, 0)
        pixels = again.train_transform(images, generator).double()
        assert (pixels * torch.arange(1, pixels.numel() + 1).view(pixels.shape)).sum().item() == entry.checksum
    assert [entry.batch for entry in seen] == [0, 1, 2, 3, 4, 5] * 2


def test_only_training_batches_are_augmented(tmp_path: Path) -> None:
    data = Tiny(search=True)
    model = run(tmp_path, data, max_epochs=2, limit_train_batches=2)
    plain = Tiny(search=True)
    plain.setup("fit")
    normalised = [plain.on_after_batch_transfer(batch, 0) for batch in plain.val_dataloader()]
    expected = [(y.tolist(), (x.double() * torch.arange(1, x.numel() + 1).view(x.shape)).sum()) for x, y in normalised]
    for stage, epochs in (("sanity", 1), ("val", 2)):
        assert [(entry.labels, entry.checksum) for entry in model.of(stage)] == (expected * epochs)[
            : len(model.of(stage))
        ]
    assert len(model.of("val")) == 2 * len(expected)
    train = model.of("train")
    assert train[0].stream == "weights"
    assert train[1].stream == "architecture"


class Keeping(Recorder):
    """Keeps the batches themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[dict[str, tuple[Tensor, Tensor]]] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.batches.append(batch)
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize("wrapped", [False, True])
def test_architecture_images_are_not_augmented_on_request(tmp_path: Path, wrapped: bool) -> None:
    kept: dict[bool, list[dict[str, tuple[Tensor, Tensor]]]] = {}
    for augment in (True, False):
        model = Keeping()
        own = Tiny(search=not wrapped, search_fraction=0.5, val_fraction=0, augment_architecture=augment)
        make_trainer(tmp_path, max_epochs=2).fit(model, datamodule=SearchSplit(own) if wrapped else own)
        kept[augment] = model.batches
    originals = own.load("train")
    assert originals is not None
    for usual, clean in zip(kept[True], kept[False], strict=True):
        assert torch.equal(usual["weights"][0], clean["weights"][0])
        assert torch.equal(usual["architecture"][1], clean["architecture"][1])
        pixels, _ = originals.__getitems__(clean["architecture"][1].tolist())
        assert torch.equal(clean["architecture"][0], own.eval_transform(pixels))
        assert not torch.equal(usual["architecture"][0], clean["architecture"][0])


@pytest.mark.filterwarnings("ignore:Total length of `list` across ranks is zero")
def test_without_validation_images_no_validation_runs(tmp_path: Path) -> None:
    assert {entry.stage for entry in run(tmp_path, Tiny(val_fraction=0), max_epochs=1).seen} == {"train"}


def test_test_images_are_seen_once(tmp_path: Path) -> None:
    model = Recorder()
    make_trainer(tmp_path).test(model, datamodule=Tiny(), verbose=False)
    assert [label for entry in model.of("test") for label in entry.labels] == list(range(7))


@pytest.mark.parametrize(
    ("precision", "dtype"), [("32-true", torch.float32), ("64-true", torch.float64), ("bf16-true", torch.bfloat16)]
)
def test_images_have_the_type_of_the_model(tmp_path: Path, precision: str, dtype: torch.dtype) -> None:
    model = run(tmp_path, Tiny(search=True), precision=precision, max_epochs=1)
    assert model.dtypes == {dtype}


def test_reload_of_loaders_keeps_the_order(tmp_path: Path) -> None:
    usual = run(tmp_path, Tiny(search=True)).of("train")
    assert run(tmp_path, Tiny(search=True), reload_dataloaders_every_n_epochs=1).of("train") == usual


def test_interrupted_step_is_repeated(tmp_path: Path) -> None:
    class Failing(Recorder):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            if (self.current_epoch, batch_idx) == (1, 2):
                raise KeyError("stop")
            return super().training_step(batch, batch_idx)

    straight = run(tmp_path, Tiny()).of("train")
    trainer = make_trainer(tmp_path)
    with pytest.raises(KeyError):
        trainer.fit(Failing(), datamodule=Tiny())
    path = str(tmp_path / "failed.ckpt")
    trainer.save_checkpoint(path)
    resumed = run(tmp_path, Tiny(), ckpt_path=path).of("train")
    assert [(e.epoch, e.batch) for e in straight[-len(resumed) :]] == [(e.epoch, e.batch) for e in resumed]
    assert (resumed[0].epoch, resumed[0].batch) == (1, 2)
    assert resumed == straight[-len(resumed) :]


class Seeded(Recorder):
    def __init__(self, seed: int) -> None:
        super().__init__()
        self.save_hyperparameters()


def test_hyperparameters_are_in_the_checkpoint_but_not_logged(tmp_path: Path) -> None:
    # Lightning refuses to log a module and a data module that both have a `seed` with different values.
    logger = import_module(f"{pl.__name__}.loggers").CSVLogger(tmp_path)
    trainer = make_trainer(tmp_path, logger=logger, max_epochs=1, limit_train_batches=2, log_every_n_steps=1)
    trainer.fit(Seeded(1), datamodule=DigitsDataModule(seed=2, cutout=3, batch_size=9))
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    loaded = DigitsDataModule.load_from_checkpoint(tmp_path / "a.ckpt")
    assert (loaded.seed, loaded.cutout, loaded.batch_size) == (2, 3, 9)


class Gathering(Recorder):
    """Writes what each rank has seen."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def on_train_end(self) -> None:
        entries = [tuple(entry) for entry in self.of("train")]
        torch.save(entries, self.folder / f"rank{self.global_rank}.pt")


def two_ranks(folder: Path, data: pl.LightningDataModule, **arguments: Any) -> list[list[Seen]]:
    make_trainer(folder, strategy="ddp_fork", devices=2, **arguments).fit(Gathering(folder), datamodule=data)
    return [[Seen(*entry) for entry in torch.load(folder / f"rank{rank}.pt")] for rank in (0, 1)]


@pytest.mark.parametrize("kind", ["train", "search", "split"])
def test_two_ranks_together_see_each_image_once(tmp_path: Path, kind: str) -> None:
    # 24 images in parts of 12: batches of 2 x 4 without padding.
    arguments: dict[str, Any] = {"max_epochs": 2, "num_sanity_val_steps": 0, "limit_val_batches": 0}
    data: pl.LightningDataModule = Tiny(24, search=kind == "search", val_fraction=0)
    if kind == "split":
        data = SearchSplit(Tiny(24, val_fraction=0), seed=3)
    first, second = two_ranks(tmp_path, data, **arguments)
    one = run(tmp_path, build_doubled(kind), **arguments).of("train")
    assert len(first) == len(second) == len(one)
    for left, right, both in zip(first, second, one, strict=True):
        assert (left.epoch, left.batch, left.stream) == (both.epoch, both.batch, both.stream)
        assert sorted(left.labels + right.labels) == sorted(both.labels)
        assert left.checksum != right.checksum
    for epoch in (0, 1):
        labels = [label for entry in first + second if entry.epoch == epoch for label in entry.labels]
        assert sorted(labels) == list(range(24))


def build_doubled(kind: str) -> pl.LightningDataModule:
    if kind == "split":
        return SearchSplit(Tiny(24, val_fraction=0, batch_size=8), seed=3)
    return Tiny(24, search=kind == "search", val_fraction=0, batch_size=8)


def test_two_ranks_resume_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"num_sanity_val_steps": 0, "limit_val_batches": 0, "max_epochs": 2}
    straight = two_ranks(tmp_path, Tiny(24, search=True), callbacks=[Saver(tmp_path)], **arguments)
    model, path = Gathering(tmp_path), str(tmp_path / "1-03-batch.ckpt")
    trainer = make_trainer(tmp_path, strategy="ddp_fork", devices=2, **arguments)
    trainer.fit(model, datamodule=Tiny(24, search=True), ckpt_path=path)
    for rank in (0, 1):
        resumed = [Seen(*entry) for entry in torch.load(tmp_path / f"rank{rank}.pt")]
        assert resumed == straight[rank][6:]


def test_command_line_builds_data_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["lightning-nas"])
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # Lightning's own use of jsonargparse
    cli = import_module(f"{pl.__name__}.cli").LightningCLI
    search = ["--data=lightning_nas.datamodules.SearchSplit", "--data.fraction=0.25"]
    wrapped = ["--data.datamodule=DigitsDataModule", "--data.datamodule.batch_size=9"]
    settings: dict[str, Any] = {
        "run": False,
        "save_config_callback": None,
        "subclass_mode_data": True,
        "seed_everything_default": False,
    }
    settings["trainer_defaults"] = {"logger": False, "default_root_dir": tmp_path, "accelerator": "cpu"}
    built = cli(Recorder, pl.LightningDataModule, args=search + wrapped, **settings).datamodule
    assert isinstance(built, SearchSplit)
    assert isinstance(built.datamodule, DigitsDataModule)
    assert (built.fraction, built.datamodule.batch_size) == (0.25, 9)
    folder = ["--data=lightning_nas.datamodules.ImageFolderDataModule", "--data.root=x", "--data.mean=[0.1,0.2,0.3]"]
    pictures = cli(Recorder, pl.LightningDataModule, args=[*folder, "--data.augment=none"], **settings).datamodule
    assert (str(pictures.root), pictures.augment, list(pictures.mean)) == ("x", "none", [0.1, 0.2, 0.3])
