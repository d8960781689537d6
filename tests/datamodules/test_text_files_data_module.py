from pathlib import Path

import pytest

from lightning_nas.datamodules.text_data_module import Part, TextDataModule
from lightning_nas.datamodules.text_files_data_module import TextFilesDataModule
from lightning_nas.datamodules.text_lines import read_tokens
from lightning_nas.datamodules.vocabulary import Vocabulary


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "wiki.train.tokens").write_text(" \n = A title = \n \n a b\xa0a é\n", encoding="utf-8")
    (tmp_path / "wiki.valid.tokens").write_text("b new\nb", encoding="utf-8")
    (tmp_path / "wiki.test.tokens").write_text("é\n", encoding="utf-8")
    return tmp_path


def words(data: TextDataModule, part: Part) -> str:
    assert isinstance(data.vocabulary, Vocabulary)
    return " ".join(data.vocabulary.tokens[number] for number in data.text(part))


def test_layout_of_wikitext2(folder: Path) -> None:
    data = TextFilesDataModule(folder)
    assert words(data, "train") == "<eos> = A title = <eos> <eos> a b a é <eos>"
    assert words(data, "val") == "b <unk> <eos> b <eos>"  # the last line lacks its newline
    assert words(data, "test") == "é <eos>"
    assert isinstance(data.vocabulary, Vocabulary)
    assert data.vocabulary.tokens == ("<eos>", "=", "a", "A", "title", "b", "é", "<unk>")
    assert data.classes == 8


def test_only_newlines_end_lines(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("a\x0bb\u2028c\x85d\n", encoding="utf-8")
    assert read_tokens(tmp_path / "text") == ["a", "b", "c", "d", "<eos>"]


def test_own_names(folder: Path) -> None:
    (folder / "own").write_text("a a\n")
    data = TextFilesDataModule("elsewhere", train_file=str(folder / "own"), val_file=str(folder / "own"))
    assert words(data, "val") == "a a <eos>"
    assert data.hparams["data_dir"] == "elsewhere"


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Expected the text file .*wiki.train.tokens but got none; put"):
        TextFilesDataModule(tmp_path).setup("fit")


def test_without_a_test_file(folder: Path) -> None:
    data = TextFilesDataModule(folder, test_file=None, batch_size=2, eval_batch_size=1)
    data.setup("fit")
    with pytest.raises(RuntimeError, match="Expected a test text but got test_file=None"):
        data.setup("test")
