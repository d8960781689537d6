import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lightning_nas import Architecture, DartsModule, DigitsDataModule, RetrainModule
from lightning_nas._lightning import pl
from lightning_nas.main import main
from lightning_nas.zoo import DARTS_V2

SEARCH = {
    "seed_everything": 0,
    "model": {
        "class_path": "DartsModule",
        "init_args": {
            "space": {"class_path": "lightning_nas.DartsSpace", "init_args": {"nodes": 2}},
            "scale": {"channels": 4, "layers": 3, "in_channels": 1},
            "order": "first",
            "alphas_optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.01}},
        },
    },
    "data": {"class_path": "DigitsDataModule", "init_args": {"search": True, "max_train_images": 32, "batch_size": 8}},
    "trainer": {
        "accelerator": "cpu",
        "max_epochs": 1,
        "logger": False,
        "enable_progress_bar": False,
        "callbacks": [{"class_path": "DeriveArchitecture"}],
    },
}


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["lightning-nas", *words])
    return main()


def run(folder: Path, *words: str) -> str:
    """Run the command line as a user does, in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "lightning_nas.main", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_from_a_search_to_a_tested_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # Lightning's loading of what its CLI has trained
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(SEARCH))
    run(tmp_path, "fit", "--config", "search.yaml")
    checkpoint = next((tmp_path / "checkpoints").glob("*.ckpt"))
    assert "val/accuracy" in run(tmp_path, "validate", "--config", "search.yaml", "--ckpt_path", str(checkpoint))

    run(tmp_path, "derive", str(checkpoint), "--output-dir", "derived")
    derived = Architecture.load(tmp_path / "derived" / "architecture.json")
    # what the callback wrote in the last epoch is what the checkpoint of that epoch holds
    assert derived == Architecture.load(tmp_path / "architecture.json")
    assert (tmp_path / "derived" / "cells.png").is_file()
    assert (tmp_path / "derived" / "cells.dot").read_text().startswith("digraph")

    retrain = {
        "model": {
            "class_path": "RetrainModule",
            "init_args": {
                "architecture": "derived/architecture.json",
                "scale": {"channels": 4, "layers": 3, "in_channels": 1},
                "auxiliary": False,
            },
        },
        "data": {"class_path": "DigitsDataModule", "init_args": {"max_train_images": 32, "batch_size": 8}},
        "trainer": {"accelerator": "cpu", "max_epochs": 1, "logger": False, "enable_progress_bar": False},
    }
    (tmp_path / "retrain.yaml").write_text(yaml.safe_dump(retrain))
    checkpoint.unlink()
    run(tmp_path, "fit", "--config", "retrain.yaml")
    last = next((tmp_path / "checkpoints").glob("*.ckpt"))
    tested = run(tmp_path, "test", "--config", "retrain.yaml", "--ckpt_path", str(last))
    module = RetrainModule.load_from_checkpoint(last)
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "accelerator": "cpu"}
    [expected] = pl.Trainer(**quiet).test(module, datamodule=DigitsDataModule(max_train_images=32), verbose=False)
    [printed] = re.findall(r"test/accuracy\W+([\d.]+)", tested)
    assert float(printed) == pytest.approx(expected["test/accuracy"], rel=1e-5)


OWN_MODEL = """
from torch import nn
from lightning_nas import OpChoice, RepeatChoice

def network(width: int = 8) -> nn.Module:
    depth = RepeatChoice(lambda: nn.Conv2d(width, width, 3, padding=1), depths=(0, 1), key="depth")
    activation = OpChoice({"relu": nn.ReLU(), "tanh": nn.Tanh()}, key="activation")
    return nn.Sequential(nn.Conv2d(1, width, 1), depth, activation, nn.Flatten(), nn.Linear(width * 64, 10))
