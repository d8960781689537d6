import json
import re
import sys
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import lightning_nas
from lightning_nas.runs import Comparison, Run
from lightning_nas.runs.page import write_page
from lightning_nas.zoo import PublishedResult

EVIL = "</script><script>alert(1)</script> & <b>bold</b>"
WHEN = datetime(2026, 11, 24, 15, 30, tzinfo=UTC)


class Elements(HTMLParser):
    """Counts elements, and keeps the text of each kind."""

    def __init__(self) -> None:
        super().__init__()
        self.text: dict[str, list[str]] = {}
        self.links: list[str] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.text.setdefault(tag, []).append("")
        self._open.append(tag)
        self.links += [str(value) for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._open:
            self.text[self._open[-1]][-1] += data


def write(folder: Path, *runs: Run, **options: Any) -> tuple[str, Elements]:
    path = folder / "comparison.html"
    write_page(Comparison(runs, **options), path, WHEN)
    text = path.read_text(encoding="utf-8")
    elements = Elements()
    elements.feed(text)
    return text, elements


def run(name: str, error: float = 0.5) -> Run:
    row = {"val/error": error, "search/examples_seen": 100.0}
    return Run(name, Path("/runs") / "a" / "version_0", {"space": EVIL}, history=(row,))


def test_it_says_what_was_compared_when_and_by_what(tmp_path: Path) -> None:
    published = PublishedResult("CIFAR-10", "Table 1", "Net", "test error %", 2.5)
    text, elements = write(tmp_path, run("one"), run("two"), literature=[published])
    assert elements.text["title"] == elements.text["h1"] == ["Comparison of 2 runs"]
    assert (
        f"2026-11-24 15:30 UTC · lightning-nas {lightning_nas.__version__} · published results on CIFAR-10: 1" in text
    )
    assert "Runs in /runs" in text
    assert [button.strip() for button in elements.text["button"]] == ["one", "two", "published"]
    assert elements.text["small"] == ["version_0", "version_0"]
    assert write(tmp_path, run("one"))[1].text["h1"] == ["Comparison of 1 run"]


def test_folders_below_the_working_directory_are_named_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    one = replace(run("one"), path=tmp_path.resolve() / "mine" / "version_0")
    assert "Runs in mine<" in write(tmp_path, one)[0]


def test_nothing_of_a_run_is_taken_for_html(tmp_path: Path) -> None:
    text, elements = write(tmp_path, run(EVIL), problems=[EVIL])
    assert len(elements.text["script"]) == 2  # plotly.js, and the charts
    assert "b" not in elements.text
    assert elements.text["button"] == [f" {EVIL}"]
    assert elements.text["li"] == [EVIL]
    assert "alert(1)</script>" not in text


def test_it_holds_all_that_it_needs(tmp_path: Path) -> None:
    text, elements = write(tmp_path, run("one"))
    assert elements.links == []
    assert text.count("plotly.js v") == 1
    assert "@import" not in re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)


def test_the_charts_are_those_of_the_runs(tmp_path: Path) -> None:
    text, elements = write(tmp_path, run("one"), run("two", 0.25))
    (line,) = re.findall(r"^const charts = (.*);$", text, re.MULTILINE)
    assert "<" not in line  # nothing in it can end the script
    charts = json.loads(line)
    assert [[trace["y"] for trace in chart["traces"]] for chart in charts] == [
        [],
        [[25.0], [50.0]],
        [[25.0], [50.0]],
        [],
    ]
    assert len(elements.text["figure"]) == 4
    assert elements.text["h2"][:4] == [
        "Validation error against parameters",
        "Best validation error over examples seen",
        "Search cost in examples seen",
        "Search cost in device days",
    ]
    assert re.findall(r'id="(chart-\d)"', text) == ["chart-1", "chart-2"]


def test_what_was_not_read_has_a_section_only_if_there_is_something(tmp_path: Path) -> None:
    assert "Not read" not in write(tmp_path, run("one"))[1].text["h2"]
    assert "Not read" in write(tmp_path, run("one"), problems=["a"])[1].text["h2"]


def test_plotly_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(ImportError, match=r"'plotly'.*lightning-nas\[compare\]"):
        write(tmp_path, run("one"))
