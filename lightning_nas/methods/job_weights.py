"""The weights of trained networks that others are to begin with."""

from collections.abc import Collection, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from lightning_nas._lightning import MisconfigurationException
from lightning_nas.methods.processes import on_cpu


class JobWeights:
    """A file for every network, in a folder of the run: they are in memory only while they are read.

    Args:
        folders: The folder of this run comes last, before it those of the runs that it goes on from.
    """

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        self._folders = list(folders)

    def write(self, number: int, network: nn.Module) -> None:
        """Write the weights of a job; a reader never sees half of them."""
        if not self._folders:  # a trial run leaves nothing
            return
        path = self._path(self._folders[-1], number)
        path.parent.mkdir(parents=True, exist_ok=True)
        # one name: a job is one process's, and what a killed one has left is written over when the job is trained again
        partial = path.with_suffix(".partial")
        torch.save(on_cpu(network.state_dict()), partial)
        partial.replace(path)

    def read(self, number: int) -> dict[str, Tensor]:
        """Return the weights of a job.

        Raises:
            MisconfigurationException: If there are none.
        """
        paths = [self._path(folder, number) for folder in reversed(self._folders)]
        found = next((path for path in paths if path.is_file()), None)
        if found is None:
            raise MisconfigurationException(
                f"Expected the weights of job {number}, with which another begins, in one of {list(map(str, paths))} "
                "but found no such file; keep the folder `weights` beside children.csv, and with several machines give "
                "a `folder` that all of them share"
            )
        state: dict[str, Tensor] = torch.load(found, map_location="cpu", weights_only=True)
        return state

    def drop(self, numbers: Collection[int]) -> None:
        """Delete the files of these jobs in the folder of this run."""
        for path in self._folders[-1].glob("*.pt") if self._folders else ():
            if path.stem.isdecimal() and int(path.stem) in numbers:
                path.unlink()

    def _path(self, folder: Path, number: int) -> Path:
        return folder / f"{number}.pt"
