"""The order of the training images."""

import math
from collections.abc import Iterator, Sized
from typing import Any

import torch
from torch.utils.data import DistributedSampler

from lightning_nas.seeding import make_generator


class ResumableSampler(DistributedSampler[Any]):
    """An order that is a function of the seed and the epoch only.

    It is a ``DistributedSampler`` because Lightning replaces any other sampler when there are several processes. Rank r
    takes every ``num_replicas``-th index from the r-th on, so the k-th batches of all ranks together are the k-th batch
    that one process would see with a batch size ``num_replicas`` times as large. As in PyTorch, the order is continued
    with its own beginning when its length is not divisible by ``num_replicas``.

    The epoch is a constructor argument because a resumed Trainer lets loader workers fetch their first batches before
    it calls ``set_epoch`` (Lightning issue 21938).

    Args:
        dataset: Anything with a length.
        num_replicas: Number of processes.
        rank: Number of this process.
        shuffle: False keeps the order of the data set.
        seed: Seed of the order, the same in all processes.
        epoch: Epoch of the first pass.
        start: Samples of this rank that the first pass leaves out: those trained on before an interruption.
    """

    dataset: Sized  # type: ignore[assignment]  # only the length is used

    def __init__(
        self,
        dataset: Sized,
        *,
        num_replicas: int = 1,
        rank: int = 0,
        shuffle: bool = True,
        seed: int = 0,
        epoch: int = 0,
        start: int = 0,
    ) -> None:
        super().__init__(dataset, num_replicas, rank, shuffle, seed)  # type: ignore[arg-type]  # only the length is used
        self.epoch = epoch
        self._start_epoch = epoch
        self._start = start

    def order(self) -> list[int]:
        """Return the indices of this epoch for all ranks together, of a length divisible by the number of ranks."""
        count = len(self.dataset)
        indices = list(range(count))
        if self.shuffle:
            indices = torch.randperm(count, generator=make_generator(self.seed, "order", self.epoch)).tolist()
        return (indices * math.ceil(self.total_size / max(count, 1)))[: self.total_size]

    def __iter__(self) -> Iterator[int]:
        start = self._start if self.epoch == self._start_epoch else 0
        self._start = 0  # the next pass, of this epoch or another, is a whole one
        return iter(self.order()[self.rank :: self.num_replicas][start:])
