"""Normalisation of the states of a recurrent cell, with its gradient written out."""

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Normalisation(NamedTuple):
    """How states are normalised: by given statistics or, without, by those of the batch.

    Args:
        mean: ``[hidden]``.
        inverse: One by the standard deviation, ``[hidden]``.
        eps: Added to a batch's variance.
    """

    mean: Tensor | None
    inverse: Tensor | None
    eps: float

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return ``[texts, hidden]`` normalised, with mean and inverse deviation."""
        if self.mean is not None and self.inverse is not None:
            return (x - self.mean).mul_(self.inverse), self.mean, self.inverse
        mean = x.mean(0)
        centred = x - mean
        inverse = torch.linalg.vecdot(centred, centred, dim=0).div_(len(x)).add_(self.eps).rsqrt_()
        return centred.mul_(inverse), mean, inverse

    def backward(self, gradient: Tensor, normed: Tensor, inverse: Tensor) -> Tensor:
        """Return the gradient of what was normalised."""
        if self.mean is not None:
            return gradient * inverse
        slope = torch.linalg.vecdot(gradient, normed, dim=0).div_(len(normed))
        return (gradient - gradient.mean(0)).addcmul_(normed, slope, value=-1).mul_(inverse)

    def __call__(self, x: Tensor) -> Tensor:
        """Return ``x`` normalised, differentiable any number of times."""
        if self.mean is not None and self.inverse is not None:
            return (x - self.mean) * self.inverse
        return nn.functional.batch_norm(x, None, None, training=True, eps=self.eps)


def fixed_or_batch(norm: nn.BatchNorm1d, texts: int) -> Normalisation:
    """Return how a BatchNorm without scale normalises now.

    Raises:
        ValueError: If it would normalise by a batch of one text.
    """
    mean, variance = norm.running_mean, norm.running_var
    if norm.training or mean is None or variance is None:
        if texts < 2:
            raise ValueError(f"Expected at least 2 texts side by side for BatchNorm in training mode but got {texts}")
        return Normalisation(None, None, norm.eps)
    return Normalisation(mean, (variance + norm.eps).rsqrt(), norm.eps)


@torch.no_grad()
def track(norm: nn.BatchNorm1d, means: Tensor, inverses: Tensor, texts: int) -> None:
    """Update the running statistics as calls of a BatchNorm do, one after the other.

    Args:
        norm: The BatchNorm; nothing happens where it does not track.
        means: Of every call, ``[calls, hidden]``.
        inverses: One by the standard deviation, likewise.
        texts: Size of the batch.
    """
    mean, variance, count = norm.running_mean, norm.running_var, norm.num_batches_tracked
    if not norm.training or not norm.track_running_stats or mean is None or variance is None or count is None:
        return
    calls = len(means)
    if norm.momentum is None:  # the mean over all calls ever
        kept = count.to(means.dtype) / (count + calls)
        weights = ((1 - kept) / calls).expand(calls)
    else:
        age = torch.arange(calls - 1, -1, -1, device=means.device, dtype=means.dtype)
        kept = means.new_tensor((1 - norm.momentum) ** calls)
        weights = norm.momentum * (1 - norm.momentum) ** age
    unbiased = (inverses.pow(-2) - norm.eps).mul_(texts / (texts - 1))
    mean.mul_(kept).add_(weights @ means)
    variance.mul_(kept).add_(weights @ unbiased)
    count.add_(calls)
