"""Compares the hulls of Petridish, of random growth and of seeds alone, at an equal budget of training examples.

    python benchmarks/petridish_hull.py --images cifar10 --json hull.json --plot hull.png
    python benchmarks/petridish_hull.py --images cifar10 --json macro.json --mode macro

The search is configs/petridish_<mode>_cifar10_small.yaml. Random growth trains the same jobs, but takes its parents and
what they grow by at random. Seeds alone share the whole budget. The JSON file holds the hypervolumes, one per seed of the
random numbers, of multiply-adds and validation error, as shares of the largest model of all runs and of chance; and every
model's multiply-adds and error. Half an hour for three seeds, on two cores.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lightning_nas.commands.lightning import from_config
from lightning_nas.hull import Point, lower_hull
from lightning_nas.pareto import hypervolume

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CONFIGS = Path(__file__).parent.parent / "configs"
CHANCE = 0.9  # the error of guessing
ARMS = ("petridish", "random_growth", "seeds_only")

COLORS = {"petridish": "#0072b2", "random_growth": "#d55e00", "seeds_only": "#009e73"}
Runs = Mapping[str, Sequence[Sequence[Point]]]  # multiply-adds and error of each model, per arm and seed


def options_of(arm: str, search: Mapping[str, Any]) -> dict[str, object]:
    """Return how an arm differs from a search with these arguments."""
    if arm == "random_growth":
        return {"model.choice": "random", "model.selection": "random", "model.eps": ".inf"}
    if arm == "seeds_only":
        seeds = len(search["seeds"])
        growths = (search["max_jobs"] - seeds) // 2
        epochs = seeds * search["seed_epochs"] + growths * (search["hallucination_epochs"] + search["child_epochs"])
        return {"model.max_jobs": seeds, "model.seed_epochs": epochs // seeds}
    return {}


def run(run: tuple[str, int], config: Path, images: Path, output_dir: Path) -> dict[str, Any]:
    """Search by one arm with one seed; return multiply-adds and error of every model, and what it has cost."""
    torch.set_num_threads(1)
    arm, seed = run
    options: dict[str, object] = {"data.root": images, "data.seed": seed, "model.seed": seed}
    logs = {"trainer.logger.save_dir": output_dir, "trainer.logger.name": arm, "trainer.logger.version": f"seed{seed}"}
    search = from_config(config).model.hparams
    cli = from_config(config, options | logs | options_of(arm, search))
    cli.trainer.fit(cli.model, datamodule=cli.datamodule)
    models = [(model.metrics["macs"], 1 - model.metrics["val/accuracy"]) for model in cli.model.candidates().values()]
    _, seconds, _ = cli.model.cost_and_best()
    return {"models": models, "examples": int(cli.model.examples_seen), "seconds": seconds}


def hypervolumes(runs: Runs) -> dict[str, list[float]]:
    """Return a hypervolume per arm and seed, of shares of the most multiply-adds of all and of chance."""
    most = max(macs for points in runs.values() for models in points for macs, _ in models)
    reference = (1.0 + 1e-9, 1.0)  # the largest model counts
    return {
        arm: [hypervolume([(macs / most, error / CHANCE) for macs, error in models], reference) for models in points]
        for arm, points in runs.items()
    }


def plot(runs: Runs, seeds: Sequence[int]) -> "Figure":
    """Draw all models and the hulls, a picture per seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6 * len(seeds), 3.8), dpi=150, layout="constrained")
    pictures = figure.subplots(1, len(seeds), sharex=True, sharey=True, squeeze=False)[0]
    for column, (axes, seed) in enumerate(zip(pictures, seeds, strict=True)):
        for arm, points in runs.items():
            models = [(macs / 1e6, error * 100) for macs, error in points[column]]
            hull = lower_hull(models)
            axes.scatter(*zip(*models, strict=True), s=12, color=COLORS[arm], alpha=0.4, linewidths=0)
            axes.plot(
                *zip(*hull, strict=True), color=COLORS[arm], marker="o", markersize=4, label=arm.replace("_", " ")
            )
        axes.set_title(f"seed {seed}", fontsize=10)
        axes.set_xlabel("multiply-adds (millions)")
        axes.grid(visible=True, color="#e4e7eb", linewidth=0.6)
    pictures[0].set_ylabel("validation error (%)")
    pictures[0].legend(frameon=False, fontsize=9)
    return figure


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder with train/<class>/*")
    parser.add_argument("--json", type=Path, help="where to write the hypervolumes and all models")
    parser.add_argument("--plot", type=Path, help="where to write a picture of the hulls")
    parser.add_argument("--mode", choices=("cell", "macro"), default="cell")
    parser.add_argument("--config", type=Path, help="by default configs/petridish_<mode>_cifar10_small.yaml")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", choices=ARMS, nargs="+", default=ARMS)
    parser.add_argument("--processes", type=int, default=2, help="runs at a time, each on one core")
    parser.add_argument("--output-dir", type=Path, default=Path("runs/petridish_hull"))
    arguments = parser.parse_args()
    config = arguments.config or CONFIGS / f"petridish_{arguments.mode}_cifar10_small.yaml"
    search = partial(
        run, config=config, images=arguments.images.absolute(), output_dir=arguments.output_dir / arguments.mode
    )
    tasks = list(product(arguments.arms, arguments.seeds))
    with ProcessPoolExecutor(arguments.processes, get_context("spawn")) as pool:
        done = dict(zip(tasks, pool.map(search, tasks), strict=True))
    runs = {arm: [done[arm, seed]["models"] for seed in arguments.seeds] for arm in arguments.arms}
    volumes = hypervolumes(runs)
    for arm, values in volumes.items():
        numbers = [done[arm, seed] for seed in arguments.seeds]
        print(
            f"{arm:14} hypervolumes {' '.join(f'{value:.4f}' for value in values)}, mean {statistics.mean(values):.4f}; "
            f"examples {[number['examples'] for number in numbers]}, seconds {[round(n['seconds']) for n in numbers]}"
        )
    if arguments.json:
        details = {
            "mode": arguments.mode,
            "seeds": arguments.seeds,
            "runs": {arm: [done[arm, seed] for seed in arguments.seeds] for arm in arguments.arms},
        }
        arguments.json.write_text(json.dumps({**volumes, **details}, indent=1) + "\n", encoding="utf-8")
    if arguments.plot:
        plot(runs, arguments.seeds).savefig(arguments.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
