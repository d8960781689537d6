"""What several processes agree on."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from lightning_nas._lightning import pl


def mean_over_processes(tensors: Sequence[Tensor], trainer: pl.Trainer) -> list[Tensor]:
    """Return the mean of every tensor over all processes, in one exchange; all must call it with equal shapes."""
    if trainer.world_size == 1:
        return list(tensors)
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    flat = cast("Tensor", trainer.strategy.reduce(flat, reduce_op="mean"))
    parts = torch.split(flat, [tensor.numel() for tensor in tensors])
    return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]
