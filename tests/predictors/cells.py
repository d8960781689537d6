"""Cells of PNAS as tokens."""

import torch

from lightning_nas.predictors import Encoding, Tokens
from tests.references.pnas import Cell, blocks, candidates, key, toy_accuracy

PNAS = Encoding(tables=(6, 8), fields=(0, 0, 1, 1))
WEIGHTS = (1.0, 3.0, 1.5, 0.5, 2.0, 1.25, 0.75, 2.5)  # of eight operations


def one_block_cells() -> list[Cell]:
    return sorted(candidates([()], 8))


def random_cells(n: int, size: int, seed: int = 0) -> list[Cell]:
    generator = torch.Generator().manual_seed(seed)
    choices = [blocks(position, 8) for position in range(size)]
    picks = [[int(torch.randint(len(c), (), generator=generator)) for c in choices] for _ in range(n)]
    return [key(tuple(c[k] for c, k in zip(choices, pick, strict=True))) for pick in picks]


def tokens(cells: list[Cell]) -> Tokens:
    return PNAS.tokens(cells)


def accuracies(cells: list[Cell]) -> torch.Tensor:
    """Smooth toy accuracies in [0, 1], higher for better blocks whatever their number."""
    return torch.tensor([toy_accuracy(cell, WEIGHTS) / len(cell) for cell in cells]) / 10
