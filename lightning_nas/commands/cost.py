"""``lightning-nas cost``."""

from collections.abc import Sequence
from typing import Any

import torch

from lightning_nas.costs import count_multiply_adds, count_parameters
from lightning_nas.spaces.registry import get_space
from lightning_nas.zoo import find_architecture


def parse_scale(items: Sequence[str]) -> dict[str, Any]:
    """Read ``["channels=36", "stem=cifar"]``.

    Raises:
        ValueError: If an item is no ``KEY=VALUE``.
    """
    for item in items:
        if "=" not in item:
            raise ValueError(f"Expected KEY=VALUE, e.g. channels=36, but got {item!r}")
    split = (item.split("=", 1) for item in items)
    return {key: int(value) if value.lstrip("-").isdigit() else value for key, value in split}


def run_cost(name: str, scale: Sequence[str], input_shape: Sequence[int]) -> None:
    """Print parameters and multiply-adds of the network of an architecture; nothing is computed."""
    architecture = find_architecture(name)
    with torch.device("meta"):
        try:
            network = get_space(architecture.space).build(architecture, **parse_scale(scale))
        except TypeError as error:
            raise ValueError(
                f"Expected a scale that space {architecture.space!r} has but got {list(scale)}: {error}"
            ) from error
        multiply_adds = count_multiply_adds(network, torch.empty(1, *input_shape))
    print(f"space          {architecture.space}")
    print(f"parameters     {count_parameters(network):,}")
    print(
        f"multiply-adds  {multiply_adds:,}  (convolutions and linear layers, input {'x'.join(map(str, input_shape))})"
    )
