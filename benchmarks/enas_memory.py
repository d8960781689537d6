"""Compare the memory of a step on ENAS's micro supernet with that of training the sampled child alone.

    python benchmarks/enas_memory.py --json result.json

Counted exactly: parameters, gradients, momentum, and what the forward pass saves for the backward pass. Measured beside
it: by how much the step makes a fresh process grow. All momentum buffers exist, as late in a search. Smaller batches
than the paper's 160 images make the ratio larger: only the weights differ. Exits with 1 unless every ratio is below 2.
"""

import argparse
import json
import multiprocessing
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.optim import SGD

from lightning_nas import Architecture, EnasMicroSpace
from lightning_nas.zoo import ENAS_MICRO

SPACE = EnasMicroSpace()


@dataclass(frozen=True)
class Memory:
    """What a training step holds at once, in bytes.

    Args:
        parameters: Of the network.
        gradients: Of the parameters that got one.
        momentum: Of the optimiser.
        saved: Tensors kept for the backward pass, parameters aside.
    """

    parameters: int
    gradients: int
    momentum: int
    saved: int

    @property
    def total(self) -> int:
        """Return the sum."""
        return self.parameters + self.gradients + self.momentum + self.saved


def make(kind: str, architecture: Architecture, scale: dict[str, Any]) -> Callable[[Tensor], Tensor]:
    """Return the supernet on the path of an architecture, or the network of that path alone."""
    supernet = SPACE.supernet(**scale)
    if kind == "child":
        return SPACE.build(architecture, weights_from=supernet)
    return partial(supernet, mixtures=SPACE.mixtures(architecture))


def module_of(network: Callable[[Tensor], Tensor]) -> nn.Module:
    module = network.func if isinstance(network, partial) else network
    assert isinstance(module, nn.Module)
    return module


def late_optimizer(module: nn.Module) -> SGD:
    """Return an optimiser with all its buffers, as when every candidate has been sampled before."""
    optimizer = SGD(module.parameters(), lr=0.0, momentum=0.9, nesterov=True)
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    return optimizer


def size(tensors: Any) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def count(network: Callable[[Tensor], Tensor], batch_size: int) -> Memory:
    """Count what a training step holds."""
    module = module_of(network)
    optimizer = late_optimizer(module)
    own = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
    saved: dict[int, int] = {}  # by storage: views are counted once

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = step_loss(network, batch_size)
    torch.autograd.backward(loss)
    optimizer.step()
    return Memory(
        size(module.parameters()),
        size(p.grad for p in module.parameters() if p.grad is not None),
        size(state["momentum_buffer"] for state in optimizer.state.values()),
        sum(nbytes for pointer, nbytes in saved.items() if pointer not in own),
    )


def step_loss(network: Callable[[Tensor], Tensor], batch_size: int) -> Tensor:
    images, labels = torch.randn(batch_size, 3, 32, 32), torch.arange(batch_size) % 10
    return nn.functional.cross_entropy(network(images), labels)


def resident(field: str) -> int:
    """Return the bytes of this process in memory, now (``"VmRSS"``) or at most (``"VmHWM"``); Linux only."""
    # not getrusage: its peak includes that of the parent process
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def grow(kind: str, architecture: Architecture, scale: dict[str, Any], batch_size: int) -> int:
    """Return by how many bytes this process grows at most from before the network is made to after a step."""
    before = resident("VmRSS")
    network = make(kind, architecture, scale)
    optimizer = late_optimizer(module_of(network))
    torch.autograd.backward(step_loss(network, batch_size))
    optimizer.step()
    return resident("VmHWM") - before


def measure(kind: str, architecture: Architecture, scale: dict[str, Any], batch_size: int) -> int:
    """Return what ``grow`` returns in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(grow, (kind, architecture, scale, batch_size))


def architectures(samples: int) -> dict[str, Architecture]:
    """Return the published cells and random ones."""
    generator = torch.Generator().manual_seed(0)
    return {"ENAS_MICRO": ENAS_MICRO, **{f"random {i}": SPACE.sample(generator) for i in range(samples)}}


def compare(name: str, architecture: Architecture, scale: dict[str, Any], batch_size: int) -> dict[str, Any]:
    """Print both memories for one architecture, and return all numbers."""
    kinds = ("supernet", "child")
    counted = {kind: count(make(kind, architecture, scale), batch_size) for kind in kinds}
    measured = {kind: measure(kind, architecture, scale, batch_size) for kind in kinds}
    ratio = counted["supernet"].total / counted["child"].total
    measured_ratio = measured["supernet"] / measured["child"]
    for kind, memory in counted.items():
        parts = "".join(f"{part / 2**20:>12.2f}" for part in (*asdict(memory).values(), memory.total, measured[kind]))
        print(f"{name:<12}{kind:<10}{parts}")
    print(f"{name:<12}{'ratio':<10}{ratio:>60.3f}{measured_ratio:>12.3f}", flush=True)
    numbers = {kind: {**asdict(counted[kind]), "total": counted[kind].total, "grown": measured[kind]} for kind in kinds}
    return {"name": name, **numbers, "ratio": ratio, "grown_ratio": measured_ratio}


def main(arguments: list[str] | None = None) -> int:
    """Compare the memories; return 0 if the supernet always needs less than twice the child's, else 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--samples", type=int, default=2, help="random architectures beside the published one")
    parser.add_argument("--channels", type=int, default=20)
    parser.add_argument("--layers", type=int, default=6, help="normal cells")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    given = parser.parse_args(arguments)
    scale = {"channels": given.channels, "layers": given.layers}
    heads = ("parameters", "gradients", "momentum", "saved", "total", "grown")
    print(f"{'MiB':<22}" + "".join(f"{head:>12}" for head in heads))
    found = [compare(name, cells, scale, given.batch_size) for name, cells in architectures(given.samples).items()]
    worst = max(max(row["ratio"], row["grown_ratio"]) for row in found)
    print(f"The supernet needs at most {worst:.3f} times the memory of the child.")
    if given.json:
        result = {"batch_size": given.batch_size, "scale": scale, "architectures": found, "worst_ratio": worst}
        given.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if worst < 2 else 1


if __name__ == "__main__":
    sys.exit(main())
