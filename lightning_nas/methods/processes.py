"""What several processes agree on."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, distributed

from lightning_nas._lightning import pl

T = TypeVar("T")


def mean_over_processes(tensors: Sequence[Tensor], trainer: pl.Trainer) -> list[Tensor]:
    """Return the mean of every tensor over all processes, in one exchange; all must call it with equal shapes."""
    if trainer.world_size == 1:
        return list(tensors)
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    flat = cast("Tensor", trainer.strategy.reduce(flat, reduce_op="mean"))
    parts = torch.split(flat, [tensor.numel() for tensor in tensors])
    return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]


def gather(value: T, trainer: pl.Trainer) -> list[T]:
    """Return what every process has given, by rank; all must call it. The values are pickled."""
    if trainer.world_size == 1:
        return [value]
    values = cast("list[T]", [None] * trainer.world_size)
    distributed.all_gather_object(values, value)
    return values


def on_cpu(value: Any) -> Any:
    """Return nested data with all its tensors on the CPU: another process may not have this one's GPU."""
    if isinstance(value, Tensor):
        return value.cpu()
    if isinstance(value, Mapping):
        return {key: on_cpu(part) for key, part in value.items()}
    return type(value)(map(on_cpu, value)) if isinstance(value, list | tuple) else value
