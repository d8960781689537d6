"""Compares search strategies on the table of NAS-Bench-201: what they have found after how many queries.

    python benchmarks/strategies_on_nasbench201.py --table cifar10-12epochs.csv --seeds 50 --json result.json

The score is the validation accuracy. Regret is how far the best of a search is below the best of the table, in
percent; a hit is a regret of zero. ``random`` and ``evolution`` are the plain methods: they may ask again for what they
know, and the query counts. ``random_distinct`` and ``evolution_distinct`` do not, nor for what computes the same;
neither do ``reinforce`` and ``predictor``. ``lightning-nas search-table`` runs these four.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from lightning_nas.commands.search_table import EVOLUTION, STRATEGIES
from lightning_nas.strategies import EvolutionStrategy, RandomStrategy, Strategy
from lightning_nas.tables import NasBench201Table, search_table

ALL = ("random", "evolution", "reinforce", "predictor")
MORE = ("random_distinct", "evolution_distinct")
BUDGETS = tuple(range(50, 501, 50))
COLORS = {
    "random": "#7b8794",
    "random_distinct": "#b4bdc7",
    "evolution": "#2f6fb3",
    "evolution_distinct": "#7fb0e3",
    "reinforce": "#d9822b",
    "predictor": "#2f9e5f",
}
# Where the plot's logarithmic axis draws zero: below the least regret of an architecture that is not the best.
FLOOR = 0.02
Runs = Sequence[Sequence[float]]  # per seed the regret after every query


def make_strategy(name: str, table: NasBench201Table, seed: int) -> Strategy:
    """Return a strategy with the settings that are compared."""
    if name == "random":
        return RandomStrategy(table.space, seed=seed, repeats=True)
    if name == "evolution":  # the table says the same every time: no identity mutations
        return EvolutionStrategy(table.space, seed=seed, repeats=True, identity=0.0, **EVOLUTION)
    return STRATEGIES[name.removesuffix("_distinct")](table.space, seed=seed)


def regrets(name: str, table: NasBench201Table, seed: int, queries: int) -> list[float]:
    """Return the regret after every query of one search."""
    found = search_table(make_strategy(name, table, seed), table, queries).regrets
    return [*found, *[found[-1]] * (queries - len(found))]


def summarize(runs: Runs, budgets: Sequence[int]) -> dict[str, dict[str, float]]:
    """Return median and mean regret, and the share of seeds with none, after every budget."""
    result = {}
    for budget in budgets:
        after = [run[budget - 1] for run in runs]
        result[str(budget)] = {
            "median_regret": round(statistics.median(after), 4),
            "mean_regret": round(statistics.mean(after), 4),
            "hit": sum(regret == 0 for regret in after) / len(after),
        }
    return result


def report(name: str, summary: Mapping[str, Mapping[str, float]], seconds: float) -> None:
    """Print one row per budget."""
    for budget, row in summary.items():
        numbers = f"{row['median_regret']:>15.3f}{row['mean_regret']:>13.3f}{row['hit']:>8.0%}"
        print(f"{name:20}{budget:>8}{numbers}", flush=True)
    print(f"{name:20}{seconds:.0f} seconds", flush=True)


def plot(runs: Mapping[str, Runs]) -> Figure:
    """Draw the median regret over the number of queries, with quartiles."""
    figure = Figure(figsize=(8, 5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for name, regret in runs.items():
        _draw(axes, name, regret)
    axes.set_yscale("log")
    axes.set_ylim(bottom=FLOOR * 0.9, top=20)
    ticks = (FLOOR, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20)
    axes.set_yticks(ticks, ["0", *(f"{tick:g}" for tick in ticks[1:])])
    axes.yaxis.minorticks_off()
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.grid(visible=True, color="#e4e7eb", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlim(0, max(len(regret[0]) for regret in runs.values()))
    axes.set_xlabel("queries of the table")
    axes.set_ylabel("validation regret in percent")
    seeds = len(next(iter(runs.values())))
    axes.set_title(f"NAS-Bench-201, CIFAR-10: median and quartiles of {seeds} seeds", fontsize=11)
    axes.legend(frameon=False)
    return figure


def _draw(axes: Axes, name: str, runs: Runs) -> None:
    columns = [sorted(max(regret, FLOOR) for regret in column) for column in zip(*runs, strict=True)]
    low, middle, high = zip(*(_quartiles(column) for column in columns), strict=True)
    queries = range(1, len(columns) + 1)
    axes.fill_between(queries, low, high, color=COLORS[name], alpha=0.15, linewidth=0)
    axes.plot(queries, middle, color=COLORS[name], linewidth=1.8, label=name.replace("_", ", "))


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    if len(values) == 1:
        return (values[0],) * 3
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, required=True, help="CSV of the benchmark")
    parser.add_argument("--seeds", type=int, default=50, help="number of searches per strategy")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--strategies", nargs="+", choices=ALL + MORE, default=list(ALL))
    parser.add_argument("--budgets", nargs="+", type=int, default=list(BUDGETS), help="numbers of queries")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path, help="PNG of the regret over the number of queries")
    arguments = parser.parse_args()
    if arguments.seeds < 1 or min(arguments.budgets) < 1:
        parser.error("Expected --seeds and --budgets of at least 1")
    table = NasBench201Table(arguments.table)
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    runs, result = {}, {}
    print(f"{'':20}{'queries':>8}{'median regret':>15}{'mean regret':>13}{'hit':>8}")
    for name in arguments.strategies:
        start = time.perf_counter()
        runs[name] = [regrets(name, table, seed, max(arguments.budgets)) for seed in seeds]
        result[name] = summarize(runs[name], arguments.budgets)
        report(name, result[name], time.perf_counter() - start)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if arguments.plot:
        plot(runs).savefig(arguments.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
