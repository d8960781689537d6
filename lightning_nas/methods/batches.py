"""What batches hold."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

from lightning_nas._lightning import MisconfigurationException
from lightning_nas.tasks.text_batch import IGNORED, TextBatch


def batch_size(batch: Any) -> int:
    """Return the number of examples of a batch: the length of the first tensor found in it, single numbers aside.

    Of texts every token that is to be predicted is an example.

    Raises:
        TypeError: If there is no tensor in it.
    """
    if isinstance(batch, TextBatch):
        return int((batch.targets != IGNORED).sum())
    first = next(_tensors(batch), None)
    if first is None:
        raise TypeError(
            f"Expected a batch that holds a tensor, a tuple, dictionary or dataclass, but got {type(batch).__name__}"
        )
    return len(first)


def _tensors(batch: Any) -> Iterator[Tensor]:
    if isinstance(batch, Tensor):
        if batch.dim():
            yield batch
    elif isinstance(batch, Mapping):
        yield from _tensors(list(batch.values()))
    elif isinstance(batch, list | tuple):
        for part in batch:
            yield from _tensors(part)
    elif is_dataclass(batch):
        yield from _tensors([getattr(batch, field.name) for field in fields(batch)])


def split_streams(batch: Any) -> tuple[Any, Any]:
    """Return the batch for the weights and the one for the architecture.

    Raises:
        MisconfigurationException: If the batch is not one of a search.
    """
    if not isinstance(batch, Mapping) or batch.keys() != {"weights", "architecture"}:
        got = f"keys {sorted(batch)}" if isinstance(batch, Mapping) else type(batch).__name__
        raise MisconfigurationException(
            f'Expected training batches {{"weights": ..., "architecture": ...}} but got {got}; use a data module with '
            "search=True, or wrap yours: SearchSplit(datamodule)"
        )
    return batch["weights"], batch["architecture"]


def check_ordinary(batch: Any) -> None:
    """Raise a ``MisconfigurationException`` if a batch is one of a search with shared weights."""
    if isinstance(batch, Mapping) and batch.keys() == {"weights", "architecture"}:
        raise MisconfigurationException(
            "Expected ordinary training batches but got those of a search with shared weights; use a data module with "
            "search=False"
        )
