"""What an ``EnasModule`` is made of, by its preset."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal, get_args

from torch.optim import SGD, Adam

from lightning_nas.checks import check_choice
from lightning_nas.controllers import Controller, LstmController, Reinforce, UniformController, form_of
from lightning_nas.controllers.presets import Preset
from lightning_nas.controllers.reinforce import BaselineOrder
from lightning_nas.methods.optimizers import OptimizerCallable
from lightning_nas.spaces.base import SearchSpace

ControllerName = Literal["lstm", "uniform"]


def make_controller(
    controller: ControllerName | Controller, space: SearchSpace, preset: Preset, seed: int
) -> Controller:
    """Return the controller that a name stands for.

    Raises:
        ValueError: If it has no such name, or is a controller of another space.
    """
    if isinstance(controller, Controller):
        if controller.space.name != space.name:
            raise ValueError(f"Expected a `controller` of {space.name!r} but got one of {controller.space.name!r}")
        return controller
    check_choice("controller", controller, get_args(ControllerName))
    if controller == "uniform":
        return UniformController(space)
    return LstmController.enas(space, preset, seed=seed)


def make_reinforce(space: SearchSpace, preset: Preset) -> Reinforce:
    """Return baseline and weights; where a preset says nothing of the entropy, ``Reinforce`` does."""
    order: BaselineOrder = "official" if preset == "official" else "after_use"
    stated = {("paper", "micro"): 0.1, ("paper", "macro"): 0.1, ("official", "recurrent"): 1e-3}
    weight = stated.get((preset, form_of(space.decisions)))
    return Reinforce(order=order) if weight is None else Reinforce(order=order, entropy_weight=weight)


def steps_and_samples(space: SearchSpace, preset: Preset) -> tuple[int, int]:
    """Return the controller's steps an epoch, and the samples of a step: the paper steps after each sample."""
    if preset == "paper":
        return 2000, 1
    return {"macro": (50, 20), "recurrent": (100, 10)}.get(form_of(space.decisions), (30, 10))


def weights_sgd(space: SearchSpace, preset: Preset) -> OptimizerCallable:
    """Return the weights' optimiser; torch's decay is twice the weight of the authors' penalty."""
    official = 5e-4 if form_of(space.decisions) == "macro" else 2e-4
    decay = official if preset == "official" else 1e-4
    return partial(SGD, lr=0.05, momentum=0.9, nesterov=True, weight_decay=decay)


def controller_adam(space: SearchSpace, preset: Preset) -> OptimizerCallable:
    """Return the controller's optimiser, as far as torch has it: TensorFlow adds epsilon at another place."""
    if preset == "paper":
        return partial(Adam, lr=3.5e-4)
    rate = 1e-3 if form_of(space.decisions) == "macro" else 3.5e-3
    return partial(Adam, lr=rate, betas=(0.0, 0.999), eps=1e-3)


def warn_of_lost_batches(kept: int, expected: int, epoch: int) -> None:
    """Warn when batches for rewards are missing; checkpoints do not hold them: images, different in each process."""
    if kept < expected:
        warnings.warn(
            f"Expected the last {expected} architecture batches of epoch {epoch} for rewards but got {kept}: those "
            "before the checkpoint are lost, so the search differs from an uninterrupted one; resume from the end of "
            "an epoch, or from before its last `reward_batches` batches",
            stacklevel=2,
        )


@contextmanager
def learning(controller: Controller) -> Iterator[None]:
    """Let the controller's parameters take gradients inside the block."""
    controller.requires_grad_(True)
    try:
        yield
    finally:
        controller.requires_grad_(False)


def as_list(optimizers: Any) -> list[Any]:
    """Return a list: Lightning returns a single optimiser as it is."""
    return optimizers if isinstance(optimizers, list) else [optimizers]
