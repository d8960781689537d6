"""Searches your own CNN on your own pictures: ``python examples/own_cnn.py FOLDER [MULTIPLY_ADDS]``.

FOLDER holds ``train/<class>/*.png`` (or .jpg) and ``test/<class>/*.png``. Kernel sizes and depths are searched.
"""

import sys
from functools import partial
from typing import Any

import torch
from pytorch_lightning import Trainer
from torch import nn
from torch.optim import Adam

import lightning_nas as nas


def convolution(channels: int, kernel_size: int) -> nn.Module:
    """Make a convolution; nothing in it knows of the search."""
    layer = nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(channels), nn.ReLU())


def block(channels: int) -> nn.Module:
    """Make a choice: which kernel size, or no convolution at all."""
    return nas.OpChoice({"conv3": convolution(channels, 3), "conv5": convolution(channels, 5), "skip": nn.Identity()})


class OwnCNN(nn.Sequential):
    """Two stages of one to three blocks; the resolution is halved between them."""

    def __init__(self, classes: int = 10, channels: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.stage1 = nas.RepeatChoice(partial(block, channels), depths=(1, 2, 3))
        self.down = nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1)
        self.stage2 = nas.RepeatChoice(partial(block, 2 * channels), depths=(1, 2, 3))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * channels, classes))


def main(folder: str, macs: float = 5e6, *, size: int = 32, epochs: int = 6, out: str = "runs", **data: Any) -> float:
    """Search, train what was found from scratch, and return its accuracy on the test pictures."""
    pictures = partial(nas.ImageFolderDataModule, folder, size, **data)
    split = pictures(search=True)  # one half of the pictures for the weights, the other for the architecture
    split.setup("fit")
    space = nas.ModuleSpace(partial(OwnCNN, split.classes), example=(3, size, size))
    task, budget = nas.ImageClassification(split.classes), nas.CostBudget("macs", target=macs)
    adam: dict[str, Any] = {"weights_optimizer": partial(Adam, lr=0.005), "alphas_optimizer": partial(Adam, lr=0.02)}
    trainer = partial(Trainer, max_epochs=epochs, logger=False, enable_checkpointing=False)
    search = nas.DartsModule(space, task, order="first", budget=budget, **adam)
    trainer(callbacks=[nas.DeriveArchitecture(out)]).fit(search, datamodule=split)
    found = nas.RetrainModule(space, f"{out}/architecture.json", task, optimizer=adam["weights_optimizer"])
    trainer().fit(found, datamodule=pictures())
    return trainer().test(found, datamodule=pictures())[0]["test/accuracy"]


if __name__ == "__main__":
    torch.set_num_threads(1)  # networks this small lose more to waiting threads than they gain
    print(f"accuracy on the test pictures: {main(sys.argv[1], *map(float, sys.argv[2:])):.1%}")
