import json
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wandb

from lightning_nas.runs.wandb_file import FILE_HEADER, WandbArtifact, WandbFile, WandbMetric, read_wandb_file
from tests.wandb_server import wandb_in

LARGE = "x" * 100_000  # a record of four blocks


def log_everything(run: Any, folder: Path) -> None:
    run.define_metric("search/*", step_metric="search/epoch")
    run.define_metric("error", summary="min")
    for epoch in range(3):
        run.log({"error": 1 / (epoch + 1), "scale": {"a": epoch, "b": {"c": "text"}}, "search/epoch": epoch})
    run.log({"large": LARGE, "infinite": float("inf"), "nothing": None, "dot.ted": True})
    run.log({"image": wandb.Image(np.zeros((8, 8, 3), dtype=np.uint8))})
    run.log({"table": wandb.Table(columns=["a"], data=[[1], [2]])})
    run.config.update({"later": 5})
    run.summary["size"] = 3
    run.summary["gone"] = 3
    del run.summary["gone"]
    (folder / "file.json").write_text("{}")
    artifact = wandb.Artifact("cell", type="architecture", metadata={"params": 1})
    artifact.add_file(str(folder / "file.json"))
    run.log_artifact(artifact, aliases=["best"])


def offline_run(folder: Path) -> Path:
    """Return the file of a run that logs everything."""
    run = wandb.init(
        project="nas",
        group="one",
        job_type="search",
        tags=["darts", "digits"],
        name="first",
        id="id1",
        dir=folder,
        config={"method": "DartsModule", "scale": {"channels": 4}},
    )
    log_everything(run, folder)
    run.finish()
    (path,) = folder.glob("wandb/offline-run-*/run-id1.wandb")
    return path


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    with wandb_in(folder):
        return offline_run(folder)


def leet(path: Path) -> list[dict[str, Any]]:
    """The records of a file, as wandb's own command prints them: what it reads of an incomplete one, too."""
    return [json.loads(line) for line in inspect(path, "--json").splitlines()]


