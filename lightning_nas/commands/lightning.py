"""``lightning-nas fit``, ``validate`` and ``test``: Lightning's own command line on our modules."""

from importlib import import_module
from typing import Any

import lightning_nas.callbacks
import lightning_nas.datamodules
import lightning_nas.methods
import lightning_nas.spaces
import lightning_nas.tasks
from lightning_nas._lightning import package_name, pl


def run_lightning(**options: Any) -> Any:
    """Run LightningCLI on ``sys.argv``; class names of this package need no module path.

    Args:
        options: Passed to LightningCLI, ``run=False`` to only make what a config asks for.
    """
    for room in (lightning_nas.datamodules, lightning_nas.callbacks, lightning_nas.methods, lightning_nas.tasks):
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
