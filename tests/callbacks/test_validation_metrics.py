import math

import torch

from lightning_nas.callbacks.validation_metrics import validation_metrics


def test_only_finite_metrics_of_validation() -> None:
    metrics = {
        "val/loss": torch.tensor(1.5),
        "val_accuracy": 0.5,
        "val_diverged": math.nan,
        "val/infinite": torch.tensor(math.inf),
        "value_loss": 2.0,
        "valid": 3.0,
        "train/val_loss": 4.0,
    }
    assert validation_metrics(metrics) == {"val/loss": 1.5, "val_accuracy": 0.5}
