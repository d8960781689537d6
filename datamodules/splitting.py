"""Which images belong to which part."""

import torch

from lightning_nas.seeding import make_generator


def split_indices(count: int, fraction: float, seed: int | None, least: int = 1) -> tuple[list[int], list[int]]:
    """Split the numbers below ``count`` in two.

    Args:
        count: Number of samples.
        fraction: Share of the first part.
        seed: Seed of the permutation that is split; None splits by order.
        least: Smallest size either part may have.

    Raises:
        ValueError: If a part would be smaller than ``least``.
    """
    order = range(count) if seed is None else torch.randperm(count, generator=make_generator(seed, "split")).tolist()
    border = round(fraction * count)
    first, second = list(order[:border]), list(order[border:])
    if min(len(first), len(second)) < least:
        raise ValueError(
            f"Expected both parts to hold at least {least} samples but got {len(first)} and {len(second)}: "
            f"{count} samples were split with fraction {fraction}."
        )
    return first, second


def choose_indices(count: int, limit: int | None, seed: int) -> list[int]:
    """Choose at most ``limit`` of the numbers below ``count`` at random, in ascending order.

    Args:
        count: Number of samples.
        limit: How many to choose; None takes all.
        seed: Seed of the choice.
    """
    if limit is None or limit >= count:
        return list(range(count))
    chosen: list[int] = torch.randperm(count, generator=make_generator(seed, "subset"))[:limit].sort().values.tolist()
    return chosen
