"""Regression on anything."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import l1_loss, mse_loss, smooth_l1_loss
from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric

from lightning_nas.checks import check_choice
from lightning_nas.tasks.base import Evaluation, Network, Task
from lightning_nas.tasks.supervised import check_tensor, predict

RegressionLoss = Literal["mse", "mae", "huber"]
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mse": mse_loss, "mae": l1_loss, "huber": smooth_l1_loss}


class Regression(Task):
    """Predictions and targets of one shape; the objective is ``val/rmse``, the root of the mean squared error.

    A batch is a tuple ``(inputs, ..., targets)``, or a dictionary in which everything but the targets is an input of
    the network by that name. A network that returns ``[N, 1]`` for targets ``[N]`` is understood.

    Args:
        loss: ``"mse"`` (squared error), ``"mae"`` (absolute error) or ``"huber"`` (squared below 1, absolute above).
        target: Name of the targets in a dictionary.

    Raises:
        ValueError: If the loss is unknown.
    """

    objective: tuple[str, Literal["min", "max"]] = ("val/rmse", "min")

    def __init__(self, loss: RegressionLoss = "mse", target: str = "target") -> None:
        check_choice("loss", loss, get_args(RegressionLoss))
        self.loss_name = loss
        self.target = target

    def evaluate(self, network: Network, batch: Any) -> Evaluation:
        """Return loss, predictions and targets."""
        output, targets = predict(network, batch, self.target)
        predictions = check_tensor(output, self)
        if predictions.shape == (*targets.shape, 1):
            predictions = predictions.squeeze(-1)
        if predictions.shape != targets.shape:  # the loss would silently compare everything with everything
            raise ValueError(
                f"Expected predictions of the targets' shape {tuple(targets.shape)} but got "
                f"{tuple(predictions.shape)}; let the network end in .squeeze(-1), or reshape the targets"
            )
        # what autocast returns has three digits: targets are not rounded to that
        predictions = predictions.to(torch.promote_types(predictions.dtype, torch.float32))
        targets = targets.to(predictions.dtype)
        loss = LOSSES[self.loss_name](predictions, targets)
        return Evaluation(loss, predictions.detach().contiguous(), targets.contiguous())  # the metrics view them flat

    def metrics(self) -> dict[str, Metric]:
        """Return root mean squared error and mean absolute error."""
        return {"rmse": MeanSquaredError(squared=False), "mae": MeanAbsoluteError()}
