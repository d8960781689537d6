"""The trade-offs between metrics and costs that a run finds."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from lightning_nas._lightning import pl
from lightning_nas.architecture import Architecture
from lightning_nas.callbacks.around import callbacks_of, differentiable_search, epoch_step
from lightning_nas.callbacks.differentiable_search import DifferentiableSearch
from lightning_nas.callbacks.metric_value import metric_value
from lightning_nas.callbacks.model_costs import (
    COSTS,
    check_example,
    example_of,
    measure_costs,
    network_of,
    searched_costs,
)
from lightning_nas.callbacks.pareto_candidate import ParetoCandidate
from lightning_nas.callbacks.pareto_files import draw_front, file_name, write_members, write_picture, write_table
from lightning_nas.callbacks.pareto_table import ParetoTable
from lightning_nas.loggers import log_figure, log_file, log_scalars, log_scatter, log_table
from lightning_nas.methods.base import SearchModule
from lightning_nas.objective import Objective
from lightning_nas.run_folder import run_folder

GROWTH = 1.1  # from one picture to the next


class ParetoFront(pl.Callback):
    """Keeps every validated candidate of a run, and which of them no other one dominates.

    A candidate is a child that a search has trained; what any other search, ``DifferentiableSearch`` too, derives at
    each validation; or, in a run that is no search, the module itself at each validation.

    The folder then holds ``pareto.json`` (``ParetoTable.to_dict`` says what is in it) and ``pareto.csv``, written
    whenever they change, ``pareto.png``, and at the end the architectures of the front in ``pareto/``. Loggers get
    ``pareto/size``, with references ``pareto/hypervolume``, and what they can show of a table ``pareto/candidates``, a
    plot ``pareto/scatter`` that can be explored, the picture ``pareto/front`` and, at the end, the files. Pictures and
    tables are made for each of the first ten candidates, then whenever there are a tenth more, and at the end.

    Args:
        objectives: Two to four names, or ``Objective``s with a ``mode`` or a ``reference``. ``"params"``, ``"macs"``
            (multiply-adds of one input) and ``"latency"`` (median seconds of one input on the device of the training)
            are costs of the candidate. Other names are metrics of validation; ``"val/error"`` is one minus
            ``"val/accuracy"`` where only that is logged. A value that is not finite is kept as none, and its candidate
            is never on the front.
        dirpath: Folder to write to; by default that of the logger's run, or else the Trainer's.
        scale: Size of the networks whose costs are measured, passed to ``space.build``; by default children cost what
            was trained, and derived architectures what they cost at the paper's size.
        input_shape: Shape of one input, ``(channels, height, width)`` for images, needed for ``"macs"`` and
            ``"latency"``; by default the ``example`` of a search's space or the module's ``example_input_array``.

    Raises:
        ValueError: If there are too few or too many objectives, or two with one name; if they are one string; if only
            some have a reference; or if ``scale`` is empty.

    Example:
        >>> front = ParetoFront(["val/error", "params", Objective("val/f1", "max")])
        >>> [(objective.name, objective.mode) for objective in front.table.objectives]
        [('val/error', 'min'), ('params', 'min'), ('val/f1', 'max')]
    """

    def __init__(
        self,
        objectives: Sequence[str | Objective],
        *,
        dirpath: str | Path | None = None,
        scale: dict[str, Any] | None = None,
        input_shape: Sequence[int] | None = None,
    ) -> None:
        if isinstance(objectives, str):
            raise ValueError(f"Expected a list of objectives but got {objectives!r}; give two to four of them")
        if scale is not None and not scale:
            raise ValueError("Expected `scale` to hold sizes of a network but got {}; leave it out")
        self.table = ParetoTable([_objective(objective) for objective in objectives])
        self.dirpath = None if dirpath is None else Path(dirpath)
        self.scale = scale
        self.input_shape = None if input_shape is None else tuple(input_shape)
        self._costs = {objective.name for objective in self.table.objectives} & set(COSTS)
        self._own_costs: dict[object, dict[str, float]] = {}  # of a module that is no search, by its parameters' shapes
        self._shown = 0  # candidates that the last picture shows
        self._changed = False  # since the last picture
        self._folder = Path()

    @property
    def state_key(self) -> str:
        """Tells the callbacks of one Trainer apart by their objectives and folders."""
        names = ", ".join(f"{objective.mode} {objective.name}" for objective in self.table.objectives)
        return f"ParetoFront[{names}; {self.dirpath}]"

    def state_dict(self) -> dict[str, Any]:
        """Return the candidates as plain data."""
        candidates = [candidate.to_dict() for candidate in self.table.candidates]
        return {"candidates": candidates, "shown": self._shown, "changed": self._changed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the candidates of the run that is resumed."""
        self.table.load(ParetoCandidate.from_dict(data) for data in state_dict["candidates"])
        self._shown, self._changed = state_dict["shown"], state_dict["changed"]

    # --- when ---------------------------------------------------------------------------------------------------------

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Check that the costs can be measured, and that no other such callback writes to the same folder."""
        if stage != "fit":
            return
        self._folder = self.dirpath or run_folder(trainer)
        self._check_folder(trainer)
        example = example_of(pl_module, self.input_shape)
        check_example(self._costs, example)
        if isinstance(pl_module, SearchModule):
            network = network_of(pl_module, pl_module.derive(), self._scale_for(pl_module))
            measure_costs(self._costs - {"latency"}, network, example, pl_module)
        elif isinstance(_search(trainer), DifferentiableSearch) and "latency" in self._costs:
            raise ValueError(
                "Expected costs that are counted, 'params' or 'macs', with DifferentiableSearch but got 'latency': the "
                "module computes all candidates until the search is over"
            )
        elif self.scale is not None:
            raise ValueError(f"Expected `scale` for a search only but got {self.scale} for {type(pl_module).__name__}")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget what an earlier fit has found in epochs that are still to come."""
        self.table.load([known for known in self.table.candidates if known.epoch <= trainer.current_epoch])
        self._shown = min(self._shown, len(self.table.candidates))

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the children of the last epoch: the module has them after all callbacks have been called."""
        self._record_children(trainer, pl_module, trainer.current_epoch - 1)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record what was validated; before checkpoints are written, so that they hold it."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking and not _trains_children(pl_module):
            self._record(trainer, pl_module, [self._validated(trainer, pl_module)])

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the last children, write everything, and give loggers the files."""
        self._record_children(trainer, pl_module, trainer.current_epoch - 1)
        if not trainer.is_global_zero:
            return
        if self.table.candidates:
            self._finish(trainer)
        else:
            text = "Expected a validated candidate but there was none; give the Trainer data to validate with"
            warnings.warn(text, stacklevel=1)

    def _record_children(self, trainer: pl.Trainer, module: pl.LightningModule, epoch: int) -> None:
        if isinstance(module, SearchModule) and _trains_children(module):
            self._record(trainer, module, list(self._children(trainer, module, epoch)))

    # --- what ---------------------------------------------------------------------------------------------------------

    def _children(self, trainer: pl.Trainer, module: SearchModule, epoch: int) -> Iterator[ParetoCandidate]:
        """Yield the children that are not known yet, with the costs that the search has counted."""
        scale = self._scale_for(module)
        for name, child in module.candidates().items():
            if self.table.holds(name, child):
                continue
            counted = child.metrics if self.scale is None else {}
            metrics = {**dict.fromkeys(trainer.callback_metrics, float("nan")), **child.metrics}
            values = self._values(metrics, self._measure(module, child, counted, scale))
            origin = replace(child, provenance={**module.provenance(), "epoch": epoch, **child.provenance})
            yield ParetoCandidate(name, values, epoch, int(module.examples_seen), origin)

    def _validated(self, trainer: pl.Trainer, module: pl.LightningModule) -> ParetoCandidate:
        """Return what was validated in this epoch."""
        search = _search(trainer)
        architecture = None if search is None else search.derive()
        values = self._values(dict(trainer.callback_metrics), self._costs_of(module, architecture))
        examples = int(module.examples_seen) if isinstance(module, SearchModule) else None
        return ParetoCandidate(f"epoch {trainer.current_epoch}", values, trainer.current_epoch, examples, architecture)

    def _costs_of(self, module: pl.LightningModule, architecture: Architecture | None) -> dict[str, float]:
        """Return the costs of a derived architecture, or of the module itself; those of the same are measured once."""
        if architecture is None:
            return self._costs_of_module(module)
        known = self.table.known_values(architecture)
        if isinstance(module, SearchModule):
            return self._measure(module, architecture, known, self._scale_for(module))
        if self._costs <= known.keys():
            return known
        return searched_costs(self._costs, module, architecture, example_of(module, self.input_shape))

    def _scale_for(self, module: SearchModule) -> dict[str, Any]:
        return self.scale or (module.scale if _trains_children(module) else {})

    def _measure(
        self, module: SearchModule, architecture: Architecture, known: Mapping[str, float], scale: Mapping[str, Any]
    ) -> dict[str, float]:
        """Return the costs of an architecture; its network is built only for those that are not known."""
        costs = {name: known[name] for name in self._costs if name in known}
        if missing := self._costs - costs.keys():
            network = network_of(module, architecture, scale)
            costs |= measure_costs(missing, network, example_of(module, self.input_shape), module)
        return costs

    def _costs_of_module(self, module: pl.LightningModule) -> dict[str, float]:
        key = tuple((name, weight.shape) for name, weight in module.named_parameters())
        if key not in self._own_costs:
            example = example_of(module, self.input_shape)
            self._own_costs[key] = measure_costs(self._costs, module, example, module)
        return self._own_costs[key]

    def _values(self, metrics: Mapping[str, Any], costs: Mapping[str, float]) -> dict[str, float | None]:
        names = [objective.name for objective in self.table.objectives]
        return {name: costs[name] if name in COSTS else metric_value(name, metrics) for name in names}

    # --- where to -----------------------------------------------------------------------------------------------------

    def _record(self, trainer: pl.Trainer, module: pl.LightningModule, candidates: Sequence[ParetoCandidate]) -> None:
        """Add candidates, and write and log what has changed."""
        changes = [self.table.add(candidate) for candidate in candidates]
        if not any(changes) or not trainer.is_global_zero:
            return
        self._changed = True
        write_table(self.table, self._folder)
        log_scalars(trainer.loggers, self._scalars(module), epoch_step(trainer))
        if len(self.table.candidates) >= max(self._shown + 1, GROWTH * self._shown):
            self._show(trainer)

    def _scalars(self, module: pl.LightningModule) -> dict[str, float]:
        scalars = {"pareto/size": float(len(self.table.front))}
        if self.table.hypervolume is not None:
            scalars["pareto/hypervolume"] = self.table.hypervolume
        if isinstance(module, SearchModule):  # what searches are compared over
            scalars["search/examples_seen"] = float(module.examples_seen)
        return scalars

    def _show(self, trainer: pl.Trainer) -> None:
        """Draw the picture, and log it with the table and the plot that can be explored."""
        columns, rows, step = self.table.columns, self.table.rows, epoch_step(trainer)
        log_table(trainer.loggers, "pareto/candidates", columns, rows, step)
        y, x, *_ = (objective.name for objective in self.table.objectives)
        log_scatter(trainer.loggers, "pareto/scatter", columns, rows, x, y, step)
        if (figure := self._draw()) is not None:
            log_figure(trainer.loggers, "pareto/front", figure, step)
        self._shown, self._changed = len(self.table.candidates), False

    def _draw(self) -> Figure | None:
        figure = draw_front(self.table)
        if figure is not None:
            write_picture(figure, self._folder)
        return figure

    def _finish(self, trainer: pl.Trainer) -> None:
        """Write everything, also in the new folder of a run that was resumed."""
        write_table(self.table, self._folder)
        if self._changed:
            self._show(trainer)
        else:
            self._draw()
        run = file_name(run_folder(trainer).name)
        values = {candidate.name: candidate.numbers for candidate in self.table.front}
        for name, path in write_members(self.table, self._folder / "pareto").items():
            log_file(trainer.loggers, f"pareto-{run}-{file_name(name)}", "architecture", path, values[name])
        log_file(trainer.loggers, f"pareto-{run}", "pareto-front", self._folder / "pareto.json")

    def _check_folder(self, trainer: pl.Trainer) -> None:
        fronts = [callback for callback in callbacks_of(trainer) if isinstance(callback, ParetoFront)]
        folders = [front.dirpath or run_folder(trainer) for front in fronts]
        if folders.count(self._folder) > 1:
            raise ValueError(
                f"Expected ParetoFront callbacks that write to different folders but got several for {self._folder}; "
                "give each a `dirpath`"
            )


def _objective(given: str | Objective | Mapping[str, Any]) -> Objective:
    if isinstance(given, Objective):
        return given
    return Objective(given) if isinstance(given, str) else Objective(**given)


def _search(trainer: pl.Trainer) -> SearchModule | DifferentiableSearch | None:
    """Return what derives architectures in a run: its module, a callback, or nothing."""
    if isinstance(trainer.lightning_module, SearchModule):
        return trainer.lightning_module
    return differentiable_search(trainer)


def _trains_children(module: pl.LightningModule) -> bool:
    return isinstance(module, SearchModule) and (module.trains_own_child or bool(module.candidates()))
