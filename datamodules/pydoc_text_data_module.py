"""Real text that needs no download."""

import re

from lightning_nas.datamodules.text_data_module import Part, TextDataModule
from lightning_nas.datamodules.text_window_sizes import Jitter
from lightning_nas.datamodules.vocabulary import END
from lightning_nas.datamodules.vocabulary_like import VocabularyLike

_PARAGRAPHS = re.compile(r"\n\s*\n")
_TOKENS = re.compile(r"[^\W\d_]+|\d+|([^\w\s]|_)\1*")  # words, numbers, and the same sign once or repeated
_HELD_OUT: dict[int, Part] = {6: "val", 8: "test"}  # of every ten topics


class PydocTextDataModule(TextDataModule):
    """The help texts of the Python language, as ``help("if")`` shows them: about 100,000 tokens.

    The text comes with Python (``pydoc_data.topics``) and differs between its versions, so compare results of the same
    version only. Of every ten topics, sorted by name, the seventh is for validation and the ninth for testing. Tokens
    are words in lower case, numbers and signs; ``<eos>`` ends a paragraph.

    Args:
        batch_size: See ``TextDataModule``, as for all that follow.
        eval_batch_size: Pieces of validation text.
        test_batch_size: Pieces of test text.
        bptt: Steps of a window.
        jitter: How lengths of training windows vary.
        search: Give text for the weights and for the architecture.
        search_fraction: Share of the training text for the weights.
        vocabulary: Numbers the tokens.
        max_vocabulary: Largest size of the vocabulary that is built; None keeps words that come only once, too.
        seed: Seed of the lengths of windows.
    """

    def __init__(
        self,
        *,
        batch_size: int = 20,
        eval_batch_size: int = 10,
        test_batch_size: int = 1,
        bptt: int = 35,
        jitter: Jitter = False,
        search: bool = False,
        search_fraction: float | None = None,
        vocabulary: VocabularyLike | None = None,
        max_vocabulary: int | None = 1000,
        seed: int = 0,
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            test_batch_size=test_batch_size,
            bptt=bptt,
            jitter=jitter,
            search=search,
            search_fraction=search_fraction,
            vocabulary=vocabulary,
            max_vocabulary=max_vocabulary,
            seed=seed,
        )

    def load(self, part: Part) -> list[str]:
        """Read the topics of a part.

        Raises:
            ImportError: If this Python came without its help texts.
        """
        topics = _all_topics()
        names = [name for index, name in enumerate(sorted(topics)) if _HELD_OUT.get(index % 10, "train") == part]
        paragraphs = (paragraph for name in names for paragraph in _PARAGRAPHS.split(topics[name].strip()))
        return [token for paragraph in paragraphs for token in (*_split(paragraph), END)]


def _split(paragraph: str) -> list[str]:
    return [match.group() for match in _TOKENS.finditer(paragraph.lower())]


def _all_topics() -> dict[str, str]:
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise ImportError(
            "Expected Python to come with its help texts (pydoc_data) for PydocTextDataModule but got none; install "
            "the whole standard library, or use TextFilesDataModule."
        ) from error
    return topics
