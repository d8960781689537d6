import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lightning_nas.objective import Objective
from lightning_nas.runs import Run, read_runs
from tests.finish_wandb import finish_wandb
from tests.runs.folders import IDENTITY, children_file, csv_run, pareto_file, supernet_rows

ERROR = Objective("val/error")


def read_one(folder: Path) -> Run:
    (run,), problems = read_runs([folder])
    assert problems == []
    return run


def test_a_run_of_the_csv_logger(tmp_path: Path) -> None:
    run = read_one(csv_run(tmp_path / "darts" / "version_0", supernet_rows([0.5, 0.25]), seed=3, tags=["a"]))
    assert run.name == "darts"
    assert run.identity == {**IDENTITY, "seed": 3, "tags": ["a"]}
    assert [row["epoch"] for row in run.history] == [0, 1]
    assert run.trajectory(ERROR) == {1000: 0.5, 2000: 0.25}
    # what was derived in each epoch, with what the supernet had just then
    assert [(point.name, point.values) for point in run.candidates] == [
        ("epoch 0", {"val/error": 0.5, "params": 100.0, "macs": 5000.0}),
        ("epoch 1", {"val/error": 0.25, "params": 101.0, "macs": 4999.0}),
    ]


def test_the_rows_of_a_resumed_run_replace_those_of_the_same_step(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"step": 1, "val/loss": 3.0, "lr": 0.1},
        {"step": 2, "val/loss": 2.0, "lr": 0.1},
        {"step": 2, "val/loss": 1.5},
        {"step": 3, "val/loss": "nan", "lr": "inf"},
        {"lr": 7.0},  # a row without a step belongs to none
    ]
    assert read_one(csv_run(tmp_path, rows)).history == (
        {"val/loss": 3.0, "lr": 0.1},
        {"val/loss": 1.5, "lr": 0.1},
        {},
    )


def test_an_accuracy_in_percent_is_no_fraction(tmp_path: Path) -> None:
    run = read_one(csv_run(tmp_path, [{"step": 1, "val/accuracy": 93.5, "test/accuracy": 1.0}]))
    assert run.history == ({"val/accuracy": 93.5, "test/accuracy": 1.0, "test/error": 0.0},)


def test_hyperparameters_are_never_run_and_may_be_of_any_type(tmp_path: Path) -> None:
    csv_run(tmp_path, [{"step": 0, "val/loss": 1.0}])
    touched = tmp_path / "touched"
    lines = [
        f"optimizer: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{touched}']]",
        "shape: !!python/tuple [3, 8, 8]",
        "space: !!python/object:lightning_nas.spaces.darts.DartsSpace {}",
        "method: EnasModule",
        "seed: 0",
        "dataset: ''",
    ]
    (tmp_path / "hparams.yaml").write_text("\n".join(lines))
    assert read_one(tmp_path).identity == {"method": "EnasModule", "seed": 0}
    assert not touched.exists()


def test_empty_hyperparameters_say_nothing(tmp_path: Path) -> None:
    csv_run(tmp_path, [{"step": 0, "val/loss": 1.0}])
    (tmp_path / "hparams.yaml").write_text("")
    assert read_one(tmp_path).identity == {}


def test_children_without_a_log(tmp_path: Path) -> None:
    run = read_one(children_file(tmp_path / "random", [(0.5, 10), (None, 30), (0.25, 20)]))
    assert run.name == "random"
    assert run.trajectory(ERROR) == {600: 0.5, 1200: 0.5, 1800: 0.25}
    assert (run.last("search/device_hours"), run.last("search/children")) == (1.5, 3)
    assert [point.name for point in run.candidates] == ["child 0", "child 1", "child 2"]
    assert [point.values.get("val/error") for point in run.candidates] == [0.5, None, 0.25]
    assert [point.values["params"] for point in run.candidates] == [10, 30, 20]


def test_a_front_without_a_log(tmp_path: Path) -> None:
    run = read_one(pareto_file(tmp_path, [(0.5, 500.0), (0.75, 600.0), (0.25, 750.0)]))
    assert run.trajectory(ERROR) == {100: 0.5, 200: 0.5, 300: 0.25}
    assert run.last("pareto/size") == 2
    # (1 - 0.5) * (1000 - 500) and, below it, (0.5 - 0.25) * (1000 - 750)
    assert run.last("pareto/hypervolume") == 250 + 62.5
    assert run.objectives == (Objective("val/error", "min", 1.0), Objective("params", "min", 1000.0))


