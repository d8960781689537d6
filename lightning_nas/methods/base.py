"""What all search methods share."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torchmetrics import MetricCollection

import lightning_nas
from lightning_nas._lightning import MisconfigurationException, pl
from lightning_nas.architecture import Architecture
from lightning_nas.methods.processes import gather, on_cpu
from lightning_nas.seeding import derive_seed
from lightning_nas.spaces.base import SearchSpace
from lightning_nas.spaces.mixture import Mixture
from lightning_nas.spaces.registry import get_space
from lightning_nas.stopwatch import Stopwatch
from lightning_nas.tasks.base import Evaluation, Task
from lightning_nas.tasks.image_classification import ImageClassification
from lightning_nas.tasks.language_modeling import LanguageModeling
from lightning_nas.tracking import describe_run, group_of, offer_names, withdraw_names

PRECISIONS = ("32-true", "64-true", "bf16-mixed")
SKIPS = ("skip_connect", "skip", "identity")  # what spaces and users call it


class TaskModule(pl.LightningModule):
    """A LightningModule that trains on a task: seeding of every step, and metrics under one name everywhere.

    Args:
        space: A search space, or the name of one.
        task: What is learned; by default image classification with the classes that ``scale`` says, or else 10, and for
            spaces of language models the next word of its ``vocabulary``, or else of 10,000.
        scale: Size of the network.
        seed: Seed of everything random in the module.
    """

    stages: tuple[str, ...] = ("train", "val")
    job_type: ClassVar[str]

    def __init__(self, space: SearchSpace | str, task: Task | None, scale: Mapping[str, Any] | None, seed: int) -> None:
        super().__init__()
        self.space = get_space(space) if isinstance(space, str) else space
        self.scale = dict(scale or {})
        self.task = task or default_task(self.space, self.scale)
        self.seed = seed
        collections = (MetricCollection(dict(self.task.metrics()), prefix=f"{stage}/") for stage in self.stages)
        self.metrics = nn.ModuleList(collections)
        self._states: dict[str, Any] = {}  # where the network stood after the last batch of a stream

    def identity(self) -> dict[str, Any]:
        """Return what a logger calls this run: the same keys for every method, as plain data."""
        return {
            "method": type(self).__name__,
            "space": self.space.name,
            "task": type(self.task).__name__,
            "seed": self.seed,
            "group": self.group,
            "job_type": self.job_type,
        }

    @property
    def group(self) -> str:
        """What the run of a search and the run of training what it found have in common."""
        return group_of(type(self).__name__, self.space.name, self.seed)

    def configure_callbacks(self) -> list[pl.Callback]:
        """Offer loggers a group and a job type; this is the first hook that a Trainer calls."""
        offer_names(self.trainer, self.group, self.job_type)
        return []

    def setup(self, stage: str) -> None:
        """Tell loggers what this run is, and check that the data has the classes that the task expects."""
        withdraw_names()
        self._check_classes()
        describe_run(self.trainer, self.identity())

    def _check_classes(self) -> None:
        expected = getattr(self.task, "classes", None)
        classes = getattr(getattr(self.trainer, "datamodule", None), "classes", expected)
        if classes != expected:
            name = "vocabulary" if self.space.reads_text else "classes"
            raise MisconfigurationException(
                f"Expected data with {expected} classes but got {classes}; give {type(self).__name__} "
                f"scale={{'{name}': {classes}, ...}}, and a `task` of as many classes if you give one"
            )

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
        """Seed torch for this batch, so that a resumed run draws what an uninterrupted one does."""
        torch.manual_seed(derive_seed(self.seed, self.current_epoch, batch_idx, self.global_rank))
        return None

    def continued(self, stream: str, batch: Any, batch_idx: int) -> Any:
        """Return a batch that goes on where the last one of its stream has ended, or begins with the epoch."""
        if batch_idx == 0:
            self._states.pop(stream, None)
        return self.task.continue_from(batch, self._states.get(stream))

    def carry(self, stream: str, evaluation: Evaluation) -> None:
        """Keep where the network stands after a batch of a stream."""
        if evaluation.state is not None:
            self._states[stream] = evaluation.state

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add where the networks of all processes stand in what they read."""
        if type(self.task).continue_from is not Task.continue_from:  # others need no exchange
            checkpoint["states"] = gather(on_cpu(self._states), self.trainer)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up where the network of this process stood."""
        states = checkpoint.get("states", [])
        self._states = states[self.global_rank] if self.global_rank < len(states) else {}

    def record(self, stage: str, evaluation: Evaluation, size: int) -> None:
        """Log the loss and the metrics of a batch as ``<stage>/...``, averaged over the epoch and all processes."""
        metrics = cast("MetricCollection", self.metrics[self.stages.index(stage)])
        metrics.update(evaluation.predictions, evaluation.targets)
        self.log_dict(metrics, on_step=False, on_epoch=True, prog_bar=True, batch_size=size)
        loss = {f"{stage}/loss": evaluation.loss.detach()}
        self.log_dict(loss, on_step=False, on_epoch=True, prog_bar=True, sync_dist=True, batch_size=size)


class SearchModule(TaskModule, ABC):
    """Base of all search methods: a LightningModule with ``derive()``.

    Every checkpoint holds the architecture derived at that moment, under ``"architecture"``, as plain data.

    Args:
        space: A search space, or the name of one.
        task: What is learned; by default image classification with the classes that ``scale`` says, or else 10, and for
            spaces of language models the next word of its ``vocabulary``, or else of 10,000.
        scale: Size of the network that searches.
        seed: Seed of everything random in the search: same seed, same architecture.
    """

    job_type = "search"
    trains_own_child: ClassVar[bool] = False  # whether each process trains a network of its own, and needs all data
    examples_seen: Tensor

    def __init__(self, space: SearchSpace | str, task: Task | None, scale: Mapping[str, Any] | None, seed: int) -> None:
        super().__init__(space, task, scale, seed)
        self.register_buffer("examples_seen", torch.zeros((), dtype=torch.int64))
        self._watch = Stopwatch()
        self._best: float | None = None  # of the objective so far, more is better

    @abstractmethod
    def derive(self) -> Architecture:
        """Return the architecture that the search has arrived at."""

    def space_of(self, architecture: Architecture) -> SearchSpace:
        """Return the space of an architecture of this search: some searches pass from one space to another."""
        return self.space

    def provenance(self) -> dict[str, Any]:
        """Return where an architecture derived now comes from, as plain data."""
        return {
            "method": type(self).__name__,
            "group": self.group,
            "seed": self.seed,
            "epoch": self.current_epoch,
            "examples_seen": int(self.examples_seen),
            "lightning_nas": lightning_nas.__version__,
        }

    def weights(self) -> dict[str, Tensor]:
        """Return how much each candidate weighs now, if the search knows: a table for each decision group, by name.

        Tables are ``[rows, candidates]``, and every row sums to 1.
        """
        return {}

    def candidates(self) -> dict[str, Architecture]:
        """Return the architectures that were trained by themselves, by a name that stays theirs.

        What was measured of each is in its ``metrics``: those of validation, and ``params`` and ``macs``. A search that
        trains no network by itself has none: its candidate is what it derives.
        """
        return {}

    def mixtures_of(self, architecture: Architecture) -> dict[str, Mixture]:
        """Return the mixtures with which a supernet computes an architecture, on the module's device."""
        mixtures = self.space.mixtures(architecture)
        return {name: Mixture(mixture.weights.to(self.device), mixture.active) for name, mixture in mixtures.items()}

    def skip_count(self, architecture: Architecture) -> float:
        """Return how many skips an architecture has: flags that are on, or else skip connections in its first graph.

        The first graph is the normal cell, where there are cells. A recurrent cell has none: its identities are
        activations.
        """
        if self.space.reads_text:
            return 0.0
        flags = [decision.name for decision in self.space_of(architecture).decisions if decision.kind == "flag"]
        if flags:
            return float(sum(bool(architecture.values[name]) for name in flags))
        first, *_ = self.space_of(architecture).graph(architecture)
        return float(sum(operation in SKIPS for _, _, operation in first.edges))

    def on_train_start(self) -> None:
        """Start to count the time of the devices."""
        self._watch.start(self.trainer.world_size)

    def on_train_end(self) -> None:
        """Stop to count the time of the devices."""
        self._watch.stop()

    def log_search(self) -> None:
        """Log what every search has: its cost so far, as papers count it, and the best it has seen."""
        children, seconds, best = self.cost_and_best()
        name, mode = self.task.objective
        state = {"search/children": float(children), "search/examples_seen": float(self.examples_seen)}
        if name.endswith("accuracy"):  # a callback that monitors it needs it from the first epoch on
            state["search/best_error"] = 1.0 if best is None else 1.0 - best
        elif best is not None:
            state["search/best_score"] = best * (1 if mode == "max" else -1)
        # equal everywhere; Lightning warns without `sync_dist`, and where it cannot guess the size of a batch
        self.log_dict(state, prog_bar=True, sync_dist=True, batch_size=1)
        self.log("search/device_hours", seconds / 3600, sync_dist=True, batch_size=1)

    def cost_and_best(self) -> tuple[int, float, float | None]:
        """Return the number of children trained, the seconds that devices have worked, and the best objective so far.

        More is better. A supernet trains no child; its best is that of its own validations.
        """
        name, mode = self.task.objective
        if name in self.trainer.callback_metrics:
            value = float(self.trainer.callback_metrics[name]) * (1 if mode == "max" else -1)
            self._best = value if self._best is None else max(value, self._best)  # NaN is never better
        return 0, self._watch.seconds, self._best

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the derived architecture to the checkpoint, and what the search has cost so far."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["architecture"] = self.derive().to_dict()
        checkpoint["search"] = {"watch": self._watch.state_dict(), "best": self._best}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on counting."""
        super().on_load_checkpoint(checkpoint)
        self._watch.load_state_dict(checkpoint["search"]["watch"])
        self._best = checkpoint["search"]["best"]

    def configure_callbacks(self) -> list[pl.Callback]:
        """Refuse Trainer flags that do not work with a search."""
        if self.trainer.precision not in PRECISIONS:
            raise MisconfigurationException(
                f"Expected Trainer(precision=...) of {PRECISIONS} but got {self.trainer.precision!r}: what searches "
                "needs float32, use 'bf16-mixed' for speed"
            )
        if self.trainer.gradient_clip_val is not None:
            raise MisconfigurationException(
                f"Expected a Trainer without `gradient_clip_val` but got {self.trainer.gradient_clip_val}: "
                f"a search clips by itself, use {type(self).__name__}(grad_clip=...)"
            )
        if self.trainer.accumulate_grad_batches != 1:
            raise MisconfigurationException(
                f"Expected a Trainer without `accumulate_grad_batches` but got {self.trainer.accumulate_grad_batches}: "
                "a search steps two optimisers on every batch, use a larger batch size instead"
            )
        return super().configure_callbacks()


def default_task(space: SearchSpace, scale: Mapping[str, Any]) -> Task:
    """Return what a module learns that is given no task."""
    if space.reads_text:
        return LanguageModeling(scale.get("vocabulary", 10_000))
    return ImageClassification(scale.get("classes", 10))
