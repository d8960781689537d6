"""Compares the hull of Petridish with that of its seed, with random growth, and with its seed trained for longer.

    python benchmarks/petridish_hull.py --images cifar10 --json hull.json --plot hull.png
    python benchmarks/petridish_hull.py --images cifar10 --json macro.json --mode macro

The search is configs/petridish_<mode>_cifar10_small.yaml. "seeds_only" is the seed that it begins with. Two arms have
its budget of training examples: "random_growth" trains jobs of the same kinds and lengths, but takes its parents, and
what they grow by, at random; "seed_longer" is the seed, trained alone with all of it. The JSON file has every model and
a hypervolume per seed of the random numbers: of multiply-adds, up to 1.1 times those of the largest model, and of
validation errors, up to that of guessing; "test" has those of the models near the hull on test images, by which none
was chosen. Half an hour for three seeds, on two cores.
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

from lightning_nas._lightning import pl
from lightning_nas.architecture import Architecture
from lightning_nas.commands.lightning import from_config
from lightning_nas.hull import Point, lower_hull
from lightning_nas.methods import RetrainModule
from lightning_nas.pareto import hypervolume

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CONFIGS = Path(__file__).parent.parent / "configs"
CHANCE = 0.9  # the error of guessing
REFERENCE = (1.1, 1.0)  # shares of the largest model and of chance
ARMS = ("petridish", "random_growth", "seed_longer")

COLORS = {"petridish": "#0072b2", "random_growth": "#d55e00", "seed_longer": "#009e73"}
Runs = Mapping[str, Sequence[Sequence[Point]]]  # multiply-adds and error of each model, per arm and seed


def options_of(arm: str, search: Mapping[str, Any]) -> dict[str, object]:
    """Return how an arm differs from a search with these arguments."""
    if arm == "random_growth":
        return {"model.choice": "random", "model.selection": "random", "model.eps": ".inf"}
    if arm == "seed_longer":
        growths = (search["max_jobs"] - 1) // 2
        epochs = growths * (search["hallucination_epochs"] + search["child_epochs"])
        return {"model.max_jobs": 1, "model.seed_epochs": search["seed_epochs"] + epochs}
    return {}


def run(task: tuple[str, int], config: Path, images: Path, output_dir: Path) -> dict[str, Any]:
    """Search by one arm with one seed; return multiply-adds and error of every model, and what it has cost."""
    torch.set_num_threads(1)
    arm, seed = task
    options: dict[str, object] = {"data.root": images, "data.seed": seed, "model.seed": seed}
    logs = {"trainer.logger.save_dir": output_dir, "trainer.logger.name": arm, "trainer.logger.version": f"seed{seed}"}
    arguments = from_config(config).model.hparams
    cli = from_config(config, options | logs | options_of(arm, arguments))
    cli.trainer.fit(cli.model, datamodule=cli.datamodule)
    models = cli.model.candidates().items()
    points = {name: (model.metrics["macs"], 1 - model.metrics["val/accuracy"]) for name, model in models}
    _, seconds, _ = cli.model.cost_and_best()
    weights = output_dir / arm / f"seed{seed}" / "weights"
    tested = {
        name: (model.metrics["macs"], test_error(cli, model, weights / f"{name.split()[1]}.pt"))
        for name, model in cli.model.hull().items()
    }
    return {"models": points, "test": tested, "examples": int(cli.model.examples_seen), "seconds": round(seconds)}


def test_error(cli: Any, model: Architecture, weights: Path) -> float:
    """Return the share of the test images that a model, with the weights of its search, takes for something else."""
    module = RetrainModule(cli.model.space, model, scale=cli.model.scale, auxiliary=False)
    module.network.load_state_dict(torch.load(weights, weights_only=True))
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    return 1 - float(trainer.test(module, datamodule=cli.datamodule, verbose=False)[0]["test/accuracy"])


def hypervolumes(runs: Runs) -> dict[str, list[float]]:
    """Return a hypervolume per arm and seed, of shares of the largest model's multiply-adds and of chance."""
    most = max(macs for points in runs.values() for models in points for macs, _ in models)
    return {
        arm: [hypervolume([(macs / most, error / CHANCE) for macs, error in models], REFERENCE) for models in points]
        for arm, points in runs.items()
    }


