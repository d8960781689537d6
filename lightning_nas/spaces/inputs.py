"""What a network is called with."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_nas.spaces.choices.base import UnmixableError

Example = Tensor | Sequence[Tensor] | Sequence[int] | Mapping[str, Tensor]


class Inputs(NamedTuple):
    """Positional and named inputs of a network, for ``network(*positional, **named)``."""

    positional: tuple[Any, ...]
    named: dict[str, Any]

    def __str__(self) -> str:
        given = [_form(value) for value in self.positional] + [f"{n}={_form(v)}" for n, v in self.named.items()]
        return ", ".join(given)

    def first(self) -> "Inputs":
        """Return one input of a batch: the first of each tensor that is as long as the first tensor."""
        sizes = [len(value) for value in (*self.positional, *self.named.values()) if _is_batch(value)]

        def one(value: Any) -> Any:
            return value[:1] if _is_batch(value) and len(value) == sizes[0] else value

        return Inputs(tuple(map(one, self.positional)), {name: one(value) for name, value in self.named.items()})


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


@contextmanager
def example_named(what: str, inputs: Inputs) -> Iterator[None]:
    """Say that it was an example with which a model was called, where the call fails.

    Args:
        what: Name of the argument that it came from.
        inputs: The example.

    Raises:
        ValueError: Instead of what is raised inside; candidates that cannot be mixed stay what they are.
    """
    try:
        yield
    except UnmixableError:
        raise
    except Exception as error:
        raise ValueError(
            f"Expected {what} to be an input that the model takes but got {inputs}: {type(error).__name__}: {error}"
        ) from error


def _is_batch(value: object) -> bool:
    return isinstance(value, Tensor) and value.dim() > 0


def _form(value: object) -> str:
    return f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
