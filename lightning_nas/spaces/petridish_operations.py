"""Candidate operations of Petridish (Hu et al. 2019, arXiv 1905.13360)."""

from collections.abc import Sequence

from torch import nn

from lightning_nas.operations.convolution import build_operation
from lightning_nas.operations.factorized_reduce import FactorizedReduce

OPERATIONS = (
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
    "max_pool_3x3",
    "avg_pool_3x3",
    "identity",
)


def check_operations(operations: Sequence[str]) -> None:
    """Raise a ``ValueError`` unless these are candidates, each once."""
    if not operations or len(set(operations)) < len(operations) or not set(operations) <= set(OPERATIONS):
        raise ValueError(f"Expected `operations` to be distinct ones of {list(OPERATIONS)} but got {list(operations)}")


def petridish_operation(name: str, channels: int, stride: int) -> nn.Module:
    """Build a candidate: ``[N, C, H, W]`` to ``[N, C, ceil(H / stride), ceil(W / stride)]``.

    Where it strides, a dilated convolution follows a ``FactorizedReduce``, and an identity is one.

    Args:
        name: One of ``OPERATIONS``.
        channels: Channels in and out.
        stride: 1 or 2.
    """
    if name == "identity":
        return build_operation("skip_connect", channels, stride)
    if name.startswith("dil_conv") and stride == 2:
        return nn.Sequential(FactorizedReduce(channels, channels), build_operation(name, channels))
    return build_operation(name, channels, stride)
