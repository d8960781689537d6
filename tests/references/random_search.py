"""Random search, restated plainly: draw, evaluate, keep the best."""

import random
from collections.abc import Callable, Sequence
from itertools import accumulate


def search(
    choices: Sequence[int], evaluate: Callable[[tuple[int, ...]], float], evaluations: int, rng: random.Random
) -> list[float]:
    """Return the best value after every evaluation of a genome drawn uniformly, slot by slot."""
    genomes = [tuple(rng.randrange(count) for count in choices) for _ in range(evaluations)]
    return list(accumulate(map(evaluate, genomes), max))
