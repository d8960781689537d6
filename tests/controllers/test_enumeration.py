"""Brute force: all architectures of small spaces, one by one."""

from collections import Counter

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from lightning_nas.controllers import LstmController
from lightning_nas.spaces import (
    DartsSpace,
    InputChoice,
    ModuleSpace,
    NasBench201Space,
    OpChoice,
    RepeatChoice,
    SearchSpace,
)
from tests.controllers.spaces import ListSpace, every_architecture, inputs, layered, macro, micro, recurrent


def everything() -> nn.Module:
    activation = OpChoice({"relu": nn.ReLU(), "tanh": nn.Tanh()}, key="activation")
    return nn.ModuleList(
        [
            OpChoice({"a": nn.Sequential(nn.Linear(2, 2), activation), "b": nn.Identity(), "c": nn.Linear(2, 2)}),
            RepeatChoice(lambda: nn.Linear(2, 2), (0, 1, 2), "depth"),
            InputChoice(4, 3, key="summed"),
            InputChoice(3, 2, key="joined", reduction="concat"),
            InputChoice(2, key="one"),
        ]
    )


SPACES: dict[str, SearchSpace] = {
    "micro, 1 node": micro(1, ("a", "b", "c")),
    "micro, 2 nodes": micro(2, ("a",)),
    "macro": macro(3, ("a", "b", "c")),
    "recurrent": recurrent(3),
    "darts, 1 node": DartsSpace(1, ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3")),
    "darts, 2 nodes": DartsSpace(2, ("skip_connect",)),
    "darts, equal inputs": DartsSpace(1, ("max_pool_3x3", "skip_connect"), distinct_inputs=False),
    "nasbench201": NasBench201Space(),
    "module": ModuleSpace(everything),
    "layers of numbers": layered(2),
    "distinct inputs": ListSpace([inputs("a", 4), inputs("b", 3), inputs("c", 4)], (("a", "c"),)),
}
SIZES = {
    "micro, 1 node": (4 * 9) ** 2,
    "micro, 2 nodes": (4 * 9) ** 2,
    "macro": 27 * 8,
    "recurrent": 4**3 * 2,
    "darts, 1 node": (2 * 9) ** 2,
    "darts, 2 nodes": (2 * 6) ** 2,
    "darts, equal inputs": (4 * 4) ** 2,
    "nasbench201": 15625,
    "module": 3 * 2 * 3 * 24 * 6 * 2,
    "layers of numbers": 12 * 2 * 12,
    "distinct inputs": 4 * 3 * 3,
}


def controller_of(name: str) -> LstmController:
    return LstmController(SPACES[name], hidden=6, init_range=1.5, tanh_constant=2.0, seed=1).double()


@pytest.mark.parametrize("name", list(SPACES))
@torch.no_grad()
def test_probabilities_of_all_architectures_sum_to_one(name: str) -> None:
    table = every_architecture(SPACES[name])
    samples = controller_of(name).evaluate(table)
    assert len(table) == SIZES[name]
    assert samples.log_prob.exp().sum().item() == pytest.approx(1, abs=1e-10)
    assert samples.log_prob.max() - samples.log_prob.min() > 1  # not a uniform distribution


@pytest.mark.parametrize("name", list(SPACES))
@torch.no_grad()
def test_the_expected_full_entropy_is_the_entropy(name: str) -> None:
    samples = controller_of(name).evaluate(every_architecture(SPACES[name]))
    p = samples.log_prob.exp()
    assert_close((p * samples.entropy).sum(), -(p * samples.log_prob).sum(), atol=1e-10, rtol=0)
    assert samples.entropy.isfinite().all()


@pytest.mark.parametrize("name", [name for name in SPACES if SIZES[name] < 400])
@torch.no_grad()
def test_architectures_are_drawn_as_often_as_they_are_likely(name: str) -> None:
    table = every_architecture(SPACES[name])
    controller = controller_of(name)
    n = 40_000
    counts = Counter(map(tuple, controller.sample(n, torch.Generator().manual_seed(0)).choices.tolist()))
    assert counts.keys() <= set(map(tuple, table.tolist()))  # every sample is valid
    expected = n * controller.evaluate(table).log_prob.exp()
    observed = torch.tensor([counts[tuple(row)] for row in table.tolist()], dtype=torch.float64)
    usual = expected > 5
    chi2 = ((observed - expected) ** 2 / expected)[usual].sum()
    freedom = int(usual.sum())
    assert freedom > 15
    assert chi2 < freedom + 4 * (2 * freedom) ** 0.5  # four standard deviations


@pytest.mark.parametrize("name", ["darts, 1 node", "module", "distinct inputs"])
@torch.no_grad()
def test_what_must_differ_cannot_be_equal(name: str) -> None:
    space = SPACES[name]
    controller = controller_of(name)
    columns = [controller.columns[name] for name in space.distinct[0]]
    choices = every_architecture(space)[:1]
    choices[:, columns] = 0
    samples = controller.evaluate(choices)
    assert samples.log_prob.item() == -torch.inf
    assert samples.entropy.isfinite().all()


@pytest.mark.parametrize("name", ["darts, 1 node", "module"])
def test_gradients_are_finite_where_something_is_excluded(name: str) -> None:
    controller = controller_of(name)
    samples = controller.sample(20, torch.Generator().manual_seed(0))
    torch.autograd.backward((samples.log_prob + samples.entropy).sum())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in controller.parameters())
