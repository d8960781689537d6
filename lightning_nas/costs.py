"""What a network costs: parameters, multiply-adds, latency."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.parameter import is_lazy
from torch.utils.flop_counter import FlopCounterMode

from lightning_nas.modes import evaluating
from lightning_nas.seeding import fixed_seed
from lightning_nas.spaces.inputs import Inputs, example_named
from lightning_nas.spaces.lazy import check_initialised

T = TypeVar("T")
Run = Callable[[nn.Module, Inputs], None]


def count_parameters(network: nn.Module, *, auxiliary: bool = False) -> int:
    """Count parameters as the field does: all of the network, auxiliary classifiers left out.

    Args:
        network: Any network.
        auxiliary: Whether to count what has "auxiliary" in its name too.

    Raises:
        ValueError: If a parameter of a lazy layer has no shape yet.
    """
    check_initialised(network)
    return sum(p.numel() for name, p in network.named_parameters() if auxiliary or "auxiliary" not in name)


def count_multiply_adds(network: nn.Module, *inputs: object, **named: object) -> int:
    """Count the multiply-adds of convolutions and matrix products in one forward pass, as the papers do.

    The pass is in evaluation mode and leaves the network as it was. It runs on torch's meta device, where nothing is
    computed; or, if the network needs real numbers (for its control flow, say), on the network's own device.

    Args:
        network: Any network.
        inputs: What its forward takes; a batch of one example gives the usual number.
        named: More of what its forward takes, by name.

    Example:
        >>> count_multiply_adds(nn.Conv2d(3, 8, 3, padding=1), torch.zeros(1, 3, 32, 32))
        221184
    """

    def count(run: Run) -> int:
        with FlopCounterMode(display=False) as counter:
            run(network, Inputs(inputs, named))
        return int(counter.get_total_flops()) // 2

    return in_one_pass(count)


def count_costs(network: nn.Module, example: Inputs | None = None) -> dict[str, int]:
    """Return ``"params"`` and, with an example, ``"macs"`` of its first input: the costs that are logged.

    Args:
        network: Any network; layers without a shape get it from the example.
        example: What the network takes.

    Raises:
        ValueError: If the network does not take the example.
    """
    macs = {}
    if example is not None:
        one = example.first()
        with example_named("the first input of `input_shape`, or of the space's `example`,", example):
            macs["macs"] = count_multiply_adds(network, *one.positional, **one.named)
    return {"params": count_parameters(network), **macs}  # lazy layers have parameters after a pass only


def in_one_pass(count: Callable[[Run], T]) -> T:
    """Return what ``count`` finds out with a pass that computes nothing or, where that fails, with a real one.

    Args:
        count: Calls what it is given with a network and its inputs.
    """
    with suppress(Exception):
        return count(_run_on_meta)
    return count(_run_for_real)


def _run_on_meta(network: nn.Module, inputs: Inputs) -> None:
    with _left_alone(network), torch.device("meta"):
        _call(network, {name: tensor.to("meta") for name, tensor in _tensors(network)}, _to(inputs, "meta"))


def _run_for_real(network: nn.Module, inputs: Inputs) -> None:
    device = next((tensor.device for _, tensor in _tensors(network)), torch.device("cpu"))
    buffers = {name for name, _ in network.named_buffers(remove_duplicate=False)}
    state = {name: tensor.clone() for name, tensor in _tensors(network) if name in buffers and not is_lazy(tensor)}
    with _left_alone(network), _nothing_fused():
        _call(network, state, _to(inputs, device))


def _call(network: nn.Module, state: dict[str, Tensor], inputs: Inputs) -> None:
    # what is tied is in the state once per name: torch would put each of its tensors in the place of the others
    functional_call(network, state, inputs.positional, inputs.named, tie_weights=False)


def _tensors(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield parameters and buffers of every module, by the first name of the module, tied ones under all names."""
    for path, module in network.named_modules():
        yield from module.named_parameters(path, recurse=False, remove_duplicate=False)
        yield from module.named_buffers(path, recurse=False, remove_duplicate=False)


def _to(value: Any, device: torch.device | str) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, Mapping):
        return {name: _to(item, device) for name, item in value.items()}
    if isinstance(value, Inputs):
        return Inputs(*(_to(item, device) for item in value))
    return tuple(_to(item, device) for item in value) if isinstance(value, tuple | list) else value


@contextmanager
def _left_alone(network: nn.Module) -> Iterator[None]:
    """Evaluate without gradients, and put back attributes afterwards: modules may keep what they have computed."""
    modules = [module for module in network.modules() if not isinstance(module, torch.jit.ScriptModule)]
    before = [(vars(module), dict(vars(module)), module._buffers, dict(module._buffers)) for module in modules]
    devices = [parameter.device for parameter in network.parameters()]
    try:
        with evaluating(network), fixed_seed(0, devices[0] if devices else None), torch.no_grad():
            yield
    finally:
        for attributes, own, buffers, tensors in before:
            _put_back(attributes, own)
            _put_back(buffers, tensors)


def _put_back(changed: dict[str, Any], before: dict[str, Any]) -> None:
    changed.clear()
    changed.update(before)


@contextmanager
def _nothing_fused() -> Iterator[None]:
    """Compute with the operators that the counter knows; it takes fused ones for free."""
    libraries: tuple[Any, ...] = (torch.backends.mkldnn, torch.backends.cudnn)
    enabled, fast = [library.enabled for library in libraries], torch.backends.mha.get_fastpath_enabled()
    try:
        for library in libraries:
            library.enabled = False
        torch.backends.mha.set_fastpath_enabled(False)
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        for library, before in zip(libraries, enabled, strict=True):
            library.enabled = before
        torch.backends.mha.set_fastpath_enabled(fast)


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
    from torch.utils import benchmark  # it looks for a compiler, and says so

    timer = benchmark.Timer("network(example)", globals={"network": network, "example": example}, num_threads=threads)
    with evaluating(network), torch.inference_mode():
        measured = timer.blocked_autorange(min_run_time=min_seconds)
    return Latency(measured.median, measured.iqr, threads, example.device.type, len(example))
