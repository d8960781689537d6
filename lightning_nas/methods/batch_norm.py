"""Passes that leave no trace in BatchNorm."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn

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
