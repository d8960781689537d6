"""Searches on a part of CIFAR-10, and trains the network that was found and random ones in the same way.

    python benchmarks/found_on_cifar10.py darts --images cifar10 --random 3 --output-dir runs/cifar10

The search is configs/<method>_cifar10_small.yaml, the training configs/<method>_cifar10_retrain_small.yaml: minutes
each, on two cores. The folder then holds the architectures, what the search and each training logged, and result.json.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

import torch

from lightning_nas.architecture import Architecture
from lightning_nas.commands.lightning import from_config
from lightning_nas.costs import count_parameters
from lightning_nas.spaces import SearchSpace

CONFIGS = Path(__file__).parent.parent / "configs"


METHODS = ("darts", "enas_micro", "enas_macro")


def search(method: str, images: Path, output_dir: Path, seed: int) -> tuple[Architecture, SearchSpace]:
    """Run the search; return what it found, and where."""
    options = {"data.root": images, "data.seed": seed, "model.seed": seed, "trainer.logger.save_dir": output_dir}
    cli = from_config(CONFIGS / f"{method}_cifar10_small.yaml", options)
    cli.trainer.fit(cli.model, datamodule=cli.datamodule)
    return cli.model.derive(), cli.model.space


def train(
    method: str, architecture: Architecture, name: str, images: Path, output_dir: Path, seed: int
) -> dict[str, float]:
    """Train the network of an architecture; return its test accuracy and its size."""
    file = output_dir / f"{name}.json"
    architecture.save(file)
    options = {"data.root": images, "data.seed": seed, "model.architecture": file, "model.seed": seed}
    logs = {"trainer.logger.save_dir": output_dir, "trainer.logger.name": name}
    cli = from_config(CONFIGS / f"{method}_cifar10_retrain_small.yaml", options | logs)
    cli.trainer.fit(cli.model, datamodule=cli.datamodule)
    tested = cli.trainer.test(cli.model, datamodule=cli.datamodule)[0]
    return {"test_accuracy": tested["test/accuracy"], "params": count_parameters(cli.model.network)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("--images", type=Path, required=True, help="folder with train/<class>/* and test/<class>/*")
    parser.add_argument("--random", type=int, default=3, help="number of random architectures")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output-dir", type=Path, default=Path("runs/cifar10"))
    arguments = parser.parse_args()
    method, images, folder, seed = arguments.method, arguments.images, arguments.output_dir, arguments.seed
    generator = torch.Generator().manual_seed(seed)
    found, space = search(method, images, folder, seed)
    result = {"found": train(method, found, "found", images, folder, seed)}
    for number in range(arguments.random):
        name = f"random{number}"
        result[name] = train(method, space.sample(generator), name, images, folder, seed)
    for name, numbers in result.items():
        print(f"{name:10} test accuracy {numbers['test_accuracy']:.2%}, {numbers['params']:,.0f} parameters")
    accuracies = [numbers["test_accuracy"] for name, numbers in result.items() if name != "found"]
    if accuracies:
        print(f"{'mean':10} of the random ones {statistics.mean(accuracies):.2%}")
    (folder / "result.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
