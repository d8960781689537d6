"""The callback ParetoFront in a Trainer."""

import csv
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_nas import (
    Architecture,
    DartsModule,
    Objective,
    ParetoFront,
    RandomSearchModule,
    apply_architecture,
)
from lightning_nas._lightning import pl
from lightning_nas.callbacks import pareto_files
from lightning_nas.commands.lightning import from_config
from lightning_nas.costs import Latency, count_multiply_adds, count_parameters
from lightning_nas.methods.ledger import read_children
from lightning_nas.plotting import plot_fronts
from lightning_nas.testing.search_module import RandomImages, assert_same
from tests.callbacks.project import FILTERS, QUIET, Project, alphas, fit, searching

SCALE: dict[str, Any] = {"channels": 4, "cells": 1}
LARGER: dict[str, Any] = {"channels": 8, "cells": 1}
OBJECTIVES = ["val/error", "params", "macs"]
SHAPE = (3, 8, 8)

pytestmark = [
    *(pytest.mark.filterwarnings(text) for text in FILTERS),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists"),
]


@pytest.fixture(autouse=True)
def _small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real ones take longer than all the rest of a test, and have tests of their own."""
    monkeypatch.setattr(pareto_files, "plot_fronts", lambda fronts, objectives: Figure(figsize=(1, 1)))


class Snapshots(pl.Callback):
    """What the callback's file holds when each epoch has begun, and what was validated by then."""

    def __init__(self) -> None:
        self.validated: list[tuple[Architecture, dict[str, float]]] = []

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.validated.append((pl_module.derive(), metrics))


def darts() -> DartsModule:
    return DartsModule("nasbench201", scale=SCALE, order="first")


def children(folder: Path, **options: Any) -> RandomSearchModule:
    settings: dict[str, Any] = {"epochs_per_child": 1, "input_shape": SHAPE, "scale": SCALE, **options}
    return RandomSearchModule("nasbench201", folder=folder, **settings)


class OrdinaryImages(RandomImages):
    """The images for weights only, all of them in every process, for searches that train children."""

    def train_dataloader(self) -> Any:
        return DataLoader(self._loader(8, seed=0).dataset, 4)

    def val_dataloader(self) -> Any:
        return DataLoader(self._loader(4, seed=1).dataset, 4)


def run(
    module: pl.LightningModule,
    folder: Path,
    *callbacks: pl.Callback,
    epochs: int = 2,
    ckpt_path: Path | None = None,
    **options: Any,
) -> pl.Trainer:
    data = RandomImages(4) if isinstance(module, DartsModule) else OrdinaryImages(4)
    settings = {**QUIET, "default_root_dir": folder, "max_epochs": epochs, **options}
    trainer = pl.Trainer(callbacks=list(callbacks), **settings)
    trainer.fit(module, datamodule=data, ckpt_path=ckpt_path)
    return trainer


def read(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "pareto.json").read_text())
    return content


def costs_of(architecture: Architecture, scale: dict[str, Any]) -> dict[str, int]:
    network = darts().space.build(architecture, **scale)
    return {"params": count_parameters(network), "macs": count_multiply_adds(network, torch.zeros(1, *SHAPE))}


def test_a_search_with_alphas(tmp_path: Path) -> None:
    """Each validated epoch is a candidate: what is derived then, with the costs of the scale asked for."""
    snapshots = Snapshots()
    run(darts(), tmp_path, ParetoFront(OBJECTIVES, scale=LARGER, input_shape=SHAPE), snapshots)
    content = read(tmp_path)
    assert [entry["name"] for entry in content["candidates"]] == ["epoch 0", "epoch 1"]
    for epoch, (entry, (architecture, metrics)) in enumerate(
        zip(content["candidates"], snapshots.validated, strict=True)
    ):
        assert Architecture.from_dict(entry["architecture"]) == architecture
        assert entry["values"] == {"val/error": 1.0 - metrics["val/accuracy"], **costs_of(architecture, LARGER)}
        assert (entry["epoch"], entry["examples_seen"]) == (epoch, 16 * (epoch + 1))
        assert entry["architecture"]["provenance"]["method"] == "DartsModule"
    assert content["hypervolume"] is None


