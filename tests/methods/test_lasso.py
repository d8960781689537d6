"""What makes alphas few."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_nas.methods.lasso import Lasso
from lightning_nas.spaces import PetridishNetwork, PetridishSpace

SPACE = PetridishSpace(cells=1, operations=["identity", "max_pool_3x3"])


class Toy(nn.Module):
    """Two weak learners of which only the alphas are left."""

    def __init__(self, *alphas: list[float]) -> None:
        super().__init__()
        self.alphas = nn.ParameterList(nn.Parameter(torch.tensor(alpha)) for alpha in alphas)

    def penalty(self) -> Tensor:
        return torch.cat(list(self.alphas)).abs().sum()


def lasso_of(*alphas: list[float], strength: float = 0.25) -> tuple[Any, Lasso]:
    network: Any = Toy(*alphas)
    return network, Lasso(network, strength)


def hallucination() -> PetridishNetwork:
    return SPACE.hallucinate(SPACE.seed(), ["normal", "reduce", "normal"], filters=2, classes=3)


def test_the_penalty_by_hand() -> None:
    network, lasso = lasso_of([1.0, -2.0], [0.5, 0.0])
    assert float(lasso.penalty().detach()) == 0.25 * 3.5
    torch.autograd.backward(lasso.penalty())
    assert [alpha.grad.tolist() for alpha in network.alphas] == [[0.25, -0.25], [0.25, 0.0]]


def test_only_alphas_are_pulled() -> None:
    """In a whole step: all other gradients are those of the loss alone."""
    gradients: list[dict[str, Tensor]] = []
    network = hallucination().double()
    with torch.no_grad():
        network.alphas[1].neg_()
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for strength in (0.0, 0.3):
        network.zero_grad()
        loss = nn.functional.cross_entropy(network(x), torch.tensor([0, 1, 2, 0]))
        torch.autograd.backward(loss + Lasso(network, strength).penalty())
        gradients.append({n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None})
    without, with_penalty = gradients
    pulls = {name: with_penalty[name] - without[name] for name in without}
    signs = {"alphas.0": 1.0, "alphas.1": -1.0, "alphas.2": 1.0}
    for name, pull in pulls.items():
        expected = torch.full_like(pull, 0.3 * signs[name]) if name in signs else torch.zeros_like(pull)
        torch.testing.assert_close(pull, expected, rtol=1e-12, atol=1e-12 if name in signs else 0.0)
    assert set(signs) < set(pulls)


def test_the_ratio_by_hand() -> None:
    """The loss is 3a - b + 0c + d/2, of which the absolute gradients are 3, 1, 0 and 1/2."""
    network, lasso = lasso_of([1.0, -2.0], [0.5, 0.0])
    assert lasso.summary() == {"search/largest_alpha": 2.0, "search/alpha_gradient_ratio": 0.0}
    (a, b), (c, d) = network.alphas
    torch.autograd.backward(3 * a - b + 0 * c + d / 2 + lasso.penalty())
    lasso.observe()
    assert lasso.summary() == {"search/largest_alpha": 2.0, "search/alpha_gradient_ratio": (4.5 / 4) / 0.25}


def test_the_ratio_is_of_the_last_batch() -> None:
    network, lasso = lasso_of([1.0, 2.0])
    for factor in (8.0, 1.0):
        network.zero_grad()
        torch.autograd.backward(factor * network.alphas[0].sum() + lasso.penalty())
        lasso.observe()
    assert lasso.summary()["search/alpha_gradient_ratio"] == 4.0


def test_there_is_no_ratio_without_a_penalty() -> None:
    network, lasso = lasso_of([1.0, -2.0], strength=0.0)
    torch.autograd.backward(network.alphas[0].sum() + lasso.penalty())
    lasso.observe()
    assert lasso.summary() == {"search/largest_alpha": 2.0}


@pytest.mark.parametrize(
    ("values", "collapsed"), [([0.00049, -0.00049], True), ([0.0, -0.00051], False), ([0.0, 0.0], True)]
)
def test_collapse_is_less_than_a_thousandth_of_the_first(values: list[float], collapsed: bool) -> None:
    """Of the largest one at first, whatever its sign: 0.5."""
    network, lasso = lasso_of([-0.5, 0.25])
    assert not lasso.collapsed
    with torch.no_grad():
        network.alphas[0].copy_(torch.tensor(values))
    assert lasso.collapsed == collapsed


def test_the_state_goes_on() -> None:
    network, lasso = lasso_of([1.0, -2.0])
    torch.autograd.backward(network.alphas[0].sum())
    lasso.observe()
    _, other = lasso_of([1.0, -2.0])
    assert other.summary() != lasso.summary()
    other.load_state_dict(lasso.state_dict())
    assert other.summary() == lasso.summary()
    assert other.summary()["search/alpha_gradient_ratio"] == pytest.approx(((1 - 0.25) + (1 + 0.25)) / 2 / 0.25)
