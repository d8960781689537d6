import csv
import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from PIL import Image

from lightning_nas._lightning import pl
from lightning_nas.loggers import log_figure, log_file, log_scalars, log_scatter, log_table
from lightning_nas.runs.wandb_file import WandbFile, read_wandb_file
from tests.finish_wandb import finish_wandb

Make = Callable[..., Any]
COLUMNS = ("name", "error", "params")
ROWS = (("a|b", 0.25, 10), ("c\nd", None, 20))


def loggers_of_lightning() -> Any:
    return import_module(f"{pl.__name__}.loggers")


def picture() -> Figure:
    figure = Figure(figsize=(2, 1), dpi=100, facecolor="white")
    figure.add_axes((0.0, 0.0, 1.0, 1.0)).plot([0, 1])
    return figure


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def finished_run(folder: Path) -> tuple[Path, WandbFile]:
    finish_wandb()
    (run,) = (folder / "wandb").glob("offline-run-*")
    (path,) = run.glob("*.wandb")
    return run, read_wandb_file(path)


@pytest.fixture
def mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return loggers_of_lightning().MLFlowLogger(tracking_uri=f"file:{tmp_path / 'mlruns'}")


def mlflow_file(logger: Any, path: str) -> Path:
    return Path(logger.experiment.download_artifacts(logger.run_id, path))


@pytest.fixture
def tensorboard(tmp_path: Path) -> Any:
    return loggers_of_lightning().TensorBoardLogger(tmp_path, name="tb")


def events(logger: Any) -> Any:
    logger.finalize("success")
    module = import_module("tensorboard.backend.event_processing.event_accumulator")  # it has no types
    return module.EventAccumulator(logger.log_dir).Reload()


@pytest.fixture
def table_only(tmp_path: Path) -> Any:
    return loggers_of_lightning().CSVLogger(tmp_path, name="csv")


def log_all(logger: Any, folder: Path) -> None:
    """Everything that there is, twice where a second call is to replace the first."""
    path = folder / "found.json"
    path.write_text('{"nodes": 2}')
    log_scalars([logger], {"pareto/size": 2.0, "pareto/hypervolume": 0.5}, 3)
    log_figure([logger], "architecture/cells", picture(), 3)
    log_table([logger], "pareto/front", COLUMNS, ROWS[:1], 3)
    log_table([logger], "pareto/front", COLUMNS, ROWS, 4)
    log_scatter([logger], "pareto/plot", COLUMNS, ROWS, "params", "error", 4)
    log_file([logger], "front member 1", "architecture", path, {"error": 0.25}, ["best"])


def test_weights_and_biases_takes_everything(tmp_path: Path, offline_wandb: Make) -> None:
    log_all(offline_wandb(id="run1"), tmp_path)
    folder, run = finished_run(tmp_path)
    assert [row["trainer/global_step"] for row in run.history] == [3, 3, 3, 4, 4]
    assert {key: run.history[0][key] for key in ("pareto/size", "pareto/hypervolume")} == {
        "pareto/size": 2,
        "pareto/hypervolume": 0.5,
    }
    (image,) = (folder / "files/media/images/architecture").glob("cells_*.png")
    assert size_of(image) == (200, 100)
    fronts = [json.loads(path.read_text()) for path in (folder / "files/media/table/pareto").glob("front_*.json")]
    assert all(front["columns"] == list(COLUMNS) for front in fronts)
    data = sorted((front["data"] for front in fronts), key=len)
    assert data == [[list(row) for row in ROWS[:1]], [list(row) for row in ROWS]]
    (plotted,) = (folder / "files/media/table/pareto").glob("plot_table_*.json")
    assert json.loads(plotted.read_text())["data"] == [list(row) for row in ROWS]