def test_files_of_a_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pareto_files, "plot_fronts", plot_fronts)
    run(darts(), tmp_path, ParetoFront(OBJECTIVES, dirpath=tmp_path / "out", scale=SCALE, input_shape=SHAPE))
    entries = read(tmp_path / "out")["candidates"]
    with (tmp_path / "out" / "pareto.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row, entry in zip(rows, entries, strict=True):
        assert {name: float(row[name]) for name in OBJECTIVES} == entry["values"]
        assert bool(int(row["on_front"])) == entry["on_front"]
    picture = (tmp_path / "out" / "pareto.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert int.from_bytes(picture[16:20]) >= 900  # pixels wide
    members = {entry["name"].replace(" ", "-"): entry for entry in entries if entry["on_front"]}
    assert {path.stem for path in (tmp_path / "out" / "pareto").iterdir()} == set(members)
    for name, entry in members.items():
        assert dict(Architecture.load(tmp_path / "out" / "pareto" / f"{name}.json").metrics) == entry["values"]
    assert not list((tmp_path / "out").rglob("*partial*"))


def test_a_search_that_trains_children(tmp_path: Path) -> None:
    """Each child is a candidate, with what children.csv says of it; no epoch is."""
    references = [Objective("val/error", reference=1.5), Objective("params", reference=1e5)]
    run(children(tmp_path), tmp_path, ParetoFront(references), epochs=3)
    content, records = read(tmp_path), read_children(tmp_path / "children.csv")
    assert [entry["name"] for entry in content["candidates"]] == ["child 0", "child 1", "child 2"]
    for record, entry in zip(records, content["candidates"], strict=True):
        error = 1.0 - record.metrics["val/accuracy"]
        assert entry["values"] == {"val/error": error, "params": record.costs["params"]}
        assert Architecture.from_dict(entry["architecture"]) == record.architecture
        assert entry["architecture"]["provenance"]["method"] == "RandomSearchModule"
        assert (entry["epoch"], entry["examples_seen"]) == (record.number, 8 * (record.number + 1))
    best = min(entry["values"]["params"] for entry in content["candidates"])
    assert content["hypervolume"] >= (1e5 - best) * 0.5


def test_children_at_another_scale(tmp_path: Path) -> None:
    run(children(tmp_path), tmp_path, ParetoFront(["params", "macs"], scale=LARGER), epochs=1)
    (entry,) = read(tmp_path)["candidates"]
    assert entry["values"] == costs_of(Architecture.from_dict(entry["architecture"]), LARGER)


def test_costs_that_a_child_lacks_are_those_of_its_own_scale(tmp_path: Path) -> None:
    module = children(tmp_path, input_shape=None)
    run(module, tmp_path, ParetoFront(["params", "macs"], input_shape=SHAPE), epochs=1)
    (entry,) = read(tmp_path)["candidates"]
    assert "macs" not in module.ledger[0].costs
    assert entry["values"] == costs_of(Architecture.from_dict(entry["architecture"]), SCALE)


def test_a_child_without_a_finite_metric_is_kept(tmp_path: Path) -> None:
    module = children(tmp_path)
    keep = module._take
    module._take = lambda record: keep(  # type: ignore[method-assign]  # a metric that became NaN
        type(record)(**{**vars(record), "metrics": {"val/accuracy": record.metrics["val/accuracy"]}})
    )
    run(module, tmp_path, ParetoFront(["val/loss", "params"]), epochs=1)
    (entry,) = read(tmp_path)["candidates"]
    assert entry["values"] == {"val/loss": None, "params": module.ledger[0].costs["params"]}
    assert not entry["on_front"]


def test_a_failed_child_is_no_candidate(tmp_path: Path) -> None:
    module = children(tmp_path, max_children=1, optimizer=lambda parameters: 1 / 0)
    with pytest.warns(UserWarning, match=r"Expected a validated candidate but there was none; give the Trainer data"):
        run(module, tmp_path, ParetoFront(["val/loss", "params"]), epochs=1)
    assert module.ledger[0].status == "failed"
    assert not (tmp_path / "pareto.json").exists()


class Killed(pl.Callback):
    """Ends a run with an error when an epoch begins."""

    def __init__(self, epoch: int | None) -> None:
        self.epoch = epoch

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == self.epoch:
            raise RuntimeError("killed")


@pytest.mark.parametrize("kind", ["darts", "children"])
def test_resumed_equals_uninterrupted(tmp_path: Path, kind: str) -> None:
    """Byte for byte; of a child search the last child before the end is known to the module only."""

    def search(folder: Path, killed: int | None = None, ckpt_path: Path | None = None) -> None:
        module = darts() if kind == "darts" else children(folder)
        front = ParetoFront(OBJECTIVES, dirpath=folder, scale=SCALE, input_shape=SHAPE)
        saves = pl.callbacks.ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1)
        options: dict[str, Any] = {"epochs": 3, "enable_checkpointing": True, "ckpt_path": ckpt_path}
        run(module, folder, Killed(killed), front, saves, **options)

    straight, cut = tmp_path / "straight", tmp_path / "cut"
    search(straight)
    with pytest.raises(RuntimeError, match="killed"):
        search(cut, killed=2)
    states = torch.load(cut / "epoch=1.ckpt", weights_only=True)["callbacks"]
    (state,) = (state for key, state in states.items() if key.startswith("ParetoFront"))
    known = ["epoch 0", "epoch 1"] if kind == "darts" else ["child 0"]
    assert [entry["name"] for entry in state["candidates"]] == known
    search(cut, ckpt_path=cut / "epoch=1.ckpt")
    assert len(read(straight)["candidates"]) == 3
    for name in ("pareto.json", "pareto.csv"):
        assert (straight / name).read_bytes() == (cut / name).read_bytes()


def test_the_search_goes_on_as_without_it(tmp_path: Path) -> None:
    """Bit for bit, though networks are built in between."""
    states = []
    for callbacks in ([], [ParetoFront(OBJECTIVES, scale=LARGER, input_shape=SHAPE)]):
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            trainer = run(darts(), tmp_path, *callbacks)
            states.append([trainer.lightning_module.state_dict(), {"random": torch.get_rng_state()}])
    assert_same(states[0], states[1])


def test_a_later_fit_of_another_module_begins_anew(tmp_path: Path) -> None:
    front = ParetoFront(OBJECTIVES, scale=SCALE, input_shape=SHAPE)
    run(darts(), tmp_path, front, epochs=3)
    before = read(tmp_path)
    run(darts(), tmp_path, front, epochs=1)
    after = read(tmp_path)
    assert [entry["name"] for entry in after["candidates"]] == ["epoch 0"]
    assert after["candidates"][0]["values"] == before["candidates"][0]["values"]


def test_an_architecture_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Latency is a measurement: the same architecture has the same one in all epochs."""
    measured = iter(range(1, 100))
    monkeypatch.setattr("lightning_nas.callbacks.model_costs.measure_latency", lambda *_: latency(next(measured)))
    module, first = darts(), darts().derive()
    monkeypatch.setattr(module, "derive", lambda: first)
    run(module, tmp_path, ParetoFront(["params", "latency"], scale=SCALE, input_shape=SHAPE))
    assert [entry["values"]["latency"] for entry in read(tmp_path)["candidates"]] == [1, 1]


def latency(seconds: float) -> Latency:
    return Latency(seconds, 0.0, 1, "cpu", 1)


# --- a project that knows nothing of us -------------------------------------------------------------------------------


class Own(pl.LightningModule):
    """A linear layer of four weights; what is logged is given, a value for each validation."""

    def __init__(self, losses: list[float] | None = None, name: str = "val_loss") -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)
        self.losses = losses
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.layer(x)
        return output

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss: Tensor = self(batch[0]).mean()
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        loss = self(batch[0]).mean() if self.losses is None else self.losses[self.current_epoch]
        self.log(self.name, loss, sync_dist=True)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def loader(count: int = 4) -> DataLoader[Any]:
    return DataLoader(TensorDataset(torch.ones(count, 3)), 2)


def fit_own(
    folder: Path, module: pl.LightningModule, front: pl.Callback, epochs: int = 2, **options: Any
) -> pl.Trainer:
    settings = {**QUIET, "default_root_dir": folder, "max_epochs": epochs, **options}
    trainer = pl.Trainer(callbacks=[front], **settings)
    trainer.fit(module, loader(), loader())
    return trainer


def test_the_users_own_module(tmp_path: Path) -> None:
    front = ParetoFront(["val_loss", "params", "macs"], input_shape=(3,))
    fit_own(tmp_path, Own([3.0, 1.0, 2.0]), front, epochs=3)
    entries = read(tmp_path)["candidates"]
    assert [entry["values"] for entry in entries] == [
        {"val_loss": loss, "params": 4, "macs": 3} for loss in (3.0, 1.0, 2.0)
    ]
    assert [entry["on_front"] for entry in entries] == [False, True, False]
    assert [(entry["name"], entry["epoch"]) for entry in entries] == [("epoch 0", 0), ("epoch 1", 1), ("epoch 2", 2)]
    assert all(entry["architecture"] is None and entry["examples_seen"] is None for entry in entries)
    assert not (tmp_path / "pareto").exists()


def test_the_modules_own_example(tmp_path: Path) -> None:
    module = Own()
    module.example_input_array = torch.zeros(7, 3)
    fit_own(tmp_path, module, ParetoFront(["params", "macs"]), epochs=1, precision="64-true")
    assert read(tmp_path)["candidates"][0]["values"] == {"params": 4, "macs": 3}


def test_latency_is_measured_on_the_modules_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def measure(network: nn.Module, example: Tensor) -> Latency:
        seen.append((network, tuple(example.shape), example.device))
        return latency(0.5)

    monkeypatch.setattr("lightning_nas.callbacks.model_costs.measure_latency", measure)
    module = Own()
    fit_own(tmp_path, module, ParetoFront(["val_loss", "latency"], input_shape=(3,)))
    assert seen == [(module, (1, 3), module.device)]  # once: its parameters have the same shapes in both epochs
    assert [entry["values"]["latency"] for entry in read(tmp_path)["candidates"]] == [0.5, 0.5]


def test_a_measured_latency(tmp_path: Path) -> None:
    fit_own(tmp_path, Own(), ParetoFront(["params", "latency"], input_shape=(3,)), epochs=1)
    assert 0 < read(tmp_path)["candidates"][0]["values"]["latency"] < 1


def test_what_is_not_finite_in_a_run(tmp_path: Path) -> None:
    fit_own(tmp_path, Own([math.nan, 1.0, math.inf]), ParetoFront(["val_loss", "params"]), epochs=3)
    entries = read(tmp_path)["candidates"]
    assert [entry["values"]["val_loss"] for entry in entries] == [None, 1.0, None]
    assert [entry["on_front"] for entry in entries] == [False, True, False]


def test_nothing_that_can_be_drawn(tmp_path: Path) -> None:
    fit_own(tmp_path, Own([math.nan]), ParetoFront(["val_loss", "params"]), epochs=1)
    assert read(tmp_path)["candidates"][0]["values"] == {"val_loss": None, "params": 4}
    assert not (tmp_path / "pareto.png").exists()


def test_validation_elsewhere_is_no_candidate(tmp_path: Path) -> None:
    """Neither the sanity check nor a validation outside of a fit."""
    front = ParetoFront(["val_loss", "params"])
    trainer = fit_own(tmp_path, Own(), front, epochs=1, num_sanity_val_steps=1)
    trainer.validate(trainer.lightning_module, loader(), verbose=False)
    assert [entry["name"] for entry in read(tmp_path)["candidates"]] == ["epoch 0"]
    assert len(front.table.candidates) == 1


def test_epochs_without_validation_are_no_candidates(tmp_path: Path) -> None:
    fit_own(tmp_path, Own(), ParetoFront(["val_loss", "params"]), epochs=4, check_val_every_n_epoch=2)
    assert [entry["name"] for entry in read(tmp_path)["candidates"]] == ["epoch 1", "epoch 3"]


class Halves(Own):
    """Logs how many batches have been trained on."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log(self.name, float(self.global_step))


def test_the_last_validation_of_an_epoch_counts(tmp_path: Path) -> None:
    fit_own(tmp_path, Halves(), ParetoFront(["val_loss", "params"]), val_check_interval=0.5)
    assert [entry["values"]["val_loss"] for entry in read(tmp_path)["candidates"]] == [2.0, 4.0]


def test_no_validation_at_all(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"Expected a validated candidate but there was none; give the Trainer data"):
        fit_own(tmp_path, Own(), ParetoFront(["val_loss", "params"]), limit_val_batches=0)
    assert not (tmp_path / "pareto.json").exists()


def test_a_killed_run_leaves_what_was_found(tmp_path: Path) -> None:
    class Dies(Own):
        def on_train_epoch_start(self) -> None:
            if self.current_epoch == 1:
                raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        fit_own(tmp_path, Dies(), ParetoFront(["val_loss", "params"]))
    assert [entry["name"] for entry in read(tmp_path)["candidates"]] == ["epoch 0"]
    assert (tmp_path / "pareto.csv").is_file()
    assert (tmp_path / "pareto.png").is_file()


def test_an_unknown_metric_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"Expected a metric 'val/loss' of validation but got \['val_loss'\]; log it in"
    ):
        fit_own(tmp_path, Own(), ParetoFront(["val/loss", "params"]))


