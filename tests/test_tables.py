import argparse
import os
import random
import re
import statistics
import sys
from collections.abc import Sequence
from itertools import accumulate, product
from pathlib import Path
from typing import Any

import pytest

from lightning_nas.architecture import Architecture
from lightning_nas.commands.search_table import STRATEGIES
from lightning_nas.main import main, parser
from lightning_nas.spaces import NasBench201Space
from lightning_nas.strategies import EvolutionStrategy, Proposal, RandomStrategy, Strategy
from lightning_nas.tables import Accuracies, NasBench201Table, search_table
from tests.references import evolution, random_search

TEXTS = [
    "|none~0|+|none~0|skip_connect~1|+|none~0|skip_connect~1|none~2|",
    "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|nor_conv_3x3~1|none~2|",
    "|nor_conv_1x1~0|+|none~0|none~1|+|none~0|nor_conv_1x1~1|none~2|",
]
HEADER = "index,architecture,cifar10_valid_accuracy,cifar10_test_accuracy"


@pytest.fixture
def table(tmp_path: Path) -> NasBench201Table:
    rows = zip(TEXTS, (50.5, 80.0, 70.0), (60.25, 85.0, 75.0), strict=True)
    lines = [HEADER, *(f"{number},{','.join(map(str, row))}" for number, row in enumerate(rows))]
    (tmp_path / "table.csv").write_text("\n".join(lines))
    return NasBench201Table(tmp_path / "table.csv")


def test_accuracies_and_ranks(table: NasBench201Table) -> None:
    architectures = [table.space.from_string(text) for text in TEXTS]
    assert len(table) == 3
    assert table.look_up(architectures[0]) == Accuracies(50.5, 60.25)
    assert [table.rank(architecture) for architecture in architectures] == [3, 1, 2]
    assert table.validation_accuracies == [50.5, 80.0, 70.0]


def test_an_architecture_that_is_not_there(table: NasBench201Table) -> None:
    other = table.space.from_string(TEXTS[1].replace("nor_conv_3x3~0", "avg_pool_3x3~0"))
    with pytest.raises(KeyError, match="Expected an architecture of the table but got"):
        table.look_up(other)


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("architecture,accuracy\n")
    with pytest.raises(ValueError, match=r"lacks \['cifar10_test_accuracy', 'cifar10_valid_accuracy'\]"):
        NasBench201Table(tmp_path / "other.csv")
    (tmp_path / "empty.csv").write_text(HEADER + "\n")
    with pytest.raises(ValueError, match="to have a row for every architecture but it has none"):
        NasBench201Table(tmp_path / "empty.csv")
    with pytest.raises(FileNotFoundError):
        NasBench201Table(tmp_path / "missing.csv")


def test_the_best_of_the_table(table: NasBench201Table) -> None:
    assert table.best_validation == 80.0


@pytest.mark.parametrize("row", ["1,{},80.0", "1,{},80.0,high", "1,{},,85.0", "1,{},nan,85.0", "1,{},80.0,inf"])
def test_rows_without_two_numbers(tmp_path: Path, row: str) -> None:
    (tmp_path / "table.csv").write_text(f"{HEADER}\n{row.format(TEXTS[0])}\n")
    with pytest.raises(ValueError, match=r"Expected two numbers in line 2 of .*table.csv but got"):
        NasBench201Table(tmp_path / "table.csv")


class Listed(Strategy):
    """Proposes the architectures of ``TEXTS``, and remembers what was told when."""

    def __init__(self, table: NasBench201Table, texts: Sequence[str] = TEXTS) -> None:
        super().__init__(table.space)
        self.left = [table.space.from_string(text) for text in texts]
        self.events: list[str | float | None] = []

    def _propose(self) -> Architecture | None:
        if not self.left:
            return None
        self.events.append("asked")
        return self.left.pop(0)

    def _learn(self, proposal: Proposal, score: float | None) -> None:
        self.events.append(score)


