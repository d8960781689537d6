"""What a search that grows networks has arrived at, and how."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from lightning_nas._lightning import MisconfigurationException, pl
from lightning_nas.architecture import Architecture
from lightning_nas.callbacks.around import callbacks_of, epoch_step
from lightning_nas.callbacks.metric_value import metric_value
from lightning_nas.callbacks.model_costs import example_of
from lightning_nas.callbacks.pareto_files import file_name
from lightning_nas.checks import check_at_least, check_choice
from lightning_nas.expected_cost import Cost
from lightning_nas.hull import lower_hull
from lightning_nas.loggers import log_figure
from lightning_nas.methods.base import SearchModule
from lightning_nas.plotting import save_figure
from lightning_nas.plotting.families import plot_family
from lightning_nas.plotting.grown_model import GrownModel
from lightning_nas.plotting.growth import plot_hull_growth
from lightning_nas.run_folder import is_trial, run_folder


class GrowthGallery(pl.Callback):
    """Writes the models on the lower convex hull of cost and error, how the hull sank, and where the best comes from.

    At the end of a training, and where one is interrupted, the folder ``gallery`` in that of the logger's run, or else
    the Trainer's, holds

    - ``models/<name>.json``: each model on the hull, to be trained by ``RetrainModule(architecture=<file>)``;
    - ``hull.png``: all models and their hull at several moments, which loggers get as ``gallery/hull``;
    - ``family.png``: the family tree of the model of the lowest error, which they get as ``gallery/family``.

    It is made for ``PetridishModule``, but takes any search that trains each of its models by itself. Lines from parent
    to child are drawn where ``provenance`` of the search's ``candidates()`` has the name of the ``"parent"``, beside
    what has grown, ``"growth"``. The error is the task's objective, or one minus it where more is better.

    Args:
        cost: ``"macs"`` or ``"params"``.
        moments: At how many moments the hull is drawn: after equal numbers of models.

    Raises:
        ValueError: If an argument has another value.

    Example:
        >>> trainer = pl.Trainer(accelerator="cpu", callbacks=[GrowthGallery("params")], logger=False)
    """

    def __init__(self, cost: Cost = "macs", moments: int = 4) -> None:
        check_choice("cost", cost, get_args(Cost))
        check_at_least("moments", moments, 1)
        self.cost = cost
        self.moments = moments
        self._folder: Path | None = None  # until the gallery is written

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Check that the search has models of its own, that it counts the cost, and that this is the only gallery."""
        if stage != "fit":
            return
        name = type(pl_module).__name__
        if not isinstance(pl_module, SearchModule) or not pl_module.trains_own_child:
            raise MisconfigurationException(
                "Expected a search that trains each model by itself, such as PetridishModule, for GrowthGallery but "
                f"got {name}; leave the callback out, or take ParetoFront"
            )
        if self.cost == "macs" and example_of(pl_module, None) is None:
            raise MisconfigurationException(
                "Expected an example input to count multiply-adds but got none; give "
                f"{name}(input_shape=(channels, height, width)), or GrowthGallery(cost='params')"
            )
        if sum(isinstance(callback, GrowthGallery) for callback in callbacks_of(trainer)) > 1:
            raise MisconfigurationException("Expected one GrowthGallery but got several: they write to one folder")
        self._folder = None if is_trial(trainer) else run_folder(trainer) / "gallery"

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write everything."""
        if self._folder is not None and not self._write(trainer, pl_module):
            text = "Expected a trained model to draw but there was none; train for more epochs"
            warnings.warn(text, stacklevel=1)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Write what there is so far, unless it was written."""
        if self._folder is not None and trainer.state.fn == "fit":
            self._write(trainer, pl_module)

    def _write(self, trainer: pl.Trainer, module: pl.LightningModule) -> bool:
        """Write and log in the first process; return whether there is any model."""
        assert isinstance(module, SearchModule)
        assert self._folder is not None
        folder, self._folder = self._folder, None  # once only: an error in here is an exception, too
        candidates = module.candidates()
        if candidates and trainer.is_global_zero:
            models = self.models(module, candidates)
            write_hull(models, candidates, module, folder / "models")
            self._write_pictures(trainer, models, error_name(*module.task.objective), folder)
        return bool(candidates)

    def models(self, module: SearchModule, candidates: Mapping[str, Architecture]) -> list[GrownModel]:
        """Return cost, error and parent of each candidate.

        Raises:
            ValueError: If a candidate lacks the cost or the objective.
        """
        return [self._model(module, name, candidate) for name, candidate in candidates.items()]

    def _model(self, module: SearchModule, name: str, candidate: Architecture) -> GrownModel:
        if self.cost not in candidate.metrics:
            raise ValueError(
                f"Expected {self.cost!r} among the metrics of {name!r} but got {sorted(candidate.metrics)}; let "
                f"{type(module).__name__}.candidates() have it, or give GrowthGallery another cost"
            )
        objective, mode = module.task.objective
        value = metric_value(objective, candidate.metrics)
        error, where = value if mode == "min" else 1.0 - value, candidate.provenance
        return GrownModel(name, candidate.metrics[self.cost], error, where.get("parent"), where.get("growth", ""))

    def _write_pictures(self, trainer: pl.Trainer, models: Sequence[GrownModel], error: str, folder: Path) -> None:
        best = min(models, key=lambda model: (model.error, model.cost))
        figures = {
            "hull": plot_hull_growth(models, moments=self.moments, cost=self.cost, error=error),
            "family": plot_family(models, best.name, cost=self.cost, error=error),
        }
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in figures.items():
            save_figure(figure, folder / f"{name}.png")
            log_figure(trainer.loggers, f"gallery/{name}", figure, epoch_step(trainer))


def error_name(objective: str, mode: str) -> str:
    """Return what an axis calls the error.

    Example:
        >>> error_name("val/accuracy", "max"), error_name("val/f1", "max"), error_name("val/perplexity", "min")
        ('val/error', '1 - f1', 'val/perplexity')
    """
    if objective.endswith("accuracy"):
        return f"{objective.removesuffix('accuracy')}error"
    return objective if mode == "min" else f"1 - {objective.rpartition('/')[2]}"


def write_hull(
    models: Sequence[GrownModel], candidates: Mapping[str, Architecture], module: SearchModule, folder: Path
) -> None:
    """Write the architectures on the hull, each to a file, and remove those that an earlier fit has left there."""
    corners = lower_hull([(model.cost, model.error) for model in models])
    for model in models:
        path = folder / f"{file_name(model.name)}.json"
        if (model.cost, model.error) in corners:
            candidate = candidates[model.name]
            replace(candidate, provenance={**module.provenance(), **candidate.provenance}).save(path)
        else:
            path.unlink(missing_ok=True)
