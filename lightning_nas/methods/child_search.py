"""Searches that train every architecture they look at."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler
from torchmetrics import MetricCollection

from lightning_nas._lightning import MisconfigurationException
from lightning_nas.architecture import Architecture
from lightning_nas.checks import check_at_least, check_positive
from lightning_nas.costs import count_costs
from lightning_nas.methods.base import SearchModule
from lightning_nas.methods.batches import check_ordinary
from lightning_nas.methods.child import Child
from lightning_nas.methods.child_files import ChildFiles, digest
from lightning_nas.methods.child_record import ChildRecord
from lightning_nas.methods.child_runner import ChildRunner
from lightning_nas.methods.epoch_metrics import EpochMetrics
from lightning_nas.methods.ledger import is_hopeless
from lightning_nas.methods.optimizers import OptimizerCallable, SchedulerCallable, describe_recipe
from lightning_nas.methods.processes import gather, on_cpu
from lightning_nas.methods.whole_data import check_whole_data
from lightning_nas.run_folder import is_trial, run_folder
from lightning_nas.seeding import derive_seed, fixed_seed, make_generator
from lightning_nas.spaces.base import SearchSpace
from lightning_nas.spaces.inputs import as_inputs
from lightning_nas.strategies.base import Strategy
from lightning_nas.strategies.proposal import Proposal
from lightning_nas.tasks.base import Task

FAILURES = 5  # children at the start that may all fail before the search gives up


class ChildSearchModule(SearchModule):
    """Trains the architectures that a strategy asks for, one after the other, and tells it their scores.

    Each child is trained from scratch for ``epochs_per_child`` of the Trainer's epochs, validated after each, and
    dropped. What is kept of it is a row of ``children.csv`` in the run's folder, and of the checkpoint. With several
    processes each trains a child of its own, on all data, and all hold the same strategy.

    A child whose network cannot be built, or whose training raises an error or diverges, is told as failed, and the
    search goes on. The search ends with ``Trainer(max_epochs=...)``, after ``max_children``, or when the strategy has
    nothing left to ask for. Finished children are read back from ``children.csv``: a run that was killed, started again
    with the same arguments (with ``ckpt_path`` or, where the folder is the same, without), trains none of them twice.

    ``train/...`` and ``val/...`` are of the children under way, their mean with several processes: they start anew with
    each child, so ``EarlyStopping`` or ``ModelCheckpoint`` should monitor ``search/best_error`` (1 before the first
    score; ``search/best_score`` where the objective is no accuracy), which changes when a child has ended. A
    ``Trainer(val_check_interval=...)`` below 1 costs time only: the last validation of an epoch counts. An epoch that
    is cut short, by ``Trainer(max_time=...)`` or ``max_steps``, does not count: the child is trained for it again.

    Args:
        strategy: What to train next; it must be fresh.
        task: What is learned; by default image classification with the classes that ``scale`` says, or else 10. Its
            ``objective`` is the score, after the last epoch.
        scale: Size of the children, passed to ``space.build``.
        epochs_per_child: The Trainer's epochs for each child.
        max_children: Ends the search, as ``Trainer(max_epochs=...)`` does.
        score_window: The score is the best objective of so many last epochs.
        stop_hopeless: Stop a child whose best objective is below the median of the mean objectives that the others had
            had until the same epoch (the median rule of Golovin et al. 2017).
        grad_clip: Norm to which gradients are clipped, or ``None``.
        optimizer: Makes a child's optimiser; by default SGD(lr=0.025, momentum=0.9, weight_decay=3e-4).
        scheduler: Makes its schedule, stepped each epoch; by default a cosine to zero over the child's epochs.
        folder: Where ``children.csv`` is written; by default the logger's folder of the run, or else the Trainer's.
        input_shape: Shape of one input, ``(channels, height, width)`` for images, to count multiply-adds; by default
            the space's ``example``. Without either, they are not counted.
        seed: Seed of the initial weights and of all training.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> from lightning_nas.strategies import RandomStrategy
        >>> module = ChildSearchModule(RandomStrategy("nasbench201"), scale={"channels": 4, "cells": 1}, max_children=8)
        >>> module.ledger
        []
    """

    trains_own_child = True  # data modules give every process all data
    limits: ClassVar[tuple[str, ...]] = ("max_children", "folder")  # settings on which no child depends

    def __init__(
        self,
        strategy: Strategy,
        task: Task | None = None,
        *,
        scale: Mapping[str, Any] | None = None,
        epochs_per_child: int = 20,
        max_children: int | None = None,
        score_window: int = 1,
        stop_hopeless: bool = False,
        grad_clip: float | None = 5.0,
        optimizer: OptimizerCallable | None = None,
        scheduler: SchedulerCallable | None = None,
        folder: str | Path | None = None,
        input_shape: Sequence[int] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(strategy.space, task, scale, seed)
        check_at_least("epochs_per_child", epochs_per_child, 1)
        check_at_least("max_children", max_children, 1)
        check_at_least("score_window", score_window, 1)
        check_positive("grad_clip", grad_clip)
        self.strategy = strategy
        self.ledger: list[ChildRecord] = []
        self.epochs_per_child = epochs_per_child
        self.max_children = max_children
        self.score_window = score_window
        self.stop_hopeless = stop_hopeless
        self.grad_clip = grad_clip
        self.optimizer = optimizer or partial(SGD, lr=0.025, momentum=0.9, weight_decay=3e-4)
        self.scheduler = scheduler
        self.folder = folder
        self.input_shape = None if input_shape is None else tuple(input_shape)
        self.automatic_optimization = False
        # Lightning counts steps by its optimisers, and DistributedDataParallel needs a parameter: this is neither a
        # child's nor ever changed. It knows the device and the precision, too.
        self.pace = nn.Parameter(torch.zeros(()))
        self._epoch = {
            stage: EpochMetrics(stage, cast("MetricCollection", metrics))
            for stage, metrics in zip(self.stages, self.metrics, strict=True)
        }
        self._runner = ChildRunner(self._epoch, score_window)
        self._before_trial: tuple[dict[str, Any], list[ChildRecord], Tensor] | None = None
        self._round = False  # whether children are under way in any process
        self._skipped = 0  # epochs of children that are known from a file
        self._running: dict[int, dict[str, Any]] = {}  # by number, of the checkpoint that is resumed
        self._files = ChildFiles()
        # plain data only: a checkpoint must load with weights_only
        self.save_hyperparameters(ignore=["strategy", "space", "task", "scale", "optimizer", "scheduler", "folder"])
        self.save_hyperparameters(
            {"space": self.space.name, "scale": self.scale, "folder": None if folder is None else str(folder)}
        )

    def configure_optimizers(self) -> Optimizer:
        """Return an optimiser that changes nothing: children have their own, this one counts steps."""
        return SGD([self.pace], lr=0.0)

    def space_of(self, architecture: Architecture) -> SearchSpace:
        """Return the space of an architecture of this search."""
        return self.strategy.space_of(architecture)

    def derive(self) -> Architecture:
        """Return the best architecture so far; before the first score, a random one."""
        best = self.strategy.best or self.space.sample(make_generator(self.seed, "first"))
        return Architecture(best.space, best.values, self.provenance(), best.metrics)

    def candidates(self) -> dict[str, Architecture]:
        """Return the children that were trained, by their numbers."""
        return {f"child {child.number}": child.measured for child in self.ledger if child.score is not None}

    # --- how a round of children begins -------------------------------------------------------------------------------

    def on_fit_start(self) -> None:
        """Check the Trainer, and read the children that earlier runs have finished."""
        if self.trainer.check_val_every_n_epoch != 1:
            raise MisconfigurationException(
                "Expected Trainer(check_val_every_n_epoch=1), because a child's score is its last validation, but got "
                f"{self.trainer.check_val_every_n_epoch}"
            )
        self._begin_fit()
        # other processes may see another folder, or none
        known = self._files.read(self._digest(), self._own_file())
        self._files.known, self._files.paths = gather((known, self._files.paths), self.trainer)[0]
        self._runner.search = self._files.search

    def _begin_fit(self) -> None:
        """Forget the child of an earlier fit, and all of a trial run."""
        self._runner = ChildRunner(self._epoch, self.score_window)
        self._round, self._skipped = False, 0
        if self._before_trial is not None:
            state, self.ledger, self.examples_seen = self._before_trial
            self.strategy.load_state_dict(state)
        before = (self.strategy.state_dict(), list(self.ledger), self.examples_seen.clone())
        self._before_trial = before if is_trial(self.trainer) else None

    def _own_file(self) -> Path | None:
        if is_trial(self.trainer):  # what a trial run has trained is not to be known later
            return None
        return Path(self.folder or run_folder(self.trainer)).absolute() / "children.csv"

    def _digest(self) -> str:
        settings = {name: value for name, value in self.hparams.items() if name not in self.limits}
        names = [type(self.strategy).__name__, self.space.name, type(self.task).__name__]
        limits = [self.trainer.limit_train_batches, self.trainer.limit_val_batches]
        return digest(names, limits, settings, describe_recipe(self.optimizer, self.scheduler))

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
        """Begin the next children if none is under way, and seed torch for this batch; ``-1`` skips the epoch."""
        # not at the start of the epoch: a run resumed in the middle of one never gets there
        if batch_idx == 0:
            check_whole_data(self.trainer)
        if not self._round:
            self._begin_round()
            if batch_idx == 0:
                # a checkpoint after the last batch of an epoch: Lightning never comes back to its end
                self._runner.reset()
        if not self._round:
            self.trainer.should_stop = True
        if not self._round or self._skipped:
            return -1
        child = self._runner.child
        number, epoch = (child.proposal.number, child.epoch) if child else (-1, 0)
        torch.manual_seed(derive_seed(self.seed, "child", number, epoch, batch_idx))
        return None

    def _begin_round(self) -> None:
        """Ask for a child for every process, as long as there is something to ask for."""
        proposals = self._ask(self.trainer.world_size)
        self._round = bool(proposals)
        if not proposals:
            self._check_any_trained()
            self.explain_end()
        known = [self._files.find(proposal.number, proposal.architecture) for proposal in proposals]
        if proposals and None not in known:
            self._skipped = max(self._epochs_left(record) for record in known if record is not None)
        if self.global_rank < len(proposals):
            mine = proposals[self.global_rank]
            state = self._running.get(mine.number)
            self._runner.begin(mine, known[self.global_rank], state, self.build_child)
        for proposal in proposals:
            self._running.pop(proposal.number, None)

    def _ask(self, n: int) -> list[Proposal]:
        if self.max_children is not None:
            n = min(n, self.max_children - len(self.ledger))
        proposals = self.strategy.waiting[: max(n, 0)]  # were under way when a checkpoint was written
        return proposals + self.strategy.ask(n - len(proposals)) if len(proposals) < n else proposals

    def _epochs_left(self, record: ChildRecord) -> int:
        """Return how many epochs to skip for a known child: the others then have those of an uninterrupted run."""
        done = len(self._running.get(record.number, {}).get("curve", ()))
        return max(record.epochs + (record.status == "failed") - done, 1)  # it failed in an epoch that did not end

    def _go_on(self) -> None:
        """Go on with the children of a checkpoint that was written after the last batch of an epoch."""
        if not self._round and self._running and self.trainer.state.fn == "fit":
            self._begin_round()

    def epochs_of(self, proposal: Proposal) -> int:
        """Return for how many of the Trainer's epochs a child is trained."""
        return self.epochs_per_child

    def build_child(self, proposal: Proposal) -> Child:
        """Build a child; an error says that it has failed."""
        with fixed_seed(derive_seed(self.seed, "child", proposal.number)):
            network = self.build_network(proposal)
        example = self.space_of(proposal.architecture).example
        costs = count_costs(network, example if self.input_shape is None else as_inputs(self.input_shape))
        optimizer = self.optimizer(self.parameter_groups(network.to(self.pace)))
        schedule = self.schedule(optimizer, proposal)
        return Child(proposal, network, optimizer, schedule, self.grad_clip, costs, self._epoch)

    def build_network(self, proposal: Proposal) -> nn.Module:
        """Build the network of a child, with the weights that it begins with."""
        return self.space_of(proposal.architecture).build(proposal.architecture, **self.scale)

    def parameter_groups(self, network: nn.Module) -> Iterable[Any]:
        """Return what a child's optimiser takes: parameters, or groups of them."""
        return network.parameters()

    def schedule(self, optimizer: Optimizer, proposal: Proposal) -> LRScheduler:
        """Return the schedule of a child's optimiser."""
        return self.scheduler(optimizer) if self.scheduler else CosineAnnealingLR(optimizer, self.epochs_of(proposal))

    # --- how a child is trained ---------------------------------------------------------------------------------------

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Train the child of this process on a batch."""
        check_ordinary(batch)
        cast("Optimizer", self.optimizers()).step()  # Lightning's counter of steps
        self._runner.attempt(lambda child: self._step(child, batch, batch_idx))

    def _step(self, child: Child, batch: Any, batch_idx: int) -> None:
        self.carry("train", child.step(self.task, self.continued("train", batch, batch_idx)))

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Validate the child of this process on a batch."""
        self._runner.attempt(lambda child: self._validate(child, batch, batch_idx))

    def _validate(self, child: Child, batch: Any, batch_idx: int) -> None:
        self.carry("val", child.validate(self.task, self.continued("val", batch, batch_idx)))

    def on_train_epoch_start(self) -> None:
        """Forget what an interrupted epoch has left."""
        self._runner.reset()

    def on_validation_epoch_start(self) -> None:
        """Forget an earlier validation of this epoch."""
        self._go_on()
        self._epoch["val"].reset()

    # --- how it ends --------------------------------------------------------------------------------------------------

    def on_train_epoch_end(self) -> None:
        """End the child's epoch, and the round when all processes have ended theirs."""
        self._go_on()
        if not self.trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:  # cut short, by `max_time` for example
            self._runner.reset()
            self.log_search()
            return
        summary = self._runner.attempt(Child.summary) or {}
        self._runner.attempt(lambda child: self._end_epoch(child, summary))
        self._runner.reset()
        parts = gather((summary, self._runner.record, self._runner.child is None), self.trainer)
        self._log([summary for summary, _, _ in parts if summary])
        self._skipped = max(self._skipped - 1, 0)
        if self._round and not self._skipped and all(ended for _, _, ended in parts):
            self.end_round([record for _, record, _ in parts if record is not None])
        self.log_search()

    def _end_epoch(self, child: Child, summary: dict[str, float]) -> None:
        child.end_epoch(summary, *self.task.objective)
        if child.epoch == self.epochs_of(child.proposal):
            self._runner.end("finished", self.finish_child(child))
        elif self.stop_hopeless and is_hopeless(child.curve, self.ledger):
            self._runner.end("stopped", {})

    def finish_child(self, child: Child) -> dict[str, Any]:
        """Do what is left to do with a trained child; return what it has found besides its score, as JSON data."""
        return {}

    def end_round(self, records: list[ChildRecord]) -> None:
        """Take in what has become of the children of all processes."""
        self._round, self._runner.record = False, None
        for record in sorted(records, key=lambda record: record.number):
            self._take(record)
        if self.trainer.is_global_zero:
            self._files.write(self.ledger)
        if self.max_children is not None and len(self.ledger) >= self.max_children:
            self.trainer.should_stop = True

    def _take(self, record: ChildRecord) -> None:
        """Tell the strategy, and keep the record."""
        self.ledger.append(record)
        self.tell(record)
        self.examples_seen += record.examples
        if len(self.ledger) == FAILURES:
            self._check_any_trained()

    def explain_end(self) -> None:
        """Say why there is nothing left to ask for, where that may surprise."""

    def _check_any_trained(self) -> None:
        if self.ledger and all(child.status == "failed" for child in self.ledger):
            raise MisconfigurationException(
                f"Expected children that can be trained but the first {len(self.ledger)} have all failed, the last one "
                f"with {self.ledger[-1].error!r}; look at `scale`, `task` and the data"
            )

    def tell(self, record: ChildRecord) -> None:
        """Tell the strategy what has become of a child; all processes do, in the same order."""
        self.strategy.tell(self.strategy.proposals[record.number], record.score)

    def _log(self, summaries: list[dict[str, float]]) -> None:
        """Log the means over the children that are under way."""
        names = sorted({name for summary in summaries for name in summary})
        means = {name: _mean([summary[name] for summary in summaries if name in summary]) for name in names}
        # equal everywhere; Lightning warns without `sync_dist`
        self.log_dict(means, prog_bar=True, sync_dist=True, batch_size=1)

    def cost_and_best(self) -> tuple[int, float, float | None]:
        """Return the number of children, the seconds that were spent on them, and the best score so far."""
        best = self.strategy.best
        seconds = sum(child.seconds for child in self.ledger)
        return len(self.ledger), seconds, None if best is None else best.metrics["score"]

    # --- what a checkpoint holds --------------------------------------------------------------------------------------

    def get_extra_state(self) -> dict[str, Any]:
        """Return the state of the strategy, which is part of ``state_dict``."""
        return self.strategy.state_dict()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take up the state of the strategy."""
        self.strategy.load_state_dict(state)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the records of all children, and those under way in every process."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["children"] = [record.to_dict() for record in self.ledger]
        checkpoint["children_files"] = list(self._files.paths)
        running = [state for state in gather(on_cpu(self._runner.state_dict()), self.trainer) if state is not None]
        # what a run with more processes has left for later
        checkpoint["running"] = [*self._running.values(), *running]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the records, and the children under way when they are next needed."""
        super().on_load_checkpoint(checkpoint)
        self.ledger = [ChildRecord.from_dict(data) for data in checkpoint["children"]]
        self._files.paths = list(checkpoint["children_files"])
        self._running = {state["number"]: state for state in checkpoint["running"]}
        self._before_trial = None


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
