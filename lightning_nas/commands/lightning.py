"""``lightning-nas fit``, ``validate`` and ``test``: Lightning's own command line on our modules."""

import os
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import lightning_nas.callbacks
import lightning_nas.datamodules
import lightning_nas.methods
import lightning_nas.spaces
import lightning_nas.tasks
from lightning_nas._lightning import package_name, pl

ROOMS = (
    lightning_nas.datamodules,
    lightning_nas.callbacks,
    lightning_nas.methods,
    lightning_nas.spaces,
    lightning_nas.tasks,
)


def run_lightning(**options: Any) -> Any:
    """Run LightningCLI on ``sys.argv``; class names of this package need no module path.

    Modules in the working directory can be named, as when ``python`` runs a script there: a user's own model, say.

    Args:
        options: Passed to LightningCLI.
    """
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    for room in ROOMS:
        for name in room.__all__:  # importing a class makes its short name known
            getattr(room, name)
    cli = import_module(f"{package_name()}.cli")
    return cli.LightningCLI(
        pl.LightningModule,
        pl.LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        auto_configure_optimizers=False,
        seed_everything_default=0,
        save_config_kwargs={"overwrite": True},
        **options,
    )


def from_config(path: str | Path, options: Mapping[str, object] | None = None) -> Any:
    """Make the ``trainer``, ``model`` and ``datamodule`` of a config file, without running anything.

    Args:
        path: A YAML file as ``lightning-nas fit --config`` takes it.
        options: Values that replace those of the file, e.g. ``{"model.seed": 1}``.
    """
    words = [f"--{key}={value}" for key, value in (options or {}).items()]
    argv = sys.argv
    try:
        sys.argv = ["lightning-nas", "--config", str(path), *words]  # LightningCLI warns of other arguments in it
        return run_lightning(run=False)
    finally:
        sys.argv = argv
