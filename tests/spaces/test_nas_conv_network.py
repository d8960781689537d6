"""The networks of Zoph & Le: sizes, shapes, padding, poolings, and agreement with a plain restatement."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from lightning_nas.architecture import Architecture
from lightning_nas.costs import count_parameters
from lightning_nas.spaces import NasConvSpace
from lightning_nas.spaces.nas_conv import Variant
from lightning_nas.spaces.nas_conv_network import NasConvNetwork
from lightning_nas.spaces.nas_conv_wiring import NasConvWiring, pad_to_largest, thirds
from lightning_nas.zoo import NAS_V1
from tests.references import nas_conv as reference

T1 = "3 3 24 |, 5 5 36 | 1, 1 7 48 | 0 0, 7 1 64 | 1 0 1, 3 5 36 | 0 1 0 1"
T3 = "3 3 2 2 24 |, 3 3 1 1 24 | 1, 3 3 1 3 36 | 0 0, 3 3 1 1 24 | 1 0 1, 3 3 1 1 24 | 0 1 0 0"
SMALL: dict[Variant, NasConvSpace] = {
    "v1": NasConvSpace(layers=5, kernels=(1, 3, 5), filters=(2, 3, 4)),
    "v2": NasConvSpace("v2", 5, kernels=(1, 3, 5), filters=(2, 3, 4)),
    "v3": NasConvSpace("v3", 6, kernels=(1, 3, 5), filters=(2, 3)),
}


def images(height: int = 8, width: int = 8, seed: int = 0) -> Tensor:
    return torch.randn(3, 3, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def built(space: NasConvSpace, architecture: Architecture | str, **scale: Any) -> NasConvNetwork:
    if isinstance(architecture, str):
        architecture = space.from_string(architecture)
    network = space.build(architecture, **scale)
    assert isinstance(network, NasConvNetwork)
    return network


@torch.no_grad()
def with_random_norms(network: NasConvNetwork) -> NasConvNetwork:
    """Give scales, shifts and statistics of BatchNorms values of their own, in float64."""
    generator = torch.Generator().manual_seed(0)
    for norm in network.double().modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor in (*norm.parameters(), *(b for b in norm.buffers() if b.dim())):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
    return network


def lines_of(space: NasConvSpace, architecture: Architecture) -> list[reference.Layer]:
    """Read the decisions as the reference wants them, without ``space.plan``."""
    values = architecture.values
    return [
        reference.Layer(
            int(values[f"layer{k}/height"]),
            int(values[f"layer{k}/width"]),
            int(values.get(f"layer{k}/stride_height", 1)),
            int(values.get(f"layer{k}/stride_width", 1)),
            int(values[f"layer{k}/filters"]),
            [int(values[f"layer{k}/skip{j}"]) if space.skips else int(j == k - 1) for j in range(k)],
        )
        for k in range(space.layers)
    ]


def shapes(network: NasConvNetwork, x: Tensor) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]], Tensor]:
    """Return what every layer reads and puts out, without the batch, and what the classifier's pooling reads."""
    read: list[tuple[int, ...]] = []
    output: list[tuple[int, ...]] = []
    head: list[Tensor] = []

    def keep(_: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
        read.append(tuple(args[0].shape[1:]))
        output.append(tuple(out.shape[1:]))

    for layer in network.layers:
        layer.register_forward_hook(keep)
    network.global_pool.register_forward_pre_hook(lambda _, args: head.append(args[0]))
    network.double()(x)
    return read, output, head[0]


class TestHandCases:
    def test_dag(self) -> None:  # nas-rl T1
        space = NasConvSpace(layers=5)
        network = built(space, T1)
        assert network.wiring == NasConvWiring(((-1,), (0,), (-1,), (0, 2), (1, 3)))
        assert network.wiring.unread == (4,)
        read, output, _ = shapes(network, images())
        assert [shape[0] for shape in read] == [3, 24, 3, 72, 100]
        assert [shape[0] for shape in output] == [24, 36, 48, 64, 36]
        convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
        assert [m.weight.numel() for m in convolutions] == [648, 21600, 1008, 32256, 54000]
        assert all(m.bias is None for m in convolutions)
        assert count_parameters(network) == 110_298

    def test_loose_ends(self) -> None:  # nas-rl T2
        network = built(NasConvSpace(layers=5), T1.removesuffix("0 1 0 1") + "0 0 0 0")
        assert network.wiring.reads[4] == (-1,)
        assert network.wiring.unread == (1, 3, 4)
        assert network.classifier.weight.shape == (10, 136)

    @pytest.mark.parametrize("pad", ["bottom_right", "center"])
    def test_strides_and_padding(self, pad: Any) -> None:  # nas-rl T3
        network = built(NasConvSpace("v2", 5), T3, pad=pad)
        seen: list[Tensor] = []
        network.layers[3].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        read, output, head = shapes(network, images(32, 32))
        assert [shape[1:] for shape in output] == [(16, 16), (16, 16), (32, 11), (32, 16), (16, 16)]
        assert read[3] == (24 + 36, 32, 16)
        assert network.wiring.unread == (3, 4)
        assert head.shape[1:] == (48, 32, 16)
        tall, wide = torch.split(seen[0], [24, 36], 1)
        top, left = (8, 2) if pad == "center" else (0, 0)
        for padded, rows, columns in (
            (tall, slice(top, top + 16), slice(16)),
            (wide, slice(32), slice(left, left + 11)),
        ):
            inside = padded[:, :, rows, columns]
            assert inside.ne(0).any()
            assert padded.ne(0).sum() == inside.ne(0).sum()  # all else is exactly zero
        assert head[:, 24:, :top].eq(0).all()
        assert head[:, 24:, top + 16 :].eq(0).all()

    def test_published_count(self) -> None:  # nas-rl T8
        space = NasConvSpace()
        network = built(space, NAS_V1)
        assert count_parameters(network) == 4_201_630
        assert count_parameters(network) - count_parameters(network.classifier) == 4_201_140
        assert network.wiring.unread == (14,)
        assert network.classifier.weight.shape == (10, 48)
        with torch.no_grad():
            assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 10)

    def test_all_skips(self) -> None:  # nas-rl T8, section 9
        every = {d.name: True for d in NasConvSpace().decisions if d.kind == "flag"}
        with torch.device("meta"):
            network = built(NasConvSpace(), replace(NAS_V1, values={**NAS_V1.values, **every}))
        assert count_parameters(network) == 6_630_910


