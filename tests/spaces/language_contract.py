"""The contract of a space whose networks are language models."""

from typing import Any

import torch
from torch import Tensor

from lightning_nas.testing.space import SpaceContract

VOCABULARY = 11
DROPOUT = ("dropout", "dropouth", "dropoutx", "dropouti", "dropoute")


def tokens(steps: int = 4, texts: int = 3, seed: int = 0) -> Tensor:
    return torch.randint(VOCABULARY, (steps, texts), generator=torch.Generator().manual_seed(seed))


def tiny(**given: Any) -> dict[str, Any]:
    """Return a small scale without dropout."""
    return {"vocabulary": VOCABULARY, "hidden": 6, "layers": 1, **dict.fromkeys(DROPOUT, 0.0), **given}


class LanguageContract(SpaceContract):
    def scale(self) -> dict[str, Any]:
        return tiny()

    def example(self) -> Tensor:
        return tokens()

    def other_example(self) -> Tensor:
        return tokens(seed=1)

    def result(self, output: Any) -> Tensor:
        """Return all that a model returns, side by side."""
        logits: Tensor = output.logits
        return torch.cat([logits, output.outputs, output.raw], -1)

    def output_shape(self) -> tuple[int, ...]:
        return (4, 3, VOCABULARY + 6 + 6)
