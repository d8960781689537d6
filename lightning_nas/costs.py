"""What a network costs: parameters, multiply-adds, latency."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils import benchmark
from torch.utils.flop_counter import FlopCounterMode

from lightning_nas.modes import evaluating
from lightning_nas.spaces.inputs import Inputs


def count_parameters(network: nn.Module, *, auxiliary: bool = False) -> int:
    """Count parameters as the field does: all of the network, auxiliary classifiers left out.

    Args:
        network: Any network.
        auxiliary: Whether to count what has "auxiliary" in its name too.
    """
    return sum(p.numel() for name, p in network.named_parameters() if auxiliary or "auxiliary" not in name)


def _to_meta(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.to("meta")
    if isinstance(value, Mapping):
        return {name: _to_meta(item) for name, item in value.items()}
    return tuple(_to_meta(item) for item in value) if isinstance(value, tuple | list) else value


def count_multiply_adds(network: nn.Module, *inputs: object, **named: object) -> int:
    """Count the multiply-adds of convolutions and matrix products in one forward pass, as the papers do.

    Nothing is computed: the pass runs on torch's meta device, in evaluation mode, and leaves the network as it was.

    Args:
        network: Any network whose control flow does not depend on the values in its tensors.
        inputs: What its forward takes; a batch of one example gives the usual number.
        named: More of what its forward takes, by name.

    Example:
        >>> count_multiply_adds(nn.Conv2d(3, 8, 3, padding=1), torch.zeros(1, 3, 32, 32))
        221184
    """
    with FlopCounterMode(display=False) as counter:
        run_on_meta(network, Inputs(inputs, named))
    return int(counter.get_total_flops()) // 2


def run_on_meta(network: nn.Module, inputs: Inputs) -> None:
    """Run the network in evaluation mode on torch's meta device: nothing is computed, and it is left as it was."""
    state = {name: tensor.to("meta") for name, tensor in (*network.named_parameters(), *network.named_buffers())}
    with evaluating(network), torch.no_grad(), torch.device("meta"):
        functional_call(network, state, _to_meta(inputs.positional), _to_meta(inputs.named))


@dataclass(frozen=True)
class Latency:
    """How long one forward pass takes, and where it was measured.

    Args:
        seconds: Median.
        iqr: Distance of the quartiles, in seconds.
        threads: CPU threads.
        device: Type of the device.
        batch_size: Examples of a pass.
    """

    seconds: float
    iqr: float
    threads: int
    device: str
    batch_size: int


def measure_latency(network: nn.Module, example: Tensor, *, threads: int = 1, min_seconds: float = 0.5) -> Latency:
    """Measure the forward pass in evaluation mode on the device of ``example``.

    Args:
        network: A network on the same device.
        example: A batch ``[N, ...]``.
        threads: CPU threads to use.
        min_seconds: How long to measure at least.
    """
    timer = benchmark.Timer("network(example)", globals={"network": network, "example": example}, num_threads=threads)
    with evaluating(network), torch.inference_mode():
        measured = timer.blocked_autorange(min_run_time=min_seconds)
    return Latency(measured.median, measured.iqr, threads, example.device.type, len(example))
