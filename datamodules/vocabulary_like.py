"""What numbers tokens."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class VocabularyLike(Protocol):
    """Anything that numbers tokens as torchtext's ``Vocab`` does: ours, torchtext's or the user's own."""

    def __call__(self, tokens: list[str]) -> list[int]:
        """Return the number of each token: 0 or more, and less than the length."""

    def __len__(self) -> int: ...