def test_search(table: NasBench201Table) -> None:
    strategy = Listed(table)
    found = search_table(strategy, table, budget=3)
    assert strategy.events == ["asked", 50.5, "asked", 80.0, "asked", 70.0]
    assert [table.space.to_string(architecture) for architecture in found.architectures] == TEXTS
    assert found.scores == (50.5, 80.0, 70.0)
    assert found.regrets == (29.5, 0.0, 0.0)
    assert table.space.to_string(found.best) == TEXTS[1]
    assert found.best.metrics == {"val/accuracy": 80.0, "test/accuracy": 85.0}
    assert (found.validation, found.test) == (80.0, 85.0)
    assert strategy.best == found.best


def test_search_in_batches_within_the_budget(table: NasBench201Table) -> None:
    strategy = Listed(table)
    assert search_table(strategy, table, budget=3, batch=2).regrets == (29.5, 0.0, 0.0)
    assert strategy.events == ["asked", "asked", 50.5, 80.0, "asked", 70.0]
    assert len(search_table(Listed(table), table, budget=2, batch=5).scores) == 2


def test_search_ends_when_nothing_is_left(table: NasBench201Table) -> None:
    assert len(search_table(Listed(table), table, budget=100).scores) == 3
    with pytest.raises(ValueError, match="it has nothing left to propose"):
        search_table(Listed(table, []), table, budget=1)


def test_searches_that_cannot_be(table: NasBench201Table) -> None:
    with pytest.raises(ValueError, match="Expected a strategy on space 'nasbench201' but got one on 'darts'"):
        search_table(RandomStrategy("darts"), table, budget=1)
    for options in ({"budget": 0}, {"budget": 1, "batch": 0}):
        with pytest.raises(ValueError, match="to be at least 1"):
            search_table(Listed(table), table, **options)


CSV = Path(
    os.environ.get(
        "NASBENCH201_CSV", Path(__file__).parents[2] / "shared" / "data" / "nasbench201" / "cifar10-12epochs.csv"
    )
)
needs_table = pytest.mark.skipif(not CSV.is_file(), reason=f"no table {CSV}: set NASBENCH201_CSV")
COUNTS = (5,) * 6


@pytest.fixture(scope="module")
def full() -> NasBench201Table:
    return NasBench201Table(CSV)


@needs_table
def test_the_real_table(full: NasBench201Table) -> None:
    assert len(full) == full.space.size == 15625
    assert full.best_validation == 84.892


@needs_table
@pytest.mark.slow
def test_random_search_is_the_plain_one(full: NasBench201Table) -> None:
    """Over 200 seeds, the medians are those of an independent implementation and of the issue."""
    values = values_of(full)
    plain = [random_search.search(COUNTS, values.__getitem__, 300, random.Random(seed)) for seed in range(200)]
    expected = medians([[84.892 - value for value in run] for run in plain])
    found = medians([runs(full, RandomStrategy(full.space, seed=seed, repeats=True)) for seed in range(200)])
    assert found == pytest.approx([1.15, 0.95, 0.78], abs=0.25)
    assert found == pytest.approx(expected, abs=0.15)


@needs_table
@pytest.mark.slow
def test_evolution_is_the_plain_one(full: NasBench201Table) -> None:
    """Over 200 seeds, the medians and the share of hits are those of an independent implementation and of the issue."""
    values = values_of(full)
    plain = [evolve_on(values, seed) for seed in range(200)]
    options: dict[str, Any] = {"population": 50, "sample": 10, "identity": 0.0, "repeats": True}
    found = [runs(full, EvolutionStrategy(full.space, seed=seed, **options)) for seed in range(200)]
    assert medians(found) == pytest.approx([0.48, 0.0, 0.0], abs=0.2)
    assert medians(found) == pytest.approx(medians(plain), abs=0.15)
    hits = [sum(run[299] == 0 for run in regrets) / 200 for regrets in (found, plain)]
    assert 0.7 < hits[0] < 0.9
    assert hits[0] == pytest.approx(hits[1], abs=0.1)


@needs_table
@pytest.mark.slow
def test_reinforce_beats_random_search(full: NasBench201Table) -> None:
    """After 300 queries, in mean regret over 50 seeds; both never ask twice."""
    means = [
        statistics.mean(runs(full, STRATEGIES[name](full.space, seed=seed))[299] for seed in range(50))
        for name in ("random", "reinforce")
    ]
    assert means[0] == pytest.approx(0.65, abs=0.15)
    assert means[1] < 0.3


