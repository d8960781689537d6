"""A small project of a user's, to be searched."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD, Optimizer
from torch.utils.data import DataLoader, TensorDataset

from lightning_nas import DifferentiableSearch, OpChoice, RepeatChoice
from lightning_nas._lightning import pl
from lightning_nas.callbacks.architecture_stream import ArchitectureStream
from lightning_nas.seeding import fixed_seed

Hook = Callable[..., Any]
QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "devices": 1,
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
}
FILTERS = (
    "ignore:.*does not have many workers",
    "ignore:.*smaller than the logging interval",
    "ignore:.*have no `validation_step`",
    # Lightning's own fork of processes that hold threads, on Python 3.12 and later
    "ignore:.*multi-threaded, use of fork:DeprecationWarning",
)


def examples(seed: int, count: int = 16) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 3, generator=generator)
    return TensorDataset(x, torch.tanh(2 * x.sum(1, keepdim=True)))


def training(batch_size: int = 4, *, shuffle: bool = False) -> DataLoader[Any]:
    return DataLoader(examples(0), batch_size, shuffle=shuffle)


def architecture(batch_size: int = 4, *, shuffle: bool = False, count: int = 12) -> DataLoader[Any]:
    return DataLoader(examples(1, count), batch_size, shuffle=shuffle)


def architecture_batches(count: int, epoch: int = 0) -> list[list[Tensor]]:
    """The first batches of an epoch, as a search of seed 0 sees them."""
    stream = ArchitectureStream(architecture(), seed=0)
    return [stream.batch(epoch, number) for number in range(count)]


def validation() -> DataLoader[Any]:
    return DataLoader(examples(2), 16)


class Data(pl.LightningDataModule):
    def train_dataloader(self) -> Any:
        return training()

    def val_dataloader(self) -> Any:
        return validation()


class Project(pl.LightningModule):
    """Automatic optimisation, one choice of an activation and one of a depth, a dropout after them."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        with fixed_seed(0):
            self.first = nn.Linear(3, 4)
            candidates = {"tanh": nn.Tanh(), "relu": nn.ReLU(), "skip": nn.Identity()}
            self.activation = OpChoice(candidates, key="activation")
            self.blocks = RepeatChoice(lambda: nn.Linear(4, 4), (1, 2), key="depth")
            self.dropout = nn.Dropout(dropout)
            self.last = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.dropout(self.blocks(self.activation(self.first(x))))
        output: Tensor = self.last(hidden)
        return output

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = functional.mse_loss(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True, sync_dist=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", functional.mse_loss(self(batch[0]), batch[1]), sync_dist=True)

    def configure_optimizers(self) -> Any:
        return SGD(self.parameters(), lr=0.1, momentum=0.9)


def mse(module: pl.LightningModule, batch: Any) -> Tensor:
    return functional.mse_loss(module(batch[0]), batch[1])


def sgd(lr: float) -> Callable[[Iterable[nn.Parameter]], Optimizer]:
    return lambda parameters: SGD(parameters, lr=lr)


def equal_and_fixed(parameters: Iterable[nn.Parameter]) -> Optimizer:
    """Alphas of zero that stay: the module then computes what it computes without the callback."""
    tables = list(parameters)
    for table in tables:
        table.data.zero_()
    return SGD(tables, lr=0.0)


def searching(folder: Path, **options: Any) -> DifferentiableSearch:
    return DifferentiableSearch(options.pop("loader", architecture()), dirpath=folder, **options)


def fit(
    module: pl.LightningModule,
    callbacks: Iterable[pl.Callback],
    *,
    epochs: int = 2,
    train: DataLoader[Any] | None = None,
    datamodule: pl.LightningDataModule | None = None,
    ckpt_path: Path | None = None,
    **options: Any,
) -> pl.Trainer:
    trainer = pl.Trainer(max_epochs=epochs, callbacks=list(callbacks), **{**QUIET, **options})
    if datamodule is not None:
        trainer.fit(module, datamodule=datamodule, ckpt_path=ckpt_path)
    else:
        trainer.fit(module, training() if train is None else train, validation(), ckpt_path=ckpt_path)
    return trainer


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def alphas(search: DifferentiableSearch) -> dict[str, Tensor]:
    tables: dict[str, Tensor] = search.state_dict()["alphas"]
    return tables


def initial_alphas(folder: Path, **options: Any) -> dict[str, Tensor]:
    search = searching(folder, optimizer=sgd(0.0))
    fit(Project(), [search], epochs=1, limit_train_batches=1, **options)
    return alphas(search)
