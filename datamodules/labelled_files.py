"""The files of a folder with one sub-folder for each class."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


def class_names(folder: Path) -> list[str]:
    """Return the names of the class folders in ``folder``, sorted; hidden folders are left out."""
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _files_of_class(folder: Path) -> list[Path]:
    # Hidden files are what file managers leave behind (.DS_Store); anything else should be an image.
    walk = os.walk(folder, followlinks=True)
    found = sorted(os.path.join(top, name) for top, _, names in walk for name in names if not name.startswith("."))
    if not found:
        raise ValueError(
            f"Expected images in every class folder but got none in {folder}; remove the folder or fill it."
        )
    return [Path(path) for path in found]


@dataclass(frozen=True)
class LabelledFiles:
    """Paths and the class number of each."""

    paths: tuple[Path, ...]
    labels: tuple[int, ...]

    @classmethod
    def scan(cls, folder: Path) -> "LabelledFiles":
        """List the files of all class folders in ``folder``, sorted by class and name.

        Raises:
            ValueError: If a class folder is empty.
        """
        groups = [_files_of_class(folder / name) for name in class_names(folder)]
        labels = [label for label, group in enumerate(groups) for _ in group]
        return cls(tuple(path for group in groups for path in group), tuple(labels))

    def take(self, indices: Sequence[int]) -> "LabelledFiles":
        """Return only the chosen files."""
        return LabelledFiles(tuple(self.paths[i] for i in indices), tuple(self.labels[i] for i in indices))

    def __len__(self) -> int:
        return len(self.paths)
