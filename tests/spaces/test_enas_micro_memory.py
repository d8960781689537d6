"""What a step on ENAS's micro supernet holds, against its child alone."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks.enas_memory import Memory, count, main, make
from lightning_nas import EnasMicroSpace
from lightning_nas.zoo import ENAS_MICRO

SCALE = {"channels": 4, "layers": 1}


def test_by_hand() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))
    weights = 4 * (3 * 32 * 32 + 1) * 10
    # the images, for two labels of eight bytes their log-probabilities, and the sum of the labels' weights
    assert count(network, 2) == Memory(weights, weights, weights, 4 * 2 * 3 * 32 * 32 + 2 * 8 + 4 * 2 * 10 + 4)


def test_parameters_are_not_counted_twice() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Parameter(torch.zeros(5))
            self.scale = nn.Parameter(torch.ones(1, 10))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.flatten(1)[:, :10] * self.scale

    # a slice of the images is kept with all of them
    assert count(Twice(), 1) == Memory(4 * 15, 4 * 10, 4 * 15, 4 * 3 * 32 * 32 + 8 + 4 * 10 + 4)


@pytest.mark.parametrize("seed", range(3))
def test_supernet_saves_no_more_than_its_child(seed: int) -> None:
    architecture = EnasMicroSpace().sample(torch.Generator().manual_seed(seed)) if seed else ENAS_MICRO
    supernet, child = (count(make(kind, architecture, SCALE), 2) for kind in ("supernet", "child"))
    assert supernet.gradients == child.gradients == child.parameters
    assert child.saved <= supernet.saved < 1.01 * child.saved  # the supernet keeps a path's weight of one, too
    assert supernet.parameters == supernet.momentum > 5 * child.parameters
    assert supernet.total == sum((supernet.parameters, supernet.gradients, supernet.momentum, supernet.saved))


def test_of_the_whole_step_at_the_papers_scale() -> None:
    supernet, child = (count(make(kind, ENAS_MICRO, {}), 8) for kind in ("supernet", "child"))
    assert supernet.parameters == 4 * 5_373_140
    assert supernet.total < 1.5 * child.total


@pytest.mark.slow
def test_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--batch-size", "32", "--samples", "1", "--json", str(tmp_path / "result.json")]
    assert main(arguments) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert [row["name"] for row in result["architectures"]] == ["ENAS_MICRO", "random 0"]
    ratios = [row[ratio] for row in result["architectures"] for ratio in ("ratio", "grown_ratio")]
    assert result["worst_ratio"] == max(ratios) < 1.5
    assert f"at most {max(ratios):.3f} times" in capsys.readouterr().out
