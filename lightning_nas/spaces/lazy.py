"""Layers whose parameters get their shapes from the first batch."""

from torch import nn


def check_initialised(module: nn.Module) -> None:
    """Raise a ``ValueError`` if a parameter or buffer of a module still waits for the first batch."""
    tensors = (*module.named_parameters(), *module.named_buffers())
    if waiting := [name for name, tensor in tensors if nn.parameter.is_lazy(tensor)]:
        raise ValueError(
            f"Expected parameters that have a shape but got {waiting} of lazy layers; run one batch first, or give "
            "ModuleSpace an `example`"
        )
