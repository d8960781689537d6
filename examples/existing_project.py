"""Searches in a Lightning project that is already there, by a callback: ``python examples/existing_project.py``."""

from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits  # type: ignore[import-untyped]  # scikit-learn ships no types
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset, random_split

from lightning_nas import OpChoice, apply_architecture
from lightning_nas.callbacks import DifferentiableSearch


class LitDigits(pl.LightningModule):
    """An ordinary LightningModule; all that is new in it are the choices among its layers."""

    def __init__(self) -> None:
        super().__init__()
        kernels = {f"conv{size}": nn.Conv2d(1, 32, size, padding=size // 2) for size in (1, 3, 5)}
        activations = {"relu": nn.ReLU(), "tanh": nn.Tanh(), "none": nn.Identity()}
        layers = OpChoice(kernels, key="kernel"), nn.BatchNorm2d(32), OpChoice(activations, key="activation")
        self.network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * 32, 10))

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Return the loss of a batch; the callback takes it for the architecture as well."""
        images, labels = batch
        return cross_entropy(self.network(images), labels)

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Log the accuracy."""
        self.log("val_accuracy", (self.network(batch[0]).argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self) -> Any:
        """Return an optimiser and a schedule of the project's own."""
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.01)
        return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)]


def main(epochs: int = 10, out: str = "runs") -> float:
    """Search, train what was found from scratch, without the callback, and return its accuracy in validation."""
    images, labels = load_digits(return_X_y=True)
    digits = TensorDataset(torch.tensor(images / 16).float().view(-1, 1, 8, 8), torch.tensor(labels))
    parts = random_split(digits, [0.4, 0.4, 0.2], torch.Generator().manual_seed(0))
    train, architecture, val = (DataLoader(part, batch_size=32, shuffle=True) for part in parts)
    trainer = partial(pl.Trainer, max_epochs=epochs, logger=False, enable_checkpointing=False)
    alphas = partial(torch.optim.Adam, lr=0.05)
    search = DifferentiableSearch(architecture, dirpath=out, warmup_epochs=epochs // 3, optimizer=alphas)
    trainer(callbacks=[search]).fit(LitDigits(), train, val)
    apply_architecture(found := LitDigits(), f"{out}/architecture.json")
    (final := trainer()).fit(found, train, val)
    return float(final.callback_metrics["val_accuracy"])


if __name__ == "__main__":
    torch.set_num_threads(1)  # networks this small lose more to waiting threads than they gain
    print(f"validation accuracy of what was found: {main():.1%}")
