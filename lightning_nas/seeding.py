"""Random numbers that depend on names and counters only, never on how many were drawn before."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b

import torch


def derive_seed(*key: int | str) -> int:
    """Return a seed of 63 bits for a key.

    Adding the parts would give (seed 0, epoch 1) and (seed 1, epoch 0) the same numbers; a digest does not.

    Args:
        key: What the seed stands for, such as the user's seed, the epoch and the name of the stream.
    """
    digest = blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def make_generator(*key: int | str) -> torch.Generator:
    """Return a CPU generator for a key.

    It is a CPU generator whatever the training device, so that all devices see the same pixels.
    """
    return torch.Generator().manual_seed(derive_seed(*key))


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
