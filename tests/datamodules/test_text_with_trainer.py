"""Text data modules under a real Trainer: the same windows after a resume and in two processes."""

from collections.abc import Sequence
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from lightning_nas._lightning import pl
from lightning_nas.datamodules.penn_treebank_data_module import PennTreebankDataModule
from lightning_nas.datamodules.text_data_module import Part, TextDataModule
from lightning_nas.datamodules.text_files_data_module import TextFilesDataModule
from lightning_nas.tasks.text_batch import IGNORED, TextBatch

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers",
    "ignore:.*LeafSpec:FutureWarning",  # Lightning 2.6.6 with torch 2.14, in CombinedLoader
    # Lightning's own fork of processes that hold threads, on Python 3.12 and later.
    "ignore:.*multi-threaded, use of fork:DeprecationWarning",
)

SIZES: dict[Part, int] = {"train": 203, "val": 62, "test": 23}


class Numbers(TextDataModule):
    """Every text counts up; so a number says where in a text it stands."""

    def load(self, part: Part) -> Sequence[str]:
        return [*map(str, range(SIZES[part] - 1)), "<eos>"]


class Ranked:
    """A vocabulary whose numbers are the tokens."""

    def __call__(self, tokens: list[str]) -> list[int]:
        return [999 if token == "<eos>" else int(token) for token in tokens]

    def __len__(self) -> int:
        return 1000


class Seen(NamedTuple):
    stage: str
    epoch: int
    batch: int
    stream: str
    inputs: list[list[int]]
    targets: list[list[int]]


