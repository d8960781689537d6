"""Searches NAS-Bench-201 with ENAS on CIFAR-10 images, and looks up what it found in the benchmark's table.

    python benchmarks/enas_on_nasbench201.py --images cifar10 --table cifar10-12epochs.csv --seeds 3 --json result.json

The search is configs/enas_nasbench201_small.yaml. Beside it stands the same with uniform sampling, random search with
shared weights: the images that the controller has spent on rewards are spent on scores of random architectures at the
end, and the best is taken. Last comes the rank correlation of such scores and the table.

The mean reward of the controller's samples in the last epoch stands beside that of architectures drawn uniformly, at
the same weights and on the same batches: what both have in common is due to the weights, not to the controller.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from lightning_nas._lightning import pl
from lightning_nas.architecture import Architecture
from lightning_nas.commands.lightning import from_config
from lightning_nas.methods import EnasModule
from lightning_nas.methods.ranking import SharedWeightRanking, kendall_tau
from lightning_nas.seeding import make_generator
from lightning_nas.tables import NasBench201Table

BATCHES = 2  # of validation images, for a score
UNIFORM = 100  # architectures an epoch beside the controller's
REWARDS = {"controller": "search/reward", "uniform": "search/uniform_reward"}
CONFIG = Path(__file__).parent.parent / "configs" / "enas_nasbench201_small.yaml"


def search(images: Path, seed: int, controller: str) -> tuple[EnasModule, Any]:
    """Run the search of the config; return its module and its data."""
    with tempfile.TemporaryDirectory() as folder:
        options: dict[str, object] = {"data.root": images, "data.seed": seed, "model.seed": seed}
        options["model.uniform_samples"] = UNIFORM
        cli = from_config(CONFIG, {**options, "trainer.logger.save_dir": folder, "model.controller": controller})
        cli.trainer.fit(cli.model, datamodule=cli.datamodule)
        return cli.model, cli.datamodule


def score(module: EnasModule, data: Any, count: int, seed: int) -> dict[Architecture, float]:
    """Return scores of random architectures with the shared weights, on ``BATCHES`` batches of validation images."""
    generator = make_generator("random architectures", seed)
    ranking = SharedWeightRanking(module, [module.space.sample(generator) for _ in range(count)])
    trainer = pl.Trainer(accelerator="cpu", logger=False, limit_val_batches=BATCHES, enable_progress_bar=False)
    trainer.validate(ranking, datamodule=data, verbose=False)
    return dict(zip(ranking.architectures, ranking.scores, strict=True))


def affordable(module: EnasModule, data: Any) -> int:
    """Return how many architectures the images are enough to score that a controller spends on rewards."""
    epochs = module.trainer.max_epochs or 0
    rewards = (epochs - module.warmup_epochs) * module.controller_steps * module.samples_per_step
    rewards += epochs * module.derive_samples
    images = rewards * int(data.batch_size)
    return images // (BATCHES * int(data.eval_batch_size))


def report(name: str, table: NasBench201Table, found: Architecture, seed: int, result: dict[str, Any]) -> None:
    """Print what the table says of an architecture, and add it to the result."""
    row = table.look_up(found)
    result[name.partition(",")[0]].append(row.validation)
    rank, text = table.rank(found), table.space.to_string(found)
    print(f"seed {seed}, {name}: validation {row.validation:.2f}, test {row.test:.2f}, rank {rank}: {text}", flush=True)


def report_rewards(module: EnasModule, seed: int, result: dict[str, Any]) -> None:
    """Print the mean rewards of the last epoch, and add them to the result."""
    means = {name: float(module.trainer.callback_metrics[metric]) for name, metric in REWARDS.items()}
    for name, mean in means.items():
        result["mean_reward"][name].append(mean)
    print(f"seed {seed}, mean reward: " + ", ".join(f"{name} {mean:.3f}" for name, mean in means.items()), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder with train/<class>/*")
    parser.add_argument("--table", type=Path, required=True, help="CSV of the benchmark")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--architectures", type=int, default=200, help="for the rank correlation")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    table = NasBench201Table(arguments.table)
    rewards: dict[str, list[float]] = {name: [] for name in REWARDS}
    result: dict[str, Any] = {"controller": [], "uniform": [], "kendall_tau": None, "mean_reward": rewards}
    for seed in range(arguments.seeds):
        module, data = search(arguments.images, seed, "lstm")
        count = affordable(module, data)
        report("controller", table, module.derive(), seed, result)
        report_rewards(module, seed, result)
        module, data = search(arguments.images, seed, "uniform")
        scores = score(module, data, count, seed)
        report(f"uniform, best of {count}", table, max(scores, key=lambda found: scores[found]), seed, result)
        if seed == 0:
            scores = score(module, data, arguments.architectures, seed=-1)
            truths = [table.look_up(architecture).validation for architecture in scores]
            result["kendall_tau"] = kendall_tau(list(scores.values()), truths)
            print(f"Kendall's tau over {len(scores)} architectures: {result['kendall_tau']:.3f}", flush=True)
    for name in ("controller", "uniform"):
        print(f"{name}: mean validation {statistics.mean(result[name]):.2f}")
    mean = statistics.mean(table.validation_accuracies)
    print(f"mean of all {len(table):,} architectures: validation {mean:.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
