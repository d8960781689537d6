"""Searches depth, widths and activation of a network for a table: ``python examples/tabular_regression.py``."""

from functools import partial

import torch
from pytorch_lightning import LightningDataModule, Trainer
from sklearn.datasets import load_diabetes  # type: ignore[import-untyped]  # scikit-learn ships no types
from torch import nn
from torch.optim import AdamW
from torch.utils.data import TensorDataset

import lightning_nas as nas


def activation() -> nn.Module:
    """Make a choice of activation: the same everywhere, because all choices of one ``key`` decide alike."""
    return nas.OpChoice({"relu": nn.ReLU(), "gelu": nn.GELU(), "tanh": nn.Tanh()}, key="activation")


def layer(width: int) -> nn.Module:
    """Make a choice: how many hidden units there are, for each layer on its own."""
    hidden = {n: (nn.Linear(width, n), activation(), nn.Dropout(0.2), nn.Linear(n, width)) for n in (8, 32, 128)}
    return nas.OpChoice({f"hidden{n}": nn.Sequential(*modules) for n, modules in hidden.items()})


class MLP(nn.Sequential):
    """A network of none to three such layers between an input and an output layer."""

    def __init__(self, inputs: int = 10, width: int = 16) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(inputs, width), activation())
        self.layers = nas.RepeatChoice(partial(layer, width), depths=(0, 1, 2, 3))
        self.last = nn.Linear(width, 1)


def main(epochs: int = 30, out: str = "runs") -> tuple[float, float]:
    """Search, train and test; return the error (RMSE) of what was found, and that of always predicting the mean."""
    x, y = (torch.tensor(part, dtype=torch.float32) for part in load_diabetes(return_X_y=True, scaled=False))
    train, test = torch.randperm(len(x), generator=torch.Generator().manual_seed(0)).tensor_split([342])
    x, y = ((table - table[train].mean(0)) / table[train].std(0) for table in (x, y))
    training, testing = (TensorDataset(x[part], y[part]) for part in (train, test))
    data = LightningDataModule.from_datasets(training, test_dataset=testing, batch_size=32)
    space, task = nas.ModuleSpace(MLP), nas.Regression()
    adam, alphas = partial(AdamW, lr=0.003, weight_decay=0.1), partial(AdamW, lr=0.02)
    trainer = partial(Trainer, max_epochs=epochs, logger=False, enable_checkpointing=False)
    search = nas.DartsModule(space, task, order="first", weights_optimizer=adam, alphas_optimizer=alphas)
    trainer(callbacks=[nas.DeriveArchitecture(out)]).fit(search, datamodule=nas.SearchSplit(data))
    found = nas.RetrainModule(space, search.derive(), task, optimizer=adam)
    trainer().fit(found, datamodule=data)
    return trainer().test(found, datamodule=data)[0]["test/rmse"], float(y[test].square().mean().sqrt())


if __name__ == "__main__":
    torch.set_num_threads(1)  # networks this small lose more to waiting threads than they gain
    print("RMSE on the test set, in deviations: {:.2f}; of the mean: {:.2f}".format(*main()))
