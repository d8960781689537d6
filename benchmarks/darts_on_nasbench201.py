"""Searches NAS-Bench-201 with DARTS on CIFAR-10 images, and looks up what it found in the benchmark's table.

    python benchmarks/darts_on_nasbench201.py --images cifar10 --table cifar10-12epochs.csv --seeds 3 --json result.json

The search is configs/darts_nasbench201_small.yaml, minutes for each seed. Random search at no cost is a random row of
the table: its mean stands beside the result.
"""

import argparse
import json
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from lightning_nas.architecture import Architecture
from lightning_nas.commands.lightning import from_config
from lightning_nas.tables import NasBench201Table

CONFIG = Path(__file__).parent.parent / "configs" / "darts_nasbench201_small.yaml"


@dataclass(frozen=True)
class Found:
    """What one search found, and where it stands among all architectures; accuracies in percent."""

    seed: int
    architecture: str
    validation: float
    test: float
    rank: int
    skips: int


def search(images: Path, seed: int) -> Architecture:
    """Run the search of the config; return the architecture found."""
    with tempfile.TemporaryDirectory() as folder:
        options = {"data.root": images, "data.seed": seed, "model.seed": seed, "trainer.logger.save_dir": folder}
        cli = from_config(CONFIG, options)
        cli.trainer.fit(cli.model, datamodule=cli.datamodule)
        found: Architecture = cli.model.derive()
        return found


def look_up(table: NasBench201Table, architecture: Architecture, seed: int) -> Found:
    """Return what the table says, and the rank by validation accuracy (1 is the best)."""
    row, text = table.look_up(architecture), table.space.to_string(architecture)
    return Found(seed, text, row.validation, row.test, table.rank(architecture), text.count("skip_connect"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder with train/<class>/*")
    parser.add_argument("--table", type=Path, required=True, help="CSV of the benchmark")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    table = NasBench201Table(arguments.table)
    mean = statistics.mean(table.validation_accuracies)
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
