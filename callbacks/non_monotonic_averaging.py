"""Averaged SGD that begins when validation stops to improve (Merity, Keskar, Socher 2017, arXiv 1708.02182)."""

from typing import Any

from torch import Tensor

from lightning_nas._lightning import MisconfigurationException, pl
from lightning_nas.checks import check_at_least


class NonMonotonicAveraging(pl.callbacks.WeightAveraging):
    """NT-ASGD: plain SGD until the validation loss stops to improve, and from then on the mean of all weights since.

    The mean is what is validated, what is in checkpoints under ``"state_dict"``, and what the module holds after the
    training; SGD goes on from its own weights. With the module's own optimiser plain SGD this is torch's ``ASGD`` with
    ``t0=0`` and ``lambd=0``, entered at that moment.

    Args:
        patience: Averaging begins after a validation that is worse than the best of all but so many last ones.
        monitor: The loss, less is better.

    Raises:
        ValueError: If ``patience`` is below 1.
    """

    def __init__(self, patience: int = 5, monitor: str = "val/loss") -> None:
        check_at_least("patience", patience, 1)
        super().__init__(avg_fn=self._average)
        self.patience = patience
        self.monitor = monitor
        self.losses: list[float] = []
        self.began: int | None = None  # number of steps before the first that counts
        self._steps = 0

    def is_time(self, loss: float) -> bool:
        """Return whether averaging is to begin, after a loss that is not among ``losses`` yet."""
        return len(self.losses) > self.patience and loss > min(self.losses[: -self.patience])

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to average, if it is time."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        if self.monitor not in trainer.callback_metrics:
            raise MisconfigurationException(
                f"Expected {self.monitor!r} among the metrics but got {sorted(trainer.callback_metrics)}; give "
                "NonMonotonicAveraging(monitor=...)"
            )
        loss = float(trainer.callback_metrics[self.monitor])
        if self.began is None and self.is_time(loss):
            self.began = trainer.global_step
        self.losses.append(loss)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take in the weights after a step."""
        self._steps = trainer.global_step
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def _average(self, mean: Tensor, current: Tensor, number: Tensor | int) -> Tensor:
        count = 1 if self.began is None else self._steps - self.began - 1  # torch's ASGD leaves the first step out
        return mean + (current - mean) / count if count > 1 else current.clone()

    def state_dict(self) -> dict[str, Any]:
        """Return the losses so far, and when averaging began."""
        return {**super().state_dict(), "losses": list(self.losses), "began": self.began}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state."""
        super().load_state_dict(state_dict)
        self.losses, self.began = list(state_dict["losses"]), state_dict["began"]
