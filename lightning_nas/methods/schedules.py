"""Learning rates as functions of the epoch: nothing about them needs to be saved."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

from torch.optim import Optimizer


def cosine(epoch: int, epochs: int, initial: float, final: float) -> float:
    """Return the learning rate of an epoch: ``initial`` at epoch 0, towards ``final`` at epoch ``epochs``."""
    return final + (initial - final) * (1 + math.cos(math.pi * min(epoch, epochs) / epochs)) / 2


def cosine_with_restarts(epoch: int, first: int, initial: float, final: float) -> float:
    """Return the learning rate of an epoch: cosines from ``initial`` to ``final``, each twice as long as the last.

    Example:
        >>> [round(cosine_with_restarts(epoch, 10, 0.05, 0.0005), 6) for epoch in (0, 5, 9, 10, 20, 29, 30)]
        [0.05, 0.02525, 0.001711, 0.05, 0.02525, 0.000805, 0.05]
    """
    while epoch >= first:
        epoch, first = epoch - first, 2 * first
    return cosine(epoch, first, initial, final)


@contextmanager
def scaled_rates(optimizer: Optimizer, factor: float) -> Iterator[None]:
    """Multiply the learning rates of an optimiser for one step."""
    rates = [group["lr"] for group in optimizer.param_groups]
    try:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * factor
        yield
    finally:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
