"""``lightning-nas demo``: a whole search on small real images."""

import json
import logging
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from lightning_nas._lightning import package_name, pl
from lightning_nas.architecture import Architecture
from lightning_nas.callbacks import DeriveArchitecture
from lightning_nas.costs import count_multiply_adds, count_parameters
from lightning_nas.datamodules import DigitsDataModule
from lightning_nas.methods import DartsModule, RetrainModule
from lightning_nas.spaces import DartsSpace

SPACE = DartsSpace(nodes=3)
SIZE = {"channels": 8, "layers": 3, "in_channels": 1}
SEARCH_EPOCHS = 15
RETRAIN_EPOCHS = 15
RANDOM_ARCHITECTURES = 3


@dataclass(frozen=True)
class Result:
    """What retraining an architecture gave."""

    test_accuracy: float
    params: float
    macs: float


def mean(results: Sequence[Result]) -> Result:
    """Return the mean of every field."""
    count = len(results)
    return Result(
        sum(result.test_accuracy for result in results) / count,
        sum(result.params for result in results) / count,
        sum(result.macs for result in results) / count,
    )


def make_trainer(output_dir: Path, epochs: int, **options: Any) -> pl.Trainer:
    """Return a quiet Trainer with a progress bar."""
    return pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        default_root_dir=output_dir,
        enable_checkpointing=False,
        enable_model_summary=False,
        log_every_n_steps=10,
        **options,
    )


def search(output_dir: Path, seed: int) -> tuple[Architecture, dict[str, float]]:
    """Search on half of the training images each for weights and alphas; return what was found, and what it cost."""
    module = DartsModule(SPACE, scale=SIZE, order="first", seed=seed)
    logger = import_module(f"{package_name()}.loggers").CSVLogger(output_dir, name="", version="")
    callback = DeriveArchitecture(output_dir, scale=SIZE, input_shape=(1, 8, 8))
    trainer = make_trainer(output_dir, SEARCH_EPOCHS, logger=logger, callbacks=[callback])
    start = time.perf_counter()
    trainer.fit(module, datamodule=DigitsDataModule(search=True, batch_size=32, eval_batch_size=256, seed=seed))
    cost = {"seconds": time.perf_counter() - start, "examples_seen": float(module.examples_seen)}
    return module.derive(), cost


def retrain(architecture: Architecture, output_dir: Path, seed: int) -> Result:
    """Train the network of an architecture from scratch on all training images, and test it."""
    module = RetrainModule(SPACE, architecture, scale=SIZE, auxiliary=False, drop_path=0.0, seed=seed)
    trainer = make_trainer(output_dir, RETRAIN_EPOCHS, logger=False)
    data = DigitsDataModule(batch_size=32, eval_batch_size=256, val_fraction=0.0, seed=seed)
    trainer.fit(module, datamodule=data)
    accuracy = trainer.test(module, datamodule=data, verbose=False)[0]["test/accuracy"]
    macs = count_multiply_adds(module.network, torch.zeros(1, 1, 8, 8))
    return Result(accuracy, count_parameters(module.network), macs)


def table(derived: Result, random: Result, cost: dict[str, float]) -> str:
    """Return the results as text."""
    head = f"{'':24}{'test accuracy':>14}{'parameters':>12}{'multiply-adds':>15}{'search seconds':>16}{'examples seen':>15}"
    rows = [("found by DARTS", derived, f"{cost['seconds']:.0f}", f"{cost['examples_seen']:,.0f}")]
    rows += [(f"mean of {RANDOM_ARCHITECTURES} random ones", random, "-", "-")]
    lines = [
        f"{name:24}{result.test_accuracy:>14.2%}{result.params:>12,.0f}{result.macs:>15,.0f}{seconds:>16}{examples:>15}"
        for name, result, seconds, examples in rows
    ]
    return "\n".join([head, *lines])


def run_demo(output_dir: Path, seed: int) -> None:
    """Search, derive, retrain, compare with random architectures, and write the results.

    Args:
        output_dir: Gets architecture.json, cells.png, cells.svg, history.json, metrics.csv and results.json.
        seed: Seed of everything random.
    """
    warnings.filterwarnings("ignore", ".*does not have many workers")  # the images are in memory already
    logging.getLogger(pl.__name__).setLevel(logging.WARNING)
    output_dir.mkdir(parents=True, exist_ok=True)
    print(f"Searching a cell for {SEARCH_EPOCHS} epochs on handwritten digits (1,797 real 8x8 images) ...")
    architecture, cost = search(output_dir, seed)
    print(f"Training the network of the found cell from scratch for {RETRAIN_EPOCHS} epochs ...")
    derived = retrain(architecture, output_dir, seed)
    generator = torch.Generator().manual_seed(seed)
    results = []
    for number in range(RANDOM_ARCHITECTURES):
        print(f"Training random network {number + 1} of {RANDOM_ARCHITECTURES} in the same way ...")
        results.append(retrain(SPACE.sample(generator), output_dir, seed))
    random = mean(results)
    content = {"derived": vars(derived), "random_mean": vars(random), "search": cost}
    (output_dir / "results.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print("\n" + table(derived, random, cost))
    print(f"\nIn {output_dir}: architecture.json, cells.png (the found cells), metrics.csv (the search), results.json")
