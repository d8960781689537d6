"""Regularised evolution (Real et al. 2018, arXiv 1802.01548), restated plainly: one queue, one history, no classes.

Nothing is shared with ``lightning_nas.strategies``; random numbers are Python's own.
"""

import random
from collections import deque
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def evolve(
    draw: Callable[[], T],
    mutate: Callable[[T], T],
    evaluate: Callable[[T], float],
    evaluations: int,
    population: int,
    sample: int,
    kill: str = "oldest",
    rng: random.Random | None = None,
    replacement: bool = True,
) -> tuple[list[tuple[T, float]], list[list[T]]]:
    """Return the history of what was evaluated with its fitness, and the population after every cycle."""
    rng = rng or random.Random(0)
    alive: deque[tuple[T, float]] = deque()
    history: list[tuple[T, float]] = []
    populations = []
    while len(history) < evaluations:
        drawn: list[tuple[T, float]] = []
        if len(history) < population:
            genome = draw()
        else:
            drawn = rng.choices(alive, k=sample) if replacement else rng.sample(list(alive), sample)
            genome = mutate(max(drawn, key=lambda member: member[1])[0])
        alive.append((genome, evaluate(genome)))
        history.append(alive[-1])
        if len(alive) > population:
            if kill == "oldest":
                alive.popleft()
            else:
                alive.remove(min(drawn if kill == "worst_in_sample" else alive, key=lambda member: member[1]))
        if len(history) > population:
            populations.append([member for member, _ in alive])
    return history, populations


def without_repeats(make: Callable[[], T], seen: set[T]) -> T:
    """Return the first genome made that was not seen before, and remember it."""
    while (genome := make()) in seen:
        pass
    seen.add(genome)
    return genome
