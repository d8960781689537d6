import sys
from pathlib import Path

import pytest

from lightning_nas.main import main
from lightning_nas.runs import Comparison, Run, compare
from lightning_nas.runs.pictures import write_pictures
from tests.runs.folders import children_file, csv_run, pareto_file, supernet_rows

PNG = b"\x89PNG"
PICTURES = {"fronts.png", "trajectories.png", "costs.png"}


def runs(folder: Path) -> Path:
    pareto_file(csv_run(folder / "darts" / "version_0", supernet_rows([0.5, 0.25])), [(0.3, 500.0), (0.2, 600.0)])
    children_file(folder / "random", [(0.5, 400), (0.35, 450)])
    return folder


def call(monkeypatch: pytest.MonkeyPatch, *words: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["lightning-nas", *map(str, words)])
    return main()


def test_a_page_and_pictures_are_written(tmp_path: Path) -> None:
    comparison = compare([runs(tmp_path / "runs")], tmp_path / "out" / "new")
    assert [run.name for run in comparison.runs] == ["darts", "random"]
    assert {path.name for path in (tmp_path / "out" / "new").iterdir()} == {"comparison.html", *PICTURES}
    assert all((tmp_path / "out" / "new" / name).read_bytes().startswith(PNG) for name in PICTURES)


def test_published_results_change_the_pictures_and_the_page(tmp_path: Path) -> None:
    folder = runs(tmp_path / "runs")
    compare([folder], tmp_path / "without")
    comparison = compare([folder], tmp_path / "with", "CIFAR-10")
    assert {result.dataset for result in comparison.literature} == {"CIFAR-10"}
    for name in ("fronts.png", "costs.png"):
        assert (tmp_path / "with" / name).read_bytes() != (tmp_path / "without" / name).read_bytes()
    assert "NASNet-A" in (tmp_path / "with" / "comparison.html").read_text()


def test_published_perplexities_do_not_fit_errors(tmp_path: Path) -> None:
    folder = runs(tmp_path / "runs")
    compare([folder], tmp_path / "without")
    compare([folder], tmp_path / "with", "Penn Treebank")
    for name in PICTURES:
        assert (tmp_path / "with" / name).read_bytes() == (tmp_path / "without" / name).read_bytes()


def test_only_pictures_for_which_there_is_something(tmp_path: Path) -> None:
    compare([csv_run(tmp_path / "a", [{"step": 1, "val/loss": 0.5}])], tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["comparison.html"]
    row = {"val/loss": 0.5, "search/examples_seen": 10.0}
    paths = write_pictures(Comparison([Run("a", tmp_path, history=(row,)), Run("b", tmp_path)]), tmp_path)
    assert [path.name for path in paths] == ["trajectories.png", "costs.png"]


def test_a_dataset_on_which_nothing_was_published(tmp_path: Path) -> None:
    """It is said before anything is read."""
    with pytest.raises(ValueError, match=r"Expected `dataset`.*'CIFAR-10'.*'MNIST'"):
        compare([tmp_path / "nowhere"], tmp_path / "out", "MNIST")
    assert not (tmp_path / "out").exists()


def test_plotly_is_asked_for_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly", None)
    with pytest.raises(ImportError, match=r"'plotly'.*lightning-nas\[compare\]"):
        compare([tmp_path / "nowhere"], tmp_path / "out")


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    folder = runs(tmp_path / "runs")
    (folder / "random" / "hparams.yaml").write_text("[1]")
    assert call(monkeypatch, "compare", folder / "darts", folder / "random", "--output-dir", tmp_path / "out") == 0
    output, errors = capsys.readouterr()
    rows = {line.split()[0]: line.split() for line in output.splitlines() if line.strip()}
    assert rows["darts"][1:4] == ["Darts", "darts?nodes=2", "Digits"]
    # of the front: (1 - 0.3) * (1000 - 500) + (0.3 - 0.2) * (1000 - 600)
    assert rows["darts"][4:] == ["25.00%", "2.00k", "1", "101", "5.00k", "2", "390"]
    assert rows["random"][1:4] == ["35.00%", "1.20k", "1"]
    assert f"In {tmp_path / 'out'}: comparison.html" in output
    assert errors.startswith(f"Not read: Expected {folder / 'random' / 'hparams.yaml'}")


def test_the_command_without_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "compare", tmp_path) == 1
    assert f"lightning-nas compare: Expected runs but found none in {tmp_path}" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "rich", None)
    assert call(monkeypatch, "compare", tmp_path) == 1
    assert "lightning-nas[compare]" in capsys.readouterr().err
