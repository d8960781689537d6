"""What a search by the callback logs, writes and derives."""

import csv
import math
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import lightning_nas
from lightning_nas import Architecture, CostBudget, DifferentiableSearch, apply_architecture
from lightning_nas._lightning import pl
from lightning_nas.spaces.choices.base import Choice
from tests.callbacks.project import (
    FILTERS,
    Project,
    alphas,
    architecture,
    equal_and_fixed,
    fit,
    initial_alphas,
    searching,
    sgd,
)

pytestmark = [pytest.mark.filterwarnings(text) for text in FILTERS]


def test_architecture_file_is_what_the_plain_project_is_built_from(tmp_path: Path) -> None:
    module, search = Project(), searching(tmp_path, optimizer=sgd(1.0), seed=3)
    trainer = fit(module, [search], epochs=2)
    written = Architecture.load(tmp_path / "architecture.json")
    assert written == search.derive()
    assert written.space == "module:Project"
    assert dict(written.provenance) == {
        "method": "DifferentiableSearch",
        "seed": 3,
        "epoch": 1,
        "lightning_nas": lightning_nas.__version__,
    }
    assert dict(written.metrics) == {"val_loss": pytest.approx(float(trainer.callback_metrics["val_loss"]))}

    plain = apply_architecture(Project(), tmp_path / "architecture.json")
    assert isinstance(plain, Project)
    assert not any(isinstance(child, Choice) for child in plain.modules())
    fit(plain, [], epochs=1)
    assert not torch.equal(plain.first.weight, Project().first.weight)


def test_values_of_the_architecture_are_the_strongest_candidates(tmp_path: Path) -> None:
    search = searching(tmp_path, optimizer=sgd(0.0))
    tables = {"activation": torch.tensor([[0.0, 0.3, 0.2]]), "depth": torch.tensor([[0.1, 0.9]])}
    search.load_state_dict({"alphas": tables, "optimizer": None, "epoch": 0})
    fit(Project(), [search], epochs=1)
    assert dict(search.derive().values) == {"activation": "relu", "depth": 2}


def test_file_is_written_at_every_epoch_end_by_default_where_the_logger_writes(tmp_path: Path) -> None:
    epochs: list[int] = []
    logger = import_module(f"{pl.__name__}.loggers").CSVLogger(tmp_path, name="run", version="a")

    class Watch(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            written = Architecture.load(tmp_path / "run" / "a" / "architecture.json")
            epochs.append(written.provenance["epoch"])

    fit(Project(), [DifferentiableSearch(architecture()), Watch()], epochs=3, logger=logger)
    assert epochs == [0, 1, 2]


def test_without_a_logger_the_file_is_in_the_trainers_folder(tmp_path: Path) -> None:
    fit(Project(), [DifferentiableSearch(architecture())], epochs=1, default_root_dir=tmp_path)
    assert Architecture.load(tmp_path / "architecture.json").space == "module:Project"


def test_entropies_are_logged(tmp_path: Path) -> None:
    logger = import_module(f"{pl.__name__}.loggers").CSVLogger(tmp_path, name="run", version="a")
    search = searching(tmp_path, optimizer=equal_and_fixed)
    trainer = fit(Project(), [search], epochs=2, logger=logger)
    expected = {"activation": math.log(3), "depth": math.log(2)}
    for key, value in expected.items():
        assert float(trainer.callback_metrics[f"search/choice_entropy/{key}"]) == pytest.approx(value)
    with (tmp_path / "run" / "a" / "metrics.csv").open() as file:
        rows = [row["search/entropy"] for row in csv.DictReader(file) if row["search/entropy"]]
    assert [float(row) for row in rows] == [pytest.approx(sum(expected.values()) / 2)] * 2


class WithExample(Project):
    def __init__(self) -> None:
        super().__init__()
        self.example_input_array = torch.zeros(1, 3)


def test_budget_makes_the_search_cheap(tmp_path: Path) -> None:
    # 3*4 + 4*4*depth + 4*1 multiply-adds: 32 or 48
    search = searching(tmp_path, optimizer=sgd(0.5), budget=CostBudget("macs", target=32, weight=10.0))
    trainer = fit(WithExample(), [search], epochs=5)
    share = float(alphas(search)["depth"].softmax(-1)[0, 0])
    assert share > 0.9
    assert float(trainer.callback_metrics["search/cost"]) == pytest.approx(32 * share + 48 * (1 - share))
    assert search.derive().values["depth"] == 1


def test_penalty_is_part_of_the_gradient(tmp_path: Path) -> None:
    def moved(budget: CostBudget | None) -> Tensor:
        search = searching(tmp_path, optimizer=sgd(1.0), budget=budget)
        fit(WithExample(), [search], epochs=1, limit_train_batches=1, precision="64-true")
        return alphas(search)["depth"]

    depth = initial_alphas(tmp_path, precision="64-true")["depth"].requires_grad_()
    cost = depth.softmax(-1)[0] @ torch.tensor([32.0, 48.0], dtype=torch.float64)
    (gradient,) = torch.autograd.grad(3.0 * cost / 40, depth)
    assert_close(moved(None) - moved(CostBudget("macs", weight=3.0)), gradient)


def test_derived_network_keeps_the_budget(tmp_path: Path) -> None:
    tables = {"activation": torch.zeros(1, 3), "depth": torch.tensor([[0.0, 5.0]])}
    for budget, depth in ((None, 2), (CostBudget("macs", target=40), 1)):
        search = searching(tmp_path, budget=budget, optimizer=sgd(0.0))
        search.load_state_dict({"alphas": tables, "optimizer": None, "epoch": 0})
        fit(WithExample(), [search], epochs=1)
        assert search.derive().values["depth"] == depth


def test_budget_of_multiply_adds_needs_an_example(tmp_path: Path) -> None:
    search = searching(tmp_path, budget=CostBudget("macs", weight=1.0))
    with pytest.raises(ValueError, match=r"Expected an example input.*`example_input_array`"):
        fit(Project(), [search], epochs=1)


def test_derive_without_a_search_says_so(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"Expected derive\(\) after a search in this process"):
        searching(tmp_path).derive()