class Recorder(pl.LightningModule):
    def __init__(self, folder: Path, own: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.folder = folder
        self.seen: list[Seen] = []
        self.trains_own_child = own

    def record(self, stage: str, batch: Any, batch_idx: int) -> Tensor:
        parts = batch if isinstance(batch, dict) else {"one": batch}
        for stream, part in parts.items():
            assert isinstance(part, TextBatch)
            tokens = part.inputs.T.tolist(), part.targets.T.tolist()
            self.seen.append(Seen(stage, self.current_epoch, batch_idx, stream, *tokens))
        return self.weight * 1.0

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.record("train", batch, batch_idx)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.record("val", batch, batch_idx)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.record("test", batch, batch_idx)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def on_train_end(self) -> None:
        self.write()

    def on_test_end(self) -> None:
        self.write()

    def write(self) -> None:
        entries = [tuple(entry) for entry in self.seen]
        torch.save(entries, self.folder / f"{self.trainer.world_size}_{self.global_rank}.pt")

    def of(self, stage: str) -> list[Seen]:
        return [entry for entry in self.seen if entry.stage == stage]


class Saver(pl.Callback):
    """Save a checkpoint after every batch and every epoch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, trainer: pl.Trainer, moment: str) -> None:
        trainer.save_checkpoint(self.folder / f"{trainer.current_epoch}-{trainer.global_step:02}-{moment}.ckpt")

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self.save(trainer, "batch")

    def on_train_epoch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self.save(trainer, "epoch")


def joined(parts: list[list[int]]) -> list[int]:
    return list(chain.from_iterable(parts))


def make(**arguments: Any) -> Numbers:
    defaults = {"batch_size": 4, "eval_batch_size": 3, "bptt": 7, "vocabulary": Ranked()}
    return Numbers(**{**defaults, **arguments})


def make_trainer(folder: Path, **arguments: Any) -> pl.Trainer:
    defaults: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": 3,
        "num_sanity_val_steps": 0,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "default_root_dir": folder,
    }
    return pl.Trainer(**{**defaults, **arguments})


def run(folder: Path, data: Numbers, ckpt_path: str | None = None, **arguments: Any) -> Recorder:
    model = Recorder(folder)
    make_trainer(folder, **arguments).fit(model, datamodule=data, ckpt_path=ckpt_path)
    return model


def in_two(folder: Path, data: Numbers, *, own: bool = False, **arguments: Any) -> list[list[Seen]]:
    """Return what each of two processes sees."""
    trainer = make_trainer(folder, strategy="ddp_fork", devices=2, max_epochs=2, **arguments)
    trainer.fit(Recorder(folder, own), datamodule=data)
    return [[Seen(*entry) for entry in torch.load(folder / f"2_{rank}.pt")] for rank in (0, 1)]


def test_windows_of_a_run(tmp_path: Path) -> None:
    model = run(tmp_path, make(jitter=True, bptt=8), max_epochs=4)
    train = model.of("train")
    for epoch in range(4):
        pieces = [joined([entry.targets[k] for entry in train if entry.epoch == epoch]) for k in range(4)]
        assert joined(pieces) == list(range(200))
    lengths = [[len(entry.inputs[0]) for entry in train if entry.epoch == epoch] for epoch in range(4)]
    assert len({tuple(epoch) for epoch in lengths}) > 1
    val = [number for entry in model.of("val") for column in entry.targets for number in column]
    assert sorted(val) == sorted([*range(61), 999, IGNORED] * 4)
    assert [entry.batch for entry in model.of("val") if entry.epoch == 3] == [0, 1, 2]


@pytest.mark.parametrize("kind", ["train", "search", "split"])
def test_resumed_run_sees_the_same_windows(tmp_path: Path, kind: str) -> None:
    options: dict[str, dict[str, Any]] = {
        "train": {"jitter": True},
        "search": {"jitter": "halve", "search": True},  # the architecture's text starts again within an epoch
        "split": {"jitter": "halve", "search": True, "search_fraction": 0.3},  # and here the weights' one
    }
    whole = run(tmp_path, make(**options[kind]), callbacks=[Saver(tmp_path)])
    straight, val = whole.of("train"), whole.of("val")
    streams = len({entry.stream for entry in straight})
    assert streams == (1 if kind == "train" else 2)
    checkpoints = sorted(tmp_path.glob("*.ckpt"))
    batches = straight[-1].batch + 1
    assert len(checkpoints) == 3 * (batches + 1)
    for path in checkpoints:
        done = int(path.name.split("-")[1]) * streams
        resumed = run(tmp_path, make(**options[kind]), ckpt_path=str(path))
        assert resumed.of("train") == straight[done:], path.name
        again = resumed.of("val")
        assert again == val[len(val) - len(again) :], path.name
        assert len(again) >= len(val) // 3 * (2 - int(path.name[0])), path.name


@pytest.mark.parametrize("search", [False, True])
def test_two_processes_are_one_with_twice_the_pieces(tmp_path: Path, search: bool) -> None:
    first, second = in_two(tmp_path, make(batch_size=2, eval_batch_size=2, jitter=True, search=search))
    one = run(tmp_path, make(batch_size=4, eval_batch_size=4, jitter=True, search=search), max_epochs=2).seen
    assert len(first) == len(second) == len(one)
    for left, right, both in zip(first, second, one, strict=True):
        assert left[:4] == right[:4] == both[:4]
        assert left.inputs + right.inputs == both.inputs
        assert left.targets + right.targets == both.targets


def test_two_processes_resume_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    straight = in_two(tmp_path, make(batch_size=2, search=True), limit_val_batches=0, callbacks=[Saver(tmp_path)])
    trainer = make_trainer(tmp_path, strategy="ddp_fork", devices=2, max_epochs=2, limit_val_batches=0)
    path = str(next(tmp_path.glob("1-11-batch.ckpt")))
    trainer.fit(Recorder(tmp_path), datamodule=make(batch_size=2, search=True), ckpt_path=path)
    for rank in (0, 1):
        resumed = [Seen(*entry) for entry in torch.load(tmp_path / f"2_{rank}.pt")]
        assert resumed == straight[rank][2 * 11 :]


def test_two_processes_test_all_of_the_text(tmp_path: Path) -> None:
    make_trainer(tmp_path, strategy="ddp_fork", devices=2).test(Recorder(tmp_path), datamodule=make(), verbose=False)
    parts = [torch.load(tmp_path / f"2_{rank}.pt") for rank in (0, 1)]
    columns = [joined([Seen(*entry).targets[0] for entry in part]) for part in parts]
    assert columns == [list(range(12)), [*range(12, 22), 999, IGNORED]]


def test_every_process_that_trains_its_own_gets_all(tmp_path: Path) -> None:
    one = run(tmp_path, make(), max_epochs=2).seen
    assert in_two(tmp_path, make(), own=True) == [one, one]


def test_reload_of_loaders_keeps_the_windows(tmp_path: Path) -> None:
    usual = run(tmp_path, make(search=True, jitter=True)).seen
    assert run(tmp_path, make(search=True, jitter=True), reload_dataloaders_every_n_epochs=1).seen == usual


def test_validation_follows_every_epoch_in_spite_of_jitter(tmp_path: Path) -> None:
    model = run(tmp_path, make(jitter=True, bptt=8), max_epochs=6)
    assert sorted({entry.epoch for entry in model.of("val")}) == list(range(6))
    assert len({max(entry.batch for entry in model.of("train") if entry.epoch == epoch) for epoch in range(6)}) == 1


def test_hyperparameters_are_in_the_checkpoint(tmp_path: Path) -> None:
    for name, text in (("train", "a b\n" * 9), ("valid", "b\n" * 9)):
        (tmp_path / f"wiki.{name}.tokens").write_text(text)
    data = TextFilesDataModule(tmp_path, batch_size=3, eval_batch_size=2, jitter="halve")
    trainer = make_trainer(tmp_path, max_epochs=1)
    trainer.fit(Recorder(tmp_path), datamodule=data)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    loaded = TextFilesDataModule.load_from_checkpoint(tmp_path / "a.ckpt")
    assert (loaded.data_dir, loaded.batch_size, loaded.jitter) == (tmp_path, 3, "halve")


def test_command_line_builds_data_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["lightning-nas"])
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # Lightning's own use of jsonargparse
    cli = import_module(f"{pl.__name__}.cli").LightningCLI
    settings: dict[str, Any] = {
        "run": False,
        "save_config_callback": None,
        "subclass_mode_data": True,
        "seed_everything_default": False,
        "trainer_defaults": {"logger": False, "default_root_dir": tmp_path, "accelerator": "cpu"},
    }
    chosen = ["--data=lightning_nas.datamodules.PennTreebankDataModule", f"--data.data_dir={tmp_path}"]
    for jitter, expected in (("halve", "halve"), ("true", True)):
        args = [*chosen, f"--data.jitter={jitter}", "--data.search=true", f"--model.folder={tmp_path}"]
        built = cli(Recorder, pl.LightningDataModule, args=args, **settings).datamodule
        assert isinstance(built, PennTreebankDataModule)
        assert (built.data_dir, built.jitter, built.search, built.checksum) == (tmp_path, expected, True, True)
