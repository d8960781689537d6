"""``lightning-nas demo``: a whole search on small real images."""

import json
import logging
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch.optim import Adam

from lightning_nas._lightning import package_name, pl
from lightning_nas.architecture import Architecture
from lightning_nas.callbacks import DeriveArchitecture
from lightning_nas.costs import count_multiply_adds, count_parameters
from lightning_nas.datamodules import DigitsDataModule
from lightning_nas.methods import DartsModule, RetrainModule
from lightning_nas.objective import Objective
from lightning_nas.pareto import non_dominated
from lightning_nas.plotting import FrontPoints, plot_fronts, save_figure
from lightning_nas.spaces import DartsSpace

SPACE = DartsSpace(nodes=2)
SIZE = {"channels": 4, "layers": 3, "in_channels": 1}
SEARCH_EPOCHS = 10
WARMUP_EPOCHS = 4  # alphas that move before the weights have learned anything prefer what has no weights
RETRAIN_EPOCHS = 6
REPEATS = 3


@dataclass(frozen=True)
class Result:
    """What retraining gave: a share of the test images, and the size of the network."""

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
    # The paper takes a hundred times as many steps; fewer steps have to be longer.
    alphas_optimizer = partial(Adam, lr=0.03, betas=(0.5, 0.999), weight_decay=1e-3)
    options: dict[str, Any] = {"order": "first", "warmup_epochs": WARMUP_EPOCHS, "alphas_optimizer": alphas_optimizer}
    module = DartsModule(SPACE, scale=SIZE, seed=seed, **options)
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
    trainer = make_trainer(output_dir, RETRAIN_EPOCHS, logger=False, limit_val_batches=0)
    data = DigitsDataModule(batch_size=32, eval_batch_size=256, val_fraction=0.0, seed=seed)
    trainer.fit(module, datamodule=data)
    accuracy = trainer.test(module, datamodule=data, verbose=False)[0]["test/accuracy"]
    macs = count_multiply_adds(module.network, torch.zeros(1, 1, 8, 8))
    return Result(accuracy, count_parameters(module.network), macs)


def retrain_all(what: str, architectures: Sequence[Architecture], output_dir: Path, seed: int) -> list[Result]:
    """Retrain each of several architectures with a seed of its own."""
    results = []
    for number, architecture in enumerate(architectures):
        print(f"Training {what} from scratch for {RETRAIN_EPOCHS} epochs ({number + 1} of {REPEATS}) ...")
        results.append(retrain(architecture, output_dir, seed + number))
    return results


def draw(found: Sequence[Result], random: Sequence[Result], path: Path) -> None:
    """Draw the test errors of the trained networks over their sizes, and the fronts of both kinds."""
    fronts = []
    for name, results in {"found by DARTS": found, "random": random}.items():
        points = [(1 - result.test_accuracy, result.params) for result in results]
        fronts.append(FrontPoints(name, points, non_dominated(points).tolist()))
    save_figure(plot_fronts(fronts, [Objective("test/error"), Objective("params")]), path)


def quieten() -> None:
    """Keep the screen for progress bars and our own words."""
    warnings.filterwarnings("ignore", ".*does not have many workers")  # the images are in memory already
    warnings.filterwarnings("ignore", ".*LeafSpec")  # Lightning 2.6.6 uses what torch 2.14 deprecates
    logging.getLogger(pl.__name__).setLevel(logging.WARNING)
    torch.set_num_threads(1)  # the networks are tiny: more threads wait for each other


def table(derived: Result, random: Result, cost: dict[str, float]) -> str:
    """Return the results as text."""
    titles = ("test accuracy", "parameters", "multiply-adds", "search seconds", "examples seen")
    head = " " * 24 + "".join(f"{title:>16}" for title in titles)
    rows = [("found by DARTS", derived, f"{cost['seconds']:.0f}", f"{cost['examples_seen']:,.0f}")]
    rows += [(f"{REPEATS} random ones, mean", random, "-", "-")]
    lines = [
        f"{name:24}{result.test_accuracy:>16.2%}{result.params:>16,.0f}{result.macs:>16,.0f}{seconds:>16}{examples:>16}"
        for name, result, seconds, examples in rows
    ]
    return "\n".join([head, *lines])


def run_demo(output_dir: Path, seed: int) -> None:
    """Search, derive, retrain, compare with random architectures, and write the results.

    Args:
        output_dir: Gets architecture.json, cells.png, cells.svg, history.json, metrics.csv, pareto.png, results.json.
        seed: Seed of everything random.
    """
    quieten()
    output_dir.mkdir(parents=True, exist_ok=True)
    print(f"Searching a cell for {SEARCH_EPOCHS} epochs on handwritten digits (1,797 real 8x8 images) ...")
    architecture, cost = search(output_dir, seed)
    found = retrain_all("the found network", [architecture] * REPEATS, output_dir, seed)
    generator = torch.Generator().manual_seed(seed)
    random = retrain_all("a random network", [SPACE.sample(generator) for _ in range(REPEATS)], output_dir, seed)
    draw(found, random, output_dir / "pareto.png")
    content = {"derived": vars(mean(found)), "random_mean": vars(mean(random)), "search": cost}
    (output_dir / "results.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print("\n" + table(mean(found), mean(random), cost))
    print(
        f"\nIn {output_dir}: architecture.json, cells.png (the found cells), pareto.png (errors over sizes), "
        "metrics.csv (the search), results.json"
    )