def values_of(table: NasBench201Table) -> dict[tuple[int, ...], float]:
    decisions = table.space.decisions
    genomes = product(range(5), repeat=6)
    return {
        genome: table.look_up(
            Architecture("nasbench201", {d.name: d.choices[k] for d, k in zip(decisions, genome, strict=True)})
        ).validation
        for genome in genomes
    }


def evolve_on(values: dict[tuple[int, ...], float], seed: int) -> list[float]:
    rng = random.Random(seed)

    def draw() -> tuple[int, ...]:
        return tuple(rng.randrange(5) for _ in range(6))

    def mutate(genome: tuple[int, ...]) -> tuple[int, ...]:
        place = rng.randrange(6)
        return (*genome[:place], rng.choice([k for k in range(5) if k != genome[place]]), *genome[place + 1 :])

    history, _ = evolution.evolve(draw, mutate, values.__getitem__, 300, 50, 10, rng=rng)
    return [84.892 - best for best in accumulate((fitness for _, fitness in history), max)]


def runs(table: NasBench201Table, strategy: Strategy) -> Sequence[float]:
    return search_table(strategy, table, 300).regrets


def medians(regrets: Sequence[Sequence[float]]) -> list[float]:
    return [statistics.median(run[budget - 1] for run in regrets) for budget in (100, 200, 300)]


def complete(path: Path) -> Path:
    """Write a table of all architectures, in which convolutions are good."""
    space = NasBench201Space()
    lines = [HEADER]
    for number, choices in enumerate(product(*(decision.choices for decision in space.decisions))):
        text = "|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|".format(*choices)
        accuracy = 10.0 * choices.count("nor_conv_3x3")
        lines.append(f"{number},{text},{accuracy},{accuracy + 5}")
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize("strategy", ["random", "evolution", "reinforce", "predictor"])
def test_the_command(
    strategy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = complete(tmp_path / "table.csv")
    words = ["--table", str(path), "--strategy", strategy, "--budget", "12", "--seed", "3"]
    assert call(monkeypatch, *words, "--output-dir", str(tmp_path / "out")) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in lines[1:-2]]
    assert lines[0].split() == ["queries", "validation", "%", "test", "%", "regret"]
    assert rows[0][0] == "1"
    assert all(float(test) == float(value) + 5 for _, value, test, _ in rows)
    assert all(float(regret) == 60 - float(value) for _, value, _, regret in rows)
    found = Architecture.load(tmp_path / "out" / "architecture.json")
    best = 10.0 * list(found.values.values()).count("nor_conv_3x3")
    assert found.metrics == {"val/accuracy": best, "test/accuracy": best + 5}
    assert float(rows[-1][1]) == best > 0
    assert lines[-2] == f"After 12 queries: {NasBench201Space().to_string(found)}"


def test_the_command_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "--table", str(tmp_path / "missing.csv")) == 1
    assert "missing.csv" in capsys.readouterr().err
    (tmp_path / "part.csv").write_text(f"{HEADER}\n0,{TEXTS[0]},50.5,60.25\n")
    assert call(monkeypatch, "--table", str(tmp_path / "part.csv")) == 1
    assert re.search(r"Expected .*part.csv to have 15625 architectures but it has 1", capsys.readouterr().err)
    path = complete(tmp_path / "table.csv")
    assert call(monkeypatch, "--table", str(path), "--budget", "0", "--output-dir", str(tmp_path / "out")) == 1
    assert "Expected `budget` to be at least 1" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    with pytest.raises(SystemExit):
        call(monkeypatch, "--table", str(path), "--strategy", "guess")
    assert "invalid choice: 'guess'" in capsys.readouterr().err


def test_the_command_line_knows_the_strategies() -> None:
    actions = {action.dest: action for action in command_parser()._actions}
    assert tuple(actions["strategy"].choices or ()) == tuple(STRATEGIES)


def command_parser() -> argparse.ArgumentParser:
    (commands,) = (action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    found = commands.choices["search-table"]
    assert isinstance(found, argparse.ArgumentParser)
    return found


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["lightning-nas", "search-table", *words])
    return main()
