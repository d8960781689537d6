"""What a run of a search sends to a server is what its file holds, at once or afterwards."""

import json
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from lightning_nas import DartsModule
from lightning_nas._lightning import pl
from lightning_nas.callbacks.architecture_log import ArchitectureLog
from lightning_nas.callbacks.pareto_front import ParetoFront
from lightning_nas.runs.wandb_file import WandbFile, read_wandb_file
from lightning_nas.testing.search_module import RandomImages
from tests.wandb_server import WandbServer, serving, wandb_in

SCALE = {"channels": 4, "cells": 1}

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval"),
]


def search(folder: Path, *, offline: bool) -> Path:
    """Run a search, and return the folder of its run."""
    logger = import_module(f"{pl.__name__}.loggers").WandbLogger(
        project="nas", id="id1", name="first", tags=["mine"], save_dir=folder, offline=offline
    )
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=2,
        logger=logger,
        callbacks=[ParetoFront(["val/error", "params"], scale=SCALE), ArchitectureLog()],
        default_root_dir=folder,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(DartsModule("nasbench201", scale=SCALE, order="first"), datamodule=RandomImages(4))
    logger.experiment.finish()
    (run,) = (folder / "wandb").glob("*run-*-id1")
    return run


def flat(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A row with the keys of dictionaries in it joined with dots."""
    items: dict[str, Any] = {}
    for key, value in row.items():
        items |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return items


def contents(run: Path, read: WandbFile) -> dict[str, bytes]:
    """The files of a run, by name."""
    return {name: (run / "files" / name).read_bytes() for name in read.files if name.startswith("media/")}


def artifacts(server: WandbServer) -> set[tuple[str, str, tuple[str, ...]]]:
    """Name, type and aliases of what is whole."""
    sent = [server.artifacts[made] for made in server.committed]
    return {
        (one["artifactCollectionName"], one["artifactTypeName"], tuple(sorted(a["alias"] for a in one["aliases"])))
        for one in sent
    }


def assert_front_arrived(server: WandbServer, folder: Path) -> None:
    """Assert that the files of the front arrived as they are on disk."""
    files = [folder / "pareto.json", *(folder / "pareto").glob("*.json")]
    assert len(files) > 1
    sent = {made.partition("/")[2]: content for made, content in server.uploads.items() if made.startswith("artifact-")}
    assert {file.name: sent.get(file.name) for file in files} == {file.name: file.read_bytes() for file in files}
    names = {name for name, kind, _ in artifacts(server) if kind in ("architecture", "pareto-front")}
    assert names == {"pareto-id1", *(f"pareto-id1-{file.stem}" for file in files[1:])}


def assert_holds(server: WandbServer, run: Path, read: WandbFile) -> None:
    """Assert that a server got what the file of a run holds."""
    assert server.unknown == []
    assert server.finished
    assert [flat(row) for row in server.history] == list(read.history)
    assert len(read.history) > 2

    said = server.run
    assert (said["project"], said["name"], said["displayName"]) == (read.project, read.run_id, read.name)
    assert (said["groupName"], said["jobType"]) == (read.group, read.job_type)
    assert tuple(said["tags"]) == read.tags
    assert server.config == read.config

    expected = contents(run, read)
    assert {name: server.uploads.get(name) for name in expected} == expected
    summary = json.loads(server.uploads["wandb-summary.json"])
    summary.pop("_wandb")
    assert summary == read.summary


def test_a_run_sent_at_once(tmp_path: Path) -> None:
    with serving() as server, wandb_in(tmp_path, server):
        run = search(tmp_path, offline=False)
    read = read_wandb_file(run / "run-id1.wandb")
    assert_holds(server, run, read)
    assert_front_arrived(server, tmp_path / "nas" / "id1")
    assert read.artifacts == ()  # online they are sent, but not written


def test_a_run_sent_afterwards(tmp_path: Path) -> None:
    with wandb_in(tmp_path):
        run = search(tmp_path, offline=True)
    assert run.name.startswith("offline-run-")
    with serving() as server, wandb_in(tmp_path, server):
        command = [sys.executable, "-m", "wandb", "sync", str(run)]
        subprocess.run(command, check=True, capture_output=True, timeout=120, cwd=tmp_path)
    read = read_wandb_file(run / "run-id1.wandb")
    assert_holds(server, run, read)
    assert_front_arrived(server, tmp_path / "nas" / "id1")
    assert artifacts(server) == {(one.name, one.type, one.aliases) for one in read.artifacts}
