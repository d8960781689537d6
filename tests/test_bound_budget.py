from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from lightning_nas import CostBudget, InputChoice, ModuleSpace, OpChoice
from lightning_nas.bound_budget import BoundBudget
from lightning_nas.spaces.mixture import Mixture


def hidden(width: int, *inner: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(4, width, bias=False), *inner, nn.Linear(width, 4, bias=False))


def wide() -> nn.Module:
    """Three places that cost 8 to 64 multiply-adds, and a free one."""
    layers = [OpChoice({f"w{w}": hidden(w) for w in (1, 2, 4, 8)}, key=f"width{i}") for i in range(3)]
    return nn.Sequential(*layers, OpChoice({"relu": nn.ReLU(), "tanh": nn.Tanh()}, key="activation"))


def trap() -> nn.Module:
    """The cheapest is behind a door that looks expensive: the outer choice and the inner one must change together."""
    inner = OpChoice({"big": nn.Linear(8, 8), "small": nn.Identity()}, key="inner")
    return OpChoice({"plain": hidden(4), "door": nn.Sequential(nn.Linear(4, 8), inner, nn.Linear(8, 4))}, key="outer")


def bind(factory: Any, **options: Any) -> tuple[ModuleSpace, BoundBudget]:
    space = ModuleSpace(factory, example=(4,))
    supernet = space.supernet()
    return space, CostBudget(**options).bind(supernet.model, supernet.choices, space.example)


def random_weights(space: ModuleSpace, seed: int, sharpness: float) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    sizes = {group.name: (len(group.rows), len(group.candidates)) for group in space.groups}
    return {name: (sharpness * torch.randn(size, generator=generator)).softmax(1) for name, size in sizes.items()}


def test_penalty_by_hand() -> None:
    space, budget = bind(wide, cost="macs", target=50, weight=2.0)
    mixtures = space.mixtures(space.sample(torch.Generator().manual_seed(0)))
    cost = float(budget.cost(mixtures))
    assert float(budget.penalty(mixtures)) == pytest.approx(2 * abs(cost / 50 - 1))
    # without a target relative to equal weights: 3 * mean(8, 16, 32, 64) = 90
    _, free = bind(wide, cost="macs", weight=0.5)
    assert float(free.penalty(mixtures)) == pytest.approx(0.5 * cost / 90)


def test_penalty_reaches_the_weights() -> None:
    space, budget = bind(wide, cost="params", target=50)
    tables = {group.name: torch.full((1, len(group.candidates)), 0.25, requires_grad=True) for group in space.groups}
    penalty = budget.penalty({name: Mixture(table) for name, table in tables.items()})
    (gradient,) = torch.autograd.grad(penalty, tables["width0"])
    assert_close(gradient, torch.tensor([[8.0, 16.0, 32.0, 64.0]]) / 50)


def log_probability(values: dict[str, Any], weights: dict[str, Tensor], space: ModuleSpace) -> float:
    columns = {group.name: group.candidates for group in space.groups}
    logs = [weights[name][0, columns[name].index(str(value))].log() for name, value in values.items()]
    return float(torch.stack(logs).sum())


def every(space: ModuleSpace) -> list[dict[str, Any]]:
    names = [decision.name for decision in space.decisions]
    return [dict(zip(names, v, strict=True)) for v in product(*(d.choices for d in space.decisions))]