"""


def test_a_model_of_the_working_directory_is_searched_within_a_budget(tmp_path: Path) -> None:
    """The inner convolution costs 64 * 9 * 16 = 9,216 multiply-adds, the rest 64 * 4 + 256 * 10 = 2,816."""
    (tmp_path / "own_model.py").write_text(OWN_MODEL)
    space = {"factory": "own_model.network", "example": [1, 8, 8]}
    model = {
        "space": {"class_path": "ModuleSpace", "init_args": space},
        "scale": {"width": 4},
        "order": "first",
        "budget": {"class_path": "lightning_nas.CostBudget", "init_args": {"target": 12000}},
    }
    config: dict[str, Any] = {**SEARCH, "model": {"class_path": "DartsModule", "init_args": model}}
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(config))
    run(tmp_path, "fit", "--config", "search.yaml")
    architecture = Architecture.load(tmp_path / "architecture.json")
    assert architecture.space == "module:network"
    assert architecture.values.keys() == {"depth", "activation"}
    assert architecture.values["depth"] == 0
    checkpoint = next((tmp_path / "checkpoints").glob("*.ckpt"))
    printed = run(tmp_path, "derive", str(checkpoint), "--output-dir", "derived")
    assert "not drawn: 'module:network' is a space of your own" in printed
    assert Architecture.load(tmp_path / "derived" / "architecture.json") == architecture


def test_cost_of_a_published_architecture(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "cost", "DARTS_V2") == 0
    output = capsys.readouterr().out
    assert "3,349,342" in output
    assert "528,359,040" in output


def test_cost_of_a_file_at_another_scale(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    DARTS_V2.save(tmp_path / "found.json")
    assert call(monkeypatch, "cost", str(tmp_path / "found.json"), "--scale", "channels=4", "layers=3") == 0
    output = capsys.readouterr().out
    assert "2,858" in output
    assert "1,442,432" in output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["cost", "DARTS_V3"], "Expected a JSON file or one of"),
        (["cost", "DARTS_V2", "--scale", "channels"], "Expected KEY=VALUE, e.g. channels=36, but got 'channels'"),
        (["cost", "DARTS_V2", "--scale", "width=4"], "Expected a scale that space 'darts' has but got ['width=4']"),
        (
            ["cost", "DARTS_V2", "--scale", "channels=-4"],
            "Expected `channels` to be a whole number of at least 1 but got -4",
        ),
        (
            ["cost", "DARTS_V2", "--scale", "channels=abc"],
            "Expected `channels` to be a whole number of at least 1 but got 'abc'",
        ),
        (["cost", "DARTS_V2", "--scale", "stem=mnist"], "Expected `stem` to be one of ['cifar', 'imagenet'] but got"),
        (["cost", "DARTS_V2", "--input-shape", "3", "30", "30"], "divisible by 4 but got 30x30"),
        (["cost", "DARTS_V2", "--input-shape", "1", "32", "32"], "Expected images of 3 channels but got 1"),
        (["derive", "missing.ckpt"], "Expected a checkpoint but found no file missing.ckpt"),
    ],
)
def test_a_clear_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert call(monkeypatch, *words) == 1
    assert message in capsys.readouterr().err


def test_derive_refuses_what_is_no_checkpoint_of_a_search(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    assert call(monkeypatch, "derive", str(tmp_path / "text.ckpt")) == 1
    assert "to be a Lightning checkpoint but it cannot be read" in capsys.readouterr().err
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    assert call(monkeypatch, "derive", str(tmp_path / "other.ckpt")) == 1
    assert "to be the checkpoint of a search but it holds no architecture" in capsys.readouterr().err


def test_derive_writes_beside_the_checkpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module = DartsModule("nasbench201", scale={"channels": 4, "cells": 1})
    checkpoint: dict[str, object] = {}
    module.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, tmp_path / "last.ckpt")
    assert call(monkeypatch, "derive", str(tmp_path / "last.ckpt")) == 0
    assert Architecture.load(tmp_path / "architecture.json") == module.derive()


def test_spaces(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "spaces") == 0
    output = capsys.readouterr().out
    assert "nasbench201  1.56e+04 architectures" in output
    assert "DARTS_V2" in output
    assert "darts?nodes=4: nodes, operations, concat, distinct_inputs" in output


@pytest.mark.slow
def test_demo(tmp_path: Path) -> None:
    output = run(tmp_path, "demo", "--output-dir", "out", "--seed", "1")
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert set(results) == {"derived", "random_mean", "search"}
    for trained in (results["derived"], results["random_mean"]):
        assert 0.9 < trained["test_accuracy"] <= 1
        assert trained["params"] > 1000
        assert trained["macs"] > 10000
    assert results["search"]["examples_seen"] == 4 * 718 + 6 * 1437  # warm-up counts the weights' half only
    assert results["search"]["seconds"] > 0
    assert f"{results['derived']['test_accuracy']:.2%}" in output
    for name in ("architecture.json", "cells.png", "metrics.csv", "pareto.png"):
        assert (tmp_path / "out" / name).stat().st_size > 0
