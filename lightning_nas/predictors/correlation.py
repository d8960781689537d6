"""How well one list of numbers orders what another measures."""

import torch
from torch import Tensor


def ranks(values: Tensor) -> Tensor:
    """Return the rank of each value, the smallest has 0; equal values share the mean of their ranks.

    Example:
        >>> ranks(torch.tensor([5.0, 2.0, 5.0]))
        tensor([1.5000, 0.0000, 1.5000], dtype=torch.float64)
    """
    ordered = values.sort().values
    first, behind = (torch.searchsorted(ordered, values, right=right) for right in (False, True))
    return (first + behind - 1).double() / 2


def spearman(predicted: Tensor, measured: Tensor) -> float:
    """Return Spearman's rank correlation: 1 for the same order, -1 for the reverse; 0 if all of one are equal.

    Example:
        >>> spearman(torch.tensor([0.1, 0.2, 0.4]), torch.tensor([50.0, 80.0, 60.0]))
        0.5
    """
    pair = torch.stack([ranks(predicted), ranks(measured)])
    x, y = pair - pair.mean(1, keepdim=True)
    scale = float((x.square().sum() * y.square().sum()).sqrt())
    return float(x @ y) / scale if scale else 0.0
