"""Comparing runs: reading them, and writing a page and pictures."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_nas.extras import import_extra
from lightning_nas.runs.comparison import Comparison
from lightning_nas.runs.read import read_runs

if TYPE_CHECKING:
    from lightning_nas.zoo import PublishedResult


def compare(paths: Iterable[str | Path], output_dir: str | Path, literature: str | None = None) -> Comparison:
    """Compare runs by what they wrote on this machine; no account and no network is needed.

    Written are ``comparison.html``, a page with charts to be explored that holds all it needs, and ``fronts.png``,
    ``trajectories.png`` and ``costs.png``: those for which a run has something to show.

    Args:
        paths: Folders of runs, or folders that hold such, as for ``read_runs``.
        output_dir: Folder to write to.
        literature: A dataset, such as ``"CIFAR-10"``, whose published results are to be shown with the runs.

    Returns:
        The runs side by side.

    Raises:
        FileNotFoundError: If a folder is not there.
        ImportError: If plotly is not installed.
        ValueError: If no run is found, or nothing was published on the dataset.
    """
    import_extra("plotly", "compare")  # both before the reading, which may take a while
    published = _published(literature)
    comparison = Comparison(*read_runs(paths), published)
    # they load matplotlib and torch
    from lightning_nas.runs.page import write_page
    from lightning_nas.runs.pictures import write_pictures

    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    write_page(comparison, folder / "comparison.html", datetime.now().astimezone())
    write_pictures(comparison, folder)
    return comparison


def _published(dataset: str | None) -> tuple["PublishedResult", ...]:
    if dataset is None:
        return ()
    from lightning_nas.zoo import published_results

    return published_results(dataset)