def test_copies_that_mlflow_keeps_are_no_runs(tmp_path: Path) -> None:
    run = pareto_file(tmp_path / "mlruns" / "0" / "abc", [(0.5, 100.0)])
    pareto_file(run / "artifacts" / "pareto-front" / "pareto-abc", [(0.5, 100.0)])
    children_file(tmp_path / "artifacts", [(0.25, 300)])  # a folder of this name is nothing special elsewhere
    (run / "meta.yaml").write_text("run_id: abc\n")
    found, problems = read_runs([tmp_path])
    assert ([one.name for one in found], problems) == (["artifacts", "abc"], [])


def test_what_a_front_holds_comes_before_children_and_derived_architectures(tmp_path: Path) -> None:
    csv_run(tmp_path, supernet_rows([0.5]))
    children_file(tmp_path, [(0.4, 10)])
    pareto_file(tmp_path, [(0.3, 500.0)])
    run = read_one(tmp_path)
    assert [dict(point.values) for point in run.candidates] == [{"val/error": 0.3, "params": 500.0}]
    assert run.trajectory(ERROR) == {1000: 0.5}  # the log's
    assert run.last("pareto/size") == 1


def test_what_a_search_derives_is_not_the_child_that_it_validates(tmp_path: Path) -> None:
    row = {"step": 9.0, "val/accuracy": 0.5, "derived/params": 7.0, "search/children": 2.0}
    assert read_one(csv_run(tmp_path, [row])).candidates == ()


def test_a_run_of_weights_and_biases(tmp_path: Path, offline_wandb: Callable[..., Any]) -> None:
    logger = offline_wandb(name="my run", group="one", job_type="search", tags=["t"], id="abc")
    logger.log_hyperparams({**IDENTITY, "seed": 4, "scale": {"channels": 4}})
    for row in supernet_rows([0.5, 0.25]):
        logger.log_metrics({name: value for name, value in row.items() if name != "step"}, int(row["step"]))
    finish_wandb()
    pareto_file(tmp_path / "nas" / "abc", [(0.3, 500.0)])  # where callbacks write then
    run = read_one(tmp_path)
    assert run.name == "my run"
    assert run.identity == {**IDENTITY, "seed": 4, "group": "one", "job_type": "search", "tags": ["t"]}
    assert run.trajectory(ERROR) == {1000: 0.5, 2000: 0.25}
    assert [point.values["val/error"] for point in run.candidates] == [0.3]
    # the folder of the run alone
    assert read_one(run.path).trajectory(ERROR) == {1000: 0.5, 2000: 0.25}


def test_both_files_of_a_resumed_run_of_weights_and_biases(tmp_path: Path, offline_wandb: Callable[..., Any]) -> None:
    for step, error in ((1, 0.5), (2, 0.25)):
        logger = offline_wandb(name="my run", id="abc", save_dir=tmp_path / str(step))
        logger.log_metrics({"val/accuracy": 1 - error, "search/examples_seen": 10 * step}, step)
        finish_wandb()
    assert read_one(tmp_path).trajectory(ERROR) == {10: 0.5, 20: 0.25}


def test_a_run_of_tensorboard(tmp_path: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer:
        writer.add_scalar("hp_metric", -1, 0)
        writer.add_scalar("val/accuracy", 0.5, 9)
        writer.add_scalar("search/examples_seen", 1000, 9)
    assert read_one(tmp_path).history == ({"val/accuracy": 0.5, "val/error": 0.5, "search/examples_seen": 1000.0},)


def test_tensorboard_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.backend.event_processing.event_accumulator", None)
    csv_run(tmp_path, supernet_rows([0.5]))
    (tmp_path / "events.out.tfevents.1.host.2.0").write_bytes(b"")
    (run,), (problem,) = read_runs([tmp_path])
    assert run.best(ERROR) == 0.5
    assert "events.out.tfevents.1.host.2.0" in problem
    assert "pip install tensorboard" in problem


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("metrics.csv", b"a,b\n1,2\n", "no columns ['step']"),
        ("metrics.csv", b"step,a\n1,2,3\n", "row 2 has more cells"),
        ("metrics.csv", b"step,a\n1,x\n", "'x'"),
        ("metrics.csv", b"\xff\xfe\x00", "UnicodeDecodeError"),
        ("metrics.csv", b'step,a\n1,"2', "unexpected end of data"),
        ("hparams.yaml", b"[1, 2]", "no hyperparameters but list"),
        ("hparams.yaml", b"a: [", "hparams.yaml"),
        ("children.csv", b"number\n1\n", "'status'"),
        ("pareto.json", b"{}", "'candidates'"),
        ("pareto.json", b"{", "JSONDecodeError"),
        ("run-abc.wandb", b"nothing", "start as a .wandb file"),
    ],
)
def test_a_damaged_file_is_named_and_the_others_go_on(name: str, content: bytes, problem: str, tmp_path: Path) -> None:
    csv_run(tmp_path / "good", supernet_rows([0.5]))
    pareto_file(csv_run(tmp_path / "bad", supernet_rows([0.25])), [(0.3, 500.0)])
    (tmp_path / "bad" / name).write_bytes(content)
    runs, (sentence,) = read_runs([tmp_path])
    assert str(tmp_path / "bad" / name) in sentence
    assert problem in sentence
    assert {run.name for run in runs} == {"good", "bad"}


