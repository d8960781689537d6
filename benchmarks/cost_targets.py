"""Searches one's own CNN under falling limits of multiply-adds, and trains what is found.

    python benchmarks/cost_targets.py --images DIR --json result.json

DIR holds ``train/<class>`` and ``test/<class>`` folders of pictures, CIFAR-10's say. In every stage the network chooses
how many residual blocks there are, and in every block among convolutions. About three minutes for each target.
"""

import argparse
import json
import statistics
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam

from lightning_nas import (
    Architecture,
    CostBudget,
    DartsModule,
    ImageClassification,
    ImageFolderDataModule,
    ModuleSpace,
    OpChoice,
    RepeatChoice,
    RetrainModule,
    count_multiply_adds,
)
from lightning_nas._lightning import pl
from lightning_nas.commands.demo import quieten

PIXELS, CLASSES = 16, 10


def normed(*layers: nn.Module, width: int) -> nn.Module:
    return nn.Sequential(*layers, nn.BatchNorm2d(width), nn.ReLU())


class Block(nn.Module):
    """A residual block with a convolution to be chosen."""

    def __init__(self, width: int) -> None:
        super().__init__()
        depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.operation = OpChoice(
            {
                "conv3": normed(nn.Conv2d(width, width, 3, padding=1, bias=False), width=width),
                "conv5": normed(nn.Conv2d(width, width, 5, padding=2, bias=False), width=width),
                "sep3": normed(depthwise, nn.Conv2d(width, width, 1, bias=False), width=width),
                "conv1": normed(nn.Conv2d(width, width, 1, bias=False), width=width),
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return what the operation adds to its input."""
        output: Tensor = x + self.operation(x)
        return output


def network() -> nn.Module:
    """Return a network of three stages."""
    layers: list[nn.Module] = [normed(nn.Conv2d(3, 16, 3, padding=1, bias=False), width=16)]
    for stage, width in enumerate((16, 32, 64)):
        if stage:
            layers.append(normed(nn.Conv2d(width // 2, width, 3, 2, padding=1, bias=False), width=width))
        layers.append(RepeatChoice(partial(Block, width), depths=(0, 1, 2, 3), key=f"stage{stage}"))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, CLASSES))


SPACE = ModuleSpace(network, name="small_cnn", example=(3, PIXELS, PIXELS))


def trainer(epochs: int) -> pl.Trainer:
    quiet: dict[str, Any] = dict.fromkeys(("logger", "enable_checkpointing", "enable_model_summary"), False)
    return pl.Trainer(max_epochs=epochs, accelerator="cpu", limit_val_batches=0, enable_progress_bar=False, **quiet)


def search(images: Path, target: float | None, seed: int) -> Architecture:
    data = ImageFolderDataModule(images, search=True, image_size=PIXELS, max_train_images=6000, seed=seed)
    budget = None if target is None else CostBudget("macs", target=target)
    module = DartsModule(
        SPACE,
        ImageClassification(CLASSES),
        order="first",
        warmup_epochs=2,
        budget=budget,
        alphas_optimizer=partial(Adam, lr=0.02, betas=(0.5, 0.999)),
        seed=seed,
    )
    trainer(8).fit(module, datamodule=data)
    return module.derive()


def train(images: Path, architecture: Architecture, seed: int) -> float:
    data = ImageFolderDataModule(images, image_size=PIXELS, max_train_images=10000, val_fraction=0.0, seed=seed)
    module = RetrainModule(
        SPACE,
        architecture,
        ImageClassification(CLASSES),
        optimizer=partial(SGD, lr=0.05, momentum=0.9, weight_decay=3e-4),
        seed=seed,
    )
    fit = trainer(10)
    fit.fit(module, datamodule=data)
    return float(fit.test(module, datamodule=data, verbose=False)[0]["test/accuracy"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--targets", type=float, nargs="*", default=[6e6, 3e6, 1.5e6, 0.9e6])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    quieten()
    rows = []
    print(f"{'target':>12} {'multiply-adds':>16} {'of target':>10} {'accuracy':>10}")
    for target in (None, *arguments.targets):
        for seed in range(arguments.seeds):
            architecture = search(arguments.images, target, seed)
            macs = count_multiply_adds(SPACE.build(architecture), torch.zeros(1, 3, PIXELS, PIXELS))
            accuracy = train(arguments.images, architecture, seed)
            rows.append({"target": target, "seed": seed, "macs": macs, "accuracy": accuracy})
            share = "" if target is None else f"{macs / target:.1%}"
            limit = "none" if target is None else f"{target:,.0f}"
            print(f"{limit:>12} {macs:16,} {share:>10} {accuracy:10.2%}  {dict(architecture.values)}", flush=True)
    for target in (None, *arguments.targets):
        mean = statistics.mean(row["accuracy"] for row in rows if row["target"] == target)
        print(f"target {target}: mean accuracy {mean:.2%}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