@pytest.fixture(params=["all", "some"])
def tried(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let all combinations be tried, or look for good ones as in large spaces."""
    if request.param == "some":
        monkeypatch.setattr("lightning_nas.bound_budget.FEW", 0)
    kind: str = request.param
    return kind


@pytest.mark.usefixtures("tried")
def test_the_most_probable_architecture_is_kept_when_it_costs_what_it_should() -> None:
    space = ModuleSpace(wide, example=(4,))
    for seed in range(20):
        weights = random_weights(space, seed, 3.0)
        values = space.discretize(weights).values
        target = 1.05 * bind(wide, weight=1.0)[1].cost.of(values)
        assert bind(wide, target=target)[1].discretize(weights) == values


@pytest.mark.parametrize("target", [24, 40, 64, 100, 150])
def test_derived_architecture_costs_what_it_should(target: int, tried: str) -> None:
    """And is as probable as any that does, or nearly so."""
    space, budget = bind(wide, target=target)
    right = [values for values in every(space) if 0.9 * target <= budget.cost.of(values) <= target]
    assert right
    lost = []
    for seed in range(30):
        weights = random_weights(space, seed, 1.5)
        found = budget.discretize(weights)
        assert found in right
        best = max(log_probability(values, weights, space) for values in right)
        lost.append(best - log_probability(found, weights, space))
    assert min(lost) == 0
    assert max(lost) == 0 if tried == "all" else sum(lost) / len(lost) < 1


def test_most_combinations_that_are_all_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three places of four candidates and one of two make 128."""
    space, budget = bind(wide, target=100)
    weights = [random_weights(space, seed, 1.5) for seed in range(30)]
    exact = [budget.discretize(table) for table in weights]
    monkeypatch.setattr("lightning_nas.bound_budget.FEW", 128)
    assert [budget.discretize(table) for table in weights] == exact
    monkeypatch.setattr("lightning_nas.bound_budget.FEW", 127)
    assert [budget.discretize(table) for table in weights] != exact


@pytest.mark.usefixtures("tried")
def test_the_costliest_is_taken_when_none_uses_the_target() -> None:
    """The costs next to 90 of the three layers are 88 and 96."""
    space, budget = bind(wide, target=95)
    for seed in range(10):
        assert budget.cost.of(budget.discretize(random_weights(space, seed, 1.5))) == 88


@pytest.mark.usefixtures("tried")
def test_surest_decision_is_kept() -> None:
    space, budget = bind(wide, target=64 + 16 + 16)
    weights = {group.name: torch.full((1, 4), 0.25) for group in space.groups}
    weights["activation"] = torch.tensor([[0.1, 0.9]])
    weights["width1"] = torch.tensor([[0.001, 0.001, 0.001, 0.997]])
    weights["width0"] = weights["width2"] = torch.tensor([[0.1, 0.2, 0.3, 0.4]])
    found = budget.discretize(weights)
    assert found["width1"] == "w8"
    assert found["activation"] == "tanh"
    assert 0.9 * 96 <= budget.cost.of(found) <= 96


@pytest.mark.usefixtures("tried")
def test_two_decisions_change_together_where_they_must() -> None:
    """Plain costs 32, the door 64 + 64 or 64: and 32 is the least."""
    space, budget = bind(trap, target=70)
    weights = {"outer": torch.tensor([[0.01, 0.99]]), "inner": torch.tensor([[0.8, 0.2]])}
    found = budget.discretize(weights)
    assert budget.cost.of(found) <= 70
    assert found == {"outer": "door", "inner": "small"}
    assert space.discretize(weights).values == {"outer": "door", "inner": "big"}


@pytest.mark.usefixtures("tried")
@pytest.mark.parametrize("sharpness", [0.0, 1.0, 30.0])
def test_the_cheapest_network_can_always_be_reached(sharpness: float) -> None:
    for factory, target in ((wide, 24), (trap, 32)):
        space, budget = bind(factory, target=target)
        for seed in range(5):
            assert budget.cost.of(budget.discretize(random_weights(space, seed, sharpness))) == target


@pytest.mark.usefixtures("tried")
def test_inputs_that_are_chosen_stay_different() -> None:
    class Joined(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = OpChoice({f"w{w}": hidden(w) for w in (1, 8)}, key="width")
            self.join = InputChoice(3, 2, key="join")

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = self.join([x, self.layer(x), x])
            return output

    _, budget = bind(Joined, target=8)
    weights = {"width": torch.tensor([[0.1, 0.9]]), "join": torch.tensor([[0.1, 0.8, 0.1], [0.2, 0.7, 0.1]])}
    assert budget.discretize(weights) == {"width": "w1", "join/0": 0, "join/1": 1}


@pytest.mark.parametrize("options", [{"weight": 1.0}, {"target": 5}])
@pytest.mark.parametrize("cost", ["params", "macs"])
def test_a_model_that_costs_nothing(cost: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Expected a model that costs something but got one that costs 0"):
        bind(lambda: OpChoice({"relu": nn.ReLU(), "tanh": nn.Tanh()}), cost=cost, **options)


@pytest.mark.usefixtures("tried")
def test_a_target_that_nothing_meets() -> None:
    message = "Expected a `target` that some network meets but got 20: the cheapest network found costs 24"
    with pytest.raises(ValueError, match=message):
        bind(wide, target=20)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "Expected a `target` or a `weight` but got neither"),
        ({"target": 0}, "Expected `target` to be above 0 but got 0"),
        ({"weight": -1.0}, "Expected `weight` to be above 0 but got -1"),
        ({"cost": "latency", "weight": 1.0}, "Expected `cost` to be one of"),
    ],
)
def test_bad_budgets(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CostBudget(**options)
