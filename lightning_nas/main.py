"""The command line. It imports nothing heavy before a command needs it."""

import argparse
import sys
from pathlib import Path

import lightning_nas

LIGHTNING_COMMANDS = {
    "fit": "run a search or a retraining from a YAML config",
    "validate": "evaluate on the validation data",
    "test": "evaluate on the test data",
}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = argparse.ArgumentParser(prog="lightning-nas", description="Neural architecture search on PyTorch Lightning.")
    top.add_argument("--version", action="version", version=lightning_nas.__version__)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, help_text in LIGHTNING_COMMANDS.items():
        commands.add_parser(name, help=help_text + f" (all options: {name} --help)", add_help=False)

    demo = commands.add_parser("demo", help="search, derive and retrain on small real images, in a few minutes")
    demo.add_argument("--output-dir", type=Path, default=Path("lightning-nas-demo"), help="folder for the results")
    demo.add_argument("--seed", type=int, default=0, help="seed of everything random")

    derive = commands.add_parser("derive", help="write the architecture that a search's checkpoint holds")
    derive.add_argument("checkpoint", type=Path)
    derive.add_argument("--output-dir", type=Path, help="folder for architecture.json and the drawing of its cells")

    commands.add_parser("spaces", help="list the search spaces and the published architectures")

    cost = commands.add_parser("cost", help="count parameters and multiply-adds of an architecture's network")
    cost.add_argument("architecture", help="a JSON file, or the name of a published architecture")
    cost.add_argument("--scale", nargs="*", default=[], metavar="KEY=VALUE", help="e.g. channels=36 layers=20")
    cost.add_argument("--input-shape", type=int, nargs="+", default=[3, 32, 32], help="channels, height, width")
    search = commands.add_parser("search-table", help="search a benchmark that is a table; nothing is trained")
    search.add_argument("--table", type=Path, required=True, help="CSV of NAS-Bench-201")
    search.add_argument("--strategy", choices=("random", "evolution", "reinforce", "predictor"), default="evolution")
    search.add_argument("--budget", type=int, default=300, help="number of architectures to look up")
    search.add_argument("--seed", type=int, default=0, help="seed of everything random")
    search.add_argument("--output-dir", type=Path, default=Path("lightning-nas-table"), help="gets architecture.json")
    compare = commands.add_parser("compare", help="compare runs: a table, a page with charts, pictures; no network")
    compare.add_argument(
        "run_dirs", type=Path, nargs="+", metavar="RUN_DIR", help="a run's folder, or one that has runs"
    )
    compare.add_argument(
        "--output-dir", type=Path, default=Path("lightning-nas-comparison"), help="gets comparison.html and pictures"
    )
    compare.add_argument("--literature", metavar="DATASET", help="show published results, too, e.g. of CIFAR-10")
    workspace = commands.add_parser("workspace", help="make a page of Weights & Biases on which searches compare")
    workspace.add_argument("--entity", required=True, help="the user or team that owns the project")
    workspace.add_argument("--project", required=True)
    workspace.add_argument("--json", type=Path, metavar="FILE", help="write to a file what would be sent; no network")
    return top


def main() -> int:
    """Run the command that ``sys.argv`` names; return the exit code."""
    if sys.argv[1:] and sys.argv[1] in LIGHTNING_COMMANDS:
        from lightning_nas.commands.lightning import run_lightning

        run_lightning()
        return 0
    arguments = parser().parse_args()
    try:
        if arguments.command == "demo":
            from lightning_nas.commands.demo import run_demo

            run_demo(arguments.output_dir, arguments.seed)
        elif arguments.command == "derive":
            from lightning_nas.commands.derive import run_derive

            run_derive(arguments.checkpoint, arguments.output_dir)
        elif arguments.command == "spaces":
            from lightning_nas.commands.spaces import run_spaces

            run_spaces()
        elif arguments.command == "search-table":
            from lightning_nas.commands.search_table import run_search_table

            run_search_table(
                arguments.table, arguments.strategy, arguments.budget, arguments.seed, arguments.output_dir
            )
        elif arguments.command == "compare":
            from lightning_nas.commands.compare import run_compare

            run_compare(arguments.run_dirs, arguments.output_dir, arguments.literature)
        elif arguments.command == "workspace":
            from lightning_nas.commands.workspace import run_workspace

            run_workspace(arguments.entity, arguments.project, arguments.json)
        else:
            from lightning_nas.commands.cost import run_cost

            run_cost(arguments.architecture, arguments.scale, arguments.input_shape)
    except (ValueError, OSError, ImportError) as error:
        print(f"lightning-nas {arguments.command}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
