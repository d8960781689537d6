"""What is sent for a workspace; how the real web page shows it is not testable here."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from lightning_nas.main import main
from tests.wandb_server import WandbServer, serving, wandb_in

# what wandb-workspaces 0.4.13 uses of pydantic
pytestmark = pytest.mark.filterwarnings("ignore:Pydantic V1 style `@validator`:DeprecationWarning")

Panel = tuple[str, dict[str, Any]]


def line(title: str, y: str, x: str) -> Panel:
    return "Run History Line Plot", {"chartTitle": title, "xAxis": x, "metrics": [y]}


def bars(title: str, metric: str) -> Panel:
    return "Bar Chart", {"chartTitle": title, "metrics": [metric], "vertical": False}


def pictures(title: str, key: str) -> Panel:
    return "Media Browser", {"chartTitle": title, "mediaKeys": [key]}


EXAMPLES = "search/examples_seen"
DERIVED = (
    "Scatter Plot",
    {
        "chartTitle": "Best validation error against derived parameters",
        "xAxis": "summary:derived/params",
        "yAxis": "summary:search/best_error",
        "xAxisLogScale": True,
    },
)
TABLE = {"name": "summaryTable", "args": [{"name": "tableKey", "value": "pareto/scatter_table"}], "fields": []}
CANDIDATES = (
    "Vega2",
    {
        "transform": {"name": "tableWithLeafColNames"},
        "userQuery": {
            "queryFields": [
                {
                    "name": "runSets",
                    "args": [{"name": "runSets", "value": "${runSets}"}, {"name": "limit", "value": 500.0}],
                    "fields": [TABLE, {"name": "id", "value": []}, {"name": "name", "value": []}],
                }
            ]
        },
        "panelDefId": "wandb/scatter/v0",
        "fieldSettings": {"x": "params", "y": "val/error"},
        "stringSettings": {"title": "Candidates: validation error against parameters"},
    },
)
SECTIONS = {
    "What was found": [
        line("Best validation error over examples seen", "search/best_error", EXAMPLES),
        line("Hypervolume of the front over examples seen", "pareto/hypervolume", EXAMPLES),
        line("Architectures on the front over examples seen", "pareto/size", EXAMPLES),
        DERIVED,
        CANDIDATES,
    ],
    "What it cost": [
        bars("Device hours", "search/device_hours"),
        bars("Examples seen", "search/examples_seen"),
        bars("Children trained", "search/children"),
        line("Best error over hours", "search/best_error", "search/device_hours"),
    ],
    "Collapse": [
        line("Skip connections of the derived cell", "search/skip_count", "epoch"),
        line("Entropy of alphas, or of a controller", "search/entropy", "epoch"),
        line("Largest eigenvalue of the Hessian in the alphas", "search/hessian_eigenvalue", "epoch"),
    ],
    "Architectures": [pictures("Derived cells", "architecture/cells"), pictures("Front", "pareto/front")],
}


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["lightning-nas", "workspace", "--entity", "us", "--project", "nas", *words])
    return main()


def assert_expected(section: dict[str, Any]) -> None:
    """Assert that it has the panels above, and shows searches by method."""
    shown = {
        part["name"]: [(panel["viewType"], panel["config"]) for panel in part["panels"]]
        for part in section["panelBankConfig"]["sections"]
    }
    assert shown == SECTIONS
    (runs,) = section["runSets"]
    assert runs["grouping"] == [{"section": "config", "name": "method.value"}]
    (condition,) = runs["filters"]["filters"]
    assert (condition["key"], condition["op"]) == ({"section": "run", "name": "jobType"}, "=")
    assert (condition["value"], condition["disabled"]) == ("search", False)


def test_is_written_without_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new" / "workspace.json"
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:1")  # nobody answers there
    assert call(monkeypatch, "--json", str(path)) == 0
    written = json.loads(path.read_text())
    assert (written["entity"], written["project"]) == ("us", "nas")
    assert written["displayName"] == "Architecture search"
    assert_expected(written["spec"]["section"])
    assert capsys.readouterr().out == f"Written: {path}\n"


def test_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with serving() as server, wandb_in(tmp_path, server):
        assert call(monkeypatch) == 0
    assert server.unknown == []
    (view,) = server.views
    assert (view["entityName"], view["projectName"]) == ("us", "nas")
    assert (view["displayName"], view["type"]) == ("Architecture search", "project-view")
    assert_expected(json.loads(view["spec"])["section"])
    name = view["name"].removeprefix("nw-").removesuffix("-v")
    assert capsys.readouterr().out == f"{server.url}/us/nas?nw={name}\n"


def test_a_server_that_refuses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr(WandbServer, "answer_upsert_view2")
    with serving() as server, wandb_in(tmp_path, server):
        assert call(monkeypatch) == 1
    error = capsys.readouterr().err
    assert "lightning-nas workspace: Expected to save a workspace in us/nas but got: " in error
    assert "log in with `wandb login`, or write it to a file with --json" in error


def test_without_the_package(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    assert call(monkeypatch) == 1
    assert "pip install 'lightning-nas[workspace]'" in capsys.readouterr().err
