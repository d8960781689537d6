"""The comparison as one HTML page that needs no network."""

import json
import os
from collections.abc import Sequence
from datetime import datetime
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

import lightning_nas
from lightning_nas.extras import import_extra
from lightning_nas.plotting import palette
from lightning_nas.runs.chart import Chart
from lightning_nas.runs.charts import LITERATURE, SYMBOLS, all_charts, look_of
from lightning_nas.runs.comparison import Comparison
from lightning_nas.runs.run import Run
from lightning_nas.runs.summary import Column, columns

LONG = ("run", "space")  # columns whose words may be broken


def write_page(comparison: Comparison, path: Path, when: datetime) -> None:
    """Write the page: charts to be explored, the table, and what could not be read.

    Args:
        comparison: The runs.
        path: Where to.
        when: The time that the page tells.

    Raises:
        ImportError: If plotly is not installed.
    """
    plotly = import_extra("plotly.offline", "compare").get_plotlyjs()
    charts = all_charts(comparison)
    count = len(comparison.runs)
    page = Template((files("lightning_nas.runs") / "page.html").read_text(encoding="utf-8")).substitute(
        title=f"Comparison of {count} run{'s' if count > 1 else ''}",
        when=when.strftime("%Y-%m-%d %H:%M %Z").strip(),
        version=escape(lightning_nas.__version__),
        folder=escape(str(_shown(_common_folder(comparison)))),
        literature=_literature(comparison),
        legend=_legend(comparison),
        charts=_figures(charts),
        table=_table(comparison),
        problems=_problems(comparison.problems),
        plotly=plotly,
        data=_json([{"traces": chart.traces, "layout": chart.layout} for chart in charts]),
    )
    path.write_text(page, encoding="utf-8")


def _json(data: object) -> str:
    return json.dumps(data).replace("<", "\\u003c")  # or a name could end the script


def _literature(comparison: Comparison) -> str:
    datasets = sorted({result.dataset for result in comparison.literature})
    count = len(comparison.literature)
    return f" · published results on {escape(', '.join(datasets))}: {count}" if datasets else ""


def _legend(comparison: Comparison) -> str:
    looks = [look_of(index) for index in range(len(comparison.runs))]
    entries = [
        (f"run-{index}", run.name, color, SYMBOLS[symbol])
        for index, (run, (color, symbol)) in enumerate(zip(comparison.runs, looks, strict=True))
    ]
    if comparison.literature:
        entries.append((LITERATURE, "published", palette.LITERATURE, "○"))
    return "\n".join(
        f'<button type="button" data-group="{group}" aria-pressed="true">'
        f'<span style="color: {color}" aria-hidden="true">{glyph}</span> {escape(name)}</button>'
        for group, name, color, glyph in entries
    )


def _figures(charts: Sequence[Chart]) -> str:
    """Two stand side by side; of an odd number the trajectories, the last but two, have a row of their own."""
    wide = len(charts) - 3 if len(charts) % 2 else None
    return "\n".join(_figure(number, chart, number == wide) for number, chart in enumerate(charts))


def _figure(number: int, chart: Chart, is_wide: bool) -> str:
    place = f'<div class="chart" id="chart-{number}"></div>' if chart.traces else ""
    start = '<figure class="wide">' if is_wide else "<figure>"
    return f"{start}<h2>{escape(chart.title)}</h2><p>{escape(chart.note)}</p>{place}</figure>"


def _common_folder(comparison: Comparison) -> Path:
    return Path(os.path.commonpath([run.path.parent for run in comparison.runs]))


def _shown(folder: Path) -> Path:
    """Return a folder as seen from the working directory, where it is below that: pages are shown to others."""
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def _table(comparison: Comparison) -> str:
    shown = columns(comparison)
    head = "".join(f'<th scope="col"{_kind(column)}>{escape(column.title)}</th>' for column in shown)
    cells = [[f"<td{_kind(column)}>{escape(cell)}</td>" for cell in column.cells] for column in shown[1:]]
    names = [_name(run, _common_folder(comparison)) for run in comparison.runs]
    body = "\n".join(f"<tr>{''.join(row)}</tr>" for row in zip(names, *cells, strict=True))
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>"


def _name(run: Run, folder: Path) -> str:
    path = escape(str(run.path.relative_to(folder)))
    return f'<th scope="row" class="text long">{escape(run.name)}<small>{path}</small></th>'


def _kind(column: Column) -> str:
    words = ["text"] * column.is_text + ["long"] * (column.title in LONG)
    return f' class="{" ".join(words)}"' if words else ""


def _problems(problems: Sequence[str]) -> str:
    items = "\n".join(f"<li>{escape(problem)}</li>" for problem in problems)
    return f"<section><h2>Not read</h2><ul>{items}</ul></section>" if problems else ""
