"""Progressive search and its predictor, restated slowly and plainly from the specification of PNAS.

A cell is a tuple of blocks ``(input 1, input 2, operation 1, operation 2)`` of integers; nothing is shared with
``lightning_nas``.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import permutations, product

import torch
from torch import Tensor

Block = tuple[int, int, int, int]
Cell = tuple[Block, ...]


def key(cell: Cell) -> Cell:
    """The smallest of all ways to write the cell: pairs swapped, blocks in another order."""
    orders = [order for order in permutations(range(len(cell))) if is_order(cell, order)]
    return min(rewritten(cell, order) for order in orders)


def is_order(cell: Cell, order: Sequence[int]) -> bool:
    """Whether every block comes after those it reads."""
    place = {block: position for position, block in enumerate(order)}
    return all(source < 2 or place[source - 2] < place[block] for block in order for source in cell[block][:2])


def rewritten(cell: Cell, order: Sequence[int]) -> Cell:
    place = {0: 0, 1: 1} | {block + 2: position + 2 for position, block in enumerate(order)}
    blocks = [sorted([(place[cell[k][0]], cell[k][2]), (place[cell[k][1]], cell[k][3])]) for k in order]
    return tuple((first[0], second[0], first[1], second[1]) for first, second in blocks)


def blocks(position: int, operations: int) -> list[Block]:
    """All blocks at a position (0 is the first)."""
    states, kinds = range(position + 2), range(operations)
    return list(product(states, states, kinds, kinds))


def candidates(beam: Iterable[Cell], operations: int) -> set[Cell]:
    """All cells that are a cell of the beam and a block more, each once."""
    return {key((*cell, block)) for cell in beam for block in blocks(len(cell), operations)}


def search(
    operations: int, levels: int, beam: int, evaluate: Callable[[Cell], float], predict: Callable[[Cell], float]
) -> tuple[Cell, list[dict[Cell, float]]]:
    """The winner, and the accuracies of each level; ``predict`` is an oracle that needs no fitting."""
    known = [{cell: evaluate(cell) for cell in candidates([()], operations)}]
    for _ in range(1, levels):
        found = sorted(candidates(known[-1], operations), key=predict, reverse=True)
        known.append({cell: evaluate(cell) for cell in found[:beam]})
    return max(known[-1], key=known[-1].__getitem__), known


def toy_accuracy(cell: Cell, weights: Sequence[float] = (1.0, 3.0)) -> float:
    """Sum over all inputs: weight of the operation, plus 0 for pp, 0.5 for p, 1.25 for a block."""
    bonus = (0.0, 0.5)
    terms = [(block[side], block[side + 2]) for block in cell for side in (0, 1)]
    return sum(weights[operation] + (bonus[source] if source < 2 else 1.25) for source, operation in terms)


def mlp(weights: Mapping[str, Tensor], cell: Cell, inputs: int) -> Tensor:
    """The MLP predictor on one cell: embeddings of a block side by side, mean over blocks, two hidden layers."""
    table = weights["embedding"]
    rows = [(block[0], block[1], inputs + block[2], inputs + block[3]) for block in cell]
    x = torch.stack([torch.cat([table[row] for row in block]) for block in rows]).mean(0)
    x = (x @ weights["first"] + weights["first_bias"]).relu()
    x = (x @ weights["second"] + weights["second_bias"]).relu()
    return (x @ weights["output"] + weights["output_bias"]).sigmoid()
