"""Puts what an architecture chooses in the place of the choices."""

import os
from collections.abc import Mapping
from typing import TypeVar, overload

from torch import nn

from lightning_nas.architecture import Architecture, Value
from lightning_nas.spaces.choices.base import Choice
from lightning_nas.spaces.choices.choice_map import ChoiceMap, Place

M = TypeVar("M", bound=nn.Module)


@overload
def apply_architecture(module: Choice, architecture: Architecture | str | os.PathLike[str]) -> nn.Module: ...
@overload
def apply_architecture(module: M, architecture: Architecture | str | os.PathLike[str]) -> M: ...
def apply_architecture(module: nn.Module, architecture: Architecture | str | os.PathLike[str]) -> nn.Module:
    """Replace every choice in a module, a LightningModule say, by what an architecture chooses.

    Weights stay as they are. Apply it before optimisers are made; to go on with weights of a search, load them first.

    Args:
        module: A module that holds choices; it is changed.
        architecture: An architecture, or a JSON file of one.

    Returns:
        The module, or what takes its place if it is a choice itself.

    Raises:
        ValueError: If there are no choices, or the architecture decides other ones.

    Example:
        >>> from lightning_nas.spaces import OpChoice
        >>> model = nn.Sequential(nn.Linear(4, 2), OpChoice({"relu": nn.ReLU(), "tanh": nn.Tanh()}, key="activation"))
        >>> apply_architecture(model, Architecture("mine", {"activation": "tanh"}))
        Sequential(
          (0): Linear(in_features=4, out_features=2, bias=True)
          (1): Tanh()
        )
    """
    if not isinstance(architecture, Architecture):
        architecture = Architecture.load(architecture)
    choices = ChoiceMap(module)
    for decision in choices.decisions:
        value = architecture.values.get(decision.name)
        if not decision.allows(value):
            raise ValueError(f"Expected {decision.name!r} to be one of {decision.choices} but got {value!r}")
    if unknown := architecture.values.keys() - {decision.name for decision in choices.decisions}:
        raise ValueError(f"Expected decisions of {type(module).__name__} but got unknown {sorted(unknown)}")
    return replace_choices(module, choices, architecture.values)


def replace_choices(module: nn.Module, choices: ChoiceMap, values: Mapping[str, Value]) -> nn.Module:
    """Replace all choices; the innermost first, so that every path is still there when its turn comes."""
    chosen = choices.chosen(values)
    replacements: dict[Choice, nn.Module] = {}
    for place in sorted(choices.places, key=lambda place: -place.path.count(".")):
        if place.choice not in replacements:
            replacements[place.choice] = place.choice.replacement(chosen[place.key])
        place.choice.replaced = True
        module = _put(module, place, replacements[place.choice])
    return module


def _put(module: nn.Module, place: Place, replacement: nn.Module) -> nn.Module:
    if not place.path:
        return replacement
    parent, _, name = place.path.rpartition(".")
    setattr(module.get_submodule(parent), name, replacement)
    return module
