"""Pictures and numbers of a search, epoch by epoch."""

from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from lightning_nas._lightning import pl
from lightning_nas.callbacks.around import differentiable_search, epoch_step
from lightning_nas.callbacks.snapshot import Snapshot
from lightning_nas.checks import check_at_least
from lightning_nas.loggers import log_figure, log_scalars
from lightning_nas.methods.base import SearchModule
from lightning_nas.plotting import plot_cells, plot_weights, save_figure
from lightning_nas.run_folder import run_folder


class ArchitectureLog(pl.Callback):
    """Shows how an architecture comes about: every few epochs it logs and draws where a search stands.

    Of a search that weighs candidates, for every group of decisions:

    - ``architecture/entropy/<group>``: entropy of the weights in nats, the mean over the rows of the group.
    - ``architecture/share/<group>/<candidate>``: weight of each candidate, the mean over the rows.
    - ``architecture/weights/<group>``: a heat map of all weights.

    Of every search:

    - ``architecture/derived_share/<operation>``: share of each operation among those in the derived architecture; a
      missing edge is no operation, and neither is the number of repeats or an input.
    - ``architecture/cells``: a drawing of the derived architecture, whenever it has changed. There is none of a module
      that ``DifferentiableSearch`` searches.

    Pictures go to all loggers that can show them, and to ``<name>/epoch_<number>.png`` in the folder. Everything is
    logged once the epoch has ended, so that a child that ended with it counts.

    Args:
        every_n_epochs: Epochs from one look to the next.
        dirpath: Folder of the pictures; by default ``architecture_log`` in that of the logger's run, or else the
            Trainer's.

    Raises:
        ValueError: If ``every_n_epochs`` is not positive.

    Example:
        >>> trainer = pl.Trainer(accelerator="cpu", callbacks=[ArchitectureLog(every_n_epochs=5)], logger=False)
    """

    def __init__(self, every_n_epochs: int = 1, dirpath: str | Path | None = None) -> None:
        check_at_least("every_n_epochs", every_n_epochs, 1)
        self.every_n_epochs = every_n_epochs
        self.dirpath = None if dirpath is None else Path(dirpath)
        self._epoch = -1  # the last that was logged
        self._drawn: dict[str, Any] | None = None  # the derived architecture of the last drawing

    @property
    def state_key(self) -> str:
        """Tells the callbacks of one Trainer apart by their folders."""
        return f"ArchitectureLog[{self.dirpath}]"

    def state_dict(self) -> dict[str, Any]:
        """Return what was logged last, as plain data."""
        return {"epoch": self._epoch, "drawn": self._drawn}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after what was logged last."""
        self._epoch, self._drawn = state_dict["epoch"], state_dict["drawn"]

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Check that there is a search."""
        if not isinstance(pl_module, SearchModule) and differentiable_search(trainer) is None:
            raise TypeError(
                "Expected ArchitectureLog to run with a search, a module with derive() or the callback "
                f"DifferentiableSearch, but got {type(pl_module)}"
            )

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the epoch before: its end comes to callbacks before it comes to the module."""
        self._look(trainer, pl_module)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Look at the epoch before, if this run is resumed from its last batch: then no start of an epoch comes."""
        if batch_idx == 0:
            self._look(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the last epoch."""
        self._look(trainer, pl_module)

    def _look(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        epoch = trainer.current_epoch - 1
        if epoch <= self._epoch or (epoch + 1) % self.every_n_epochs:
            return
        search = differentiable_search(trainer)
        if isinstance(pl_module, SearchModule):
            snapshot = Snapshot.of_module(pl_module)
        else:
            assert search is not None
            snapshot = Snapshot.of_callback(search, pl_module)
        before, self._epoch = self._drawn, epoch
        self._drawn = {"space": snapshot.architecture.space, "values": dict(snapshot.architecture.values)}
        if trainer.is_global_zero:
            self._log(trainer, snapshot, redraw=self._drawn != before)

    def _log(self, trainer: pl.Trainer, snapshot: Snapshot, *, redraw: bool) -> None:
        log_scalars(trainer.loggers, scalars(snapshot), epoch_step(trainer))
        for group, table in snapshot.weights:
            self._show(trainer, f"weights/{group.name}", plot_weights([group], [table]))
        if snapshot.graphs and redraw:
            self._show(trainer, "cells", plot_cells(snapshot.graphs))

    def _show(self, trainer: pl.Trainer, name: str, figure: Figure) -> None:
        log_figure(trainer.loggers, f"architecture/{name}", figure, epoch_step(trainer))
        folder = self.dirpath or run_folder(trainer) / "architecture_log"
        path = folder / f"{name}/epoch_{self._epoch:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_figure(figure, path)


def scalars(snapshot: Snapshot) -> dict[str, float]:
    """Return the numbers that are logged of a search, by name."""
    values = {}
    for group, table in snapshot.weights:
        values[f"architecture/entropy/{group.name}"] = float(torch.special.entr(table).sum(1).mean())
        for candidate, share in zip(group.candidates, table.mean(0).tolist(), strict=True):
            values[f"architecture/share/{group.name}/{candidate}"] = share
    counts = {operation: snapshot.labels.count(operation) for operation in snapshot.operations}
    total = max(sum(counts.values()), 1)
    return values | {f"architecture/derived_share/{name}": count / total for name, count in counts.items()}
