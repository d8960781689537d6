from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Adam
from torch.testing import assert_close
from torch.utils.data import DataLoader, TensorDataset

from lightning_nas import CostBudget, DartsModule, ModuleSpace, OpChoice, Regression
from lightning_nas._lightning import CombinedLoader, pl
from lightning_nas.costs import count_parameters

COSTS = {"small": 4 * 1 + 1 * 4, "large": 4 * 16 + 16 * 4}


def hidden(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(4, width, bias=False), nn.ReLU(), nn.Linear(width, 4, bias=False))


def network() -> nn.Module:
    """Two places in which the large candidate has 16 times the parameters, and five more."""
    places = [OpChoice({"small": hidden(1), "large": hidden(16)}, key=f"place{i}") for i in range(2)]
    return nn.Sequential(*places, nn.Linear(4, 1))


def search(**options: Any) -> DartsModule:
    settings: dict[str, Any] = {"order": "first", "weights_optimizer": partial(torch.optim.SGD, lr=0.01)} | options
    return DartsModule(ModuleSpace(network, example=(4,)), Regression(), **settings)


def fit(module: DartsModule, epochs: int = 2) -> pl.Trainer:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(32, 4, generator=generator)
    # a wide network is better: the target has many kinks
    targets = torch.sin(3 * inputs).sum(1)
    loader = DataLoader(TensorDataset(inputs, targets), 8)
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    options: dict[str, Any] = dict.fromkeys(quiet, False)
    trainer = pl.Trainer(max_epochs=epochs, accelerator="cpu", num_sanity_val_steps=0, **options)
    trainer.fit(module, CombinedLoader({"weights": loader, "architecture": loader}, "max_size_cycle"), loader)
    return trainer


pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


@pytest.mark.parametrize("order", ["first", "second"])
def test_alpha_gradient_is_that_of_the_loss_and_that_of_the_cost(order: str) -> None:
    batch = torch.randn(8, 4, generator=torch.Generator().manual_seed(1)), torch.ones(8)
    gradients = []
    modules = [search(order=order), search(order=order, budget=CostBudget("params", target=100.0, weight=3.0))]
    for module in modules:
        fit(module, epochs=1)
        module.load_state_dict(modules[0].state_dict())
        gradients.append(module.alpha_gradient(batch, batch))
    alphas = [alpha.detach().clone().requires_grad_() for alpha in modules[0].alphas.values()]
    large = [alpha.softmax(1)[0, 1] for alpha in alphas]
    cost = torch.stack([8 * (1 - p) + 128 * p for p in large]).sum() + 5
    assert abs(float(cost.detach()) - 141) < 10  # above the target: the term pulls down
    expected = torch.autograd.grad(3 * (cost / 100 - 1), alphas)
    for plain, budgeted, term in zip(*gradients, expected, strict=True):
        assert_close(budgeted - plain, term, rtol=1e-4, atol=1e-5)
        assert term[0, 1] > 0.5


def test_cost_of_the_mixture_is_logged_and_goes_to_the_target() -> None:
    def cost(**options: Any) -> float:
        alphas_optimizer = partial(Adam, lr=0.1, betas=(0.5, 0.999))
        module = search(budget=CostBudget("params", **options), alphas_optimizer=alphas_optimizer)
        return float(fit(module, epochs=12).callback_metrics["search/cost"])

    assert cost(target=200, weight=30.0) == pytest.approx(200, abs=20)
    assert cost(target=100, weight=30.0) == pytest.approx(100, abs=20)
    assert cost(weight=1e-9) < 60  # so small a term does nothing


def test_derived_network_keeps_the_target() -> None:
    for target, best in ((300.0, 261), (150.0, 141), (25.0, 21)):
        for preferred in (-2.0, 2.0):
            module = search(budget=CostBudget("params", target=target))
            for alpha in module.alphas.values():
                alpha.data = torch.tensor([[0.0, preferred]])
            assert count_parameters(module.space.build(module.derive())) == best


def test_derive_has_its_provenance() -> None:
    module = search(budget=CostBudget("params", target=150), seed=4)
    assert module.derive().provenance["seed"] == 4
    assert module.derive().provenance["method"] == "DartsModule"


def test_a_space_without_choices_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected a ModuleSpace for a `budget` but got space 'darts"):
        DartsModule("darts?nodes=1", scale={"channels": 4, "layers": 3}, budget=CostBudget(target=1e6))


def test_multiply_adds_are_those_of_one_input() -> None:
    space = ModuleSpace(network, example=torch.zeros(32, 4))
    budget = DartsModule(space, Regression(), order="first", budget=CostBudget(target=100)).budget
    assert budget is not None
    assert budget.cost.of({"place0": "small", "place1": "small"}) == 2 * COSTS["small"] + 4


def test_lazy_layers_count_once_they_have_a_shape() -> None:
    class Lazy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.LazyLinear(2)
            self.act = OpChoice({"same": nn.Identity(), "linear": nn.LazyLinear(2)}, key="act")

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            output: torch.Tensor = self.act(self.first(x))
            return output

    for cost, expected in (("params", 8 + 6), ("macs", 6 + 4)):
        space, wanted = ModuleSpace(Lazy, example=(3,)), CostBudget(cost, weight=1.0)  # type: ignore[arg-type]  # a str
        module = DartsModule(space, Regression(), order="first", budget=wanted)
        assert module.budget is not None
        assert module.budget.cost.of({"act": "linear"}) == expected


def test_multiply_adds_need_an_example() -> None:
    with pytest.raises(ValueError, match="Expected an example input"):
        DartsModule(ModuleSpace(network), Regression(), budget=CostBudget(target=100))
    assert DartsModule(ModuleSpace(network), Regression(), budget=CostBudget("params", target=100)).budget is not None


def test_loading_without_the_budget_is_refused(tmp_path: Path) -> None:
    """It would derive another architecture."""
    budget = CostBudget("params", target=150)
    module = search(budget=budget)
    trainer = fit(module, epochs=1)
    trainer.save_checkpoint(tmp_path / "search.ckpt")
    given: dict[str, Any] = {"space": module.space, "task": Regression()}
    loaded = DartsModule.load_from_checkpoint(tmp_path / "search.ckpt", budget=budget, **given)
    assert loaded.derive() == module.derive()
    message = "Expected the `budget` of the search, {'cost': 'params', 'target': 150, 'weight': 1.0}, but got None"
    with pytest.raises(ValueError, match=message):
        DartsModule.load_from_checkpoint(tmp_path / "search.ckpt", **given)
    with pytest.raises(ValueError, match="'target': 140"):
        DartsModule.load_from_checkpoint(tmp_path / "search.ckpt", budget=CostBudget("params", target=140), **given)
