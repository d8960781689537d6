import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from lightning_nas import DartsModule, RetrainModule, SearchSplit, zoo
from lightning_nas.datamodules import DigitsDataModule
from lightning_nas.tracking import (
    GROUP_LENGTH,
    VARIABLES,
    dataset_of,
    describe_run,
    group_of,
    offer_names,
    withdraw_names,
)

IDENTITY = {"method": "DartsModule", "space": "darts", "task": "T", "seed": 3, "group": "g", "job_type": "search"}


class Logger:
    def __init__(self) -> None:
        self.params: dict[str, Any] = {}
        self.experiment = Run()

    def log_hyperparams(self, params: dict[str, Any]) -> None:
        self.params |= params


class Run:
    def __init__(self) -> None:
        self.tags: tuple[str, ...] = ("mine",)
        self.metrics: dict[str, str | None] = {}

    def define_metric(self, name: str, step_metric: str | None = None) -> None:
        self.metrics[name] = step_metric


class WandbLogger(Logger):  # dispatch is by name: there are two Lightning packages
    pass


class CSVLogger(Logger):
    pass


def trainer(*loggers: Logger, local_rank: int = 0, datamodule: object = None) -> Any:
    return SimpleNamespace(
        loggers=loggers, local_rank=local_rank, is_global_zero=local_rank == 0, datamodule=datamodule
    )


@pytest.fixture(params=[False, True], ids=["first run of the process", "later run"])
def shared(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The settings of all runs, or None: wandb itself is not begun."""
    settings = SimpleNamespace(run_group=None, run_job_type=None) if request.param else None
    monkeypatch.setattr("lightning_nas.tracking._shared_settings", lambda: settings)
    for name in VARIABLES.values():
        monkeypatch.delenv(name, raising=False)
    yield settings
    withdraw_names()


def names(settings: Any) -> list[str | None]:
    """What a run that begins now would be called."""
    if settings is None:
        return [os.environ.get(name) for name in VARIABLES.values()]
    assert not [name for name in VARIABLES.values() if name in os.environ]
    return [settings.run_group, settings.run_job_type]


class TestNames:
    def test_are_offered_and_withdrawn(self, shared: Any) -> None:
        offer_names(trainer(WandbLogger()), "g", "search")
        assert names(shared) == ["g", "search"]
        withdraw_names()
        assert names(shared) == [None, None]

    def test_those_of_a_run_that_failed_do_not_stay(self, shared: Any) -> None:
        offer_names(trainer(WandbLogger()), "g", "search")
        offer_names(trainer(WandbLogger()), "h", "retrain")
        assert names(shared) == ["h", "retrain"]

    def test_the_users_stay(self, shared: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        if shared is None:
            monkeypatch.setenv("WANDB_RUN_GROUP", "mine")
        else:
            shared.run_group = "mine"
        offer_names(trainer(WandbLogger()), "g", "search")
        assert names(shared) == ["mine", "search"]
        withdraw_names()
        assert names(shared) == ["mine", None]

    def test_what_was_loaded_from_the_environment_is_withdrawn_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loaded = SimpleNamespace(run_group="g", run_job_type="search")  # as the first run leaves them
        monkeypatch.setattr("lightning_nas.tracking._shared_settings", lambda: None)
        offer_names(trainer(WandbLogger()), "g", "search")
        monkeypatch.setattr("lightning_nas.tracking._shared_settings", lambda: loaded)
        withdraw_names()
        assert vars(loaded) == {"run_group": None, "run_job_type": None}
        assert names(None) == [None, None]

    @pytest.mark.parametrize("other", [trainer(CSVLogger()), trainer(), trainer(WandbLogger(), local_rank=1)])
    def test_nothing_is_offered_to_others(self, shared: Any, other: Any) -> None:
        offer_names(other, "g", "search")
        assert names(shared) == [None, None]


class TestDescription:
    def test_all_loggers_get_the_same_keys(self) -> None:
        loggers = [WandbLogger(), CSVLogger()]
        describe_run(trainer(*loggers, datamodule=DigitsDataModule()), IDENTITY)
        assert loggers[0].params == loggers[1].params
        assert loggers[0].params.keys() == {*IDENTITY, "dataset", "lightning_nas"}
        assert loggers[0].params["dataset"] == "Digits"

    def test_tags_are_added_to_the_users(self) -> None:
        logger = WandbLogger()
        describe_run(trainer(logger, datamodule=DigitsDataModule()), {**IDENTITY, "space": "s" * 100})
        assert logger.experiment.tags == ("mine", "DartsModule", "s" * 64, "Digits")
        describe_run(trainer(logger), IDENTITY)
        tags = list(logger.experiment.tags)
        assert tags[4:] == ["darts"]

    def test_metrics_are_drawn_over_examples(self) -> None:
        logger = WandbLogger()
        describe_run(trainer(logger), IDENTITY)
        assert logger.experiment.metrics.pop("search/examples_seen") is None
        assert logger.experiment.metrics == dict.fromkeys(
            ["search/best_error", "search/best_score", "pareto/hypervolume", "pareto/size"], "search/examples_seen"
        )

    def test_other_processes_have_no_run(self) -> None:
        logger = WandbLogger()
        describe_run(trainer(logger, local_rank=1), IDENTITY)
        assert logger.experiment.metrics == {}


def test_a_wrapped_data_module_gives_its_name() -> None:
    assert dataset_of(trainer(datamodule=SearchSplit(DigitsDataModule()))) == "Digits"
    assert dataset_of(trainer()) == ""


class TestGroup:
    def test_a_search_and_what_it_found_share_it(self) -> None:
        search = DartsModule("darts?nodes=2", scale={"channels": 4, "layers": 3}, seed=7)
        retrain = RetrainModule(architecture=search.derive(), scale={"channels": 4, "layers": 3})
        assert search.group == retrain.group == "DartsModule darts?nodes=2 seed 7"
        assert search.identity()["job_type"] == "search"
        assert retrain.identity()["job_type"] == "retrain"
        assert search.identity().keys() == retrain.identity().keys()

    def test_a_published_architecture_gives_its_source(self) -> None:
        retrain = RetrainModule(architecture="DARTS_V2", scale={"channels": 4, "layers": 3})
        assert retrain.group == zoo.DARTS_V2.provenance["source"]

    def test_is_not_longer_than_allowed(self) -> None:
        assert len(group_of("DartsModule", "x" * 300, 0)) == GROUP_LENGTH
