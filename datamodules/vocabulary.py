"""The tokens that a model of language knows."""

from collections import Counter
from collections.abc import Iterable, Sequence

from lightning_nas.checks import check_at_least

END = "<eos>"  # stands at the end of every line
UNKNOWN = "<unk>"
_MARKS = (END, UNKNOWN)


class Vocabulary:
    """Numbers tokens; those that it does not know are ``<unk>``.

    Args:
        tokens: All different; the position of a token is its number.

    Raises:
        ValueError: If a token comes twice, or ``<unk>`` or ``<eos>`` is missing.

    Example:
        >>> vocabulary = Vocabulary.build("to be or not to be <eos>".split())
        >>> vocabulary.tokens
        ('to', 'be', 'or', 'not', '<eos>', '<unk>')
        >>> vocabulary(["be", "not", "afraid"])
        [1, 3, 5]
    """

    def __init__(self, tokens: Sequence[str]) -> None:
        self.tokens = tuple(tokens)
        self._numbers = {token: number for number, token in enumerate(self.tokens)}
        if len(self._numbers) < len(self.tokens):
            twice = next(token for token, count in Counter(self.tokens).items() if count > 1)
            raise ValueError(f"Expected `tokens` without repetition but got {twice!r} more than once.")
        for mark in _MARKS:
            if mark not in self._numbers:
                raise ValueError(f"Expected {mark!r} among `tokens` but got none; add it.")

    @classmethod
    def build(cls, text: Iterable[str], max_size: int | None = None) -> "Vocabulary":
        """Number the tokens of a text: the frequent before the rare, equally frequent ones as they first appear.

        ``<eos>`` and ``<unk>`` are always in, last when they are not in the text.

        Args:
            text: The tokens of the text in order.
            max_size: Keep only so many tokens, the most frequent ones.

        Raises:
            ValueError: If ``max_size`` leaves no room for a word.
        """
        check_at_least("max_size", max_size, len(_MARKS) + 1, f"{END} and {UNKNOWN} are always in")
        ranked = [token for token, _ in Counter(text).most_common()]
        words = [token for token in ranked if token not in _MARKS]
        kept = {*words[: None if max_size is None else max_size - len(_MARKS)], *_MARKS}
        return cls([*(token for token in ranked if token in kept), *(mark for mark in _MARKS if mark not in ranked)])

    def __call__(self, tokens: list[str]) -> list[int]:
        """Return the number of each token."""
        unknown = self._numbers[UNKNOWN]
        return [self._numbers.get(token, unknown) for token in tokens]

    def __len__(self) -> int:
        return len(self.tokens)
