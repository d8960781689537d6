"""What controllers learn from a table of rewards: no network is trained."""

import csv
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lightning_nas.controllers import Controller, LstmController, Reinforce, Samples, UniformController
from lightning_nas.spaces import DartsSpace, NasBench201Space, SearchSpace
from tests.controllers.spaces import ListSpace, every_architecture, macro, micro, operation, recurrent

CSV = Path(
    os.environ.get(
        "NASBENCH201_CSV", Path(__file__).parents[3] / "shared" / "data" / "nasbench201" / "cifar10-12epochs.csv"
    )
)
Reward = Callable[[Tensor], Tensor]


def learn(
    controller: Controller, reward: Reward, samples: int, seed: int, lr: float = 0.0035, batch: int = 10
) -> list[Samples]:
    """Train a controller by REINFORCE; return what it drew."""
    reinforce = Reinforce(decay=0.95)
    parameters = list(controller.parameters())
    optimizer = torch.optim.Adam(parameters, lr) if parameters else None
    generator = torch.Generator().manual_seed(seed)
    drawn = []
    for _ in range(samples // batch):
        drawn.append(controller.sample(batch, generator))
        loss = reinforce.loss(drawn[-1], reward(drawn[-1].choices))
        controller.zero_grad()
        torch.autograd.backward(loss)
        if optimizer is not None:
            optimizer.step()
    return drawn


@torch.no_grad()
def expected(controller: Controller, table: Tensor, rewards: Tensor) -> float:
    """Return the expected reward, exactly: the sum over all architectures."""
    return (controller.evaluate(table).log_prob.exp() * rewards).sum().item()


@pytest.mark.parametrize(
    "space",
    [micro(2), macro(4), recurrent(4), DartsSpace(nodes=2), NasBench201Space()],
    ids=["micro", "macro", "recurrent", "darts", "nasbench201"],
)
def test_one_operation_is_rewarded(space: SearchSpace) -> None:  # enas T16
    """The share of operation 0 rises and the entropy falls."""
    operations = [k for k, decision in enumerate(space.decisions) if decision.kind == "operation"]

    def share(choices: Tensor) -> Tensor:
        return choices[:, operations].eq(0).float().mean(1)

    controller = LstmController(space, hidden=16, tanh_constant=2.5)
    drawn = learn(controller, share, 600, seed=0, lr=0.02)
    shares = torch.cat([share(samples.choices) for samples in drawn])
    entropy = torch.cat([samples.entropy for samples in drawn]).detach()
    chance = 1 / len(space.decisions[operations[0]].choices)
    assert shares[:50].mean() < chance + 0.15
    assert shares[-50:].mean() > 0.9
    assert entropy[-50:].mean() < entropy[:50].mean() - len(operations) / 2


def test_every_place_learns_its_own_operation() -> None:
    """A table in which each of four places has another best operation: the mean of all is 0.5."""
    space = ListSpace([operation(f"place{k}", ("a", "b", "c", "d")) for k in range(4)])
    value = torch.linspace(0, 1, 4)

    def reward(choices: Tensor) -> Tensor:
        return value[(choices + torch.arange(4)) % 4].mean(1)

    table = every_architecture(space)
    rewards = reward(table)
    assert rewards.mean().item() == pytest.approx(0.5)
    for seed in range(3):
        controller = LstmController(space, hidden=32, tanh_constant=2.5, seed=seed)
        assert expected(controller, table, rewards) == pytest.approx(0.5, abs=0.01)
        learn(controller, reward, 1000, seed)
        assert expected(controller, table, rewards) > 0.8


def test_random_search_learns_nothing() -> None:
    space = NasBench201Space()
    table = every_architecture(space)
    rewards = table.eq(0).float().mean(1)
    controller = UniformController(space)
    learn(controller, lambda choices: choices.eq(0).float().mean(1), 200, seed=0)
    assert expected(controller, table, rewards) == pytest.approx(0.2, abs=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(not CSV.exists(), reason=f"the table of NAS-Bench-201 is not at {CSV}")
@pytest.mark.parametrize("seed", range(5))
def test_nasbench201(seed: int) -> None:
    """After 2,000 samples the expected accuracy is 8 points above the mean of random search, 68.85 %, or more."""
    space = NasBench201Space()
    with CSV.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    controller = LstmController(space, tanh_constant=2.5, seed=seed)
    table = controller.choices([space.from_string(row["architecture"]) for row in rows])
    accuracies = torch.tensor([float(row["cifar10_valid_accuracy"]) / 100 for row in rows])
    by_code = torch.empty(space.size)
    code = 5 ** torch.arange(6)
    by_code[table @ code] = accuracies

    random = accuracies.mean().item()
    assert random == pytest.approx(0.6885, abs=5e-5)
    assert expected(controller, table, accuracies) == pytest.approx(random, abs=0.01)
    learn(controller, lambda choices: by_code[choices @ code], 2000, seed)
    assert expected(controller, table, accuracies) > random + 0.08
