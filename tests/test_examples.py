"""The scripts in examples/, run as they are, with little data and few epochs."""

from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from lightning_nas import Architecture, ModuleSpace, count_multiply_adds

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

pytest.importorskip("sklearn")
pytestmark = pytest.mark.filterwarnings("ignore")  # what Lightning warns of in a user's project


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)


def load(name: str) -> Any:
    spec = spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def found_in(space: ModuleSpace) -> Architecture:
    """Return the architecture that an example has written, after a check that it belongs to the space."""
    architecture = Architecture.load("runs/architecture.json")
    space.validate(architecture)
    return architecture


def write_digits(folder: Path, count: int) -> None:
    """Write real handwritten digits: ``train/3/17.png`` and so on, every fifth for the test."""
    from sklearn.datasets import load_digits  # type: ignore[import-untyped]  # scikit-learn ships no types

    images, labels = load_digits(return_X_y=True)
    for number, (image, label) in enumerate(zip(images[:count], labels, strict=False)):
        place = folder / ("test" if number % 5 == 0 else "train") / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((15 * image).astype("uint8").reshape(8, 8)).save(place / f"{number}.png")


def test_own_cnn(tmp_path: Path) -> None:
    write_digits(tmp_path / "digits", 1000)
    example = load("own_cnn")
    target = 250_000  # the smallest network has 32,416, the largest 646,816
    accuracy = example.main(
        str(tmp_path / "digits"), target, size=8, epochs=4, augment="none", batch_size=32, eval_batch_size=256
    )
    assert accuracy > 0.5  # guessing: 0.1
    space = ModuleSpace(partial(example.OwnCNN, 10))
    found = found_in(space)
    assert count_multiply_adds(space.build(found), torch.zeros(1, 3, 8, 8)) <= target
    assert (tmp_path / "runs" / "cells.png").is_file()


def test_tabular_regression() -> None:
    example = load("tabular_regression")
    error, of_the_mean = example.main(epochs=10)
    assert of_the_mean == pytest.approx(1.10, abs=0.005)  # 83.0 / 75.2, of 100 patients
    assert error < 0.85 * of_the_mean  # ridge regression: 0.72
    assert {decision.name for decision in ModuleSpace(example.MLP).decisions} == {
        "activation",
        "layers",
        *(f"layers/{number}" for number in range(3)),
    }
    found_in(ModuleSpace(example.MLP))


def test_existing_project() -> None:
    example = load("existing_project")
    accuracy = example.main(epochs=4)
    assert accuracy > 0.5  # guessing: 0.1
    found = found_in(ModuleSpace(example.LitDigits))
    assert found.values.keys() == {"kernel", "activation"}
    assert found.values["kernel"] != "conv1"  # which sees no shapes
    assert found.metrics.keys() == {"val_accuracy"}


def test_sequence_transformer() -> None:
    example = load("sequence_transformer")
    accuracy = example.main(epochs=6, count=1500)
    assert accuracy > 0.6  # guessing: 0.125
    found = found_in(ModuleSpace(example.Encoder))
    assert "convolution" in found.values.values()  # the class is what stands beside the marker


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_says_how_to_run_it(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) < 60
    assert f"``python examples/{path.name}" in lines[0]
    assert f"def test_{path.stem}(" in Path(__file__).read_text()
