import json
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from benchmarks import petridish_hull as hull_benchmark
from benchmarks import strategies_on_nasbench201 as strategies_benchmark
from benchmarks.darts_on_nasbench201 import Found, look_up
from lightning_nas.tables import NasBench201Table

ROWS = """index,architecture,cifar10_valid_accuracy,cifar10_test_accuracy
0,|none~0|+|none~0|skip_connect~1|+|none~0|skip_connect~1|none~2|,50.5,60.25
1,|nor_conv_3x3~0|+|none~0|none~1|+|none~0|nor_conv_3x3~1|none~2|,80.0,85.0
2,|nor_conv_1x1~0|+|none~0|none~1|+|none~0|nor_conv_1x1~1|none~2|,70.0,75.0
"""


def test_a_found_architecture_is_looked_up_with_its_rank(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text(ROWS)
    table = NasBench201Table(tmp_path / "table.csv")
    texts = [line.split(",")[1] for line in ROWS.splitlines()[1:]]
    found = [look_up(table, table.space.from_string(text), seed=7) for text in texts]
    assert found[0] == Found(7, texts[0], 50.5, 60.25, rank=3, skips=2)
    assert [row.rank for row in found] == [3, 1, 2]


def test_summary_of_searches() -> None:
    runs = [[3.0, 1.0], [2.0, 0.0], [4.0, 0.0], [1.0, 1.0]]
    assert strategies_benchmark.summarize(runs, [1, 2]) == {
        "1": {"median_regret": 2.5, "mean_regret": 2.5, "hit": 0.0},
        "2": {"median_regret": 0.5, "mean_regret": 0.5, "hit": 0.5},
    }


def test_plot_of_searches() -> None:
    runs = {"random": [[8.0, 4.0, 2.0]] * 2 + [[1.0, 0.5, 0.25]] * 2, "predictor": [[4.0, 1.0, 0.0]]}
    axes = strategies_benchmark.plot(runs).axes[0]
    assert axes.get_yscale() == "log"
    lines = {str(line.get_label()): np.asarray(line.get_ydata()).tolist() for line in axes.lines}
    assert lines == {"random": [4.5, 2.25, 1.125], "predictor": [4.0, 1.0, strategies_benchmark.FLOOR]}
    (shade, _) = axes.collections
    assert shade.get_paths()[0].get_extents().intervaly.tolist() == [0.25, 8.0]
    assert axes.get_yticklabels()[0].get_text() == "0"


def test_strategies_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [ROWS.splitlines()[0]]
    for number, choices in enumerate(
        product(("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"), repeat=6)
    ):
        text = "|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|".format(*choices)
        lines.append(f"{number},{text},{choices.count('nor_conv_3x3')},0")
    (tmp_path / "table.csv").write_text("\n".join(lines))
    words = ["--table", "table.csv", "--seeds", "3", "--strategies", "random", "evolution", "evolution_distinct"]
    words += ["--budgets", "60", "120", "--json", "result.json", "--plot", "plot.png"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["strategies_on_nasbench201.py", *words])
    assert strategies_benchmark.main() == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert list(result) == ["random", "evolution", "evolution_distinct"]
    assert all(list(rows) == ["60", "120"] for rows in result.values())
    assert result["evolution"]["120"]["mean_regret"] < result["random"]["120"]["mean_regret"] - 0.5
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


RESULT: dict[str, dict[str, tuple[int, float]]] = {
    "models": {"seed 0": (10, 0.9), "child 2": (20, 0.45), "child 4": (40, 0.18)},
}


def test_hypervolumes_of_hulls() -> None:
    """By hand: the largest model has 40, the reference 44 and 0.9; a model no better than chance adds nothing."""
    results = {
        "petridish": [RESULT],
        "random_growth": [{"models": {"seed 0": (10, 0.45)}}],
        "seed_longer": [{"models": {"seed 0": (20, 0.9)}}],
    }
    runs = hull_benchmark.gather_runs(results)
    volumes = hull_benchmark.hypervolumes(runs)
    assert volumes["petridish"] == pytest.approx([0.5 * 0.5 + 0.1 * 0.8])
    assert volumes["random_growth"] == pytest.approx([0.85 * 0.5])
    assert volumes["seed_longer"] == volumes["seeds_only"] == [0]
    axes = hull_benchmark.plot(runs, [0]).axes[0]
    lines = {str(line.get_label()): np.asarray(line.get_xydata()).tolist() for line in axes.lines}
    assert lines["petridish"] == [[1e-5, 90.0], [2e-5, 45.0], [4e-5, 18.0]]


def test_all_arms_of_hulls_have_one_budget() -> None:
    search = {"max_jobs": 11, "seed_epochs": 7, "hallucination_epochs": 2, "child_epochs": 4}
    assert hull_benchmark.options_of("petridish", search) == {}
    assert hull_benchmark.options_of("seed_longer", search) == {"model.max_jobs": 1, "model.seed_epochs": 37}
    assert set(hull_benchmark.options_of("random_growth", search)) == {"model.choice", "model.selection", "model.eps"}
