"""The files of finished children, from which a run that is started again knows them."""

import json
from collections.abc import Iterable
from pathlib import Path

from lightning_nas._lightning import MisconfigurationException
from lightning_nas.architecture import Architecture
from lightning_nas.methods.child_record import ChildRecord
from lightning_nas.methods.ledger import read_children, write_children
from lightning_nas.seeding import derive_seed


class ChildFiles:
    """The tables of a search's finished children: this run's, and those of the runs that it resumes."""

    def __init__(self) -> None:
        self.paths: list[str] = []  # the last is this run's
        self.known: dict[int, ChildRecord] = {}  # by number
        self.search = ""

    def read(self, search: str, own: Path | None) -> dict[int, ChildRecord]:
        """Return the children of a search, by number, that the files hold.

        Args:
            search: What ``digest`` says of the search.
            own: The file of this run, or ``None`` if it is to know nothing.

        Raises:
            MisconfigurationException: If the run's own file holds a child of another search.
        """
        self.search = search
        if own is None:
            self.paths = []  # nor write over what earlier runs have written
            return {}
        self.paths = [*(path for path in self.paths if path != str(own)), str(own)]
        tables = [read_children(Path(path)) for path in self.paths]
        for record in tables[-1]:
            self._check(record, record.architecture)
        return {record.number: record for table in tables for record in table if record.search == search}

    def find(self, number: int, architecture: Architecture) -> ChildRecord | None:
        """Return a child if an earlier run has finished it.

        Raises:
            MisconfigurationException: If the child of this number is another one.
        """
        record = self.known.get(number)
        if record is not None:
            self._check(record, architecture)
        return record

    def write(self, records: Iterable[ChildRecord]) -> None:
        """Write the run's own file: these children, and the others that are known."""
        if self.paths:
            rows = {**self.known, **{record.number: record for record in records}}
            write_children([rows[number] for number in sorted(rows)], Path(self.paths[-1]))

    def _check(self, record: ChildRecord, architecture: Architecture) -> None:
        if (record.architecture, record.search) != (architecture, self.search):
            raise MisconfigurationException(
                f"Expected {self.paths[-1]} to hold the children of this search but its child {record.number} is one "
                "of a search with other settings; give another `folder`, or the settings (and, if it had not been "
                "resumed with `ckpt_path`, the number of processes) of the search that has written it"
            )


def digest(*settings: object) -> str:
    """Return what tells the children of searches with different settings apart."""
    return f"{derive_seed(json.dumps(settings, sort_keys=True, default=_type)):016x}"


def _type(value: object) -> str:
    return type(value).__name__  # the text of an object may hold its address
