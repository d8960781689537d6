"""The tree cell of Zoph & Le, restated plainly for one text and lists of numbers."""

import math
from collections.abc import Callable, Sequence

FUNCTIONS: dict[str, Callable[[float], float]] = {
    "tanh": math.tanh,
    "relu": lambda x: max(x, 0.0),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "identity": lambda x: x,
}


def join(how: str, a: Sequence[float], b: Sequence[float]) -> list[float]:
    return [p + q if how == "add" else p * q for p, q in zip(a, b, strict=True)]


def activate(what: str, a: Sequence[float]) -> list[float]:
    return [FUNCTIONS[what](p) for p in a]


def times(a: Sequence[float], matrix: Sequence[Sequence[float]]) -> list[float]:
    return [sum(a[i] * matrix[i][j] for i in range(len(a))) for j in range(len(matrix[0]))]


def step(
    x: Sequence[float],
    hidden: Sequence[float],
    memory: Sequence[float],
    tokens: Sequence[str],
    of_input: Sequence[Sequence[Sequence[float]]],
    of_state: Sequence[Sequence[Sequence[float]]],
) -> tuple[list[float], list[float]]:
    """Return memory and hidden state after a step; matrices are those of the leaves."""
    pairs = [(tokens[k], tokens[k + 1]) for k in range(0, len(tokens) - 2, 2)]
    *nodes, inject = pairs
    before: list[list[float]] = []
    after: list[list[float]] = []
    for number, (combine, activation) in enumerate(nodes):
        if number < len(of_input):
            left, right = times(x, of_input[number]), times(hidden, of_state[number])
        else:
            left, right = after[2 * (number - len(of_input))], after[2 * (number - len(of_input)) + 1]
        before.append(join(combine, left, right))
        after.append(activate(activation, before[-1]))
        if number == int(tokens[-1]):
            after[-1] = activate(inject[1], join(inject[0], after[-1], memory))
    return before[int(tokens[-2])], after[-1]
