"""Calls of a user's module that leave no trace in it."""

import random
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lightning_nas._lightning import MisconfigurationException, pl

# what torch keeps in every module, empty most of the time: parameters and hooks, which calls do not change
UNCHANGING = vars(nn.Module()).keys() - {"_buffers", "_modules"}
GENERATORS = (torch.Generator, random.Random, np.random.Generator, np.random.RandomState)
KEPT = (nn.Module, dict, list, deque, set, Tensor, np.ndarray, *GENERATORS)


@contextmanager
def unnoticed(module: pl.LightningModule, seed: int) -> Iterator[None]:
    """Let a LightningModule compute a loss once more than the user asked for, without a trace.

    Inside the block nothing is logged, and no optimiser or scheduler can step. Afterwards attributes of all modules are
    as before, with the values of those that are tensors, arrays, random generators, lists, sets or dictionaries, and
    with what is in dictionaries. This covers buffers (statistics of BatchNorm, say) and metrics, which may be in lists.
    Random numbers go on as before; inside they come from the seed.

    Args:
        module: The module, in a Trainer.
        seed: Seed of the random numbers inside.

    Raises:
        MisconfigurationException: If a parameter was changed inside, or something stepped.
    """
    before = {name: (parameter._version, parameter.data_ptr()) for name, parameter in module.named_parameters()}
    with _same_state(module), _loggers_off(module.trainer), _no_steps(module.trainer), _own_randomness(seed):
        for child in module.modules():
            if isinstance(child, pl.LightningModule):
                vars(child).update(log=_do_nothing, log_dict=_do_nothing)  # _same_state puts the methods back
        yield
    for name, parameter in module.named_parameters():
        if (parameter._version, parameter.data_ptr()) != before[name]:
            raise MisconfigurationException(
                f"Expected a training_step that changes no weights by itself but it changed {name!r}; alpha steps "
                "would change it once more, give DifferentiableSearch(loss=...) what computes the loss only"
            )


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
def _no_steps(trainer: pl.Trainer) -> Iterator[None]:
    """Refuse steps of the Trainer's optimisers and schedulers; they can be read."""
    steppers = [*trainer.optimizers, *(config.scheduler for config in trainer.lr_scheduler_configs)]
    own = [vars(stepper).get("step") for stepper in steppers]  # schedulers wrap the step of their optimiser
    try:
        for stepper in steppers:
            vars(stepper)["step"] = partial(_refuse, type(stepper).__name__)
        yield
    finally:
        for stepper, step in zip(steppers, own, strict=True):
            vars(stepper).pop("step", None)
            if step is not None:
                vars(stepper)["step"] = step


def _refuse(name: str, *_: Any, **__: Any) -> None:
    raise MisconfigurationException(
        f"Expected a training_step that leaves steps to the Trainer but it called {name}.step(); alpha steps would "
        "call it once more, give DifferentiableSearch(loss=...) what computes the loss only"
    )


@contextmanager
def _own_randomness(seed: int) -> Iterator[None]:
    """Seed torch and Python inside the block; outside these and NumPy go on as if nothing had happened."""
    with import_module(f"{pl.__name__}.utilities.seed").isolate_rng():
        torch.manual_seed(seed)
        random.seed(seed)
        yield


@contextmanager
def _same_state(module: nn.Module) -> Iterator[None]:
    """Put everything that a module consists of back afterwards."""
    restore = [_how_to_put_back(value) for value in _everything(module)]
    try:
        yield
    finally:
        for put_back in restore:
            put_back()


def _everything(module: nn.Module) -> Iterator[Any]:
    """Yield a module and all that it holds and that can change in place, each once."""
    seen: set[int] = set()
    todo: list[Any] = [module]
    while todo:
        value = todo.pop()
        if id(value) not in seen:
            seen.add(id(value))
            yield value
            todo += _inside(value)


def _inside(value: Any) -> list[Any]:
    if isinstance(value, nn.Module):
        return [item for name, item in vars(value).items() if name not in UNCHANGING and isinstance(item, KEPT)]
    if isinstance(value, dict):
        return [item for item in value.values() if isinstance(item, KEPT)]
    if isinstance(value, list | deque | set):  # of outputs, perhaps: too many to keep more than modules
        return [item for item in value if isinstance(item, nn.Module)]
    return []


def _how_to_put_back(value: Any) -> Callable[[], object]:
    """Return a function that makes a value what it is now."""
    match value:
        case nn.Module():
            return partial(_refill_dict, vars(value), dict(vars(value)))
        case dict():
            return partial(_refill_dict, value, dict(value))
        case list() | deque():
            return partial(_refill, value, list(value), value.extend)
        case set():
            return partial(_refill, value, set(value), value.update)
        case Tensor() if not (isinstance(value, nn.Parameter) or value.requires_grad or value.is_inference()):
            return partial(_copy, value, value.detach().clone())
        case np.ndarray() if value.flags.writeable:
            return partial(np.copyto, value, value.copy())
        case torch.Generator():
            return partial(value.set_state, value.get_state())
        case random.Random():
            return partial(value.setstate, value.getstate())
        case np.random.Generator():
            return partial(setattr, value.bit_generator, "state", value.bit_generator.state)
        case np.random.RandomState():
            return partial(value.set_state, value.get_state())
    return _do_nothing


def _refill_dict(items: dict[Any, Any], before: dict[Any, Any]) -> None:
    if items.keys() != before.keys() or any(items[key] is not before[key] for key in before):
        _refill(items, before, items.update)


def _refill(items: Any, before: Any, fill: Callable[[Any], object]) -> None:
    items.clear()
    fill(before)


@torch.no_grad()
def _copy(tensor: Tensor, before: Tensor) -> None:
    tensor.copy_(before)
