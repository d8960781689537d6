"""How many steps each window of a text has."""

from typing import Literal

import torch
from torch import Tensor

from lightning_nas.seeding import make_generator

Jitter = bool | Literal["halve"]

_HALVED = 0.05  # share of windows that are half as long
_DEVIATION = 5
_SHORTEST = 5
_LONGER = 20  # than the mean, at most


def window_sizes(steps: int, bptt: int, jitter: Jitter, seed: int, epoch: int) -> Tensor:
    """Return the lengths of an epoch's windows, which together have all steps of the text.

    They depend on the arguments only. The lengths are drawn once and come in another order in every epoch, because a
    Trainer counts the batches of the first epoch and expects as many in all. What is left over is the last window.

    Args:
        steps: Steps of the whole text.
        bptt: Steps of a window: all of them without jitter, most of them with it.
        jitter: True draws as Merity et al. (2017): the mean is ``bptt``, or half of it for 5 % of the windows; the
            length is normal around it with standard deviation 5, at least 5 and at most ``bptt`` + 20. ``"halve"`` only
            halves 5 %, rounded down.
        seed: Seed of the lengths and their order.
        epoch: Number of the epoch.
    """
    sizes = _drawn(steps, bptt, jitter, seed)
    sizes = sizes[sizes.cumsum(0) <= steps]
    order = torch.randperm(len(sizes), generator=make_generator(seed, "windows", epoch))
    rest = steps - int(sizes.sum())
    return torch.cat([sizes[order], torch.tensor([rest] if rest else [], dtype=torch.int64)])


def _drawn(steps: int, bptt: int, jitter: Jitter, seed: int) -> Tensor:
    """Return as many lengths as could be needed, or more."""
    if not jitter:
        return torch.full((steps // bptt,), bptt)
    generator = make_generator(seed, "window sizes")
    count = steps // (max(bptt // 2, 1) if jitter == "halve" else _SHORTEST)
    means = torch.where(torch.rand(count, generator=generator) < _HALVED, bptt / 2, float(bptt))
    if jitter == "halve":
        return means.long().clamp(min=1)
    drawn = means + _DEVIATION * torch.randn(count, generator=generator)
    return drawn.long().clamp(_SHORTEST, bptt + _LONGER)
