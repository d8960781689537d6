"""Searches NAS-Bench-201 with DARTS on CIFAR-10 images, and looks up what it found in the benchmark's table.

    python benchmarks/darts_on_nasbench201.py --images cifar10 --table cifar10-12epochs.csv --seeds 3 --json result.json

The search is configs/darts_nasbench201_small.yaml, minutes for each seed. Random search at no cost is a random row of
the table: its mean stands beside the result.
"""

import argparse
import csv
import json
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from lightning_nas.commands.lightning import from_config
from lightning_nas.spaces import NasBench201Space

CONFIG = Path(__file__).parent.parent / "configs" / "darts_nasbench201_small.yaml"
SPACE = NasBench201Space()


@dataclass(frozen=True)
class Found:
    """What one search found, and where it stands among all architectures; accuracies in percent."""

    seed: int
    architecture: str
    validation: float
    test: float
    rank: int
    skips: int


def read_table(path: Path) -> dict[str, tuple[float, float]]:
    """Return validation and test accuracy by architecture."""
    with path.open(encoding="utf-8") as file:
        rows = csv.DictReader(file)
        return {
            row["architecture"]: (float(row["cifar10_valid_accuracy"]), float(row["cifar10_test_accuracy"]))
            for row in rows
        }


def search(images: Path, seed: int) -> str:
    """Run the search of the config; return the architecture found, in the benchmark's notation."""
    with tempfile.TemporaryDirectory() as folder:
        options = {"data.root": images, "data.seed": seed, "model.seed": seed, "trainer.logger.save_dir": folder}
        cli = from_config(CONFIG, options)
        cli.trainer.fit(cli.model, datamodule=cli.datamodule)
        return SPACE.to_string(cli.model.derive())


def look_up(table: dict[str, tuple[float, float]], architecture: str, seed: int) -> Found:
    """Return the row of the table, and its rank by validation accuracy (1 is the best)."""
    validation, test = table[architecture]
    rank = 1 + sum(other > validation for other, _ in table.values())
    return Found(seed, architecture, validation, test, rank, architecture.count("skip_connect"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder with train/<class>/*")
    parser.add_argument("--table", type=Path, required=True, help="CSV of the benchmark")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    table = read_table(arguments.table)
    mean = statistics.mean(validation for validation, _ in table.values())
    found = []
    for seed in range(arguments.seeds):
        row = look_up(table, search(arguments.images, seed), seed)
        found.append(row)
        print(
            f"seed {row.seed}: validation {row.validation:.2f}, test {row.test:.2f}, rank {row.rank}, "
            f"{row.skips} skip connections: {row.architecture}",
            flush=True,
        )
    print(f"mean of all {len(table):,} architectures (random search): validation {mean:.2f}")
    if arguments.json:
        content = {"darts": [asdict(row) for row in found], "random_mean_validation": mean}
        arguments.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
