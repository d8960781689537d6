"""How well shared weights rank architectures."""

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import nn
from torchmetrics import Metric
from torchmetrics.functional.regression import kendall_rank_corrcoef

from lightning_nas._lightning import pl
from lightning_nas.architecture import Architecture
from lightning_nas.methods.base import SearchModule
from lightning_nas.methods.batch_norm import batch_norms, batch_statistics


class SharedWeightRanking(pl.LightningModule):
    """Scores architectures with the shared weights of a search: ``Trainer(...).validate(ranking, datamodule)``.

    Each architecture gets the task's objective metric over all validation batches, evaluated with the statistics of the
    batch. Nothing is trained.

    Args:
        search: A search whose ``supernet`` has been trained.
        architectures: What to score.

    Raises:
        TypeError: If the search has no supernet.
    """

    def __init__(self, search: SearchModule, architectures: Sequence[Architecture]) -> None:
        super().__init__()
        if not isinstance(getattr(search, "supernet", None), nn.Module):
            raise TypeError(f"Expected a `search` with shared weights, a `supernet`, but got {type(search).__name__}")
        self.search = search
        self.architectures = tuple(architectures)
        self.scores: list[float] = []
        name = search.task.objective[0].removeprefix("val/")
        self._metrics = nn.ModuleList(search.task.metrics()[name] for _ in self.architectures)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Evaluate all architectures on a batch."""
        supernet = cast("nn.Module", self.search.supernet)
        with batch_statistics(supernet, batch_norms(supernet)):
            for architecture, metric in zip(self.architectures, self._metrics, strict=True):
                mixtures = self.search.mixtures_of(architecture)
                evaluation = self.search.task.evaluate(partial(supernet, mixtures=mixtures), batch)
                cast("Metric", metric).update(evaluation.predictions, evaluation.targets)

    def on_validation_epoch_end(self) -> None:
        """Keep the scores, those of all processes taken together."""
        metrics = [cast("Metric", metric) for metric in self._metrics]
        self.scores = [float(metric.compute()) for metric in metrics]
        for metric in metrics:
            metric.reset()


def kendall_tau(scores: Sequence[float], truths: Sequence[float]) -> float:
    """Return Kendall's rank correlation (tau-b): 1 for the same order, -1 for the reverse, 0 for none.

    Args:
        scores: What shared weights say of some architectures.
        truths: What training each on its own gives.

    Raises:
        ValueError: If the lists have different lengths, or fewer than two entries.

    Example:
        >>> kendall_tau([0.1, 0.2, 0.3], [60.0, 80.0, 70.0])
        0.3333333432674408
    """
    if len(scores) != len(truths) or len(scores) < 2:
        raise ValueError(f"Expected two or more `scores` and as many `truths` but got {len(scores)} and {len(truths)}")
    return float(torch.as_tensor(kendall_rank_corrcoef(torch.tensor(scores), torch.tensor(truths))))
