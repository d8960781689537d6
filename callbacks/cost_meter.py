"""What a run costs."""

import platform
from collections.abc import Callable
from typing import Any

import torch

from lightning_nas._lightning import pl
from lightning_nas.methods.base import SearchModule
from lightning_nas.methods.batches import batch_size as count_first_tensor
from lightning_nas.methods.processes import gather
from lightning_nas.stopwatch import Stopwatch


class CostMeter(pl.Callback):
    """Logs after every epoch what a run has cost so far, as papers on architecture search count it.

    - ``search/examples_seen``: examples of training batches, of all processes.
    - ``search/device_hours``: time of training and of the validation in it, times the number of devices.
    - ``search/peak_memory``, in bytes, of the process that needs most: on CUDA what torch had allocated on the device,
      elsewhere what the whole process had resident; nothing is logged on Windows without CUDA.

    A search of this library logs its examples, device hours and children by itself: there the callback logs the memory.
    It works with any other LightningModule, too. What it has counted is in the checkpoint, so that a resumed run adds
    to it. In a checkpoint from the middle of an epoch, what the first process has seen of it stands for all processes.

    Args:
        batch_size: Counts the examples of a batch; by default the length of the first tensor in it, single numbers
            aside. Batches without a tensor, and batches whose first dimension is another one, need it. Batches that a
            callback loads by itself, as ``DifferentiableSearch`` does, are not counted.

    Example:
        >>> trainer = pl.Trainer(accelerator="cpu", callbacks=[CostMeter()], logger=False)
    """

    def __init__(self, batch_size: Callable[[Any], int] = count_first_tensor) -> None:
        self.batch_size = batch_size
        self._watch = Stopwatch()
        self._examples = 0  # of all processes, until the end of the last epoch
        self._since = 0  # of this process, since then
        self._world = 1
        self._memory = 0

    def state_dict(self) -> dict[str, Any]:
        """Return what was counted so far, as plain data."""
        examples = self._examples + self._world * self._since  # no exchange: a process that fails saves alone
        return {"watch": self._watch.state_dict(), "examples": examples, "memory": self._memory}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self._watch.load_state_dict(state_dict["watch"])
        self._examples, self._since, self._memory = state_dict["examples"], 0, state_dict["memory"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start to count the time."""
        self._world = trainer.world_size
        self._watch.start(trainer.world_size)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the examples of a batch."""
        if not isinstance(pl_module, SearchModule):
            self._since += self._count(batch)

    def _count(self, batch: Any) -> int:
        try:
            return self.batch_size(batch)
        except TypeError as error:
            raise TypeError(f"{error}; give CostMeter(batch_size=...), a function of a batch") from error

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log what was counted so far."""
        self._memory = max(self._memory, peak_memory(pl_module.device))
        if self._memory:
            pl_module.log("search/peak_memory", float(self._memory), reduce_fx="max", sync_dist=True)
        if isinstance(pl_module, SearchModule):
            return
        self._examples, self._since = self._examples + sum(gather(self._since, trainer)), 0
        costs = {"search/examples_seen": float(self._examples), "search/device_hours": self._watch.seconds / 3600}
        pl_module.log_dict(costs, sync_dist=True)  # equal everywhere, or nearly; Lightning warns without it

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop to count the time."""
        self._watch.stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Stop to count the time."""
        self._watch.stop()


def peak_memory(device: torch.device) -> int:
    """Return the most bytes that this process has ever held: of torch on a CUDA device, else of the whole process.

    It is 0 where the operating system does not tell.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if platform.system() == "Windows":
        return 0
    import resource

    unit = 1 if platform.system() == "Darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
