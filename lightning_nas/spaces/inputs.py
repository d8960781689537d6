"""What a network is called with."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

Example = Tensor | Sequence[Tensor] | Sequence[int] | Mapping[str, Tensor]


class Inputs(NamedTuple):
    """Positional and named inputs of a network, for ``network(*positional, **named)``."""

    positional: tuple[Any, ...]
    named: dict[str, Any]


def as_inputs(example: Example) -> Inputs:
    """Read an example input: a tensor, a tuple of positional or a dictionary of named ones, or the shape of one input.

    Raises:
        TypeError: If it is something else.

    Example:
        >>> as_inputs((3, 32, 32)).positional[0].shape
        torch.Size([1, 3, 32, 32])
    """
    if isinstance(example, Tensor):
        return Inputs((example,), {})
    if isinstance(example, Mapping):
        return Inputs((), dict(example))
    if isinstance(example, Sequence) and example:
        if all(type(size) is int for size in example):
            return Inputs((torch.zeros(1, *example),), {})
        if all(isinstance(tensor, Tensor) for tensor in example):
            return Inputs(tuple(example), {})
    raise TypeError(f"Expected an example input, a tensor or a shape such as (3, 32, 32), but got {example!r}")