class TestCounts:
    @pytest.mark.parametrize(("variant", "convolutions"), [("v1", 1), ("v2", 1), ("v3", 3)])
    @pytest.mark.parametrize("seed", range(3))
    def test_of_a_drawn_member(self, variant: Variant, convolutions: int, seed: int) -> None:
        """Against the formula, at the paper's depth, and with the filters of the paper's largest network."""
        space = NasConvSpace(variant)
        architecture = space.sample(torch.Generator().manual_seed(seed))
        lines = lines_of(space, architecture)
        wider = [replace(line, filters=line.filters + 40) for line in lines]
        with torch.device("meta"):
            found = [count_parameters(space.build(architecture, more_filters=extra)) for extra in (0, 40)]
        assert found == [reference.count(lines, convolutions), reference.count(wider, convolutions)]

    def test_scale(self) -> None:
        space = NasConvSpace(layers=1)
        network = built(space, "1 3 24", classes=7, in_channels=2)
        assert count_parameters(network) == 3 * 2 * 24 + 2 * 24 + 25 * 7
        assert network(torch.zeros(2, 2, 5, 3)).shape == (2, 7)

    @pytest.mark.parametrize(
        ("scale", "message"),
        [
            ({"more_filters": -1}, "Expected `more_filters` to be at least 0 but got -1"),
            ({"classes": 0}, "Expected `classes` to be a whole number of at least 1 but got 0"),
            ({"in_channels": 0}, "Expected `in_channels` to be a whole number of at least 1 but got 0"),
            ({"pad": "top"}, r"Expected `pad` to be one of \['bottom_right', 'center'\] but got 'top'"),
            ({"across_pools": "none"}, r"Expected `across_pools` to be one of \['pool', 'pad'\] but got 'none'"),
        ],
    )
    def test_out_of_range(self, scale: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            NasConvSpace(layers=1).build(NasConvSpace(layers=1).from_string("1 3 24"), **scale)


class TestPadding:
    def test_height_and_width_apart(self) -> None:
        ones = [torch.ones(1, 1, 2, 3), torch.ones(1, 1, 4, 1)]
        first, second = pad_to_largest(ones, "bottom_right")
        assert first[0, 0].tolist() == [[1, 1, 1], [1, 1, 1], [0, 0, 0], [0, 0, 0]]
        assert second[0, 0].tolist() == [[1, 0, 0]] * 4
        first, second = pad_to_largest(ones, "center")
        assert first[0, 0].tolist() == [[0, 0, 0], [1, 1, 1], [1, 1, 1], [0, 0, 0]]
        assert second[0, 0].tolist() == [[0, 1, 0]] * 4

    def test_what_fits_is_not_copied(self) -> None:
        maps = [torch.ones(1, 1, 2, 3), torch.ones(1, 2, 2, 3)]
        assert [padded is given for padded, given in zip(pad_to_largest(maps, "center"), maps, strict=True)] == [
            True
        ] * 2


class TestPoolings:
    @pytest.mark.parametrize(("layers", "pools"), [(1, ()), (2, ()), (3, (1, 2)), (6, (2, 4)), (13, (4, 8))])
    def test_places(self, layers: int, pools: tuple[int, ...]) -> None:
        """With 13 blocks of three: before convolution 13 and after convolution 24, counted from 1."""
        assert thirds(layers) == pools

    def test_everything_is_pooled(self) -> None:
        """The image, which layers 2 and 5 read, and layer 1, which only the classifier reads, too."""
        network = built(
            SMALL["v3"], "1 1 2 |, 1 1 2 | 1, 1 1 2 | 0 0, 1 1 2 | 1 0 1, 1 1 2 | 0 0 1 1, 1 1 2 | 0 0 0 0 0"
        )
        read, output, head = shapes(network, images(16, 8))
        assert output == [(6, *size) for size in [(16, 8)] * 2 + [(8, 4)] * 2 + [(4, 2)] * 2]
        assert [shape[0] for shape in read] == [3, 6, 3, 12, 12, 3]
        assert head.shape[1:] == (18, 4, 2)

    def test_literally(self) -> None:
        """Layer 1 alone is pooled, then layer 3 alone: layer 3 reads layer 0, of the images' size, through padding."""
        text = "1 1 2 |, 1 1 2 | 1, 1 1 2 | 0 1, 1 1 2 | 1 0 1, 1 1 2 | 0 0 1 0, 1 1 2 | 0 0 0 1 1"
        network = built(SMALL["v3"], text, across_pools="pad")
        _, output, _ = shapes(network, images(16, 8))
        assert [shape[1:] for shape in output] == [(16, 8), (16, 8), (8, 4), (16, 8), (8, 4), (8, 4)]

    def test_images_that_cannot_be_pooled(self) -> None:
        network = built(SMALL["v3"], SMALL["v3"].sample(torch.Generator().manual_seed(0)))
        with pytest.raises(ValueError, match="divisible by 4 but got 6x8"):
            network.double()(images(6, 8))
        with pytest.raises(ValueError, match="Expected images of 3 channels but got 1"):
            network(images()[:, :1])


class TestWeights:
    def test_he_normal(self) -> None:
        """The standard deviation is that of He et al., with the fan-in of the concatenated inputs."""
        torch.manual_seed(0)
        network = built(NasConvSpace(layers=5), T1)
        weight = network.get_parameter("layers.4.0.0.weight")
        assert weight.std().item() == pytest.approx((2 / (3 * 5 * 100)) ** 0.5, rel=0.02)
        assert (weight.abs() > 3 * weight.std()).any()  # not uniform

    def test_order_in_a_layer(self) -> None:
        unit = built(NasConvSpace(layers=1), "3 5 24").get_submodule("layers.0.0")
        assert [type(module) for module in unit.children()] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
        assert next(unit.children()).padding == (1, 2)


@settings(database=None, deadline=None, max_examples=60)
@given(
    variant=st.sampled_from(["v1", "v2", "v3"]),
    seed=st.integers(0, 10_000),
    pad=st.sampled_from(["bottom_right", "center"]),
    across_pools=st.sampled_from(["pool", "pad"]),
    more_filters=st.sampled_from([0, 2]),
    training=st.booleans(),
    skips=st.booleans(),
)
def test_agrees_with_a_plain_restatement(
    variant: Variant, seed: int, pad: Any, across_pools: Any, more_filters: int, training: bool, skips: bool
) -> None:
    small = SMALL[variant]
    space = NasConvSpace(variant, small.layers, skips, small.kernels, small.filters)
    architecture = space.sample(torch.Generator().manual_seed(seed))
    network = built(space, architecture, pad=pad, across_pools=across_pools, more_filters=more_filters)
    network = with_random_norms(network).train(training)
    blocks, pools = (3, (3, 5)) if variant == "v3" else (1, ())
    lines = lines_of(space, architecture)
    x = images(12, 8, seed)
    expected = reference.network(
        {name: tensor.clone() for name, tensor in network.state_dict().items()},
        lines,
        x,
        convolutions=blocks,
        pools=pools,
        center=pad == "center",
        literal=across_pools == "pad",
        training=training,
    )
    assert expected.std() > 0
    assert_close(network(x), expected, rtol=1e-10, atol=1e-10)
    wider = [replace(line, filters=line.filters + more_filters) for line in lines]
    assert count_parameters(network) == reference.count(wider, blocks)
