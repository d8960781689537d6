"""Progressive neural architecture search (Liu et al. 2018, arXiv 1712.00559)."""

from functools import partial
from typing import Any, Literal

from torch.optim import SGD

from lightning_nas.methods.child_search import ChildSearchModule
from lightning_nas.spaces.nasnet import NasnetSpace
from lightning_nas.strategies.progressive import ProgressiveStrategy
from lightning_nas.tasks.base import Task


class PnasModule(ChildSearchModule):
    """Trains cells of one block, then of one more, those that a predictor ranks first (``ChildSearchModule`` says how).

    The defaults are the paper's: cells of up to 5 blocks, 1,160 children of 2 cells a stage and 24 channels, 20 epochs
    each. ``strategy.correlations`` tells how well the predictor has ranked each level; ``search/rank_correlation``,
    which is logged, is Spearman's on the last level that is trained, as predicted before.

    Args:
        space: A ``NasnetSpace`` with as many blocks as the cells shall have in the end, or its name.
        task: What is learned.
        beam: Children of each level but the first, K.
        predictor: ``"mlp"``, the paper's choice, or ``"lstm"``.
        epochs_per_child: The Trainer's epochs for each child.
        seed: Seed of the predictors, and of all training.
        options: More arguments of ``ChildSearchModule``.

    Example:
        >>> PnasModule("nasnet?blocks=2", beam=8, scale={"channels": 4, "cells_per_stage": 1}).strategy.beam
        8
    """

    strategy: ProgressiveStrategy

    def __init__(
        self,
        space: NasnetSpace | str = "nasnet",
        task: Task | None = None,
        *,
        beam: int = 256,
        predictor: Literal["mlp", "lstm"] = "mlp",
        epochs_per_child: int = 20,
        seed: int = 0,
        **options: Any,
    ) -> None:
        strategy = ProgressiveStrategy(space, beam, predictor, seed=seed)
        # not setdefault: a config gives None for what it leaves out
        options["optimizer"] = options.get("optimizer") or partial(SGD, lr=0.01, momentum=0.9, weight_decay=5e-4)
        super().__init__(strategy, task, epochs_per_child=epochs_per_child, seed=seed, **options)

    def on_train_epoch_end(self) -> None:
        """End the epoch, and log how well the predictor has ranked the children."""
        super().on_train_epoch_end()
        ahead = [correlation.ahead for correlation in self.strategy.correlations if correlation.ahead is not None]
        if ahead:
            self.log("search/rank_correlation", ahead[-1], sync_dist=True, batch_size=1)
