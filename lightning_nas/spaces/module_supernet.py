"""The supernet of a user's own model."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from lightning_nas.spaces.choices.choice_map import ChoiceMap
from lightning_nas.spaces.mixture import Mixture


class ModuleSupernet(nn.Module):
    """A model with choices, to which the mixtures are given with the input.

    Parameter names are the model's, behind ``model.``. Build it with ``ModuleSpace.supernet``.

    Args:
        model: The model.
        choices: Its choices.
        scale: What the model was built with.
    """

    def __init__(self, model: nn.Module, choices: ChoiceMap, scale: Mapping[str, Any]) -> None:
        super().__init__()
        self.model = model
        self.choices = choices
        self.scale = dict(scale)

    def forward(self, *inputs: Any, mixtures: Mapping[str, Mixture] | None = None, **named: Any) -> Any:
        """Return the model's output.

        Args:
            inputs: The model's inputs; the mixtures may come last among them.
            mixtures: The mixture of every decision group.
            named: More inputs of the model, by name.
        """
        if mixtures is None and inputs:
            *inputs, mixtures = inputs  # type: ignore[assignment]  # the rest is a list, not a tuple
        if not isinstance(mixtures, Mapping):
            raise TypeError(f"Expected `mixtures` by name after the inputs but got {type(mixtures).__name__}")
        if missing := self.choices.choices.keys() - mixtures.keys():
            raise ValueError(f"Expected a mixture for every choice but got none for {sorted(missing)}")
        self.choices.set_mixtures(mixtures)  # they stay: activation checkpointing computes once more in backward
        return self.model(*inputs, **named)
