"""Runs of Weights & Biases, read from the file that a run writes on this machine: no account, no network.

The file is a log in the format of LevelDB, of which every record is a ``Record`` of wandb's protocol.
"""

import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

FILE_HEADER = struct.pack("<4sHB", b":W&B", 0xBEE1, 0)
BLOCK = 32 * 1024
CHUNK_HEADER = struct.Struct("<IHB")  # checksum of kind and data, length of the data, kind
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4
WANDBS_OWN = "_wandb"  # in configs and summaries: what wandb keeps there for itself


@dataclass(frozen=True)
class WandbArtifact:
    """An artifact that a run logged."""

    name: str
    type: str
    aliases: tuple[str, ...]
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class WandbMetric:
    """A call of ``define_metric``.

    Args:
        name: Name or pattern of the metrics.
        step_metric: The metric that they are drawn over, or an empty string.
        summary: What the summary keeps of them, such as ``("min",)``.
    """

    name: str
    step_metric: str
    summary: tuple[str, ...]


@dataclass(frozen=True)
class WandbFile:
    """What a run of Weights & Biases holds.

    Args:
        run_id: Identifier of the run.
        project: Its project.
        name: Its name.
        group: Its group, or an empty string.
        job_type: Its job type, or an empty string.
        tags: Its tags.
        config: Its config, without what wandb keeps there for itself.
        history: What was logged, in order; the keys of a dictionary that was logged are joined with dots.
        summary: The last values, or what ``define_metric`` or the run said.
        artifacts: What was logged with ``log_artifact``, and the tables, in order. Runs that are online send artifacts
            without writing them to the file.
        files: Paths of files within the run's folder ``files``, such as images.
        metrics: The calls of ``define_metric``, in order.
    """

    run_id: str
    project: str
    name: str
    group: str
    job_type: str
    tags: tuple[str, ...]
    config: Mapping[str, Any]
    history: tuple[Mapping[str, Any], ...]
    summary: Mapping[str, Any]
    artifacts: tuple[WandbArtifact, ...]
    files: tuple[str, ...]
    metrics: tuple[WandbMetric, ...]


def read_wandb_file(path: Path) -> WandbFile:
    """Read the file ``run-<id>.wandb`` of a run.

    A run that was killed, or that is still running, gives what is written so far.

    Args:
        path: The file.

    Raises:
        ValueError: If it is no such file, is damaged, or ends before the run is named.
    """
    content = path.read_bytes()
    if content[: len(FILE_HEADER)] != FILE_HEADER:
        raise ValueError(
            f"Expected {path} to start as a .wandb file but got {content[: len(FILE_HEADER)]!r}; "
            "give the file run-<id>.wandb in the folder of a run of Weights & Biases"
        )
    try:
        parts: dict[str, list[Any]] = {}
        for record in _records(content):
            if kind := record.WhichOneof("record_type"):
                parts.setdefault(kind, []).append(getattr(record, kind))
        return _wandb_file(parts)
    except ValueError as error:
        raise ValueError(f"Expected a whole .wandb file but got {path}: {error}") from error


def _records(content: bytes) -> Iterator[Any]:
    record_type = import_module("wandb.proto.wandb_internal_pb2").Record  # made at run time: checkers do not see it
    decode_error = import_module("google.protobuf.message").DecodeError
    begun = bytearray()
    for start, kind, data in _chunks(content):
        if bool(begun) != (kind in (MIDDLE, LAST)):
            raise ValueError(f"the part of a record at byte {start} does not go on from the one before it")
        begun += data
        if kind in (WHOLE, LAST):
            try:
                yield record_type.FromString(bytes(begun))
            except decode_error as error:
                raise ValueError(f"the record that ends with the part at byte {start} is none of wandb's") from error
            begun.clear()


def _chunks(content: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield start, kind and data of each part of a record. No part crosses a block; a file may end anywhere."""
    start = len(FILE_HEADER)
    while start + CHUNK_HEADER.size <= len(content):
        block_end = (start // BLOCK + 1) * BLOCK
        if start + CHUNK_HEADER.size > block_end:
            start = block_end
            continue
        checksum, length, kind = CHUNK_HEADER.unpack_from(content, start)
        end = start + CHUNK_HEADER.size + length
        if len(content) < end <= block_end:
            return
        data = content[start + CHUNK_HEADER.size : end]
        if end > block_end or zlib.crc32(bytes([kind]) + data) != checksum:
            raise ValueError(f"it is damaged at byte {start}; copy it again, or leave this run out")
        yield start, kind, data
        start = end


def _wandb_file(parts: Mapping[str, list[Any]]) -> WandbFile:
    runs = parts.get("run")
    if not runs:
        raise ValueError("it ends before the run is named; the run was killed at once, or has not started yet")
    run = runs[-1]
    return WandbFile(
        run_id=run.run_id,
        project=run.project,
        name=run.display_name,
        group=run.run_group,
        job_type=run.job_type,
        tags=tuple(run.tags),
        config=_merged([*(run.config for run in runs), *parts.get("config", ())]),
        history=tuple(_row(record) for record in parts.get("history", ())),
        summary=_merged([*(run.summary for run in runs), *parts.get("summary", ())]),
        artifacts=tuple(_artifact(record) for record in parts.get("artifact", ())),
        files=tuple(item.path for record in parts.get("files", ()) for item in record.files),
        metrics=tuple(_metric(record) for record in parts.get("metric", ())),
    )


def _row(record: Any) -> dict[str, Any]:
    return {".".join(_keys(item)): json.loads(item.value_json) for item in record.item}


def _keys(item: Any) -> list[str]:
    return list(item.nested_key) or [item.key]


def _merged(records: list[Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for record in records:
        for item in record.update:
            *outer, last = _keys(item)
            _inner(merged, outer)[last] = json.loads(item.value_json)
        for item in record.remove:
            *outer, last = _keys(item)
            _inner(merged, outer).pop(last, None)
    return {key: value for key, value in merged.items() if key != WANDBS_OWN}


def _inner(data: dict[str, Any], keys: list[str]) -> dict[str, Any]:
    for key in keys:
        if not isinstance(data.get(key), dict):
            data[key] = {}
        data = data[key]
    return data


def _artifact(record: Any) -> WandbArtifact:
    metadata = json.loads(record.metadata) if record.metadata else {}
    return WandbArtifact(record.name, record.type, tuple(sorted(record.aliases)), metadata)


def _metric(record: Any) -> WandbMetric:
    summary = tuple(field.name for field, value in record.summary.ListFields() if value is True)
    return WandbMetric(record.name or record.glob_name, record.step_metric, summary)