def plot(runs: Runs, seeds: Sequence[int]) -> "Figure":
    """Draw all models and their hulls, a picture per seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(3.4 * len(seeds), 5), 3.8), dpi=150, layout="constrained")
    pictures = figure.subplots(1, len(seeds), sharex=True, sharey=True, squeeze=False)[0]
    for column, (axes, seed) in enumerate(zip(pictures, seeds, strict=True)):
        for arm in ARMS:
            models = [(macs / 1e6, 100 * error) for macs, error in runs[arm][column]]
            axes.scatter(*zip(*models, strict=True), s=12, color=COLORS[arm], alpha=0.4, linewidths=0)
            hull = zip(*lower_hull(models), strict=True)
            axes.plot(*hull, color=COLORS[arm], marker="o", markersize=4, label=arm.replace("_", " "))
        axes.set_title(f"seed {seed}", fontsize=10)
        axes.set_xlabel("multiply-adds (millions)")
        axes.grid(visible=True, color="#e4e7eb", linewidth=0.6)
    pictures[0].set_ylabel("validation error (%)")
    pictures[-1].legend(frameon=False, fontsize=9)
    return figure


def gather_runs(
    results: Mapping[str, Sequence[Mapping[str, Any]]], key: str = "models"
) -> dict[str, list[list[Point]]]:
    """Return the models of every arm and seed, and of Petridish its seed by itself."""
    runs = {arm: [list(result[key].values()) for result in rows] for arm, rows in results.items()}
    return {**runs, "seeds_only": [[result[key]["seed 0"]] for result in results["petridish"]]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder with train/<class>/* and test/<class>/*")
    parser.add_argument("--json", type=Path, help="where to write the hypervolumes and all models")
    parser.add_argument("--plot", type=Path, help="where to write a picture of the hulls")
    parser.add_argument("--mode", choices=("cell", "macro"), default="cell")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--processes", type=int, default=2, help="runs at a time, each on one core")
    parser.add_argument("--output-dir", type=Path, default=Path("runs/petridish_hull"))
    arguments = parser.parse_args()
    config = CONFIGS / f"petridish_{arguments.mode}_cifar10_small.yaml"
    folder = arguments.output_dir / arguments.mode
    search = partial(run, config=config, images=arguments.images.absolute(), output_dir=folder)
    tasks = list(product(ARMS, arguments.seeds))
    with ProcessPoolExecutor(arguments.processes, get_context("spawn")) as pool:
        done = dict(zip(tasks, pool.map(search, tasks), strict=True))
    results = {arm: [done[arm, seed] for seed in arguments.seeds] for arm in ARMS}
    runs = gather_runs(results)
    volumes, tested = hypervolumes(runs), hypervolumes(gather_runs(results, "test"))
    for arm in volumes:
        print(f"{arm:13} validation {_texts(volumes[arm])} test {_texts(tested[arm])}")
    for arm, rows in results.items():
        print(f"{arm:13} examples {[row['examples'] for row in rows]}, seconds {[row['seconds'] for row in rows]}")
    if arguments.json:
        report = {**volumes, "test": tested, "mode": arguments.mode, "seeds": arguments.seeds, "runs": results}
        arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if arguments.plot:
        plot(runs, arguments.seeds).savefig(arguments.plot)
    return 0


def _texts(values: Sequence[float]) -> str:
    return f"{' '.join(f'{value:.3f}' for value in values)}, mean {statistics.mean(values):.3f};"


if __name__ == "__main__":
    sys.exit(main())
