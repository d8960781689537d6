"""Text data modules without a Trainer: every window of small texts written out, and every error."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from lightning_nas._lightning import CombinedLoader
from lightning_nas.datamodules.text_data_module import Part, TextDataModule
from lightning_nas.datamodules.vocabulary import Vocabulary
from lightning_nas.tasks.text_batch import IGNORED, TextBatch

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # Lightning's CombinedLoader, torch 2.14

TEXTS: dict[Part, str] = {
    "train": "the cat sat <eos> the dog sat <eos> the cat ran <eos> a dog ran",
    "val": "the cat <eos> a dog <eos> the bird sat <eos>",
    "test": "a cat <eos>",
}
# the 3, sat 2, cat 2, dog 2, ran 2, <eos> 3, a 1
TOKENS = ("the", "<eos>", "cat", "sat", "dog", "ran", "a", "<unk>")


class Words(TextDataModule):
    def load(self, part: Part) -> Sequence[str]:
        return TEXTS[part].split()


def make(stage: str = "fit", **arguments: Any) -> Words:
    data = Words(**{"batch_size": 2, "eval_batch_size": 2, "bptt": 3, **arguments})
    data.setup(stage)
    return data


def words(part: torch.Tensor) -> list[str]:
    """Return the words of each column."""
    named = {**dict(enumerate(TOKENS)), IGNORED: "-"}
    return [" ".join(named[int(number)] for number in column) for column in part.T]


def windows(loader: Any) -> list[tuple[list[str], list[str]]]:
    batches = list(loader)
    assert all(isinstance(batch, TextBatch) and batch.state is None for batch in batches)
    return [(words(batch.inputs), words(batch.targets)) for batch in batches]


def test_training_windows_written_out() -> None:
    data = make()
    assert isinstance(data.vocabulary, Vocabulary)
    assert data.vocabulary.tokens == TOKENS
    assert data.classes == 8
    # 15 tokens in two pieces of 7; the last "ran" is left out.
    assert windows(data.train_dataloader()) == [
        (["<eos> the cat", "sat <eos> the"], ["the cat sat", "<eos> the cat"]),
        (["sat <eos> the", "cat ran <eos>"], ["<eos> the dog", "ran <eos> a"]),
        (["dog", "a"], ["sat", "dog"]),
    ]


def test_validation_windows_written_out() -> None:
    data = make(eval_batch_size=4)
    # 10 tokens in four pieces of 3, 3, 2 and 2; "bird" is unknown.
    assert windows(data.val_dataloader()) == [
        (
            ["<eos> the cat", "<eos> a dog", "<eos> the <eos>", "<unk> sat <eos>"],
            ["the cat <eos>", "a dog <eos>", "the <unk> -", "sat <eos> -"],
        )
    ]


def test_test_windows_written_out() -> None:
    data = make("test", bptt=2)
    assert windows(data.test_dataloader()) == [(["<eos> a"], ["a cat"]), (["cat"], ["<eos>"])]


@pytest.mark.parametrize("size", range(1, 11))
@pytest.mark.parametrize("bptt", [1, 2, 3, 35])
def test_every_token_counts_once(size: int, bptt: int) -> None:
    data = make(eval_batch_size=size, bptt=bptt)
    targets = torch.cat([batch.targets for batch in data.val_dataloader()]).T.flatten()
    assert torch.equal(targets[targets != IGNORED], data.text("val"))


def streams(data: Words) -> dict[str, list[tuple[list[str], list[str]]]]:
    loader = data.train_dataloader()
    assert isinstance(loader, CombinedLoader)
    batches = [batch for batch, _, _ in loader]
    return {name: windows(batch[name] for batch in batches) for name in ("weights", "architecture")}


def test_search_takes_the_validation_text() -> None:
    data = make(search=True)
    seen = streams(data)
    assert seen["weights"] == windows(make().train_dataloader())
    # 10 tokens are two pieces of a whole window and a rest; they come again for every window of the weights.
    assert seen["architecture"] == [(["<eos> the cat", "<eos> a dog"], ["the cat <eos>", "a dog <eos>"])] * 3
    assert windows(data.val_dataloader()) == windows(make().val_dataloader())


def test_search_may_split_the_training_text() -> None:
    seen = streams(make(search=True, search_fraction=0.5, batch_size=1))
    assert [targets for _, targets in seen["weights"]] == [["the cat sat"], ["<eos> the dog"], ["sat <eos>"]]
    assert [targets for _, targets in seen["architecture"]] == [["the cat ran"], ["<eos> a dog"], ["the cat ran"]]
    data = make(search=True, search_fraction=0.5, batch_size=1)
    assert windows(data.val_dataloader()) == windows(make().val_dataloader())


def test_only_weights_have_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Words, "load", lambda *_: ["a", "b", "<eos>"] * 1000)
    data = Words(batch_size=1, eval_batch_size=1, bptt=4, jitter="halve", search=True, seed=1)
    loader = data.train_dataloader()
    assert isinstance(loader, CombinedLoader)
    lengths = {name: [len(batch.inputs) for batch in part] for name, part in loader.iterables.items()}
    assert set(lengths["weights"]) == {2, 4}
    assert lengths["architecture"] == [4] * 750
    assert [len(batch.inputs) for batch in data.val_dataloader()] == [4] * 750


class Letters:
    """As torchtext's Vocab: called with tokens, with a length."""

    def __init__(self, length: int = 200, first: int = 0) -> None:
        self.length = length
        self.first = first

    def __call__(self, tokens: list[str]) -> list[int]:
        return [ord(token[0]) + self.first for token in tokens]

    def __len__(self) -> int:
        return self.length


