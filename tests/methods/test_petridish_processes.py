"""Searches by growth in two processes, whole and interrupted."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.methods.test_child_search_kill import outcome
from tests.methods.test_petridish_kill import SPACES, Moment, Save, assert_alike, built, run, state, weights

TWO: dict[str, Any] = {"seeds": SPACES, "jobs": 8, "hallucination_epochs": 1}


def interrupt(folder: Path) -> None:
    raise RuntimeError("interrupted")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pair")
    run(folder, [Save()], devices=2, **TWO)
    return folder


def test_two_processes_train_two_jobs_at_a_time(pair: Path, tmp_path: Path) -> None:
    """Two lines: what is trained in the first two rounds is what one process trains first, too."""
    assert state(pair, 0) == state(pair, 1)
    kinds = [job["kind"] for job in state(pair)["proposals"]]
    assert kinds == [kind for kind in ("seed", "hallucination", "child", "hallucination") for _ in range(2)]
    assert sorted(built(pair)) == list(range(8))
    checkpoint = torch.load(pair / "last.ckpt", weights_only=True)
    assert checkpoint["epoch"] == 2 + 1 + 2 + 1  # rounds of two jobs; in one more epoch there was nothing left
    run(tmp_path, **{**TWO, "jobs": 4})
    assert outcome(pair)[:4] == outcome(tmp_path)
    jobs = state(pair)["proposals"], state(tmp_path)["proposals"]
    assert jobs[0][:4] == jobs[1]
    kept = {*state(pair)["needed"], *map(int, state(pair)["hull"])}
    assert {*weights(pair)} == {f"{number}.pt" for number in kept}
    assert all(state(pair)["proposals"][number]["kind"] != "hallucination" for number in kept - {6, 7})


def test_one_process_goes_on_with_the_jobs_of_two(pair: Path, tmp_path: Path) -> None:
    """Both children were under way: it ends them one after the other, and all is as it would have been."""
    with pytest.raises(Exception, match="interrupted"):
        run(tmp_path, [Save(), Moment(4, 1, interrupt)], devices=2, **TWO)
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert sorted(running["number"] for running in checkpoint["running"]) == [4, 5]
    before = built(tmp_path)
    run(tmp_path, ckpt_path=tmp_path / "last.ckpt", **TWO)
    assert built(tmp_path)[len(before) :] == [4, 5, 6, 7]
    assert_alike(tmp_path, pair)


@pytest.mark.parametrize(
    ("epoch", "batch", "ended"),
    [
        (2, 1, 2),
        pytest.param(3, 1, 4, marks=pytest.mark.slow),
        pytest.param(2, None, 4, marks=pytest.mark.slow),
        pytest.param(4, None, 6, marks=pytest.mark.slow),
    ],
)
def test_two_processes_are_interrupted(epoch: int, batch: int | None, ended: int, pair: Path, tmp_path: Path) -> None:
    """In the hallucinations, in the children, and after their ends."""
    with pytest.raises(Exception, match="interrupted"):
        run(tmp_path, [Save(), Moment(epoch, batch, interrupt)], devices=2, **TWO)
    assert outcome(tmp_path) == outcome(pair)[:ended]
    before = built(tmp_path)
    run(tmp_path, ckpt_path=tmp_path / "last.ckpt", devices=2, **TWO)
    assert_alike(tmp_path, pair)
    assert state(tmp_path, 0) == state(tmp_path, 1)
    assert sorted(built(tmp_path)[len(before) :]) == list(range(ended, 8))


def test_two_processes_know_the_table(pair: Path, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="interrupted"):
        run(tmp_path, [Moment(3, 1, interrupt)], devices=2, **TWO)
    before = built(tmp_path)
    run(tmp_path, devices=2, **TWO)
    assert_alike(tmp_path, pair)
    assert sorted(built(tmp_path)[len(before) :]) == list(range(4, 8))


def test_two_processes_go_on_with_the_search_of_one(pair: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="interrupted"):
        run(tmp_path, [Save(), Moment(5, 0, interrupt)], **TWO)  # in the second hallucination
    assert outcome(tmp_path) == outcome(pair)[:3]
    before = built(tmp_path)
    run(tmp_path, ckpt_path=tmp_path / "last.ckpt", devices=2, **TWO)
    assert sorted(built(tmp_path)[len(before) :]) == list(range(3, 8))
    assert state(tmp_path, 0) == state(tmp_path, 1)
    assert outcome(tmp_path)[:4] == outcome(pair)[:4]
    assert [record.status for record in outcome(tmp_path)] == ["finished"] * 8


@pytest.mark.parametrize("checkpoint", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["ckpt_path", "table"])
def test_a_process_waits_for_the_other(checkpoint: bool, tmp_path: Path) -> None:
    """Three seeds: in the second round one process has the last of them, the other a shorter hallucination."""
    options = {**TWO, "seeds": [*SPACES, SPACES[0]], "jobs": 6}
    run(tmp_path / "whole", devices=2, **options)
    assert [job["kind"] for job in state(tmp_path / "whole")["proposals"]] == ["seed"] * 3 + ["hallucination"] * 3
    folder = tmp_path / "run"
    with pytest.raises(Exception, match="interrupted"):
        run(folder, [Save(), Moment(3, 1, interrupt)], devices=2, **options)
    assert [record.number for record in outcome(folder)] == [0, 1]
    assert (folder / "weights" / "3.pt").is_file()  # the hallucination has ended, the seed has not
    before = built(folder)
    run(folder, ckpt_path=folder / "last.ckpt" if checkpoint else None, devices=2, **options)
    assert_alike(folder, tmp_path / "whole")
    assert sorted(built(folder)[len(before) :]) == ([2, 4, 5] if checkpoint else [2, 3, 4, 5])


def test_a_job_that_fails_in_one_process(tmp_path: Path) -> None:
    run(tmp_path, devices=2, fails=SPACES[1], **{**TWO, "jobs": 9})
    assert state(tmp_path, 0) == state(tmp_path, 1)
    records, jobs = outcome(tmp_path), state(tmp_path)["proposals"]
    failed = [
        k for k, job in enumerate(jobs) if (job["kind"], records[k].architecture.space) == ("hallucination", SPACES[1])
    ]
    assert [k for k, record in enumerate(records) if record.status == "failed"] == failed
    assert 2 in failed or 3 in failed
    assert len(failed) < len([job for job in jobs if job["kind"] == "hallucination"])
    assert not {job["parent"] for job in jobs} & {*failed}
    assert not {*weights(tmp_path)} & {f"{number}.pt" for number in failed}
    assert sorted(built(tmp_path)) == list(range(len(records)))
