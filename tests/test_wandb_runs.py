"""What a run of each method leaves for Weights & Biases: the same for all, but for what is listed for a method."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import DataLoader

from lightning_nas import (
    DartsModule,
    EnasModule,
    EvolutionModule,
    NasModule,
    PetridishModule,
    PnasModule,
    RandomSearchModule,
    RetrainModule,
)
from lightning_nas._lightning import pl
from lightning_nas.callbacks import ArchitectureLog, CostMeter, DeriveArchitecture, HessianEigenvalue, ParetoFront
from lightning_nas.commands import workspace
from lightning_nas.methods.base import SearchModule, TaskModule
from lightning_nas.objective import Objective
from lightning_nas.runs.wandb_file import WandbFile, WandbMetric, read_wandb_file
from lightning_nas.spaces import PetridishSpace
from lightning_nas.testing.search_module import RandomImages
from tests.wandb_server import wandb_in

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval"),
]

SCALE = {"channels": 4, "cells": 1}
PNAS_SCALE = {"channels": 4, "cells_per_stage": 1}
NAS_SPACE, PNAS_SPACE = "nas_conv?layers=2&kernels=1,3&filters=4,8", "nasnet?blocks=2&operations=identity"
PETRIDISH_SPACE = "petridish?cells=1"
PETRIDISH_OPERATIONS = PetridishSpace().operations

# --- what all methods have --------------------------------------------------------------------------------------------

IDENTITY = {"method", "space", "dataset", "task", "seed", "group", "job_type", "lightning_nas"}
MODULE = {"scale", "grad_clip"}
SCALARS = {
    *("epoch", "trainer/global_step", "train/loss", "train/accuracy", "val/loss", "val/accuracy"),
    *("search/examples_seen", "search/device_hours", "search/peak_memory"),
    *("pareto/size", "pareto/hypervolume"),
}
MEDIA = {"pareto/candidates": "table-file", "pareto/scatter_table": "table-file", "pareto/front": "image-file"}
COLUMNS = ["name", "val/error", "params", "on_front", "epoch", "examples_seen"]
METRICS = (
    WandbMetric("trainer/global_step", "", ()),
    WandbMetric("*", "trainer/global_step", ()),
    WandbMetric("search/examples_seen", "", ()),
    WandbMetric("search/best_error", "search/examples_seen", ()),
    WandbMetric("search/best_score", "search/examples_seen", ()),
    WandbMetric("pareto/hypervolume", "search/examples_seen", ()),
    WandbMetric("pareto/size", "search/examples_seen", ()),
)

# --- what all searches have -------------------------------------------------------------------------------------------

SEARCH_SCALARS = {"search/children", "search/best_error", "derived/params", "derived/macs"}
SEARCH_MEDIA = {"architecture/cells": "image-file"}

# --- what is of a space, or of all searches that train a supernet, or children ----------------------------------------

OPERATIONS = ("skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
SHARES = {f"architecture/derived_share/{name}" for name in OPERATIONS}
SUPERNET = {"search/entropy", "search/skip_count", "train/learning_rate"}
CHILDREN = {"epochs_per_child", "folder", "input_shape", "max_children", "score_window", "stop_hopeless"}


@dataclass(frozen=True)
class Method:
    """A method, and what it has besides."""

    module: Callable[[], TaskModule]
    space: str
    config: set[str]
    scalars: set[str]
    media: dict[str, str]
    epochs: int = 2  # after which there are two candidates

    @property
    def searches(self) -> bool:
        return self.module is not retraining


def retraining() -> RetrainModule:
    search = DartsModule("nasbench201", scale=SCALE, order="first", seed=3)
    found = replace(search.derive(), provenance=search.provenance())
    return RetrainModule(None, found, scale=SCALE)


METHODS = {
    "DartsModule": Method(
        lambda: DartsModule("nasbench201", scale=SCALE, order="first"),
        "nasbench201",
        {
            *("order", "hessian", "update_order", "bn_stats", "virtual_step", "clip_virtual"),
            *("warmup_epochs", "min_learning_rate", "schedule_epochs"),
        },
        {
            *("search/hessian_eigenvalue", "architecture/entropy/cell", *SHARES, *SUPERNET),
            *(f"architecture/share/cell/{name}" for name in ("none", *OPERATIONS)),
        },
        {"architecture/weights/cell": "image-file"},
    ),
    "EnasModule": Method(
        lambda: EnasModule("nasbench201", scale=SCALE, controller_steps=2, samples_per_step=2, derive_samples=2),
        "nasbench201",
        {
            *("preset", "controller", "controller_steps", "samples_per_step", "derive_samples", "uniform_samples"),
            *("reward_batches", "warmup_epochs", "min_learning_rate", "restart_epochs"),
        },
        {*SHARES, *SUPERNET, "search/reward", "search/best_reward", "search/baseline"},
        {},
    ),
    "RandomSearchModule": Method(
        lambda: RandomSearchModule("nasbench201", scale=SCALE, epochs_per_child=1),
        "nasbench201",
        CHILDREN,
        SHARES,
        {},
    ),
    "EvolutionModule": Method(
        lambda: EvolutionModule("nasbench201", population=2, sample=2, scale=SCALE, epochs_per_child=1),
        "nasbench201",
        {*CHILDREN, "population", "sample", "repeats"},
        SHARES,
        {},
    ),
    "NasModule": Method(
        lambda: NasModule(NAS_SPACE, samples_per_update=2, learning_rate=0.1, epochs_per_child=1),
        NAS_SPACE,
        {*CHILDREN, "samples_per_update", "learning_rate", "growth", "reward_power", "reward_constant"},
        set(),
        {},
    ),
    "PnasModule": Method(
        lambda: PnasModule(PNAS_SPACE, beam=2, scale=PNAS_SCALE, epochs_per_child=1),
        PNAS_SPACE,
        {*CHILDREN, "beam", "predictor"},
        {"architecture/derived_share/identity"},
        {},
    ),
    "PetridishModule": Method(
        lambda: PetridishModule(
            PETRIDISH_SPACE,
            scale={"filters": 4},
            seed_epochs=1,
            hallucination_epochs=1,
            child_epochs=1,
            input_shape=(3, 8, 8),
        ),
        PETRIDISH_SPACE,
        {
            *CHILDREN,
            *("seeds", "eps", "choice", "selection", "terms", "threshold", "l1", "max_growth", "max_cost", "cost"),
            *("max_jobs", "places_per_hallucination", "drop_path"),
            *("seed_epochs", "hallucination_epochs", "child_epochs"),
        },
        {
            *("search/hull_size", "search/largest_alpha", "search/alpha_gradient_ratio"),
            *(f"architecture/derived_share/{name}" for name in ("nothing", *PETRIDISH_OPERATIONS)),
        },
        {},
        epochs=3,  # a hallucination is between the seed and the child
    ),
    "RetrainModule": Method(retraining, "nasbench201", {"architecture", "auxiliary", "drop_path"}, set(), {}),
}


class OneStream(RandomImages):
    """The same images, as one stream."""

    def train_dataloader(self) -> Any:
        loader: DataLoader[Any] = self._loader(8, seed=0)
        return loader


def callbacks(module: TaskModule, folder: Path) -> list[pl.Callback]:
    scale = module.scale or None
    objectives = [Objective("val/error", reference=1.5), Objective("params", reference=1e6)]
    if not isinstance(module, SearchModule):
        return [ParetoFront(objectives, dirpath=folder), CostMeter()]
    found: list[pl.Callback] = [
        ParetoFront(objectives, dirpath=folder, scale=scale),
        ArchitectureLog(dirpath=folder / "log"),
        DeriveArchitecture(folder, scale=scale, input_shape=(3, 8, 8)),
        CostMeter(),
    ]
    if isinstance(module, DartsModule):
        found.append(HessianEigenvalue(1, action="warn", dirpath=folder))
    return found


def offline_run(module: TaskModule, folder: Path, epochs: int) -> Path:
    """Train, and return the file of the run."""
    supernet = isinstance(module, DartsModule | EnasModule)
    with wandb_in(folder):
        logger = import_module(f"{pl.__name__}.loggers").WandbLogger(
            project="nas", id="id1", save_dir=folder, offline=True
        )
        trainer = pl.Trainer(
            accelerator="cpu",
            max_epochs=epochs,
            logger=logger,
            callbacks=callbacks(module, folder),
            default_root_dir=folder,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        trainer.fit(module, datamodule=RandomImages(4) if supernet else OneStream(4))
    (path,) = (folder / "wandb").glob("offline-run-*/run-id1.wandb")
    return path


def split(read: WandbFile) -> tuple[set[str], dict[str, str]]:
    """The names of all numbers in the history, and of all media with their types."""
    names = {name for row in read.history for name in row if not name.startswith("_")}
    marks = {name for name in names if name.endswith("._type")}
    media = {mark.removesuffix("._type"): str(row[mark]) for row in read.history for mark in marks & row.keys()}
    return {name for name in names if name.rpartition(".")[0] not in media}, media


def assert_media(read: WandbFile, folder: Path) -> None:
    """Assert that pictures are pictures, and that tables have their columns."""
    media = [path for path in read.files if path.startswith("media/")]
    for path in media:
        content = (folder / "files" / path).read_bytes()
        if path.endswith(".png"):
            assert content.startswith(b"\x89PNG")
        else:
            assert json.loads(content)["columns"] == COLUMNS
    assert {Path(path).suffix for path in media} == {".png", ".json"}


def assert_artifacts(read: WandbFile, folder: Path, *, searches: bool) -> None:
    """Assert that the front is kept, with the architecture of each member of it."""
    kept = {(one.name, one.type): one for one in read.artifacts if one.type != "run_table"}
    members = {f"pareto-id1-{path.stem}" for path in (folder / "pareto").glob("*.json")}
    assert kept.keys() == {("pareto-id1", "pareto-front"), *((member, "architecture") for member in members)}
    assert bool(members) == searches
    for member in members:
        assert kept[member, "architecture"].metadata.keys() == {"val/error", "params"}
    tables = [one.name for one in read.artifacts if one.type == "run_table"]
    assert len(tables) == 4  # two tables for each of two candidates
    assert len(set(tables)) == 2


@pytest.mark.parametrize("name", METHODS)
def test_holds_exactly(name: str, tmp_path: Path) -> None:
    method = METHODS[name]
    path = offline_run(method.module(), tmp_path, method.epochs)
    read = read_wandb_file(path)

    said = {key: read.config[key] for key in IDENTITY - {"lightning_nas"}}
    group = f"{name} {method.space} seed 0" if method.searches else "DartsModule nasbench201 seed 3"
    job_type = "search" if method.searches else "retrain"
    dataset = "RandomImages" if name in ("DartsModule", "EnasModule") else "OneStream"
    assert said == {
        "method": name,
        "space": method.space,
        "dataset": dataset,
        "task": "ImageClassification",
        "seed": 0,
        "group": group,
        "job_type": job_type,
    }
    assert (read.group, read.job_type, read.tags) == (group, job_type, (name, method.space, dataset))
    assert read.config.keys() == IDENTITY | MODULE | method.config

    scalars, media = split(read)
    assert scalars == SCALARS | method.scalars | (SEARCH_SCALARS if method.searches else set())
    assert media == MEDIA | method.media | (SEARCH_MEDIA if method.searches else {})
    assert {key for key in read.summary if not key.startswith("_")} == scalars | media.keys()
    assert read.metrics == METRICS
    assert_media(read, path.parent)
    assert_artifacts(read, tmp_path, searches=method.searches)
    assert_drawn_over_examples(read, method.epochs, searches=method.searches)


def assert_drawn_over_examples(read: WandbFile, epochs: int, *, searches: bool) -> None:
    """Assert that what is drawn over the examples seen is logged with them, and that they grow."""
    over = [metric.name for metric in METRICS if metric.step_metric == "search/examples_seen"]
    rows = [row for row in read.history if not row.keys().isdisjoint(over)]
    assert len(rows) == (epochs + 2 if searches else epochs)
    examples = [row["search/examples_seen"] for row in rows]
    assert examples == sorted(examples)
    assert len(set(examples)) == epochs


def test_the_panels_of_the_workspace_show_what_is_logged() -> None:
    names = [workspace.EXAMPLES, *workspace.OVER_EXAMPLES, *workspace.COSTS, *workspace.SIGNS_OF_COLLAPSE]
    darts = METHODS["DartsModule"]
    assert set(names) <= SCALARS | SEARCH_SCALARS | darts.scalars
    assert set(workspace.PICTURES) <= (MEDIA | SEARCH_MEDIA).keys()
