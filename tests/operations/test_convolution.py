"""Every operation against a plain restatement of its layer order, in float64."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as f
from torch.testing import assert_close

from lightning_nas.operations import OPERATIONS, build_operation
from lightning_nas.operations.norm import search_norm

Weights = list[Tensor]
Restated = Callable[[Tensor, Weights, int], Tensor]

CHANNELS = 4


def normed(x: Tensor) -> Tensor:
    """Batch normalisation in training mode, without learned scale."""
    mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), unbiased=False, keepdim=True)
    return (x - mean) / (variance + 1e-5).sqrt()


def sep_conv(padding: int) -> Restated:
    def restated(x: Tensor, weights: Weights, stride: int) -> Tensor:
        x = f.conv2d(x.clamp(min=0), weights[0], None, stride, padding, groups=CHANNELS)
        x = normed(f.conv2d(x, weights[1]))
        x = f.conv2d(x.clamp(min=0), weights[2], None, 1, padding, groups=CHANNELS)
        return normed(f.conv2d(x, weights[3]))

    return restated


def dil_conv(padding: int) -> Restated:
    def restated(x: Tensor, weights: Weights, stride: int) -> Tensor:
        x = f.conv2d(x.clamp(min=0), weights[0], None, stride, padding, 2, CHANNELS)
        return normed(f.conv2d(x, weights[1]))

    return restated


def conv_7x1_1x7(x: Tensor, weights: Weights, stride: int) -> Tensor:
    x = f.pad(x.clamp(min=0), (3, 3, 0, 0))
    x = f.conv2d(x, weights[0])[:, :, :, ::stride]  # the 1x7 convolution keeps the rows, and strides over columns
    x = f.conv2d(f.pad(x, (0, 0, 3, 3)), weights[1])[:, :, ::stride, :]
    return normed(x)


def skip_connect(x: Tensor, weights: Weights, stride: int) -> Tensor:
    if stride == 1:
        return x
    x = x.clamp(min=0)
    even = torch.einsum("oi,nihw->nohw", weights[0][:, :, 0, 0], x[:, :, 0::2, 0::2])
    odd = torch.einsum("oi,nihw->nohw", weights[1][:, :, 0, 0], x[:, :, 1::2, 1::2])
    return normed(torch.cat([even, odd], 1))


def nor_conv(padding: int) -> Restated:
    return lambda x, weights, stride: normed(f.conv2d(x.clamp(min=0), weights[0], None, stride, padding))


def windows(x: Tensor, stride: int, outside: float) -> Tensor:
    """Return the 3x3 windows ``[N, C, H, W, 9]`` of a map padded with ``outside``."""
    padded = f.pad(x, (1, 1, 1, 1), value=outside)
    return padded.unfold(2, 3, stride).unfold(3, 3, stride).flatten(4)


def max_pool(x: Tensor, weights: Weights, stride: int) -> Tensor:
    return windows(x, stride, -torch.inf).amax(4)


def avg_pool(x: Tensor, weights: Weights, stride: int) -> Tensor:
    return windows(x, stride, torch.nan).nanmean(4)  # what lies outside does not count


RESTATED: dict[str, Restated] = {
    "none": lambda x, weights, stride: 0 * x[:, :, ::stride, ::stride],
    "max_pool_3x3": max_pool,
    "avg_pool_3x3": avg_pool,
    "skip_connect": skip_connect,
    "sep_conv_3x3": sep_conv(1),
    "sep_conv_5x5": sep_conv(2),
    "sep_conv_7x7": sep_conv(3),
    "dil_conv_3x3": dil_conv(2),
    "dil_conv_5x5": dil_conv(4),
    "conv_7x1_1x7": conv_7x1_1x7,
    "nor_conv_1x1": nor_conv(0),
    "nor_conv_3x3": nor_conv(1),
}
# Shapes of the weights, for 4 channels: depthwise and 1x1 convolutions alternate.
SHAPES: dict[str, list[tuple[int, ...]]] = {
    **{f"sep_conv_{k}x{k}": [(4, 1, k, k), (4, 4, 1, 1)] * 2 for k in (3, 5, 7)},
    **{f"dil_conv_{k}x{k}": [(4, 1, k, k), (4, 4, 1, 1)] for k in (3, 5)},
    "conv_7x1_1x7": [(4, 4, 1, 7), (4, 4, 7, 1)],
    "nor_conv_1x1": [(4, 4, 1, 1)],
    "nor_conv_3x3": [(4, 4, 3, 3)],
}


@pytest.fixture
def images() -> Tensor:
    return torch.randn(3, CHANNELS, 12, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_every_operation_is_restated() -> None:
    assert RESTATED.keys() == OPERATIONS.keys()


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", RESTATED)
class TestOperation:
    def test_layer_order(self, name: str, stride: int, images: Tensor) -> None:
        operation = build_operation(name, CHANNELS, stride, norm=search_norm).double()
        expected = RESTATED[name](images, [p.detach() for p in operation.parameters()], stride)
        assert expected.shape == (3, CHANNELS, 12 // stride, 8 // stride)
        assert_close(operation(images), expected, rtol=1e-10, atol=1e-12)

    def test_input_is_left_alone(self, name: str, stride: int, images: Tensor) -> None:
        before = images.clone()
        build_operation(name, CHANNELS, stride).double()(images)
        assert torch.equal(images, before)

    def test_weights(self, name: str, stride: int) -> None:
        operation = build_operation(name, CHANNELS, stride, norm=search_norm)
        reduced = [(2, 4, 1, 1)] * 2 if name == "skip_connect" and stride == 2 else []
        assert [tuple(p.shape) for p in operation.parameters()] == SHAPES.get(name, reduced)

    def test_default_norm_has_a_learned_scale(self, name: str, stride: int) -> None:
        operation = build_operation(name, CHANNELS, stride)
        norms = [module for module in operation.modules() if isinstance(module, nn.BatchNorm2d)]
        convolved = any(isinstance(module, nn.Conv2d) for module in operation.modules())
        assert bool(norms) == convolved
        assert all(norm.affine for norm in norms)

    def test_search_normalises_pools_and_nothing_else_again(self, name: str, stride: int, images: Tensor) -> None:
        torch.manual_seed(0)
        plain = build_operation(name, CHANNELS, stride, norm=search_norm).double()
        torch.manual_seed(0)
        search = build_operation(name, CHANNELS, stride, norm=search_norm, pool_norm=True).double()
        expected = normed(plain(images)) if "pool" in name else plain(images)
        assert_close(search(images), expected, rtol=1e-10, atol=1e-12)


def test_conv_7x1_1x7_strides_each_on_its_own_axis(images: Tensor) -> None:
    operation = build_operation("conv_7x1_1x7", CHANNELS, 2).double()
    assert isinstance(operation, nn.Sequential)
    after_first = operation[1](operation[0](images))
    assert after_first.shape == (3, CHANNELS, 12, 4)
    assert operation[2](after_first).shape == (3, CHANNELS, 6, 4)


def test_unknown_operation() -> None:
    with pytest.raises(ValueError, match=r"an operation of \[.*'sep_conv_3x3'.*\] but got 'sep_conv_9x9'"):
        build_operation("sep_conv_9x9", CHANNELS)
