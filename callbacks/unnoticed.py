"""Calls of a user's module that leave no trace in it."""

import random
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from lightning_nas._lightning import MisconfigurationException, pl

Restore = list[Callable[[], None]]
METRICS = (Metric, MetricCollection)
# what torch keeps in every module, empty most of the time: parameters and hooks, which calls do not change
UNCHANGING = vars(nn.Module()).keys() - {"_buffers", "_modules"}


class Unnoticed:
    """Lets a LightningModule compute a loss once more than the user asked for, without a trace.

    Inside the block nothing is logged and metrics are replaced by others. Afterwards buffers (statistics of BatchNorm,
    say), attributes and what lists and dictionaries among them hold are as before, and so are random numbers.
    """

    def __init__(self) -> None:
        self._stand_ins: dict[int, tuple[nn.Module, Any]] = {}

    @contextmanager
    def __call__(self, module: pl.LightningModule, seed: int) -> Iterator[None]:
        """Keep everything as it is; random numbers inside come from the seed.

        Raises:
            MisconfigurationException: If a parameter was changed inside.
        """
        metrics = _metrics(module)
        before = {name: (parameter._version, parameter.data_ptr()) for name, parameter in module.named_parameters()}
        with _same_state(module, metrics), _loggers_off(module.trainer), _own_randomness(seed):
            self._silence(module, metrics)
            yield
        for name, parameter in module.named_parameters():
            if (parameter._version, parameter.data_ptr()) != before[name]:
                raise MisconfigurationException(
                    f"Expected a training_step that changes no weights by itself but it changed {name!r}; alpha steps "
                    "would change it once more, give DifferentiableSearch(loss=...) what computes the loss only"
                )

    def _silence(self, module: nn.Module, metrics: dict[str, nn.Module]) -> None:
        """Put other things in the place of all that records; putting them back is for ``_same_state``."""
        for path, metric in metrics.items():
            parent, _, name = path.rpartition(".")
            setattr(module.get_submodule(parent), name, self._stand_in(metric))
        for child in module.modules():
            if isinstance(child, pl.LightningModule):
                vars(child).update(log=_do_nothing, log_dict=_do_nothing)

    def _stand_in(self, metric: nn.Module) -> Any:
        _, stand_in = self._stand_ins.get(id(metric), (metric, None))
        if stand_in is None:
            stand_in = deepcopy(metric)
            self._stand_ins[id(metric)] = metric, stand_in  # the metric too: its id must stay its own
        stand_in.reset()
        return stand_in


def _metrics(module: nn.Module) -> dict[str, nn.Module]:
    """Return metrics by place, those inside of other metrics left out."""
    found: dict[str, nn.Module] = {}
    for path, child in module.named_modules(remove_duplicate=False):
        if isinstance(child, METRICS) and not any(path.startswith(f"{outer}.") for outer in found):
            found[path] = child
    return found


def _do_nothing(*_: Any, **__: Any) -> None: ...


@contextmanager
def _loggers_off(trainer: pl.Trainer) -> Iterator[None]:
    """Swallow what a module sends to its loggers itself."""
    loggers = trainer.loggers
    dummy = import_module(f"{pl.__name__}.loggers.logger").DummyLogger
    try:
        trainer.loggers = [dummy() for _ in loggers]
        yield
    finally:
        trainer.loggers = loggers


@contextmanager
def _own_randomness(seed: int) -> Iterator[None]:
    """Seed torch and Python inside the block; outside these and NumPy go on as if nothing had happened."""
    with import_module(f"{pl.__name__}.utilities.seed").isolate_rng():
        torch.manual_seed(seed)
        random.seed(seed)
        yield


@contextmanager
def _same_state(module: nn.Module, metrics: dict[str, nn.Module]) -> Iterator[None]:
    """Put buffers and attributes back afterwards, of all modules but the metrics."""
    inside = {child for metric in metrics.values() for child in metric.modules()}
    restore: Restore = []
    for child in module.modules():
        if child not in inside:
            _keep_module(child, restore)
    try:
        yield
    finally:
        for put_back in restore:
            put_back()


def _keep_module(module: nn.Module, restore: Restore) -> None:
    attributes = vars(module)
    _keep_dict(attributes, dict(attributes), restore)
    for name, value in attributes.items():
        if name not in UNCHANGING:
            _keep(value, restore)


def _keep(value: object, restore: Restore, outer: tuple[int, ...] = ()) -> None:
    """Note how to put back what a value holds, if it can change in place: tensors and containers."""
    if isinstance(value, Tensor) and not value.requires_grad and not value.is_inference():
        _keep_tensor(value, value.detach().clone(), restore)
    elif isinstance(value, dict) and id(value) not in outer:
        _keep_dict(value, dict(value), restore)
        for item in list(value.values()):
            _keep(item, restore, (*outer, id(value)))
    elif isinstance(value, list | deque):
        _keep_list(value, list(value), restore)
    elif isinstance(value, set):
        _keep_set(value, set(value), restore)


def _keep_tensor(tensor: Tensor, before: Tensor, restore: Restore) -> None:
    def put_back() -> None:
        with torch.no_grad():
            tensor.copy_(before)

    restore.append(put_back)


def _keep_dict(items: dict[Any, Any], before: dict[Any, Any], restore: Restore) -> None:
    def put_back() -> None:
        if items.keys() != before.keys() or any(items[key] is not before[key] for key in before):
            items.clear()
            items.update(before)

    restore.append(put_back)


def _keep_list(items: list[Any] | deque[Any], before: list[Any], restore: Restore) -> None:
    def put_back() -> None:
        if len(items) != len(before) or any(a is not b for a, b in zip(items, before, strict=True)):
            items.clear()
            items.extend(before)

    restore.append(put_back)


def _keep_set(items: set[Any], before: set[Any], restore: Restore) -> None:
    def put_back() -> None:
        if items != before:
            items.clear()
            items.update(before)

    restore.append(put_back)