def test_weights_and_biases_keeps_files_as_artifacts(tmp_path: Path, offline_wandb: Make) -> None:
    log_all(offline_wandb(), tmp_path)
    _, run = finished_run(tmp_path)
    (artifact,) = (artifact for artifact in run.artifacts if artifact.type == "architecture")
    assert artifact.name == "front-member-1"
    assert set(artifact.aliases) == {"latest", "best"}
    assert artifact.metadata == {"error": 0.25}
    staged = [path.read_text() for path in (tmp_path / "wandb_data").rglob("*") if path.is_file()]
    assert '{"nodes": 2}' in staged  # and not in the user's home


def test_tensorboard_takes_numbers_figures_and_tables(tmp_path: Path, tensorboard: Any) -> None:
    log_all(tensorboard, tmp_path)
    found = events(tensorboard)
    assert [(event.step, event.value) for event in found.Scalars("pareto/hypervolume")] == [(3, 0.5)]
    (image,) = found.Images("architecture/cells")
    assert (image.step, image.width, image.height) == (3, 200, 100)
    tables = found.Tensors("pareto/front/text_summary")
    text = tables[-1].tensor_proto.string_val[0].decode()
    assert text == "| name | error | params |\n| --- | --- | --- |\n| a\\|b | 0.25 | 10 |\n| c d |  | 20 |"
    assert found.Tags()["scalars"] == ["pareto/size", "pareto/hypervolume"]
    assert found.Tags()["images"] == ["architecture/cells"]


def test_mlflow_takes_numbers_figures_tables_and_files(tmp_path: Path, mlflow: Any) -> None:
    log_all(mlflow, tmp_path)
    (size,) = mlflow.experiment.get_metric_history(mlflow.run_id, "pareto/size")
    assert (size.step, size.value) == (3, 2)
    assert size_of(mlflow_file(mlflow, "architecture/cells/000003.png")) == (200, 100)
    table = json.loads(mlflow_file(mlflow, "pareto/front.json").read_text())
    assert table == {"columns": list(COLUMNS), "data": [list(row) for row in ROWS]}
    assert mlflow_file(mlflow, "architecture/front member 1/found.json").read_text() == '{"nodes": 2}'


def test_other_loggers_take_numbers(tmp_path: Path, table_only: Any) -> None:
    log_all(table_only, tmp_path)
    table_only.finalize("success")
    with Path(table_only.log_dir, "metrics.csv").open() as file:
        assert list(csv.DictReader(file)) == [{"pareto/hypervolume": "0.5", "pareto/size": "2.0", "step": "3"}]


def test_every_logger_of_a_trainer_gets_its_part(tmp_path: Path, tensorboard: Any, table_only: Any) -> None:
    log_scalars([tensorboard, table_only], {"a": 1.0}, 7)
    assert [event.step for event in events(tensorboard).Scalars("a")] == [7]
    table_only.finalize("success")
    assert Path(table_only.log_dir, "metrics.csv").read_text().split() == ["a,step", "1.0,7"]


def test_no_logger_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    path.write_text("{}")
    log_scalars([], {"a": 1.0}, 0)
    log_figure([], "a", picture(), 0)
    log_table([], "a", COLUMNS, ROWS, 0)
    log_scatter([], "a", COLUMNS, ROWS, "params", "error", 0)
    log_file([], "a", "b", path)
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_logger_that_is_derived_from_one_of_them_is_one(tmp_path: Path) -> None:
    class Own(loggers_of_lightning().TensorBoardLogger):  # type: ignore[misc]  # imported by its name
        pass

    logger = Own(tmp_path, name="own")
    log_figure([logger], "cells", picture(), 2)
    assert [event.step for event in events(logger).Images("cells")] == [2]


def test_a_figure_is_not_changed_by_a_logger(tmp_path: Path, tensorboard: Any) -> None:
    """It is written to a file afterwards."""
    figure = picture()
    log_figure([tensorboard], "cells", figure, 0)
    assert (figure.dpi, tuple(figure.get_size_inches())) == (100, (2, 1))
    assert figure.get_facecolor() == (1, 1, 1, 1)