def test_a_run_that_has_logged_nothing_is_named(tmp_path: Path) -> None:
    csv_run(tmp_path / "good", supernet_rows([0.5]))
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "hparams.yaml").write_text("seed: 0")
    runs, problems = read_runs([tmp_path])
    assert [run.name for run in runs] == ["good"]
    assert problems == [f"Expected {tmp_path / 'new'} to hold results but nothing was logged there"]


def test_callbacks_may_write_above_the_log(tmp_path: Path) -> None:
    csv_run(tmp_path / "logs" / "version_0", supernet_rows([0.5]))
    pareto_file(tmp_path, [(0.3, 500.0)])
    run = read_one(tmp_path)
    assert run.path == tmp_path / "logs" / "version_0"
    assert run.last("pareto/size") == 1


def test_what_is_above_several_logs_belongs_to_none(tmp_path: Path) -> None:
    for number in range(2):
        csv_run(tmp_path / "logs" / f"version_{number}", supernet_rows([0.5]), seed=number)
    pareto_file(tmp_path, [(0.3, 500.0)])
    runs, problems = read_runs([tmp_path])
    assert [run.name for run in runs] == [tmp_path.name, "logs, seed 0", "logs, seed 1"]
    assert problems == []


def test_a_run_that_is_given_twice_is_there_once(tmp_path: Path) -> None:
    folder = csv_run(tmp_path / "a", supernet_rows([0.5]))
    (folder / "pareto.json").write_text("")
    runs, problems = read_runs([tmp_path, folder, str(folder)])
    assert [run.path for run in runs] == [folder]
    assert len(problems) == 1


@pytest.mark.parametrize(
    ("seeds", "folders", "names"),
    [
        ((0, 1), ("a/x/version_0", "a/x/version_1"), ["x, seed 0", "x, seed 1"]),
        ((0, 0), ("a/x/version_0", "a/x/version_1"), ["x, version_0", "x, version_1"]),
        ((0, 0), ("a/x/version_0", "b/x/version_0"), ["x, a/x/version_0", "x, b/x/version_0"]),
        ((0, 0), ("a/x/version_0", "a/y/version_0"), ["x", "y"]),
    ],
)
def test_equal_names_are_told_apart(
    seeds: tuple[int, int], folders: tuple[str, str], names: list[str], tmp_path: Path
) -> None:
    for seed, folder in zip(seeds, folders, strict=True):
        csv_run(tmp_path / folder, supernet_rows([0.5]), seed=seed)
    assert [run.name for run in read_runs([tmp_path])[0]] == names


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"found no folder .*nowhere"):
        read_runs([tmp_path, tmp_path / "nowhere"])


def test_folders_without_runs(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "metrics.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"found none in .*a, .*b or below.*'metrics.csv'") as caught:
        read_runs([tmp_path / "a", tmp_path / "b"])
    assert "no columns ['step']" in str(caught.value)


def test_reading_needs_neither_torch_nor_lightning(tmp_path: Path) -> None:
    csv_run(tmp_path, supernet_rows([0.5]))
    code = f"""
import sys
from lightning_nas.runs import read_runs
runs, problems = read_runs([{str(tmp_path)!r}])
print(len(runs), {{"torch", "lightning", "pytorch_lightning", "matplotlib", "plotly", "wandb"}} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "1 set()", done.stderr
