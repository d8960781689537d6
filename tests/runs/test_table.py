import io
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from lightning_nas.runs import Candidate, Comparison, Run
from lightning_nas.runs.summary import columns, format_value
from lightning_nas.runs.terminal import print_table


def search(name: str = "darts", seed: int = 0, loss: float | None = None) -> Run:
    row = {
        "search/best_error": 0.0276,
        "search/examples_seen": 1_250_000.0,
        "search/device_hours": 30.0,
        "search/children": 12.0,
        "derived/params": 3_349_342.0,
        "derived/macs": 528_000_000.0,
        "pareto/size": 7.0,
        "pareto/hypervolume": 0.123456,
        "test/error": 0.031,
    }
    identity = {"method": "DartsModule", "space": "darts", "dataset": "CIFAR10", "seed": seed}
    return Run(name, Path("runs", name), identity, ({**row, **({} if loss is None else {"val/loss": loss})},))


def table(*runs: Run) -> dict[str, tuple[str, ...]]:
    return {column.title: column.cells for column in columns(Comparison(runs))}


def test_all_that_a_run_may_say() -> None:
    assert table(search()) == {
        "run": ("darts",),
        "method": ("Darts",),
        "space": ("darts",),
        "dataset": ("CIFAR10",),
        "seed": ("0",),
        "best error": ("2.76%",),
        "test error": ("3.10%",),
        "examples seen": ("1.25M",),
        "device hours": ("30",),
        "children": ("12",),
        "params": ("3.35M",),
        "macs": ("528M",),
        "front size": ("7",),
        "hypervolume": ("0.123",),
    }


def test_only_columns_that_a_run_has() -> None:
    one = Run("a", Path("a"), history=({"val/loss": 1.5, "search/children": 0.0},))
    assert table(one) == {"run": ("a",), "best loss": ("1.5",)}
    both = table(one, search(loss=2.0))
    assert both["method"] == ("", "Darts")
    assert both["best loss"] == ("1.5", "2")


def test_a_run_that_did_not_log_what_it_derived_shows_its_best_candidate() -> None:
    points = [Candidate("a", {"val/error": 0.5, "params": 10.0}), Candidate("b", {"val/error": 0.25, "params": 20.0})]
    assert table(Run("a", Path("a"), candidates=(*points, Candidate("c", {"params": 5.0}))))["params"] == ("20",)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("macs", 999.0, "999"),
        ("macs", 1000.0, "1.00k"),
        ("macs", 123_456.0, "123k"),
        ("macs", 999.7, "1.00k"),
        ("macs", 999_999.0, "1.00M"),
        ("hypervolume", 1.01e13, "10.1T"),
        ("hypervolume", 2.5e15, "2.5e+15"),
        ("macs", 2.5e9, "2.50G"),
        ("val/mean_squared_error", 0.5, "0.5"),
        ("device hours", 0.00012345, "0.000123"),
        ("run", "name", "name"),
    ],
)
def test_values_as_people_write_them(name: str, value: Any, text: str) -> None:
    assert format_value(name, value) == text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_terminal(comparison: Comparison, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    for name, value in {"COLUMNS": "100", "TERM": "xterm", "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    file = Terminal()
    print_table(comparison, file)
    return [re.sub("\x1b\\[[0-9;]*m", "", line) for line in file.getvalue().splitlines()]


def test_a_terminal_of_100_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [search(f"{method}_cifar10_small", seed) for method in ("darts", "enas") for seed in (0, 1)]
    lines = on_terminal(Comparison(runs), monkeypatch)
    assert lines[0] == "All 4 runs: method Darts, space darts, dataset CIFAR10"
    assert max(map(len, lines)) <= 100
    (row,) = [line.split() for line in lines if "enas_cifar10_small" in line and " 1 " in line]
    assert row == ["enas_cifar10_small", "1", "2.76%", "3.10%", "1.25M", "30", "12", "3.35M", "528M", "7", "0.123"]


def test_in_a_pipe_every_run_is_one_line() -> None:
    file = io.StringIO()
    print_table(Comparison([search("a" * 300), search("[red]b[/red] [/]", 1)]), file)
    head, *rows = [line.split() for line in file.getvalue().splitlines() if line.strip(" ─")]
    assert head[:3] == ["run", "method", "space"]
    assert [row[0] for row in rows] == ["a" * 300, "[red]b[/red]"]  # names are no markup
    assert {len(row) for row in rows} == {14, 15}


def test_one_run_has_all_in_common_with_itself_and_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any(line.startswith("All") for line in on_terminal(Comparison([search()]), monkeypatch))


def test_rich_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    with pytest.raises(ImportError, match=r"'rich'.*lightning-nas\[compare\]"):
        print_table(Comparison([search()]))
