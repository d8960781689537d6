"""How users give optimisers and schedules: as what makes them, since the parameters are not there yet."""

from collections.abc import Callable, Iterable

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

OptimizerCallable = Callable[[Iterable[nn.Parameter]], Optimizer]
SchedulerCallable = Callable[[Optimizer], LRScheduler]
