"""The table of runs on a terminal."""

from typing import Any

from lightning_nas.extras import import_extra
from lightning_nas.runs.comparison import Comparison
from lightning_nas.runs.summary import Column, columns

PIPED_WIDTH = 10_000  # in a pipe every run is one line, however long


def print_table(comparison: Comparison, file: Any = None) -> None:
    """Print the table of runs. On a terminal, what all of several runs have in common is said once, above it.

    Args:
        comparison: The runs.
        file: Where to, by default the standard output.

    Raises:
        ImportError: If rich is not installed.
    """
    console = import_extra("rich.console", "compare").Console(file=file, highlight=False)
    shown = columns(comparison)
    common = [column for column in shown if column.is_text and len(comparison.runs) > 1 and len({*column.values}) == 1]
    if not console.is_terminal:
        console.width, common = PIPED_WIDTH, []
    if common:
        said = ", ".join(f"{column.title} {column.cells[0]}" for column in common)
        console.print(f"All {len(comparison.runs)} runs: {said}", markup=False)
    console.print(_table([column for column in shown if column not in common], wraps=console.is_terminal))


def _table(shown: list[Column], wraps: bool) -> Any:
    """Names are the user's: they are given as text, which is no markup."""
    box = import_extra("rich.box", "compare")
    text = import_extra("rich.text", "compare").Text
    table = import_extra("rich.table", "compare").Table(
        box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0 if wraps else 1, 0, 0)
    )
    for column in shown:
        title = text(column.title.replace(" ", "\n") if wraps else column.title)
        if column.is_text:
            table.add_column(title, overflow="fold")
        else:
            table.add_column(title, justify="right", no_wrap=True)
    for cells in zip(*(column.cells for column in shown), strict=True):
        table.add_row(*map(text, cells))
    return table
