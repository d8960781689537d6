"""How users give optimisers and schedules: as what makes them, since the parameters are not there yet."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

OptimizerCallable = Callable[[Iterable[nn.Parameter]], Optimizer]
SchedulerCallable = Callable[[Optimizer], LRScheduler]


def describe_recipe(optimizer: OptimizerCallable, scheduler: SchedulerCallable | None) -> list[Any]:
    """Return what is made: names of classes, and their settings, to tell one recipe from another."""
    described: list[Any] = []
    with suppress(Exception):  # what makes them may need the real parameters
        made = optimizer([nn.Parameter(torch.zeros(1, 1))])
        described += [type(made).__name__, made.defaults]
        if scheduler is not None:
            schedule = scheduler(made)
            described += [type(schedule).__name__, schedule.state_dict()]
    return described
