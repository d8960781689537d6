"""A tiny text, and what tests of language models share."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_nas.datamodules.text_data_module import Part, TextDataModule
from lightning_nas.tasks import LanguageModeling
from lightning_nas.tasks.base import Evaluation, Network

WORDS = 12
SIZES: dict[Part, int] = {"train": 75, "val": 39, "test": 23}


class TinyText(TextDataModule):
    """Random words: with 4 pieces five windows for training, the last of 2 steps, and two for the architecture."""

    def __init__(self, batch_size: int = 4, **options: Any) -> None:
        super().__init__(**{"batch_size": batch_size, "eval_batch_size": 2, "bptt": 4, **options})

    def load(self, part: Part) -> Sequence[str]:
        numbers = torch.randint(WORDS - 2, (SIZES[part],), generator=torch.Generator().manual_seed(SIZES[part]))
        start = [f"w{k}" for k in range(WORDS - 2)] if part == "train" else []
        words = [*start, *(f"w{k}" for k in numbers.tolist())][: SIZES[part] - 1]
        return [*words, "<eos>"]


class Watched(LanguageModeling):
    """Keeps what it is asked to evaluate, and what it has answered."""

    def __init__(self, **options: Any) -> None:
        super().__init__(WORDS, **options)
        self.calls: list[tuple[bool, Any, Any, Evaluation]] = []  # with gradients?, network, state before, evaluation

    def evaluate(self, network: Network, batch: Any) -> Evaluation:
        evaluation = super().evaluate(network, batch)
        self.calls.append((torch.is_grad_enabled(), network, batch.state, evaluation))
        return evaluation


def columns(tokens: Tensor, pieces: int, before: int) -> tuple[Tensor, Tensor]:
    """Return inputs and targets ``[steps, pieces]`` of as many whole columns as there are, by plain loops."""
    steps = len(tokens) // pieces
    inputs, targets = torch.zeros(steps, pieces, dtype=torch.int64), torch.zeros(steps, pieces, dtype=torch.int64)
    for piece in range(pieces):
        for step in range(steps):
            place = piece * steps + step
            inputs[step, piece] = tokens[place - 1] if place else before
            targets[step, piece] = tokens[place]
    return inputs, targets
