"""``lightning-nas workspace``: a page of Weights & Biases on which searches compare."""

from pathlib import Path
from typing import Any

from lightning_nas.extras import import_extra

NAME = "Architecture search"
EXAMPLES = "search/examples_seen"
OVER_EXAMPLES = {
    "search/best_error": "Best validation error over examples seen",
    "pareto/hypervolume": "Hypervolume of the front over examples seen",
    "pareto/size": "Architectures on the front over examples seen",
}
COSTS = {
    "search/device_hours": "Device hours",
    "search/examples_seen": "Examples seen",
    "search/children": "Children trained",
}
SIGNS_OF_COLLAPSE = {
    "search/skip_count": "Skip connections of the derived cell",
    "search/entropy": "Entropy of alphas, or of a controller",
    "search/hessian_eigenvalue": "Largest eigenvalue of the Hessian in the alphas",
}
PICTURES = {"architecture/cells": "Derived cells", "pareto/front": "Front"}


def run_workspace(entity: str, project: str, json: Path | None) -> None:
    """Save a workspace to Weights & Biases and print its address, or write to a file what would be sent.

    Args:
        entity: The user or team that owns the project.
        project: The project.
        json: The file; nothing is sent if there is one.

    Raises:
        ImportError: If wandb-workspaces is not installed.
        ValueError: If Weights & Biases does not take the workspace.
    """
    workspace = search_workspace(entity, project)
    if json is not None:
        json.parent.mkdir(parents=True, exist_ok=True)
        json.write_text(to_json(workspace), encoding="utf-8")
        print(f"Written: {json}")
        return
    try:
        workspace.save()
    except Exception as error:  # wandb raises many kinds, some of them not public
        raise ValueError(
            f"Expected to save a workspace in {entity}/{project} but got: {error}; "
            "log in with `wandb login`, or write it to a file with --json"
        ) from error
    print(workspace.url)


def to_json(workspace: Any) -> str:
    """Return what is sent when a workspace is saved."""
    # wandb-workspaces has no public way to get it: its `save` makes it by this method, and sends it
    model = workspace._to_model()
    text: str = model.model_dump_json(by_alias=True, exclude_none=True, indent=2)
    return text


def search_workspace(entity: str, project: str) -> Any:
    """Return a workspace of the searches of a project, grouped by their method."""
    ws = import_extra("wandb_workspaces.workspaces", "workspace")
    expr = import_extra("wandb_workspaces.expr", "workspace")
    runs = ws.RunsetSettings(filters="JobType == 'search'", groupby=[expr.Config("method")])
    sections = {
        "What was found": [*_lines(EXAMPLES, OVER_EXAMPLES), *_fronts()],
        "What it cost": [*_bars(COSTS), *_lines("search/device_hours", {"search/best_error": "Best error over hours"})],
        "Collapse": _lines("epoch", SIGNS_OF_COLLAPSE),
        "Architectures": _pictures(PICTURES),
    }
    return ws.Workspace(
        entity=entity,
        project=project,
        name=NAME,
        sections=[ws.Section(name=name, panels=panels, is_open=True) for name, panels in sections.items()],
        runset_settings=runs,
    )


def _panels() -> Any:
    return import_extra("wandb_workspaces.reports.v2", "workspace")


def _lines(x: str, titles: dict[str, str]) -> list[Any]:
    return [_panels().LinePlot(title=title, x=x, y=[name]) for name, title in titles.items()]


def _bars(titles: dict[str, str]) -> list[Any]:
    return [_panels().BarPlot(title=title, metrics=[name]) for name, title in titles.items()]


def _pictures(titles: dict[str, str]) -> list[Any]:
    return [_panels().MediaBrowser(title=title, media_keys=[name]) for name, title in titles.items()]


def _fronts() -> list[Any]:
    """Return a point for each search, what it derives; and the candidates of all searches in one plot."""
    wr = _panels()
    derived = wr.ScatterPlot(
        title="Best validation error against derived parameters",
        x=wr.SummaryMetric("derived/params"),
        y=wr.SummaryMetric("search/best_error"),
        log_x=True,
    )
    candidates = wr.CustomChart(
        query={"summaryTable": {"tableKey": "pareto/scatter_table"}},
        chart_name="wandb/scatter/v0",  # a server knows it; a chart of our own would have to be registered there
        chart_fields={"x": "params", "y": "val/error"},
        chart_strings={"title": "Candidates: validation error against parameters"},
    )
    return [derived, candidates]
