import subprocess
import sys
from pathlib import Path

import pytest

import lightning_nas

HEAVY = {"torch", "numpy", "torchvision", "torchmetrics", "pytorch_lightning", "lightning", "matplotlib", "wandb"}

FIT = """
import warnings
warnings.simplefilter("ignore")
import {package} as pl
import torch
import lightning_nas as nas
from lightning_nas._lightning import package_name
assert package_name() == "{package}"
torch.set_num_threads(1)
size = {{"channels": 4, "layers": 3, "in_channels": 1}}
data = nas.DigitsDataModule(search=True, max_train_images=64)
callback = nas.DeriveArchitecture("out", scale=size, input_shape=(1, 8, 8))
search = nas.DartsModule("darts?nodes=1", scale=size)
assert isinstance(search, pl.LightningModule) and isinstance(callback, pl.Callback)
assert isinstance(data, pl.LightningDataModule)
quiet = dict(logger=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu", max_epochs=1)
pl.Trainer(callbacks=[callback], **quiet).fit(search, datamodule=data)
retrain = nas.RetrainModule(architecture="out/architecture.json", scale=size, auxiliary=False)
assert retrain.architecture == search.derive()
trainer = pl.Trainer(**quiet)
trainer.fit(retrain, datamodule=nas.DigitsDataModule(max_train_images=64))
trainer.test(retrain, datamodule=nas.DigitsDataModule())
print("steps", trainer.global_step, sorted(trainer.callback_metrics))
"""


def run(code: str, folder: Path | None = None) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=120)
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
def test_serves_both_lightning_packages(package: str, tmp_path: Path) -> None:
    output = run(FIT.format(package=package), tmp_path)
    assert output.strip().endswith("steps 1 ['test/accuracy', 'test/loss']")


def test_rooms_are_found_and_names_complete() -> None:
    assert lightning_nas.zoo.DARTS_V2.space == "darts"
    assert {"DartsModule", "zoo", "datamodules"} <= set(dir(lightning_nas))


@pytest.mark.parametrize("name", sorted(set(lightning_nas.__all__) - {"__version__"}))
def test_every_promised_name_is_there(name: str) -> None:
    assert getattr(lightning_nas, name).__name__ == name


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'DartModule'"):
        lightning_nas.DartModule  # noqa: B018  # the access itself is the test
