"""The recurrent networks of DARTS, restated slowly and plainly: edge by edge, operation by operation.

From the paper and ``rnn/`` of its authors. Dropout is a mask that is given.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

State = Mapping[str, Tensor]
Products = Literal["operation", "edge", "node"]
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "identity": lambda x: x,
}


def batch_norm(x: Tensor) -> Tensor:
    return (x - x.mean(0)) / (x.var(0, unbiased=False) + 1e-5).sqrt()


def candidate(state: Tensor, product: Tensor, function: str) -> Tensor:
    gate, new = product.chunk(2, -1)
    change: Tensor = FUNCTIONS[function](new) - state
    return state + gate.sigmoid() * change


def mixed_node(
    states: list[Tensor], mask: Tensor | float, table: Tensor, matrix: Tensor, products: Products = "edge"
) -> Tensor:
    """Sum all candidates; the matrix product is made for every candidate, for every edge, or for all edges at once."""
    node = torch.zeros_like(states[0])
    if products == "node":  # as the authors do
        stacked = torch.stack(states)
        product = ((stacked * mask).flatten(0, 1) @ matrix).view(*stacked.shape[:2], -1)
        for k, function in enumerate(FUNCTIONS, 1):
            node = node + (table[:, k, None, None] * candidate(stacked, product, function)).sum(0)
        return node
    for j, state in enumerate(states):
        product = (state * mask) @ matrix
        for k, function in enumerate(FUNCTIONS, 1):
            if products == "operation":
                product = (state * mask) @ matrix
            node = node + table[j, k] * candidate(state, product, function)
    return node


def mixed_layer(
    x: Tensor,
    last: Tensor,
    mask: Tensor | float,
    table: Tensor,
    weight: Tensor,
    matrices: Sequence[Tensor],
    norm: Callable[[Tensor], Tensor] = batch_norm,
    products: Products = "edge",
) -> Tensor:
    """Return the outputs of all time steps; ``weight`` is ``[2 * hidden, 2 * hidden]``, ``x`` is masked already."""
    outputs = []
    for step in x:
        states = [norm(candidate(last, torch.cat([step, last * mask], 1) @ weight, "tanh"))]
        row = 0
        for matrix in matrices:
            rows = table[row : row + len(states)]
            row += len(states)
            states.append(norm(mixed_node(states, mask, rows, matrix, products)))
        last = torch.stack(states[1:]).mean(0)
        outputs.append(last)
    return torch.stack(outputs)


def discrete_layer(
    x: Tensor, last: Tensor, weight: Tensor, matrices: Sequence[Tensor], pairs: Sequence[tuple[str, int]]
) -> Tensor:
    """Return the outputs of all time steps of a cell, without dropout and BatchNorm."""
    outputs = []
    for step in x:
        states = [candidate(last, torch.cat([step, last], 1) @ weight, "tanh")]
        for matrix, (function, source) in zip(matrices, pairs, strict=True):
            states.append(candidate(states[source], states[source] @ matrix, function))
        last = torch.stack(states[1:]).mean(0)
        outputs.append(last)
    return torch.stack(outputs)
