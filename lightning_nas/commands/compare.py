"""``lightning-nas compare``."""

import sys
from collections.abc import Sequence
from pathlib import Path

from lightning_nas.extras import import_extra
from lightning_nas.runs import compare
from lightning_nas.runs.terminal import print_table


def run_compare(run_dirs: Sequence[Path], output_dir: Path, literature: str | None) -> None:
    """Print the table of the runs, and write the page and the pictures; what could not be read is said at the end."""
    import_extra("rich", "compare")
    comparison = compare(run_dirs, output_dir, literature)
    print_table(comparison)
    print(f"In {output_dir}: comparison.html (charts to be explored), and the same as PNG")
    for problem in comparison.problems:
        print(f"Not read: {problem}", file=sys.stderr)
