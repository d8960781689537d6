"""Random numbers that do not depend on how a run was cut into pieces."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive_seed(*parts: int | str) -> int:
    """Return a seed that depends on all parts, and on nothing else.

    Example:
        >>> derive_seed(0, "weights") == derive_seed(0, "weights") != derive_seed(1, "weights")
        True
    """
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:7], "big")


@contextmanager
def fixed_seed(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Seed torch inside the block; outside, its random numbers go on as if nothing had happened.

    Args:
        seed: Seed inside the block.
        device: A GPU whose random state is kept too.
    """
    with torch.random.fork_rng([device] if device is not None and device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
