import subprocess
import sys

import pytest

import lightning_nas

HEAVY = {"torch", "numpy", "torchvision", "torchmetrics", "pytorch_lightning", "lightning", "matplotlib", "wandb"}

FIT = """
import warnings
warnings.simplefilter("ignore")
import {package} as pl
import torch
from torch.utils.data import DataLoader, TensorDataset
from lightning_nas import DartsModule
from lightning_nas._lightning import CombinedLoader, package_name
assert package_name() == "{package}"
torch.set_num_threads(1)
data = DataLoader(TensorDataset(torch.zeros(4, 3, 8, 8), torch.tensor([0, 1, 2, 3])), 2)
module = DartsModule("nasbench201", scale={{"channels": 4, "cells": 1}})
assert isinstance(module, pl.LightningModule)
quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
trainer = pl.Trainer(accelerator="cpu", fast_dev_run=2, **quiet)
trainer.fit(module, CombinedLoader({{"weights": data, "architecture": data}}, "max_size_cycle"), data)
print("steps", trainer.global_step)
"""


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert run(f"import sys, lightning_nas; print({HEAVY} & set(sys.modules))").strip() == "set()"


def test_help_loads_nothing_heavy() -> None:
    code = f"""
import sys
from lightning_nas.main import main
sys.argv = ["lightning-nas", "--help"]
try:
    main()
except SystemExit as stop:
    print("exit", stop.code, {HEAVY} & set(sys.modules))
"""
    output = run(code)
    assert output.strip().endswith("exit 0 set()")
    assert "demo" in output


@pytest.mark.parametrize("package", ["pytorch_lightning", "lightning.pytorch"])
def test_serves_both_lightning_packages(package: str) -> None:
    assert run(FIT.format(package=package)).strip().endswith("steps 2")


@pytest.mark.parametrize("name", sorted(set(lightning_nas.__all__) - {"__version__"}))
def test_every_promised_name_is_there(name: str) -> None:
    assert getattr(lightning_nas, name).__name__ == name


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'DartModule'"):
        lightning_nas.DartModule  # noqa: B018  # the access itself is the test
