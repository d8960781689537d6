"""Batches of inputs and targets."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lightning_nas.tasks.base import Network


def predict(network: Network, batch: Any, target: str) -> tuple[Any, Tensor]:
    """Run the network on the inputs of a batch; return its output and the targets.

    Args:
        network: Anything to call.
        batch: A tuple, the targets last and before them what the network is called with; or a dictionary, the targets
            under ``target`` and everything else the network's inputs by name.
        target: Name of the targets in a dictionary.

    Raises:
        TypeError: If the batch is something else.
    """
    if isinstance(batch, Mapping) and target in batch:
        return network(**{name: value for name, value in batch.items() if name != target}), batch[target]
    if isinstance(batch, list | tuple) and len(batch) > 1:
        *inputs, targets = batch
        return network(*inputs), targets
    got = f"a dictionary of {sorted(batch)}" if isinstance(batch, Mapping) else f"a {type(batch).__name__}"
    raise TypeError(
        f"Expected batches of (inputs, ..., targets), or dictionaries with the targets as {target!r}, but got {got}; "
        "name your targets with the task's `target`, or write a Task of your own"
    )


def check_tensor(output: Any, task: object) -> Tensor:
    """Return what a network returned.

    Raises:
        TypeError: If it is no tensor.
    """
    if not isinstance(output, Tensor):
        raise TypeError(
            f"Expected a network that returns a tensor for {type(task).__name__} but got {type(output).__name__}; "
            "take the tensor out of it in the network's forward, or write a Task of your own"
        )
    return output
