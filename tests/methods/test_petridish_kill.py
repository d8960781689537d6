"""Searches by growth that are killed, and go on."""

import json
import math
import os
import shutil
import signal
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD

from lightning_nas._lightning import MisconfigurationException, pl
from lightning_nas.methods import PetridishModule
from lightning_nas.methods.child_record import ChildRecord
from lightning_nas.strategies.proposal import Proposal
from tests.methods.test_child_search import Images
from tests.methods.test_child_search_kill import killed as killed_while
from tests.methods.test_child_search_kill import outcome

OPERATIONS = "operations=identity,max_pool_3x3,avg_pool_3x3"
SPACES = [f"petridish?cells=1&{OPERATIONS}", f"petridish?cells=2&{OPERATIONS}"]
JOBS, EPOCHS = 5, 2  # a seed, a hallucination, a child, a hallucination, a child


def die(folder: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Growing(PetridishModule):
    """Writes down what it builds and what it ends with; ``moment`` is a job, and what is done before what."""

    root: Path
    moment: tuple[int, str] | None = None
    fails: str | None = None  # the space whose hallucinations cannot be built

    def pass_by(self, number: int, what: str) -> None:
        if self.moment == (number, what):
            die(self.root)

    def build_network(self, proposal: Proposal) -> nn.Module:
        self.pass_by(proposal.number, "build")
        with (self.root / "built").open("a") as file:
            file.write(f"{proposal.number}\n")
        network = super().build_network(proposal)
        if proposal.architecture.space == self.fails and self.strategy.jobs[proposal.number].kind == "hallucination":
            raise RuntimeError("cannot be built")
        return network

    def end_round(self, records: list[ChildRecord]) -> None:
        self.pass_by(max(record.number for record in records), "table")
        super().end_round(records)

    def tell(self, record: ChildRecord) -> None:
        super().tell(record)
        if self.moment == (record.number, "drop"):
            self._weights.drop = lambda numbers: die(self.root)  # type: ignore[method-assign]

    def on_fit_end(self) -> None:
        state = self.strategy.state_dict()
        plain = {**state, "generator": state["generator"].tolist(), "needed": sorted(self.strategy.needed)}
        plain["hull"] = {str(number): one.to_dict() for number, one in self.strategy.hull().items()}
        (self.root / f"state{self.global_rank}.json").write_text(json.dumps(plain, sort_keys=True))


class Moment(pl.callbacks.Checkpoint):
    """As a ``Checkpoint`` it is called in its place among those that save, after the module."""

    def __init__(self, epoch: int, batch: int | None = None, act: Callable[[Path], None] = die) -> None:
        self.epoch, self.batch, self.act = epoch, batch, act

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if (trainer.current_epoch, batch_idx) == (self.epoch, self.batch):
            self.act(Path(trainer.default_root_dir))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == self.epoch and self.batch is None:
            self.act(Path(trainer.default_root_dir))


class Save(pl.callbacks.Checkpoint):
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for name in ("last", f"epoch{trainer.current_epoch}"):
            trainer.save_checkpoint(Path(trainer.default_root_dir, f"{name}.ckpt"))


def run(
    folder: Path,
    callbacks: Iterable[pl.Callback] = (),
    *,
    moment: tuple[int, str] | None = None,
    ckpt_path: Path | None = None,
    devices: int = 1,
    jobs: int = JOBS,
    fails: str | None = None,
    **options: Any,
) -> None:
    folder.mkdir(exist_ok=True)
    settings: dict[str, Any] = {
        "scale": {"filters": 2},
        "max_jobs": jobs,
        "seed_epochs": EPOCHS,
        "hallucination_epochs": EPOCHS,
        "child_epochs": EPOCHS,
        "optimizer": partial(SGD, lr=0.1, momentum=0.9, weight_decay=1e-3),
        "eps": math.inf,
        "input_shape": (3, 8, 8),
    }
    module = Growing(SPACES[0], **{**settings, **options})
    module.root, module.moment, module.fails = folder, moment, fails
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=devices,
        max_epochs=50,
        strategy="auto" if devices == 1 else "ddp_fork",
        default_root_dir=folder,
        callbacks=list(callbacks),
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(module, datamodule=Images(), ckpt_path=ckpt_path)


killed = partial(killed_while, run=run)


def built(folder: Path) -> list[int]:
    file = folder / "built"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def state(folder: Path, rank: int = 0) -> Any:
    return json.loads((folder / f"state{rank}.json").read_text())


def weights(folder: Path) -> dict[str, Any]:
    return {path.name: torch.load(path, weights_only=True) for path in (folder / "weights").iterdir()}


def assert_alike(folder: Path, whole: Path) -> None:
    """Rows, pool, hull, selections, queues, and the weights that are left, are equal."""
    assert outcome(folder) == outcome(whole)
    assert state(folder) == state(whole)
    left, expected = weights(folder), weights(whole)
    assert {*left} == {*expected}
    for name, tensors in expected.items():
        assert list(left[name]) == list(tensors)
        assert all(torch.equal(left[name][key], tensor) for key, tensor in tensors.items())


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("straight")
    run(folder, [Save()])
    return folder


def test_the_uninterrupted_search(straight: Path) -> None:
    records = outcome(straight)
    assert [job["kind"] for job in state(straight)["proposals"]] == [
        *("seed", "hallucination", "child", "hallucination", "child")
    ]
    assert [(record.number, record.status, record.epochs) for record in records] == [
        (number, "finished", EPOCHS) for number in range(JOBS)
    ]
    assert built(straight) == list(range(JOBS))
    assert {number for number, *_ in state(straight)["pool"]["models"]} == {0, 2, 4}
    assert sorted(weights(straight)) == ["0.pt", "2.pt", "4.pt"]


KINDS = {"seed": 0, "hallucination": 1, "child": 2, "second hallucination": 3}


def first(job: int) -> int:
    return EPOCHS * job


# what kills, of a job; how many jobs have ended in the table then
MOMENTS: dict[str, Callable[[int], tuple[list[pl.Callback], tuple[int, str] | None, int]]] = {
    "before it is built": lambda job: ([Save()], (job, "build"), job),
    "within its first epoch": lambda job: ([Save(), Moment(first(job), 1)], None, job),
    "between its epochs": lambda job: ([Save(), Moment(first(job))], None, job),
    "within its second epoch": lambda job: ([Save(), Moment(first(job) + 1, 1)], None, job),
    "after its weights, before the table": lambda job: ([Save()], (job, "table"), job),
    "after the table, before weights are dropped": lambda job: ([Save()], (job, "drop"), job + 1),
    "after the table, before the checkpoint": lambda job: ([Moment(first(job) + 1), Save()], None, job + 1),
    "after the checkpoint of its end": lambda job: ([Save(), Moment(first(job) + 1)], None, job + 1),
}
QUICK = {
    ("within its first epoch", "hallucination", True),
    ("between its epochs", "seed", True),
    ("between its epochs", "hallucination", False),
    ("after its weights, before the table", "hallucination", True),
    ("after its weights, before the table", "child", False),
    ("after the table, before weights are dropped", "child", True),
    ("after the table, before the checkpoint", "hallucination", True),
    ("after the checkpoint of its end", "child", True),
}
CASES = [
    pytest.param(*case, marks=[] if case in QUICK else pytest.mark.slow)
    for case in [(moment, kind, checkpoint) for moment in MOMENTS for kind in KINDS for checkpoint in (True, False)]
]


@pytest.mark.parametrize(("moment", "kind", "checkpoint"), CASES)
def test_no_finished_job_is_lost_or_trained_twice(
    moment: str, kind: str, checkpoint: bool, straight: Path, tmp_path: Path
) -> None:
    job = KINDS[kind]
    callbacks, point, ended = MOMENTS[moment](job)
    killed(tmp_path, callbacks, moment=point)
    assert outcome(tmp_path) == outcome(straight)[:ended]
    before = built(tmp_path)
    last = tmp_path / "last.ckpt"
    run(tmp_path, ckpt_path=last if checkpoint and last.exists() else None)
    assert_alike(tmp_path, straight)
    assert built(tmp_path)[len(before) :] == list(range(ended, JOBS))


def test_killed_again_and_again(straight: Path, tmp_path: Path) -> None:
    """Every run is killed in the next job: within it, and between its weights and the table."""
    last = tmp_path / "last.ckpt"
    for job in range(JOBS):
        resumed = last if job else None
        killed(tmp_path, [Save(), Moment(first(job), 1)], ckpt_path=resumed)
        killed(tmp_path, [Save()], moment=(job, "table"), ckpt_path=resumed)
    run(tmp_path, ckpt_path=last)
    assert_alike(tmp_path, straight)
    assert sorted(built(tmp_path)) == sorted(3 * [*range(JOBS)])


@pytest.mark.parametrize(
    "epoch", [2, 4, pytest.param(0, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)]
)
def test_a_checkpoint_that_is_older_than_the_table(epoch: int, straight: Path, tmp_path: Path) -> None:
    """In the same folder, where weights have been dropped since; the last job has not ended."""
    killed(tmp_path, [Save()], moment=(JOBS - 1, "table"))
    assert not (tmp_path / "weights" / "1.pt").exists()
    before = built(tmp_path)
    run(tmp_path, ckpt_path=tmp_path / f"epoch{epoch}.ckpt")
    assert_alike(tmp_path, straight)
    assert built(tmp_path)[len(before) :] == [JOBS - 1]


def test_a_search_that_has_ended_ends_at_once(straight: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(straight, folder)
    (folder / "built").write_text("")
    run(folder)
    assert built(folder) == []
    assert_alike(folder, straight)


@pytest.mark.parametrize("epoch", [2, 5])
def test_another_folder(epoch: int, straight: Path, tmp_path: Path) -> None:
    """Weights are found in the folder of the first run, which stays as it is."""
    first_run = tmp_path / "first"
    killed(first_run, [Save(), Moment(epoch)])
    before = sorted(weights(first_run))
    run(tmp_path / "second", ckpt_path=first_run / "last.ckpt")
    assert sorted(weights(first_run)) == before
    assert outcome(tmp_path / "second") == outcome(straight)
    assert state(tmp_path / "second") == state(straight)
    assert built(tmp_path / "second") == list(range((epoch + 1) // EPOCHS, JOBS))
    left = sorted(weights(tmp_path / "second"))
    assert left == [f"{job}.pt" for job in (0, 2, 4) if job >= (epoch + 1) // EPOCHS]


@pytest.mark.parametrize("checkpoint", [True, False], ids=["ckpt_path", "table"])
def test_weights_that_are_gone_are_missed(checkpoint: bool, tmp_path: Path) -> None:
    killed(tmp_path, [Save()], moment=(2, "build"))
    (tmp_path / "weights" / "1.pt").unlink()
    with pytest.raises(MisconfigurationException, match=r"Expected the weights of job 1, .*weights/1\.pt'\] but found"):
        run(tmp_path, ckpt_path=tmp_path / "last.ckpt" if checkpoint else None)
    assert [record.status for record in outcome(tmp_path)] == ["finished"] * 2  # it has not failed: it can be mended


def test_another_penalty_is_another_search(straight: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(straight, folder)
    with pytest.raises(MisconfigurationException, match=r"children\.csv to hold the children of this search but its"):
        run(folder, l1=0.5)


def test_more_jobs_go_on_with_the_search(straight: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(straight, folder)
    (folder / "built").write_text("")
    run(folder, jobs=JOBS + 2)
    assert built(folder) == [JOBS, JOBS + 1]
    assert outcome(folder)[:JOBS] == outcome(straight)
    run(tmp_path / "whole", jobs=JOBS + 2)
    assert_alike(folder, tmp_path / "whole")
