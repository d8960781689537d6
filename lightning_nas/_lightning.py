"""The one place where Lightning is imported.

``pytorch_lightning`` and ``lightning.pytorch`` are two packages with equal names and different types: a module built on
one is refused by the other's Trainer. ``lightning.pytorch`` is taken when the process has already imported it, or when
it is the only one installed; otherwise ``pytorch_lightning``.
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING


def package_name() -> str:
    """Return the import name of the Lightning package that this process uses."""
    if "lightning.pytorch" in sys.modules:
        return "lightning.pytorch"
    return "pytorch_lightning" if find_spec("pytorch_lightning") else "lightning.pytorch"


if TYPE_CHECKING:
    import pytorch_lightning as pl
    from lightning_fabric.utilities.exceptions import MisconfigurationException
    from pytorch_lightning.core.optimizer import LightningOptimizer
    from pytorch_lightning.utilities import CombinedLoader
else:
    pl = import_module(package_name())
    LightningOptimizer = import_module(f"{pl.__name__}.core.optimizer").LightningOptimizer
    CombinedLoader = import_module(f"{pl.__name__}.utilities").CombinedLoader
    MisconfigurationException = import_module(f"{pl.__name__}.utilities.exceptions").MisconfigurationException

__all__ = ["CombinedLoader", "LightningOptimizer", "MisconfigurationException", "package_name", "pl"]
