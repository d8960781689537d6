"""Passes that leave no trace in BatchNorm."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import nn

from lightning_nas.modes import evaluating
from lightning_nas.tasks.base import Task

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm


def batch_norms(network: nn.Module) -> list[BatchNorm]:
    """Return the BatchNorms of a network."""
    return [module for module in network.modules() if isinstance(module, BatchNorm)]


@contextmanager
def frozen_statistics(norms: Sequence[BatchNorm]) -> Iterator[None]:
    """Let BatchNorms in training mode normalise by the batch, without updating their running statistics."""
    tracking = [norm for norm in norms if norm.track_running_stats]
    try:
        for norm in tracking:
            norm.track_running_stats = False
        yield
    finally:
        for norm in tracking:
            norm.track_running_stats = True


@contextmanager
def batch_statistics(network: nn.Module, norms: Sequence[BatchNorm]) -> Iterator[None]:
    """Evaluate a network, without dropout, but with the batch's statistics: running ones mix those of all its paths.

    Args:
        network: The network.
        norms: Its BatchNorms.
    """
    with evaluating(network), frozen_statistics(norms):
        for norm in norms:
            norm.train()
        yield


@torch.no_grad()
def recalibrate(network: nn.Module, task: Task, batches: Iterable[Any]) -> None:
    """Set the running statistics of BatchNorms to the mean over batches: a network that inherited weights needs it.

    The statistics of a supernet are those of a mixture of all its paths, and say little of one of them.

    Args:
        network: The network; it is changed.
        task: What a batch means.
        batches: Training batches, on the network's device.

    Raises:
        ValueError: If there are no batches.
    """
    norms = [norm for norm in batch_norms(network) if norm.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    first, rest = _first(batches)
    try:
        with evaluating(network):
            for norm in norms:
                norm.reset_running_stats()
                norm.train()
                norm.momentum = None  # the mean over all batches
            for batch in chain([first], rest):
                task.evaluate(network, batch)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def _first(batches: Iterable[Any]) -> tuple[Any, Iterator[Any]]:
    iterator = iter(batches)
    try:
        return next(iterator), iterator
    except StopIteration:
        raise ValueError("Expected `batches` to recalibrate with but got none") from None
