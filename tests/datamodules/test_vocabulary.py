import pytest

from lightning_nas.datamodules.vocabulary import Vocabulary
from lightning_nas.datamodules.vocabulary_like import VocabularyLike

TEXT = ["b", "a", "a", "c", "b", "a", "<eos>", "d", "<unk>", "d", "<eos>"]  # a 3; b, <eos>, d 2; c, <unk> 1


def test_frequent_before_rare_then_by_first_appearance() -> None:
    vocabulary = Vocabulary.build(TEXT)
    assert vocabulary.tokens == ("a", "b", "<eos>", "d", "c", "<unk>")
    assert vocabulary(["d", "a", "<eos>", "z", "<unk>"]) == [3, 0, 2, 5, 5]
    assert len(vocabulary) == 6
    assert isinstance(vocabulary, VocabularyLike)


@pytest.mark.parametrize(
    ("size", "tokens"),
    [
        (3, ("a", "<eos>", "<unk>")),
        (4, ("a", "b", "<eos>", "<unk>")),
        (5, ("a", "b", "<eos>", "d", "<unk>")),
        (6, ("a", "b", "<eos>", "d", "c", "<unk>")),
        (9, ("a", "b", "<eos>", "d", "c", "<unk>")),
    ],
)
def test_only_the_most_frequent(size: int, tokens: tuple[str, ...]) -> None:
    assert Vocabulary.build(TEXT, size).tokens == tokens


def test_marks_are_added_last() -> None:
    assert Vocabulary.build(["x", "y", "y"]).tokens == ("y", "x", "<eos>", "<unk>")
    assert Vocabulary.build(["x", "y", "y"], 3).tokens == ("y", "<eos>", "<unk>")
    assert Vocabulary.build(["x", "<unk>", "<unk>"]).tokens == ("<unk>", "x", "<eos>")


def test_tokens_must_differ() -> None:
    with pytest.raises(ValueError, match="without repetition but got 'b' more than once"):
        Vocabulary(["<eos>", "<unk>", "a", "b", "b"])


@pytest.mark.parametrize("mark", ["<eos>", "<unk>"])
def test_marks_must_be_there(mark: str) -> None:
    with pytest.raises(ValueError, match=f"Expected '{mark}' among `tokens` but got none"):
        Vocabulary([token for token in ("<eos>", "<unk>", "a") if token != mark])


def test_there_must_be_room() -> None:
    with pytest.raises(ValueError, match="`max_size` to be at least 3"):
        Vocabulary.build(TEXT, 2)
