"""``lightning-nas search-table``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning_nas.strategies import (
    EvolutionStrategy,
    PredictorStrategy,
    RandomStrategy,
    ReinforceStrategy,
    Strategy,
)
from lightning_nas.tables import NasBench201Table, TableSearch, search_table

EVOLUTION: dict[str, Any] = {"population": 50, "sample": 10}
# A few hundred queries are far fewer than the paper's 12,800: longer steps. Chosen from 0.005 to 0.04, on other seeds
# (1000 to 1024) than those of any result.
REINFORCE: dict[str, Any] = {"learning_rate": 0.02}


STRATEGIES: dict[str, Callable[..., Strategy]] = {
    "random": RandomStrategy,
    "evolution": lambda space, *, seed: EvolutionStrategy(space, seed=seed, **EVOLUTION),
    "reinforce": lambda space, *, seed: ReinforceStrategy(space, seed=seed, **REINFORCE),
    "predictor": PredictorStrategy,
}


def rows(found: TableSearch, table: NasBench201Table) -> list[tuple[int, float, float, float]]:
    """Return number of queries, best validation accuracy, its test accuracy and regret, for all that changed it."""
    lines = []
    best = float("-inf")
    for number, (architecture, score) in enumerate(zip(found.architectures, found.scores, strict=True)):
        if score > best:
            best = score
            lines.append((number + 1, score, table.look_up(architecture).test, found.regrets[number]))
    return lines


def run_search_table(path: Path, strategy: str, budget: int, seed: int, output_dir: Path) -> None:
    """Search a table, print what was found and when, and write ``architecture.json``.

    Raises:
        FileNotFoundError: If there is no table.
        ValueError: If it is no table, or lacks architectures, or the budget is below 1.
    """
    table = NasBench201Table(path)
    if len(table) != table.space.size:
        raise ValueError(f"Expected {path} to have {table.space.size} architectures but it has {len(table)}")
    found = search_table(STRATEGIES[strategy](table.space, seed=seed), table, budget)
    print(f"{'queries':>8}{'validation %':>14}{'test %':>10}{'regret':>10}")
    for queries, validation, test, regret in rows(found, table):
        print(f"{queries:>8}{validation:>14.3f}{test:>10.3f}{regret:>10.3f}")
    print(f"After {len(found.scores)} queries: {table.space.to_string(found.best)}")
    found.best.save(output_dir / "architecture.json")
    print(f"Written: {output_dir / 'architecture.json'}")
