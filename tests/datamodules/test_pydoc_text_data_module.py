import sys
from types import SimpleNamespace

import pytest

from lightning_nas.datamodules.pydoc_text_data_module import PydocTextDataModule
from lightning_nas.datamodules.vocabulary import Vocabulary
from lightning_nas.tasks.text_batch import IGNORED


@pytest.fixture
def twelve(monkeypatch: pytest.MonkeyPatch) -> None:
    topics = {f"{letter}": f"Topic {letter}.\n" for letter in "lkjihgfedcba"}
    topics["b"] = 'The "__init__" (x1)\nmethod\n\n   \n=====\n'
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", SimpleNamespace(topics=topics))


@pytest.mark.usefixtures("twelve")
def test_split_and_tokens() -> None:
    data = PydocTextDataModule()
    second = ["the", '"', "__", "init", "__", '"', "(", "x", "1", ")", "method", "<eos>", "=====", "<eos>"]
    expected = {letter: ["topic", letter, ".", "<eos>"] for letter in "abcdefghijkl"} | {"b": second}
    assert data.load("val") == expected["g"]
    assert data.load("test") == expected["i"]
    assert data.load("train") == [token for letter in "abcdefhjkl" for token in expected[letter]]


def test_real_text() -> None:
    data = PydocTextDataModule()
    data.setup("fit")
    data.setup("test")
    assert data.classes == 1000
    assert isinstance(data.vocabulary, Vocabulary)
    assert {"the", "if", "<eos>", "<unk>", "."} <= set(data.vocabulary.tokens)
    assert len(data.text("train")) > 40_000
    assert min(len(data.text("val")), len(data.text("test"))) > 3_000
    unknown = data.vocabulary(["<unk>"])[0]
    assert 0.01 < (data.text("train") == unknown).double().mean() < 0.12
    targets = sum(int((batch.targets != IGNORED).sum()) for batch in data.test_dataloader())
    assert targets == len(data.text("test"))


def test_whole_vocabulary() -> None:
    data = PydocTextDataModule(max_vocabulary=None)
    assert data.classes == len({*data.load("train"), "<unk>"})


def test_python_without_help_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(ImportError, match="install the whole standard library, or use TextFilesDataModule"):
        PydocTextDataModule().setup("fit")
