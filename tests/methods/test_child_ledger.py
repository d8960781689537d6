"""The table of a search's children."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lightning_nas.architecture import Architecture
from lightning_nas.methods.child_record import ChildRecord
from lightning_nas.methods.ledger import read_children, write_children

ARCHITECTURE = Architecture("toy", {"activation": "relu", "width": 64, "skip": True, "rate": 0.1})
FINISHED = ChildRecord(
    0,
    ARCHITECTURE,
    "finished",
    score=1 / 3,
    epochs=2,
    examples=128,
    seconds=0.1 + 0.2,
    costs={"params": 10, "macs": 2**40},
    metrics={"val/loss": 2 / 3, "train/loss": 1e-17},
    curve=(0.1, 1 / 3),
    found={"selection": [[[0, "identity"]], []]},
    search="a",
)
FAILED = ChildRecord(1, ARCHITECTURE, "failed", costs={"params": 7}, error='RuntimeError: "two",\nlines; é', search="a")
STOPPED = replace(FINISHED, number=2, status="stopped", score=-0.25, metrics={"val/other": 1.0}, curve=(-0.25,))
ALL = [FINISHED, FAILED, STOPPED]


def test_what_is_read_equals_what_was_written(tmp_path: Path) -> None:
    write_children(ALL, tmp_path / "deep" / "children.csv")
    assert read_children(tmp_path / "deep" / "children.csv") == ALL
    assert [ChildRecord.from_dict(record.to_dict()) for record in ALL] == ALL


def test_columns(tmp_path: Path) -> None:
    write_children(ALL, tmp_path / "children.csv")
    header = (tmp_path / "children.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
    assert header == [
        *("number", "status", "score", "epochs", "examples", "seconds", "params", "macs"),
        *("train/loss", "val/loss", "val/other"),
        *("curve", "error", "found", "search", "architecture"),
    ]


def test_no_file_is_no_children(tmp_path: Path) -> None:
    assert read_children(tmp_path / "children.csv") == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: "name,price\nbread,2\n",
        lambda text: text[:-40],
        lambda text: text.replace("finished", "unknown"),
        lambda text: text.replace("128", "many"),
        lambda text: text.replace("lightning-nas architecture", "something"),
        lambda text: text.replace('"{', "x" * 200_000 + '"{'),  # longer than Python's csv reads
    ],
)
def test_damaged_file_is_named(damage: Callable[[str], str], tmp_path: Path) -> None:
    path = tmp_path / "children.csv"
    write_children(ALL, path)
    path.write_text(damage(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(ValueError, match=r"Expected .*children\.csv to be the table of a search's children but"):
        read_children(path)


def test_a_reader_never_sees_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that dies in the middle leaves the earlier table."""
    path = tmp_path / "children.csv"
    write_children(ALL[:2], path)

    def die(self: ChildRecord) -> dict[str, str]:
        raise KeyboardInterrupt

    sizes = []
    original = Path.replace

    def look(self: Path, target: Path) -> Path:
        sizes.append((len(read_children(self)), len(read_children(target))))
        return original(self, target)

    monkeypatch.setattr(Path, "replace", look)
    write_children(ALL, path)
    assert sizes == [(3, 2)]
    monkeypatch.setattr(ChildRecord, "to_row", die)
    with pytest.raises(KeyboardInterrupt):
        write_children(ALL[:1], path)
    assert read_children(path) == ALL
