"""Searches NAS-Bench-201 with ENAS on CIFAR-10 images, and looks up what it found in the benchmark's table.

    python benchmarks/enas_on_nasbench201.py --images cifar10 --table cifar10-12epochs.csv --seeds 3 --json result.json

The search is configs/enas_nasbench201_small.yaml. Beside it stands the same with uniform sampling (random search with
shared weights), which scores as many architectures at its end as the controller has seen rewards in its last epoch.
Last comes the rank correlation of scores with shared weights, those of uniform sampling, and the table.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from lightning_nas._lightning import pl
from lightning_nas.commands.lightning import from_config
from lightning_nas.methods import EnasModule
from lightning_nas.methods.ranking import SharedWeightRanking, kendall_tau
from lightning_nas.seeding import make_generator
from lightning_nas.tables import NasBench201Table

CONFIG = Path(__file__).parent.parent / "configs" / "enas_nasbench201_small.yaml"


def search(images: Path, seed: int, controller: str) -> tuple[EnasModule, Any]:
    """Run the search of the config; return its module and its data."""
    with tempfile.TemporaryDirectory() as folder:
        options: dict[str, object] = {"data.root": images, "data.seed": seed, "model.seed": seed}
        cli = from_config(CONFIG, {**options, "trainer.logger.save_dir": folder, "model.controller": controller})
        if controller == "uniform":
            cli.model.derive_samples += cli.model.controller_steps * cli.model.samples_per_step
        cli.trainer.fit(cli.model, datamodule=cli.datamodule)
        return cli.model, cli.datamodule


def correlation(module: EnasModule, data: Any, table: NasBench201Table, count: int) -> float:
    """Return Kendall's tau of the scores of random architectures and their validation accuracies in the table."""
    generator = make_generator("correlation", 0)
    architectures = [table.space.sample(generator) for _ in range(count)]
    ranking = SharedWeightRanking(module, architectures)
    trainer = pl.Trainer(accelerator="cpu", logger=False, limit_val_batches=2, enable_progress_bar=False)
    trainer.validate(ranking, datamodule=data, verbose=False)
    return kendall_tau(ranking.scores, [table.look_up(architecture).validation for architecture in architectures])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder with train/<class>/*")
    parser.add_argument("--table", type=Path, required=True, help="CSV of the benchmark")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--architectures", type=int, default=200, help="for the rank correlation")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    table = NasBench201Table(arguments.table)
    result: dict[str, Any] = {"controller": [], "uniform": [], "kendall_tau": None}
    for seed in range(arguments.seeds):
        for name, controller in (("controller", "lstm"), ("uniform", "uniform")):
            module, data = search(arguments.images, seed, controller)
            found = module.derive()
            row = table.look_up(found)
            result[name].append(row.validation)
            print(
                f"seed {seed}, {name}: validation {row.validation:.2f}, test {row.test:.2f}, rank {table.rank(found)}: "
                f"{table.space.to_string(found)}",
                flush=True,
            )
            if seed == 0 and name == "uniform":
                result["kendall_tau"] = correlation(module, data, table, arguments.architectures)
                print(f"Kendall's tau over {arguments.architectures} architectures: {result['kendall_tau']:.3f}")
    for name in ("controller", "uniform"):
        print(f"{name}: mean validation {statistics.mean(result[name]):.2f}")
    mean = statistics.mean(table.validation_accuracies)
    print(f"mean of all {len(table):,} architectures: validation {mean:.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
