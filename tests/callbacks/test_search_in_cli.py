"""The callback in a config of LightningCLI: that of the documentation."""

import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch.optim import Adam
from torch.utils.data import DataLoader

from lightning_nas import Architecture, CostBudget
from lightning_nas.commands.lightning import from_config
from tests.callbacks.project import FILTERS, QUIET, Project, alphas, architecture, fit, searching

DOCS = Path(__file__).parents[2] / "docs" / "own_model.md"

pytestmark = [pytest.mark.filterwarnings(text) for text in FILTERS]


def architecture_loader() -> DataLoader[Any]:
    return architecture()


def config(folder: Path) -> Path:
    """Write the documentation's config down, with a module, data and a folder."""
    (text,) = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    asked = yaml.safe_load(text.replace("project.", f"{__name__}."))
    asked["model"], asked["data"] = ({"class_path": f"tests.callbacks.project.{name}"} for name in ("Project", "Data"))
    asked["trainer"] |= {**QUIET, "default_root_dir": str(folder)}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(asked))
    return path


def test_search_from_a_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    with torch.random.fork_rng([]):  # LightningCLI seeds everything
        cli: Any = from_config(config(tmp_path))
        cli.trainer.fit(cli.model, datamodule=cli.datamodule)

    options: Any = {"optimizer": partial(Adam, lr=0.05), "budget": CostBudget("params", weight=0.1)}
    fit(Project(), [search := searching(tmp_path / "same", warmup_epochs=1, **options)], epochs=3)
    assert Architecture.load(tmp_path / "architecture.json") == search.derive()
    cli.trainer.save_checkpoint(tmp_path / "run.ckpt")
    states = torch.load(tmp_path / "run.ckpt", weights_only=True)["callbacks"]
    (state,) = (state for key, state in states.items() if key == "DifferentiableSearch")
    for key, table in alphas(search).items():
        assert torch.equal(state["alphas"][key], table)
