"""The callback GrowthGallery in a Trainer."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from matplotlib.figure import Figure
from torch.utils.data import DataLoader

from lightning_nas import Architecture, DartsModule, PetridishModule, RandomSearchModule, RetrainModule
from lightning_nas._lightning import MisconfigurationException, pl
from lightning_nas.callbacks import GrowthGallery, growth_gallery
from lightning_nas.methods.ledger import read_children
from lightning_nas.plotting.families import plot_family
from lightning_nas.plotting.grown_model import GrownModel
from lightning_nas.plotting.growth import plot_hull_growth
from lightning_nas.testing.search_module import RandomImages
from tests.callbacks.project import FILTERS, QUIET, Project, fit

SCALE: dict[str, Any] = {"channels": 4, "cells": 1}
SHAPE = (3, 8, 8)
ERRORS = {"seed": (10, 0.5), "a": (20, 0.25), "b c": (30, 0.375), "d": (40, 0.125), "e": (50, 0.125)}
HULL = {"seed", "a", "d"}  # by hand: b is worse than a, and e costs more than d
PARENTS = {"a": "seed", "b c": "a", "d": "a", "e": "b c"}

pytestmark = [pytest.mark.filterwarnings(text) for text in FILTERS]


class Images(RandomImages):
    """The images for weights only, all of them in every process."""

    def train_dataloader(self) -> Any:
        return DataLoader(self._loader(8, seed=0).dataset, 4)

    def val_dataloader(self) -> Any:
        return DataLoader(self._loader(4, seed=1).dataset, 4)


class Grown(RandomSearchModule):
    """A search whose candidates are those of the table above, whatever it trains."""

    table: ClassVar[Mapping[str, tuple[float, float]]] = ERRORS

    def candidates(self) -> dict[str, Architecture]:
        known = super().candidates()
        return {name: self._like(name, known["child 0"]) for name in self.table} if known else {}

    def _like(self, name: str, trained: Architecture) -> Architecture:
        macs, error = self.table[name]
        origin = {"parent": PARENTS[name], "growth": f"add {name}"} if name in PARENTS else {"epoch": 7}
        return replace(
            trained, provenance=origin, metrics={"val/accuracy": 1 - error, "macs": macs, "params": 100 - macs}
        )


class Tie(Grown):
    """Two of its candidates cost and err the same."""

    table: ClassVar[Mapping[str, tuple[float, float]]] = {**ERRORS, "f": ERRORS["e"]}


class Lacking(Grown):
    """Measures nothing."""

    def _like(self, name: str, trained: Architecture) -> Architecture:
        return replace(trained, metrics={})


class Pictures:
    """Notes what is drawn; real pictures have tests of their own."""

    def __init__(self) -> None:
        self.drawn: dict[str, tuple[Any, ...]] = {}

    def hull(self, models: Sequence[GrownModel], **options: Any) -> Figure:
        self.drawn["hull"] = (list(models), options)
        return Figure((1, 1))

    def family(self, models: Sequence[GrownModel], name: str, **options: Any) -> Figure:
        self.drawn["family"] = (list(models), name, options)
        return Figure((1, 1))


@pytest.fixture(autouse=True)
def pictures(monkeypatch: pytest.MonkeyPatch) -> Pictures:
    noted = Pictures()
    monkeypatch.setattr(growth_gallery, "plot_hull_growth", noted.hull)
    monkeypatch.setattr(growth_gallery, "plot_family", noted.family)
    return noted


def search(kind: type[RandomSearchModule] = Grown, **options: Any) -> RandomSearchModule:
    settings: dict[str, Any] = {"epochs_per_child": 1, "input_shape": SHAPE, "scale": SCALE, **options}
    return kind("nasbench201", **settings)


def run(module: pl.LightningModule, folder: Path, *callbacks: pl.Callback, **options: Any) -> pl.Trainer:
    settings = {**QUIET, "default_root_dir": folder, "max_epochs": 1, **options}
    trainer = pl.Trainer(callbacks=list(callbacks), **settings)
    trainer.fit(module, datamodule=Images(4))
    return trainer


def written(folder: Path) -> dict[str, Architecture]:
    return {path.stem: Architecture.load(path) for path in (folder / "gallery" / "models").iterdir()}


MODELS = [
    GrownModel(name, macs, error, PARENTS.get(name), f"add {name}" if name in PARENTS else "")
    for name, (macs, error) in ERRORS.items()
]


class TestWhatIsWritten:
    def test_pictures_of_all_candidates(self, tmp_path: Path, pictures: Pictures) -> None:
        run(search(), tmp_path, GrowthGallery(moments=3))
        names = {"cost": "macs", "error": "val/error"}
        assert pictures.drawn == {"hull": (MODELS, {"moments": 3, **names}), "family": (MODELS, "d", names)}
        for name in ("hull", "family"):
            assert (tmp_path / "gallery" / f"{name}.png").read_bytes().startswith(b"\x89PNG")

    def test_models_on_the_hull(self, tmp_path: Path) -> None:
        module = search()
        run(module, tmp_path, GrowthGallery())
        assert written(tmp_path) == {name: module.candidates()[name] for name in HULL}
        for name, architecture in written(tmp_path).items():
            macs, error = ERRORS[name]
            assert architecture.metrics == {"val/accuracy": 1 - error, "macs": macs, "params": 100 - macs}

    def test_where_models_come_from(self, tmp_path: Path) -> None:
        """The candidate's own provenance counts more than that of the search."""
        run(search(seed=3), tmp_path, GrowthGallery())
        models = written(tmp_path)
        assert models["d"].provenance["parent"] == "a"
        assert (models["d"].provenance["method"], models["d"].provenance["seed"]) == ("Grown", 3)
        assert (models["d"].provenance["epoch"], models["seed"].provenance["epoch"]) == (1, 7)

    def test_another_cost(self, tmp_path: Path, pictures: Pictures) -> None:
        """What has the most multiply-adds has the fewest parameters; of two equal models both are on the hull."""
        run(search(Tie, input_shape=None), tmp_path, GrowthGallery("params"))
        models, best, options = pictures.drawn["family"]
        assert [model.cost for model in models] == [90, 80, 70, 60, 50, 50]
        assert (best, options["cost"]) == ("e", "params")
        assert set(written(tmp_path)) == {"e", "f"}

    def test_models_that_have_left_the_hull_are_removed(self, tmp_path: Path) -> None:
        (tmp_path / "gallery" / "models").mkdir(parents=True)
        for name in ("b-c", "e", "mine"):
            (tmp_path / "gallery" / "models" / f"{name}.json").touch()
        run(search(), tmp_path, GrowthGallery())
        assert {path.stem for path in (tmp_path / "gallery" / "models").iterdir()} == {*HULL, "mine"}

    def test_candidates_without_parents_are_seeds(self, tmp_path: Path, pictures: Pictures) -> None:
        module = search(RandomSearchModule)
        run(module, tmp_path, GrowthGallery(), max_epochs=3)
        children = {child.number: child for child in module.ledger}
        models, best, _ = pictures.drawn["family"]
        assert models == [
            GrownModel(f"child {k}", children[k].costs["macs"], 1 - children[k].metrics["val/accuracy"])
            for k in range(3)
        ]
        assert best == min(models, key=lambda model: (model.error, model.cost)).name

    def test_real_pictures(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(growth_gallery, "plot_hull_growth", plot_hull_growth)
        monkeypatch.setattr(growth_gallery, "plot_family", plot_family)
        run(search(), tmp_path, GrowthGallery())
        for name in ("hull", "family"):
            picture = (tmp_path / "gallery" / f"{name}.png").read_bytes()
            assert int.from_bytes(picture[16:20]) == 1650  # pixels wide


class TestObjective:
    @pytest.mark.parametrize(
        ("objective", "metric", "error", "name"),
        [
            (("val/perplexity", "min"), 80.0, 80.0, "val/perplexity"),
            (("val/f1", "max"), 0.75, 0.25, "1 - f1"),
            (("val/accuracy", "max"), 0.875, 0.125, "val/error"),
        ],
    )
    def test_what_is_small_is_good(self, objective: Any, metric: float, error: float, name: str) -> None:
        module = search()
        module.task.objective = objective
        candidate = Architecture("toy", {}, metrics={objective[0]: metric, "macs": 5})
        assert GrowthGallery().models(module, {"one": candidate}) == [GrownModel("one", 5, error)]
        assert growth_gallery.error_name(*objective) == name


class Stop(pl.Callback):
    """Raises an error when an epoch begins."""

    def __init__(self, epoch: int, error: BaseException) -> None:
        self.epoch = epoch
        self.error = error

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == self.epoch:
            raise self.error


class TestInterruption:
    def test_an_exception_after_the_first_models(self, tmp_path: Path) -> None:
        with pytest.raises(OSError, match="disk"):
            run(search(), tmp_path, GrowthGallery(), Stop(1, OSError("disk")), max_epochs=3)
        assert set(written(tmp_path)) == HULL
        assert (tmp_path / "gallery" / "family.png").is_file()

    def test_the_keyboard(self, tmp_path: Path) -> None:
        with pytest.raises(SystemExit):
            run(search(), tmp_path, GrowthGallery(), Stop(1, KeyboardInterrupt()), max_epochs=3)
        assert set(written(tmp_path)) == HULL

    def test_an_exception_before_the_first_model(self, tmp_path: Path) -> None:
        with pytest.raises(OSError, match="disk"):
            run(search(), tmp_path, GrowthGallery(), Stop(0, OSError("disk")))
        assert not (tmp_path / "gallery").exists()

    def test_an_error_in_the_gallery_itself_is_raised_once(self, tmp_path: Path, pictures: Pictures) -> None:
        message = r"Expected 'macs' among the metrics of 'seed' but got \[\]; let Lacking.candidates\(\) have it"
        with pytest.raises(ValueError, match=message) as caught:
            run(search(Lacking), tmp_path, GrowthGallery())
        assert caught.value.__context__ is None
        assert pictures.drawn == {}

    def test_validation_writes_nothing(self, tmp_path: Path, pictures: Pictures) -> None:
        gallery = GrowthGallery()
        trainer = run(search(), tmp_path, gallery)
        pictures.drawn.clear()
        gallery.setup(trainer, trainer.lightning_module, "fit")
        trainer.validate(trainer.lightning_module, datamodule=Images(4), verbose=False)
        gallery.on_exception(trainer, trainer.lightning_module, OSError())
        assert pictures.drawn == {}

    def test_a_second_fit_writes_again(self, tmp_path: Path, pictures: Pictures) -> None:
        gallery = GrowthGallery()
        trainer = run(search(), tmp_path, gallery)
        pictures.drawn.clear()
        trainer.fit_loop.max_epochs = 2
        trainer.fit(trainer.lightning_module, datamodule=Images(4))
        assert set(pictures.drawn) == {"hull", "family"}


class WandbLogger(pl.loggers.Logger):
    """Notes what is logged; the name makes it take pictures."""

    name = version = "fake"

    def __init__(self) -> None:
        self.rows: list[tuple[int | None, dict[str, Any]]] = []
        self.tags = ()

    @property
    def experiment(self) -> Any:
        return self

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self.rows.append((step, dict(metrics)))

    def log_hyperparams(self, *_: Any) -> None:
        pass

    def define_metric(self, *_: Any, **__: Any) -> None:
        pass


def test_loggers_get_both_pictures_and_name_the_folder(tmp_path: Path) -> None:
    logger = WandbLogger()
    run(search(), tmp_path, GrowthGallery(), logger=logger)
    logged = [(step, name) for step, row in logger.rows for name in row if name.startswith("gallery/")]
    assert logged == [(1, "gallery/hull"), (1, "gallery/family")]
    assert (tmp_path / "fake" / "fake" / "gallery" / "hull.png").is_file()


def test_a_trial_run_writes_nothing(tmp_path: Path, pictures: Pictures) -> None:
    run(search(), tmp_path, GrowthGallery(), fast_dev_run=2)
    assert pictures.drawn == {}
    assert not (tmp_path / "gallery").exists()


def test_two_processes(tmp_path: Path) -> None:
    """The first one writes the models of both."""
    options: dict[str, Any] = {"devices": 2, "strategy": "ddp_fork", "use_distributed_sampler": False}
    run(search(RandomSearchModule, folder=tmp_path), tmp_path, GrowthGallery(), **options)
    children = read_children(tmp_path / "children.csv")
    points = {child.number: (child.costs["macs"], 1 - child.metrics["val/accuracy"]) for child in children}
    assert len(points) == 2
    better = [all(mine <= other for mine, other in zip(points[k], points[1 - k], strict=True)) for k in (0, 1)]
    left = [k for k in (0, 1) if not better[1 - k] or points[0] == points[1]]  # a hull of two points is their front
    assert set(written(tmp_path)) == {f"child-{k}" for k in left}


def test_petridish_is_what_it_is_for(tmp_path: Path, pictures: Pictures) -> None:
    epochs: dict[str, Any] = dict.fromkeys(("seed_epochs", "hallucination_epochs", "child_epochs"), 1)
    module = PetridishModule("petridish?cells=1", scale={"filters": 2}, max_jobs=5, input_shape=SHAPE, **epochs)
    run(module, tmp_path, GrowthGallery(), max_epochs=6)
    models, *_ = pictures.drawn["hull"]
    assert [model.name for model in models] == ["seed 0", "child 2", "child 4"]
    assert [model.parent for model in models[:2]] == [None, "seed 0"]
    assert models[2].parent in ("seed 0", "child 2")
    assert [model.label == "" for model in models] == [True, False, False]
    for name, architecture in written(tmp_path).items():
        assert architecture == module.candidates()[name.replace("-", " ")]
        retrained = RetrainModule(architecture=tmp_path / "gallery" / "models" / f"{name}.json", auxiliary=False)
        assert retrained.architecture == architecture


# --- what is refused --------------------------------------------------------------------------------------------------


REFUSED = r"Expected a search that trains each model by itself.* but got {}; leave the callback out"


def test_a_supernet_has_no_models_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(MisconfigurationException, match=REFUSED.format("DartsModule")):
        run(DartsModule("nasbench201", scale=SCALE, order="first"), tmp_path, GrowthGallery())


def test_nor_has_a_module_that_is_no_search(tmp_path: Path) -> None:
    with pytest.raises(MisconfigurationException, match=REFUSED.format("Project")):
        fit(Project(), [GrowthGallery()], default_root_dir=tmp_path)


def test_multiply_adds_need_the_shape_of_an_input(tmp_path: Path) -> None:
    message = r"count multiply-adds but got none; give Grown\(input_shape=.*, or GrowthGallery\(cost='params'\)"
    with pytest.raises(MisconfigurationException, match=message):
        run(search(input_shape=None), tmp_path, GrowthGallery())


def test_two_galleries_in_one_folder(tmp_path: Path) -> None:
    with pytest.raises(MisconfigurationException, match=r"Expected one GrowthGallery but got several"):
        run(search(), tmp_path, GrowthGallery(), GrowthGallery("params"))


def test_no_model_by_the_end(tmp_path: Path, pictures: Pictures) -> None:
    with pytest.warns(UserWarning, match=r"Expected a trained model to draw but there was none; train for more epochs"):
        run(search(epochs_per_child=2), tmp_path, GrowthGallery())
    assert pictures.drawn == {}


def test_arguments() -> None:
    with pytest.raises(ValueError, match=r"Expected `cost` to be one of \['macs', 'params'\] but got 'latency'"):
        GrowthGallery("latency")  # type: ignore[arg-type]  # the error is what is tested
    with pytest.raises(ValueError, match=r"Expected `moments` to be at least 1 but got 0"):
        GrowthGallery(moments=0)