def test_an_unknown_metric_of_children_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Expected a metric 'val/perplexity' .* but got .*'val/accuracy'"):
        run(children(tmp_path), tmp_path, ParetoFront(["val/perplexity", "params"]))


@pytest.mark.parametrize("name", ["macs", "latency"])
def test_costs_that_need_an_example(tmp_path: Path, name: str) -> None:
    message = rf"Expected an example input to measure \['{name}'\] but got none; give ParetoFront an `input_shape`"
    for module in (Own(), darts()):
        with pytest.raises(ValueError, match=message):
            fit_own(tmp_path, module, ParetoFront(["params", name]))


def test_latency_needs_a_model_of_one_tensor(tmp_path: Path) -> None:
    module = Own()
    module.example_input_array = {"x": torch.zeros(1, 3)}
    with pytest.raises(
        ValueError, match=r"Expected a model of one tensor to measure its latency but got the example x="
    ):
        fit_own(tmp_path, module, ParetoFront(["params", "latency"]))


def test_a_scale_is_for_searches(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Expected `scale` for a search only but got \{'channels': 4.* for Own"):
        fit_own(tmp_path, Own(), ParetoFront(["params", "val_loss"], scale=SCALE))


def test_an_input_that_the_networks_do_not_take(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Expected the first input of `input_shape`"):
        run(darts(), tmp_path, ParetoFront(OBJECTIVES, scale=SCALE, input_shape=(5, 8, 8)))


def test_two_fronts_need_two_folders(tmp_path: Path) -> None:
    fronts = [ParetoFront(["params", "val_loss"]), ParetoFront(["params", "val_loss"], dirpath=tmp_path)]
    with pytest.raises(ValueError, match=r"write to different folders but got several for .*; give each a `dirpath`"):
        fit(Project(), fronts, default_root_dir=tmp_path)


def test_two_fronts_in_two_folders(tmp_path: Path) -> None:
    fronts = [ParetoFront(["params", "val_loss"], dirpath=tmp_path / name) for name in ("a", "b")]
    fit(Project(), fronts, epochs=1)
    assert read(tmp_path / "a") == read(tmp_path / "b")


# --- a project that is searched by a callback -------------------------------------------------------------------------


def test_a_project_that_is_searched(tmp_path: Path) -> None:
    """What is derived at each validation; its costs are those of the module with the choices made."""

    class Derived(pl.Callback):
        def __init__(self) -> None:
            self.found: list[Architecture] = []

        def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            self.found.append(search.derive())

    search, derived = searching(tmp_path, warmup_epochs=1), Derived()
    front = ParetoFront(["val_loss", "params", "macs"], dirpath=tmp_path, input_shape=(3,))
    fit(Project(), [front, search, derived], epochs=3)
    entries = read(tmp_path)["candidates"]
    assert len(entries) == 3
    for entry, architecture in zip(entries, derived.found, strict=True):
        assert Architecture.from_dict(entry["architecture"]) == architecture
        network = apply_architecture(Project(), architecture)
        assert entry["values"]["params"] == count_parameters(network)
        assert entry["values"]["macs"] == count_multiply_adds(network, torch.zeros(1, 3))

    fit(Project(), [alone := searching(tmp_path / "alone", warmup_epochs=1)], epochs=3)
    for key, tables in alphas(search).items():
        assert torch.equal(tables, alphas(alone)[key])  # counting leaves the search as it is


def test_latency_of_a_project_that_is_searched(tmp_path: Path) -> None:
    front = ParetoFront(["params", "latency"], dirpath=tmp_path, input_shape=(3,))
    with pytest.raises(
        ValueError, match=r"Expected costs that are counted, 'params' or 'macs', with DifferentiableSearch"
    ):
        fit(Project(), [front, searching(tmp_path)])


# --- loggers, processes, configs --------------------------------------------------------------------------------------


class WandbLogger(pl.loggers.Logger):
    """Notes what is logged; the name makes it take all there is."""

    name = version = "fake"

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.artifacts: list[Any] = []
        self.tags = ()

    @property
    def experiment(self) -> Any:
        return self

    def log_artifact(self, artifact: Any, aliases: list[str]) -> None:
        self.artifacts.append(artifact)

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self.rows.append(dict(metrics))

    def log_hyperparams(self, *_: Any) -> None:
        pass

    def define_metric(self, *_: Any, **__: Any) -> None:
        pass

    def times(self, name: str) -> int:
        return sum(name in row for row in self.rows)


def test_what_loggers_get(tmp_path: Path) -> None:
    logger = WandbLogger()
    objectives = [Objective("val/error", reference=1.5), Objective("params", reference=1e5)]
    run(darts(), tmp_path, ParetoFront(objectives, dirpath=tmp_path, scale=SCALE), epochs=3, logger=logger)
    content = read(tmp_path)
    sizes = [row for row in logger.rows if "pareto/size" in row]
    assert [row["search/examples_seen"] for row in sizes] == [16.0, 32.0, 48.0]
    members = [entry for entry in content["candidates"] if entry["on_front"]]
    assert sizes[-1]["pareto/size"] == len(members)
    assert sizes[-1]["pareto/hypervolume"] == content["hypervolume"]
    for name in ("pareto/candidates", "pareto/scatter", "pareto/front"):
        assert logger.times(name) == 3  # each epoch, and not once more at the end
    (last,) = [row["pareto/candidates"] for row in logger.rows if "pareto/candidates" in row][-1:]
    assert last.columns == ["name", "val/error", "params", "on_front", "epoch", "examples_seen"]
    assert [row[1:3] for row in last.data] == [list(entry["values"].values()) for entry in content["candidates"]]
    *architectures, front = logger.artifacts
    assert (front.name, front.type) == ("pareto-fake", "pareto-front")
    assert [artifact.name for artifact in architectures] == [
        "pareto-fake-" + member["name"].replace(" ", "-") for member in members
    ]
    assert [dict(artifact.metadata) for artifact in architectures] == [member["values"] for member in members]


def test_without_references_there_is_no_hypervolume(tmp_path: Path) -> None:
    logger = WandbLogger()
    fit_own(tmp_path, Own(), ParetoFront(["val_loss", "params"], dirpath=tmp_path), logger=logger)
    assert [set(row) for row in logger.rows if "pareto/size" in row] == [{"pareto/size"}] * 2


def test_long_runs_draw_less_often(tmp_path: Path) -> None:
    """Up to ten candidates each time, then whenever there are a tenth more, and at the end."""
    logger = WandbLogger()
    front = ParetoFront(["val_loss", "params"], dirpath=tmp_path)
    fit_own(tmp_path, Own(), front, epochs=15, logger=logger)
    counts = [len(row["pareto/candidates"].data) for row in logger.rows if "pareto/candidates" in row]
    assert counts == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15]
    assert logger.times("pareto/size") == 15


def test_two_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one measures and writes; both know the same, whatever the second would have measured."""
    monkeypatch.setattr("lightning_nas.callbacks.model_costs.measure_latency", lambda *_: latency(os.getpid()))

    class Alike(pl.Callback):
        def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            dump = json.dumps(front.table.to_dict())
            (tmp_path / f"rank{trainer.global_rank}.json").write_text(dump)

    front = ParetoFront(["val/error", "params", "latency"], dirpath=tmp_path, scale=SCALE, input_shape=SHAPE)
    data = RandomImages(2)
    settings = {**QUIET, "default_root_dir": tmp_path, "devices": 2, "strategy": "ddp_fork", "max_epochs": 2}
    pl.Trainer(callbacks=[front, Alike()], **settings).fit(darts(), datamodule=data)
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1))
    assert first == second == read(tmp_path)
    assert len(first["candidates"]) == 2


def test_children_of_two_processes(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"devices": 2, "strategy": "ddp_fork", "use_distributed_sampler": False}
    run(children(tmp_path), tmp_path, ParetoFront(OBJECTIVES, dirpath=tmp_path), **settings)
    entries, records = read(tmp_path)["candidates"], read_children(tmp_path / "children.csv")
    assert [entry["name"] for entry in entries] == ["child 0", "child 1", "child 2", "child 3"]
    for entry, record in zip(entries, records, strict=True):
        assert entry["values"] == {"val/error": 1.0 - record.metrics["val/accuracy"], **record.costs}


def test_from_a_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    objectives = [{"name": "val_loss", "reference": 9.0}, {"name": "params", "mode": "max", "reference": 0}]
    front = {
        "class_path": "lightning_nas.callbacks.ParetoFront",
        "init_args": {"objectives": objectives, "dirpath": str(tmp_path / "a")},
    }
    plain = {
        "class_path": "lightning_nas.callbacks.ParetoFront",
        "init_args": {"objectives": ["val_loss", "params"], "input_shape": [3]},
    }
    config = {
        "model": {"class_path": "tests.callbacks.project.Project"},
        "data": {"class_path": "tests.callbacks.project.Data"},
        "trainer": {**QUIET, "max_epochs": 1, "default_root_dir": str(tmp_path), "callbacks": [front, plain]},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    with torch.random.fork_rng([]):  # LightningCLI seeds everything
        cli: Any = from_config(tmp_path / "config.yaml")
        cli.trainer.fit(cli.model, datamodule=cli.datamodule)
    assert read(tmp_path / "a")["objectives"] == [
        {"name": "val_loss", "mode": "min", "reference": 9.0},
        {"name": "params", "mode": "max", "reference": 0},
    ]
    assert read(tmp_path / "a")["hypervolume"] > 0
    assert [objective["name"] for objective in read(tmp_path)["objectives"]] == ["val_loss", "params"]
