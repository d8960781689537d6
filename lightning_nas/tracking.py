"""What makes runs of different methods comparable in a logger: the same keys, names and groups for all."""

import os
from typing import Any

import lightning_nas
from lightning_nas._lightning import pl
from lightning_nas.loggers import kind_of

# What is drawn over the search's cost rather than over the Trainer's steps.
OVER_EXAMPLES = ("search/best_error", "search/best_score", "pareto/hypervolume", "pareto/size")
VARIABLES = {"run_group": "WANDB_RUN_GROUP", "run_job_type": "WANDB_JOB_TYPE"}
GROUP_LENGTH = 128  # as long as a name may be in Weights & Biases

_offered: dict[str, str] = {}


def group_of(method: str, space: str, seed: object) -> str:
    """Return the name that a search and the training of what it found have in common."""
    return f"{method} {space} seed {seed}"[:GROUP_LENGTH]


def dataset_of(trainer: pl.Trainer) -> str:
    """Return what a Trainer's data is called: the name of its data module, or of the one that is wrapped by it."""
    data: Any = getattr(trainer, "datamodule", None)
    wrapped = getattr(data, "datamodule", data)
    return "" if wrapped is None else type(wrapped).__name__.removesuffix("DataModule")


def offer_names(trainer: pl.Trainer, group: str, job_type: str) -> None:
    """Let a run of Weights & Biases that is about to begin have this group and job type, unless it is given others.

    They cannot be changed once a run has begun, and the Trainer begins it before any ``setup``. They are offered where
    such a run looks for what it was not given: in the environment when it is the first of the process, and in the
    settings that all runs of the process share when it is not. ``withdraw_names`` removes them.
    """
    withdraw_names()
    if trainer.local_rank or not any(kind_of(logger) == "WandbLogger" for logger in trainer.loggers):
        return
    settings = _shared_settings()
    for name, value in {"run_group": group, "run_job_type": job_type}.items():
        if settings is not None and not getattr(settings, name):
            setattr(settings, name, value)
            _offered[name] = value
        elif settings is None and VARIABLES[name] not in os.environ:
            os.environ[VARIABLES[name]] = _offered[name] = value


def withdraw_names() -> None:
    """Remove what ``offer_names`` has offered: it was of one run."""
    settings = _shared_settings() if _offered else None
    for name, value in _offered.items():
        if os.environ.get(VARIABLES[name]) == value:
            del os.environ[VARIABLES[name]]
        if settings is not None and getattr(settings, name) == value:
            setattr(settings, name, None)
    _offered.clear()


def _shared_settings() -> Any:
    """Return the settings of all runs in this process; ``None`` before the first, which loads them."""
    from wandb.sdk import wandb_setup

    return wandb_setup.singleton().settings_if_loaded


def describe_run(trainer: pl.Trainer, identity: dict[str, Any]) -> None:
    """Give every logger the same keys, and runs of Weights & Biases the same tags and axes.

    Args:
        trainer: The Trainer.
        identity: ``method``, ``space``, ``task``, ``seed``, ``group``, ``job_type``, and more of one module.
    """
    identity = {**identity, "dataset": dataset_of(trainer), "lightning_nas": lightning_nas.__version__}
    loggers: list[Any] = list(trainer.loggers)
    for logger in loggers:
        logger.log_hyperparams(identity)
        if kind_of(logger) == "WandbLogger" and trainer.is_global_zero:
            _describe_wandb(logger.experiment, identity)


def _describe_wandb(run: Any, identity: dict[str, Any]) -> None:
    tags = [str(identity[key]) for key in ("method", "space", "dataset") if identity[key]]
    run.tags = tuple(dict.fromkeys([*(run.tags or ()), *(tag[:64] for tag in tags)]))  # as long as a tag may be
    run.define_metric("search/examples_seen")
    for name in OVER_EXAMPLES:
        run.define_metric(name, step_metric="search/examples_seen")
