import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = [
    pytest.param(code, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))
]


@pytest.mark.filterwarnings("ignore")  # what Lightning warns of in a user's project is not the example's fault
@pytest.mark.parametrize("code", EXAMPLES)
def test_example_runs(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "<example>", "exec"), {})
    if "DeriveArchitecture" in code:
        assert (tmp_path / "runs" / "darts" / "cells.png").is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_result_is_left_to_fill_in(page: Path) -> None:
    assert "RESULTS_" not in page.read_text()


def test_there_are_examples_for_every_method() -> None:
    pages = (
        "README",
        "darts",
        "retraining",
        "data",
        "nasbench201",
        "own_model",
        "enas",
        "child_searches",
        "tracking",
        "language",
        "petridish",
    )
    assert {example.id for example in EXAMPLES} >= {f"{page}-0" for page in pages}
