"""The weighted sum of candidates, and the gradient of its weights by the closed form."""

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from lightning_nas.operations import MixedOperation, build_operation
from lightning_nas.operations.norm import search_norm
from lightning_nas.spaces.darts import PRIMITIVES


def mixed(stride: int) -> MixedOperation:
    torch.manual_seed(0)
    candidates = {n: build_operation(n, 4, stride, norm=search_norm, pool_norm=True) for n in PRIMITIVES}
    return MixedOperation(candidates).double()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.fixture
def alphas() -> Tensor:
    return torch.randn(8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


@pytest.mark.parametrize("stride", [1, 2])
class TestAllCandidates:
    def test_weighted_sum(self, stride: int, images: Tensor, alphas: Tensor) -> None:
        edge = mixed(stride)
        weights = alphas.softmax(0)
        expected = sum(weight * candidate(images) for weight, candidate in zip(weights, edge.values(), strict=True))
        assert_close(edge(images, weights, tuple(range(8))), expected, rtol=1e-12, atol=1e-12)

    def test_gradient_of_alpha(self, stride: int, images: Tensor, alphas: Tensor) -> None:
        """``p_k (<G, o_k> - <G, o>)``; for "none", whose output is zero, ``-p_none <G, o>``."""
        edge = mixed(stride)
        alphas.requires_grad_()
        output = edge(images, alphas.softmax(0), tuple(range(8)))
        upstream = torch.randn(output.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        (gradient,) = torch.autograd.grad(output, alphas, upstream)
        with torch.no_grad():
            each = torch.stack([(upstream * candidate(images)).sum() for candidate in edge.values()])
            p, mean = alphas.softmax(0), (upstream * output).sum()
        assert_close(gradient, p * (each - mean), rtol=1e-10, atol=1e-12)
        assert float(gradient[0]) == pytest.approx(-float(p[0] * mean), rel=1e-10)
        assert float(gradient.sum()) == pytest.approx(0, abs=1e-10)
        assert gradient.abs().min() > 1e-6


class Forbidden(nn.Module):
    """A candidate that must not be computed."""

    def forward(self, x: Tensor) -> Tensor:
        raise AssertionError("computed")


class TestActive:
    def test_others_are_not_computed(self, images: Tensor) -> None:
        edge = MixedOperation({"none": Forbidden(), "skip_connect": nn.Identity(), "sep_conv_3x3": Forbidden()})
        assert_close(edge(images, torch.tensor([0.5, 0.25, 0.25]), (1,)), 0.25 * images)

    def test_none_beside_others_is_not_computed(self, images: Tensor) -> None:
        edge = MixedOperation({"none": Forbidden(), "skip_connect": nn.Identity()})
        assert_close(edge(images, torch.tensor([0.5, 0.5]), (0, 1)), 0.5 * images)

    def test_none_alone_gives_zeros(self, images: Tensor) -> None:
        output = mixed(2)(images, torch.ones(8), (0,))
        assert output.shape == (3, 4, 4, 4)
        assert not output.any()
