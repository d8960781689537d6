"""Writes down what a search has found, while it runs and at its end."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning_nas._lightning import pl
from lightning_nas.architecture import Architecture
from lightning_nas.callbacks.model_costs import example_of, network_of
from lightning_nas.callbacks.validation_metrics import validation_metrics
from lightning_nas.checks import check_at_least
from lightning_nas.costs import count_costs
from lightning_nas.loggers import log_scalars
from lightning_nas.methods.base import SearchModule
from lightning_nas.plotting import plot_cells, save_figure
from lightning_nas.run_folder import run_folder


class DeriveArchitecture(pl.Callback):
    """Derives the architecture every few epochs and at the end, writes it, draws it and logs what it costs.

    The folder then holds ``architecture.json``, ``cells.png`` and ``cells.svg`` of the latest epoch, and
    ``history.json`` with the architecture of every epoch asked for. Logged are ``derived/params`` and, with an
    ``input_shape``, ``derived/macs`` of the network that would be trained next.

    Args:
        dirpath: Folder to write to; by default that of the logger's run, or else the Trainer's.
        every_n_epochs: Epochs from one derivation to the next.
        scale: Size of the network whose costs are logged, passed to ``space.build``; the paper's by default.
        input_shape: Shape of one input, ``(channels, height, width)`` for images; by default the search's own, or the
            space's ``example``. Without one, multiply-adds are not logged. They are those of one input: of an example
            that is a batch, the first along the first dimension.

    Raises:
        ValueError: If ``every_n_epochs`` is not positive.
    """

    def __init__(
        self,
        dirpath: str | Path | None = None,
        every_n_epochs: int = 1,
        scale: Mapping[str, Any] | None = None,
        input_shape: Sequence[int] | None = None,
    ) -> None:
        check_at_least("every_n_epochs", every_n_epochs, 1)
        self.dirpath = None if dirpath is None else Path(dirpath)
        self.every_n_epochs = every_n_epochs
        self.scale = dict(scale or {})
        self.input_shape = None if input_shape is None else tuple(input_shape)
        self.history: list[dict[str, Any]] = []
        self._folder = Path()

    @property
    def state_key(self) -> str:
        """Tells the callbacks of one Trainer apart by their folders."""
        return f"DeriveArchitecture[{self.dirpath}]"

    def state_dict(self) -> dict[str, Any]:
        """Return the history as plain data."""
        return {"history": list(self.history)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the history of the run that is resumed."""
        self.history = list(state_dict["history"])

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Check that the module is a search, and that ``scale`` and ``input_shape`` fit each other."""
        if not isinstance(pl_module, SearchModule):
            raise TypeError(
                f"Expected DeriveArchitecture to run with a search, a module with derive(), but got {type(pl_module)}"
            )
        self._folder = self.dirpath or run_folder(trainer)
        if stage == "fit":
            self.costs(pl_module, pl_module.derive())

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Derive, log and write, if this epoch is asked for."""
        if (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self._record(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Derive and write the last architecture, if its epoch was not asked for or a child has ended since."""
        last = trainer.current_epoch - 1
        if not self.history or self.history[-1]["epoch"] < last or _trains_children(pl_module):
            self._record(trainer, pl_module, epoch=last)

    def _record(self, trainer: pl.Trainer, pl_module: pl.LightningModule, epoch: int | None = None) -> None:
        assert isinstance(pl_module, SearchModule)
        architecture, metrics = pl_module.derive(), validation_metrics(trainer.callback_metrics)
        if not _trains_children(pl_module):  # or they are those of the child under way
            architecture = replace(architecture, metrics=metrics)
        costs = {name: float(value) for name, value in self.costs(pl_module, architecture).items()}
        if epoch is None:
            pl_module.log_dict(costs)
        else:
            log_scalars(trainer.loggers, costs, trainer.global_step)
        entry = {"epoch": trainer.current_epoch if epoch is None else epoch, "architecture": architecture.to_dict()}
        self.history = [earlier for earlier in self.history if earlier["epoch"] < entry["epoch"]] + [entry]
        if trainer.is_global_zero:
            self._write(pl_module, architecture)

    def costs(self, module: SearchModule, architecture: Architecture) -> dict[str, int]:
        """Return ``derived/params`` and, with an ``input_shape`` or an example of the space, ``derived/macs``."""
        network, inputs = network_of(module, architecture, self.scale), example_of(module, self.input_shape)
        return {f"derived/{name}": count for name, count in count_costs(network, inputs).items()}

    def _write(self, module: SearchModule, architecture: Architecture) -> None:
        architecture.save(self._folder / "architecture.json")
        figure = plot_cells(module.space_of(architecture).graph(architecture))
        save_figure(figure, self._folder / "cells.png")
        save_figure(figure, self._folder / "cells.svg")
        (self._folder / "history.json").write_text(json.dumps(self.history, indent=1) + "\n", encoding="utf-8")


def _trains_children(module: pl.LightningModule) -> bool:
    return isinstance(module, SearchModule) and module.trains_own_child
