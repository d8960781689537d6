"""Asks whether DARTS finds what is right by construction in a model of one's own.

    python benchmarks/planted_regression.py --json result.json

For each seed a regression is generated: the inputs are six groups of three numbers, and the target is a linear function
of one activation function of one group. The model chooses among six activations and, by an ``InputChoice``, among the
six groups: one of 36 architectures fits exactly. Random search draws as many architectures as it can train, for as many
epochs each, with the examples that the search has seen; it keeps the best on the held-out half. About seven seconds for
each seed on one core.
"""

import argparse
import json
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam
from torch.utils.data import TensorDataset

from lightning_nas import DartsModule, InputChoice, ModuleSpace, OpChoice, Regression, RetrainModule, SearchSplit
from lightning_nas._lightning import pl
from lightning_nas.commands.demo import quieten
from lightning_nas.seeding import make_generator

GROUPS, WIDTH, EXAMPLES, BATCH, EPOCHS = 6, 3, 1024, 32, 30


class Square(nn.Module):
    """The square of every number."""

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x ** 2``."""
        return x.square()


class Absolute(nn.Module):
    """The absolute value of every number."""

    def forward(self, x: Tensor) -> Tensor:
        """Return ``|x|``."""
        return x.abs()


class Sine(nn.Module):
    """A wave."""

    def forward(self, x: Tensor) -> Tensor:
        """Return ``sin(3 x)``."""
        return torch.sin(3 * x)


ACTIVATIONS: dict[str, type[nn.Module]] = {
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sine": Sine,
    "square": Square,
    "absolute": Absolute,
}


class Model(nn.Module):
    """A linear function of an activation function of a group of the inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.activation = OpChoice({name: make() for name, make in ACTIVATIONS.items()}, key="activation")
        self.group = InputChoice(GROUPS, key="group")
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return predictions ``[N, 1]`` for inputs ``[N, GROUPS * WIDTH]``."""
        groups = self.activation(x).view(-1, GROUPS, WIDTH).unbind(1)
        output: Tensor = self.head(self.group(groups))
        return output


SPACE = ModuleSpace(Model, example=(GROUPS * WIDTH,))


def generate(seed: int) -> tuple[TensorDataset, dict[str, Any]]:
    """Return a regression, and the values of the architecture that fits it exactly."""
    generator = make_generator("planted regression", seed)
    right = SPACE.sample(generator).values
    inputs = torch.randn(EXAMPLES, GROUPS * WIDTH, generator=generator)
    group = inputs.view(EXAMPLES, GROUPS, WIDTH)[:, int(right["group"])]
    targets = ACTIVATIONS[str(right["activation"])]()(group) @ torch.randn(WIDTH, generator=generator)
    return TensorDataset(inputs, (targets - targets.mean()) / targets.std()), dict(right)


def trainer() -> pl.Trainer:
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    options: dict[str, Any] = dict.fromkeys(quiet, False)
    return pl.Trainer(max_epochs=EPOCHS, accelerator="cpu", num_sanity_val_steps=0, **options)


def search(data: TensorDataset, seed: int) -> tuple[dict[str, Any], int]:
    """Return what DARTS finds, and how many examples it has seen."""
    module = DartsModule(
        SPACE,
        Regression(),
        order="first",
        warmup_epochs=3,
        weights_optimizer=partial(Adam, lr=0.02),
        alphas_optimizer=partial(Adam, lr=0.02, betas=(0.5, 0.999)),
        seed=seed,
    )
    split = SearchSplit(pl.LightningDataModule.from_datasets(data, batch_size=BATCH), seed=seed)
    trainer().fit(module, datamodule=split)
    return dict(module.derive().values), int(module.examples_seen)


def random_search(data: TensorDataset, seed: int, examples: int) -> dict[str, Any]:
    """Return the best of the random architectures that this many examples are enough to train."""
    weights, held_out = (TensorDataset(*part) for part in zip(*(t.chunk(2) for t in data.tensors), strict=True))
    generator, scores = make_generator("random search", seed), []
    for _ in range(round(examples / (EPOCHS * len(weights)))):
        architecture = SPACE.sample(generator)
        child = RetrainModule(SPACE, architecture, Regression(), optimizer=partial(Adam, lr=0.02), seed=seed)
        loaders = pl.LightningDataModule.from_datasets(weights, held_out, batch_size=BATCH)
        fit = trainer()
        fit.fit(child, datamodule=loaders)
        scores.append((float(fit.callback_metrics["val/rmse"]), dict(architecture.values)))
    return min(scores, key=lambda score: score[0])[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    quieten()
    warnings.filterwarnings("ignore", ".*pin_memory")  # Lightning's from_datasets pins without asking for a GPU
    result = {"found": 0, "random_found": 0, "seeds": arguments.seeds}
    print(f"{'seed':>4} {'right':>16} {'DARTS':>16} {'random':>16}")
    for seed in range(arguments.seeds):
        torch.manual_seed(seed)  # the order of the random architectures' batches
        data, right = generate(seed)
        found, examples = search(data, seed)
        drawn = random_search(data, seed, examples)
        result["found"] += found == right
        result["random_found"] += drawn == right
        columns = (f"{values['activation']}, {values['group']}" for values in (right, found, drawn))
        print(f"{seed:4} " + " ".join(f"{text:>16}" for text in columns), flush=True)
    print(f"found by DARTS {result['found']}, by random search {result['random_found']}, of {result['seeds']}")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
