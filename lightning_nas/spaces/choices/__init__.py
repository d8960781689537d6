"""Choices that stand in a user's own module, wherever one of several things is to be searched."""

from lightning_nas.spaces.choices.apply import apply_architecture
from lightning_nas.spaces.choices.base import Choice
from lightning_nas.spaces.choices.input_choice import InputChoice
from lightning_nas.spaces.choices.op_choice import OpChoice
from lightning_nas.spaces.choices.repeat_choice import RepeatChoice

__all__ = ["Choice", "InputChoice", "OpChoice", "RepeatChoice", "apply_architecture"]