def test_given_vocabulary() -> None:
    letters = Letters()
    data = make("test", vocabulary=letters)
    assert data.vocabulary is letters
    assert data.classes == 200
    (batch,) = data.test_dataloader()
    assert batch.inputs.T.tolist() == [[ord("<"), ord("a"), ord("c")]]
    assert batch.inputs.dtype == torch.int64
    assert "vocabulary" not in data.hparams


def test_small_vocabulary() -> None:
    data = make(max_vocabulary=4)
    assert isinstance(data.vocabulary, Vocabulary)
    assert data.vocabulary.tokens == ("the", "<eos>", "cat", "<unk>")
    assert data.text("val").tolist() == [0, 2, 1, 3, 3, 1, 0, 3, 3, 1]


def test_a_stage_loads_only_its_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []

    def load(_: Words, part: Part) -> list[str]:
        loaded.append(part)
        return TEXTS[part].split()

    monkeypatch.setattr(Words, "load", load)
    data = Words(vocabulary=Letters())
    for stage, parts in (("predict", []), ("validate", ["val"]), ("fit", ["val", "train"])):
        data.setup(stage)
        assert loaded == parts
    data.setup("test")
    data.setup("fit")
    assert loaded == ["val", "train", "test"]


@pytest.mark.parametrize("letters", [Letters(110), Letters(first=-100)])
def test_vocabulary_shorter_than_its_numbers(letters: Letters) -> None:
    got = 116 if letters.length == 110 else -40
    with pytest.raises(ValueError, match=f"`vocabulary` of length {len(letters)} to number tokens from 0 .* got {got}"):
        make(vocabulary=letters)


def test_vocabulary_must_be_one() -> None:
    not_one: Any = ["a", "b"]
    with pytest.raises(TypeError, match="to be called with a list of tokens and to have a length but got list"):
        Words(vocabulary=not_one)
    with pytest.raises(ValueError, match=r"`vocabulary` or `max_vocabulary` but got both \(10\)"):
        Words(vocabulary=Letters(), max_vocabulary=10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "`batch_size` to be at least 1"),
        ({"eval_batch_size": 0}, "`eval_batch_size` to be at least 1"),
        ({"test_batch_size": 0}, "`test_batch_size` to be at least 1"),
        ({"bptt": 0}, "`bptt` to be at least 1"),
        ({"jitter": "some"}, r"`jitter` to be one of \[False, True, 'halve'\] but got 'some'"),
        ({"max_vocabulary": 2}, "`max_vocabulary` to be at least 3"),
        ({"search": True, "search_fraction": 1.0}, "`search_fraction` to be a share"),
        ({"search_fraction": 0.5}, "`search_fraction` only with search=True but got 0.5; leave it out"),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Words(**arguments)


def test_empty_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TEXTS, "val", "")
    with pytest.raises(ValueError, match="Expected a val text in Words but got an empty one"):
        make()


@pytest.mark.parametrize(
    ("arguments", "build", "message"),
    [
        (
            {"batch_size": 16},
            TextDataModule.train_dataloader,
            "at least 1 tokens for each of 16 pieces of train text but got 15 tokens; lower `batch_size`.",
        ),
        (
            {"batch_size": 3, "bptt": 4, "search": True},
            TextDataModule.train_dataloader,
            "at least 4 tokens for each of 3 pieces of architecture text but got 10 tokens; lower .* or `bptt`",
        ),
        (
            {"eval_batch_size": 11},
            TextDataModule.val_dataloader,
            "a token for each of 11 pieces of val text but got 10; lower `eval_batch_size`",
        ),
        (
            {"test_batch_size": 4},
            TextDataModule.test_dataloader,
            "a token for each of 4 pieces of test text but got 3; lower `test_batch_size`",
        ),
    ],
)
def test_texts_too_short(arguments: dict[str, Any], build: Callable[[TextDataModule], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(make(**arguments))


def test_longest_batches_that_fit() -> None:
    assert len(list(make(batch_size=15).train_dataloader())) == 1
    assert len(list(make(eval_batch_size=10).val_dataloader())) == 1
    assert len(streams(make(batch_size=3, search=True))["architecture"]) == 2
