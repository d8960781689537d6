"""Cells as rows of numbers, for searches that look at hundreds of thousands of them at once.

A row ``[4 * blocks]`` holds for every block its two inputs and the indices of its two operations: I1, I2, O1, O2.
Inputs are numbered as in ``NasnetSpace``: 0 and 1 are the inputs of the cell, ``k + 2`` is block ``k``. Two rows are
one cell if they differ in the order of a block's two pairs, or in the order of the blocks (PNAS, arXiv 1712.00559).
"""

import torch
from torch import Tensor

FIELDS = 4  # numbers of a block
OUTSIDE = 2  # inputs of a cell
CHUNK = 2**14  # rows that are made canonical together


def count_blocks(rows: Tensor) -> int:
    """Return the number of blocks of each of the rows.

    Raises:
        ValueError: If these are no rows of whole numbers, four a block.
    """
    if rows.dim() != 2 or rows.shape[1] % FIELDS or rows.is_floating_point():
        raise ValueError(f"Expected rows [n, {FIELDS} * blocks] of integers but got {list(rows.shape)} of {rows.dtype}")
    return rows.shape[1] // FIELDS


def block_rows(inputs: int, operations: int) -> Tensor:
    """Return all blocks as rows ``[m * (m + 1) / 2, 4]``, ``m = inputs * operations``; their pairs stand in order.

    Example:
        >>> block_rows(2, 8).shape
        torch.Size([136, 4])
    """
    first, second = torch.triu_indices(inputs * operations, inputs * operations)
    return torch.stack([first // operations, second // operations, first % operations, second % operations], 1)


def expand(rows: Tensor, operations: int) -> Tensor:
    """Return all children of cells that have one block more; the children of one row stand together.

    The two pairs of the new block stand in order, so no child of a row comes twice. One empty row has all cells of one
    block as children.

    Args:
        rows: Cells ``[n, 4 * blocks]``; ``blocks`` may be 0.
        operations: Number of operations.

    Example:
        >>> expand(torch.zeros(1, 0, dtype=torch.long), 8).shape
        torch.Size([136, 4])
    """
    blocks = block_rows(count_blocks(rows) + OUTSIDE, operations).to(rows)
    return torch.cat([rows.repeat_interleave(len(blocks), 0), blocks.repeat(len(rows), 1)], 1)


def sort_pairs(rows: Tensor, operations: int) -> Tensor:
    """Return rows with the two pairs of every block in order: by input, then by operation."""
    first, second = _pairs(rows, operations)
    return _to_rows(torch.minimum(first, second), torch.maximum(first, second), operations)


def canonical_rows(rows: Tensor, operations: int) -> Tensor:
    """Return the canonical way to write every row: equal rows mean equal cells.

    Of all orders of the blocks in which inputs come before their readers, it is the one whose sequence of blocks, each
    with its pairs in order, is the lexicographic minimum.

    Args:
        rows: Cells ``[n, 4 * blocks]``.
        operations: Number of operations.
    """
    chunks = torch.split(rows, CHUNK)
    return torch.cat([_canonical(chunk, operations) for chunk in chunks]) if len(rows) else rows.clone()


def _canonical(rows: Tensor, operations: int) -> Tensor:
    """Choose the least block that can come next, place after place; equal blocks are all followed up."""
    blocks = count_blocks(rows)
    states = blocks + OUTSIDE  # the number of a block that has no place yet, too
    radix = states * operations
    chosen = [rows.new_zeros(len(rows), 0)]
    row = torch.arange(len(rows), device=rows.device)  # of every beginning that is followed up
    numbers = torch.full((len(rows), states), states, device=rows.device)  # of its states, in the new order
    numbers[:, :OUTSIDE] = torch.arange(OUTSIDE, device=rows.device)
    inputs, labels = _inputs_and_operations(rows)
    for place in range(blocks):
        pairs = numbers.gather(1, inputs[row]) * operations + labels[row]
        low, high = torch.minimum(pairs[:, ::2], pairs[:, 1::2]), torch.maximum(pairs[:, ::2], pairs[:, 1::2])
        impossible = (high >= radix) | (numbers[:, OUTSIDE:] < states)
        codes = (low * radix + high).masked_fill(impossible, radix * radix)
        least = codes.new_full((len(rows),), radix * radix).scatter_reduce(0, row, codes.amin(1), "amin")
        beginning, block = (codes == least[row, None]).nonzero().unbind(1)
        row, numbers = row[beginning], numbers[beginning]
        numbers.scatter_(1, block[:, None] + OUTSIDE, place + OUTSIDE)
        chosen.append(least[:, None])
    codes = torch.cat(chosen, 1)
    return _to_rows(codes // radix, codes % radix, operations).to(rows)


def _inputs_and_operations(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the inputs and the operations of all pairs, ``[n, 2 * blocks]`` each."""
    inputs, labels = rows.long().reshape(len(rows), count_blocks(rows), 2, 2).unbind(2)
    return inputs.flatten(1), labels.flatten(1)


def _pairs(rows: Tensor, operations: int) -> tuple[Tensor, Tensor]:
    """Return a number for the first and one for the second pair of every block, ``[n, blocks]`` each."""
    inputs, labels = _inputs_and_operations(rows)
    codes = inputs * operations + labels
    return codes[:, ::2], codes[:, 1::2]


def _to_rows(low: Tensor, high: Tensor, operations: int) -> Tensor:
    """Return rows of blocks whose pairs are numbered ``low`` and ``high``, ``[n, blocks]`` each."""
    pairs = torch.stack([low, high], 2)
    return torch.cat([pairs // operations, pairs % operations], 2).flatten(1)
