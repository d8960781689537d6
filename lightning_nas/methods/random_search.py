"""Random search, the baseline of all others."""

from typing import Any

from lightning_nas.methods.child_search import ChildSearchModule
from lightning_nas.spaces.base import SearchSpace
from lightning_nas.strategies.random import RandomStrategy
from lightning_nas.tasks.base import Task


class RandomSearchModule(ChildSearchModule):
    """Trains random architectures, no two alike, and keeps the best (``ChildSearchModule`` says how).

    Args:
        space: A search space, or the name of one.
        task: What is learned.
        seed: Seed of the architectures, and of all training.
        options: More arguments of ``ChildSearchModule``.

    Example:
        >>> module = RandomSearchModule("nasbench201", scale={"channels": 4, "cells": 1}, epochs_per_child=2)
        >>> module.strategy.ask(1)[0].architecture.space
        'nasbench201'
    """

    def __init__(
        self, space: SearchSpace | str = "nasnet", task: Task | None = None, *, seed: int = 0, **options: Any
    ) -> None:
        super().__init__(RandomStrategy(space, seed=seed), task, seed=seed, **options)
