"""The files of weights."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from lightning_nas._lightning import MisconfigurationException
from lightning_nas.methods.job_weights import JobWeights


def network(value: float) -> nn.Module:
    module = nn.BatchNorm1d(2)
    nn.init.constant_(module.weight, value)
    return module


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_weights_are_read_back(tmp_path: Path) -> None:
    weights = JobWeights([tmp_path / "run" / "weights"])
    weights.write(3, network(2.5).double())
    weights.write(12, network(0.5))
    assert names(tmp_path / "run" / "weights") == ["12.pt", "3.pt"]
    state = weights.read(3)
    assert list(state) == list(network(0.0).state_dict())
    assert state["weight"].tolist() == [2.5, 2.5]
    assert state["weight"].dtype == torch.float64
    assert weights.read(12)["weight"].tolist() == [0.5, 0.5]


def test_a_job_that_is_trained_again_replaces_its_weights(tmp_path: Path) -> None:
    weights = JobWeights([tmp_path])
    for value in (1.0, 2.0):
        weights.write(0, network(value))
    assert weights.read(0)["weight"].tolist() == [2.0, 2.0]
    assert names(tmp_path) == ["0.pt"]


def test_what_a_killed_process_has_written_half_does_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(state: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", half)
        with pytest.raises(KeyboardInterrupt):
            JobWeights([tmp_path]).write(4, network(1.0))
    (left,) = names(tmp_path)
    assert left.endswith(".partial")
    with pytest.raises(MisconfigurationException, match="Expected the weights of job 4"):
        JobWeights([tmp_path]).read(4)
    monkeypatch.setattr("os.getpid", lambda: -1)  # another process
    JobWeights([tmp_path]).write(4, network(1.0))
    assert names(tmp_path) == ["4.pt"]


def test_earlier_runs_are_looked_through_from_the_last_to_the_first(tmp_path: Path) -> None:
    first, second, own = (tmp_path / name for name in ("first", "second", "own"))
    JobWeights([first]).write(0, network(1.0))
    JobWeights([first]).write(1, network(1.0))
    JobWeights([second]).write(1, network(2.0))
    weights = JobWeights([first, second, own])
    assert [float(weights.read(number)["weight"][0]) for number in (0, 1)] == [1.0, 2.0]
    weights.write(0, network(3.0))
    assert float(weights.read(0)["weight"][0]) == 3.0
    assert float(JobWeights([first]).read(0)["weight"][0]) == 1.0


def test_only_the_run_s_own_files_are_dropped(tmp_path: Path) -> None:
    first, own = tmp_path / "first", tmp_path / "own"
    for number in (0, 1):
        JobWeights([first]).write(number, network(1.0))
    weights = JobWeights([first, own])
    for number in (1, 2, 10):
        weights.write(number, network(1.0))
    (own / "best.pt").write_text("the user's")
    weights.drop({0, 1, 10, 99})
    assert names(own) == ["2.pt", "best.pt"]
    assert names(first) == ["0.pt", "1.pt"]


def test_missing_weights_are_named(tmp_path: Path) -> None:
    first, own = tmp_path / "first", tmp_path / "own"
    paths = [str(own / "7.pt"), str(first / "7.pt")]
    message = (
        f"Expected the weights of job 7, with which another begins, in one of {paths} "
        "but found no such file; keep the folder `weights` beside children.csv"
    )
    with pytest.raises(MisconfigurationException, match=re.escape(message)):
        JobWeights([first, own]).read(7)


def test_a_trial_run_leaves_nothing_and_finds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    weights = JobWeights()
    weights.write(0, network(1.0))
    weights.drop({0})
    assert names(tmp_path) == []
    with pytest.raises(MisconfigurationException, match=r"in one of \[\] but found no such file"):
        weights.read(0)
