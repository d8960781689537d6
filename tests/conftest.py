"""Settings of all tests."""

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.finish_wandb import finish_wandb

# The networks are tiny: a second thread costs more than it brings, and far more where the machine is shared.
torch.set_num_threads(1)


@pytest.fixture
def offline_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Makes loggers of Weights & Biases that reach no network, and leave nothing outside of ``tmp_path``.

    A run's files are in ``tmp_path/wandb/offline-run-*``, complete after ``finish_wandb()``.
    """

    from lightning_nas._lightning import pl

    monkeypatch.setenv("WANDB_MODE", "offline")  # the logger sets it; this puts it back
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    for name in ("DATA", "CACHE", "CONFIG"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / f"wandb_{name.lower()}"))

    def make(**options: Any) -> Any:
        logger = import_module(f"{pl.__name__}.loggers").WandbLogger
        return logger(**{"project": "nas", "save_dir": tmp_path, "offline": True, **options})

    yield make
    finish_wandb()  # the next logger would go on with this run
