"""Compares what DARTS finds on handwritten digits with random architectures, trained in the same way.

    python benchmarks/darts_on_digits.py --seeds 5 --json result.json

The search and the training are those of ``lightning-nas demo``; about two minutes for each seed on one core.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

import torch

from lightning_nas.commands.demo import REPEATS, SPACE, mean, quieten, retrain_all, search


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    quieten()
    found, random = [], []
    for seed in range(arguments.seeds):
        with tempfile.TemporaryDirectory() as folder:
            architecture, _ = search(Path(folder), seed)
            generator = torch.Generator().manual_seed(seed)
            others = [SPACE.sample(generator) for _ in range(REPEATS)]
            found.append(
                mean(retrain_all("the found network", [architecture] * REPEATS, Path(folder), seed)).test_accuracy
            )
            random.append(mean(retrain_all("a random network", others, Path(folder), seed)).test_accuracy)
    print(f"{'seed':>4} {'found':>8} {'random':>8}")
    for seed, (one, other) in enumerate(zip(found, random, strict=True)):
        print(f"{seed:4} {one:8.2%} {other:8.2%}")
    wins = sum(one > other for one, other in zip(found, random, strict=True))
    print(
        f"mean {statistics.mean(found):8.2%} {statistics.mean(random):8.2%}   found is better in {wins} of {len(found)}"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps({"found": found, "random": random}, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