def inspect(path: Path, *options: str) -> str:
    """What wandb's own command prints of a file."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", *options, str(path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, cwd=path.parent)
    return done.stdout


def as_printed(row: dict[str, Any]) -> dict[str, Any]:
    """A row as JSON has it, which knows no infinite numbers."""
    return {key: "Infinity" if value == float("inf") else value for key, value in row.items()}


def assert_equals_leet(read: WandbFile, records: list[dict[str, Any]]) -> None:
    history = [record["history"]["item"] for record in records if record["type"] == "history"]
    assert [as_printed(dict(row)) for row in read.history] == history
    artifacts = [record["artifact"] for record in records if record["type"] == "artifact"]
    assert [(a.name, a.type, list(a.aliases)) for a in read.artifacts] == [
        (a["name"], a["type"], sorted(a["aliases"])) for a in artifacts
    ]
    files = [item["path"] for record in records if record["type"] == "files" for item in record["files"]["files"]]
    assert list(read.files) == files
    metrics = [record["metric"] for record in records if record["type"] == "metric"]
    assert [metric.name for metric in read.metrics] == [m.get("name") or m["glob_name"] for m in metrics]


def test_what_the_run_says_of_itself(written: Path) -> None:
    read = read_wandb_file(written)
    assert (read.run_id, read.project, read.name) == ("id1", "nas", "first")
    assert (read.group, read.job_type, read.tags) == ("one", "search", ("darts", "digits"))
    assert read.config == {"method": "DartsModule", "scale": {"channels": 4}, "later": 5}


def test_what_was_logged(written: Path) -> None:
    read = read_wandb_file(written)
    rows = [{key: value for key, value in row.items() if not key.startswith("_")} for row in read.history]
    assert rows[:4] == [
        {"error": 1.0, "scale.a": 0, "scale.b.c": "text", "search/epoch": 0},
        {"error": 0.5, "scale.a": 1, "scale.b.c": "text", "search/epoch": 1},
        {"error": 1 / 3, "scale.a": 2, "scale.b.c": "text", "search/epoch": 2},
        {"large": LARGE, "infinite": float("inf"), "nothing": None, "dot.ted": True},
    ]
    assert [row["_step"] for row in read.history] == list(range(6))
    assert rows[4]["image._type"] == "image-file"
    assert (rows[5]["table._type"], rows[5]["table.nrows"]) == ("table-file", 2)
    assert all((written.parent / "files" / path).is_file() for path in read.files)
    assert {rows[4]["image.path"], rows[5]["table.path"]} < set(read.files)


def test_the_rest(written: Path) -> None:
    read = read_wandb_file(written)
    assert read.summary["error"] == {"min": 1 / 3}
    assert read.summary["scale"] == {"a": 2, "b": {"c": "text"}}
    assert read.summary["size"] == 3
    assert not {"gone", "_wandb"} & set(read.summary)
    assert read.artifacts == (
        WandbArtifact("run-id1-table", "run_table", ("latest",), {}),
        WandbArtifact("cell", "architecture", ("best", "latest"), {"params": 1}),
    )
    assert read.metrics == (WandbMetric("search/*", "search/epoch", ()), WandbMetric("error", "", ("min",)))


def test_equals_wandbs_own_reader(written: Path) -> None:
    read = read_wandb_file(written)
    assert_equals_leet(read, leet(written))
    summary = json.loads(inspect(written, "--json", "--summary"))
    assert summary["config"] == read.config
    assert summary["summary"] == as_printed(dict(read.summary))
    assert (summary["name"], summary["project"], summary["tags"]) == (read.name, read.project, list(read.tags))


@pytest.mark.parametrize("part", [0.1, 0.45, 0.6, 0.97])
def test_a_file_that_was_cut_off_gives_what_is_whole(written: Path, tmp_path: Path, part: float) -> None:
    """Among these are cuts within a record of several blocks."""
    content = written.read_bytes()
    cut = tmp_path / written.name
    cut.write_bytes(content[: int(part * len(content))])
    assert_equals_leet(read_wandb_file(cut), leet(cut))


def test_every_cut_gives_a_beginning(written: Path, tmp_path: Path) -> None:
    whole = read_wandb_file(written)
    content = written.read_bytes()
    lengths, cut = [], tmp_path / written.name
    for end in [*range(4000, len(content), 4999), len(content)]:
        cut.write_bytes(content[:end])
        read = read_wandb_file(cut)
        lengths.append(len(read.history))
        assert read.history == whole.history[: lengths[-1]]
    assert lengths == sorted(lengths)
    assert len(set(lengths)) > 2
    assert lengths[-1] == len(whole.history) == 6


@pytest.mark.parametrize("size", [7, 10, 100])
def test_a_run_that_never_began(written: Path, tmp_path: Path, size: int) -> None:
    cut = tmp_path / "run-1.wandb"
    cut.write_bytes(written.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"got .*run-1\.wandb: it ends before the run is named; the run was killed"):
        read_wandb_file(cut)


def test_a_damaged_file(written: Path, tmp_path: Path) -> None:
    content = bytearray(written.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "run-1.wandb").write_bytes(content)
    with pytest.raises(ValueError, match=r"got .*run-1\.wandb: it is damaged at byte \d+; copy it again"):
        read_wandb_file(tmp_path / "run-1.wandb")


def test_a_length_beyond_the_block(tmp_path: Path) -> None:
    (tmp_path / "run-1.wandb").write_bytes(FILE_HEADER + b"\0\0\0\0\xff\xff\x01")
    with pytest.raises(ValueError, match=r"run-1\.wandb: it is damaged at byte 7; copy"):
        read_wandb_file(tmp_path / "run-1.wandb")


def chunk(kind: int, data: bytes) -> bytes:
    """A part of a record, as the format of LevelDB has it."""
    checksum = zlib.crc32(data, zlib.crc32(bytes([kind])))
    return checksum.to_bytes(4, "little") + len(data).to_bytes(2, "little") + bytes([kind]) + data


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        (chunk(1, b"\xff\xff"), "the record that ends with the part at byte 7 is none of wandb's"),
        (chunk(4, b""), "the part of a record at byte 7 does not go on from the one before it"),
        (chunk(2, b"abc") + chunk(1, b""), "the part of a record at byte 17 does not go on"),
    ],
)
def test_records_that_are_none(tmp_path: Path, chunks: bytes, message: str) -> None:
    (tmp_path / "run-1.wandb").write_bytes(FILE_HEADER + chunks)
    with pytest.raises(ValueError, match=rf"run-1\.wandb: {message}"):
        read_wandb_file(tmp_path / "run-1.wandb")


@pytest.mark.parametrize("content", [b"", b"epoch,loss\n0,1\n", FILE_HEADER[:6] + b"\x09"])
def test_no_wandb_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "metrics.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"Expected .*metrics\.csv to start as a \.wandb file but got b'.*give the"):
        read_wandb_file(tmp_path / "metrics.csv")
