"""Regularised evolution (Real et al. 2018, arXiv 1802.01548)."""

from functools import partial
from typing import Any

from torch.optim import SGD

from lightning_nas.methods.child_search import ChildSearchModule
from lightning_nas.operations.nasnet import AMOEBANET_OPERATIONS
from lightning_nas.spaces.base import SearchSpace
from lightning_nas.strategies.evolution import EvolutionStrategy
from lightning_nas.tasks.base import Task

AMOEBANET = f"nasnet?operations={','.join(AMOEBANET_OPERATIONS)}&cells=two&concat=loose_ends"


class EvolutionModule(ChildSearchModule):
    """Trains mutations of the best of a sample of a population that ages (``ChildSearchModule`` says how).

    The paper trains 20,000 children of 3 cells a stage and 24 channels for 25 epochs each.

    Args:
        space: A search space, or the name of one; by default that of AmoebaNet.
        task: What is learned.
        population: Children that are alive.
        sample: Children of which the best becomes a parent.
        repeats: Whether the same architecture may be trained again, as in the paper.
        epochs_per_child: The Trainer's epochs for each child.
        seed: Seed of the architectures, and of all training.
        options: More arguments of ``ChildSearchModule``.

    Example:
        >>> module = EvolutionModule("nasbench201", population=8, sample=4, scale={"channels": 4, "cells": 1})
        >>> module.derive().space
        'nasbench201'
    """

    def __init__(
        self,
        space: SearchSpace | str = AMOEBANET,
        task: Task | None = None,
        *,
        population: int = 100,
        sample: int = 25,
        repeats: bool = False,
        epochs_per_child: int = 25,
        seed: int = 0,
        **options: Any,
    ) -> None:
        strategy = EvolutionStrategy(space, population=population, sample=sample, repeats=repeats, seed=seed)
        # not setdefault: a config gives None for what it leaves out
        options["optimizer"] = options.get("optimizer") or partial(SGD, lr=0.024, momentum=0.9, weight_decay=5e-4)
        super().__init__(strategy, task, epochs_per_child=epochs_per_child, seed=seed, **options)
