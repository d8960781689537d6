"""The space of Zoph & Le: decisions, names, notation, drawings. Names like "nas-rl T1" are those of the spec."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_nas.architecture import Architecture
from lightning_nas.plotting import to_dot
from lightning_nas.spaces import NasConvSpace, SearchSpace, get_space
from lightning_nas.spaces.nas_conv import Variant
from lightning_nas.testing.space import SpaceContract
from lightning_nas.zoo import NAS_V1

T1 = "3 3 24 |\n5 5 36 | 1\n1 7 48 | 0 0\n7 1 64 | 1 0 1\n3 5 36 | 0 1 0 1"


class NasConvContract(SpaceContract):
    has_supernet = False

    def scale(self) -> dict[str, Any]:
        return {"classes": 10}

    def example(self) -> Tensor:
        return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class TestV1(NasConvContract):
    def space(self) -> SearchSpace:
        return NasConvSpace(layers=4)


class TestV2(NasConvContract):
    def space(self) -> SearchSpace:
        return NasConvSpace("v2", layers=4, kernels=(1, 3), filters=(3, 5))


class TestV3(NasConvContract):
    def space(self) -> SearchSpace:
        return NasConvSpace("v3", layers=6)


class TestWithoutSkips(NasConvContract):
    def space(self) -> SearchSpace:
        return NasConvSpace("v3", layers=3, skips=False)


class TestDecisions:
    @pytest.mark.parametrize(
        ("variant", "layers", "decisions", "size"),
        [
            ("v1", 6, 33, 2.3e15),
            ("v1", 15, 150, 5.0e58),
            ("v1", 20, 250, 2.1e93),
            ("v2", 6, 45, 1.2e21),
            ("v2", 15, 180, 1.0e73),
            ("v2", 20, 290, 2.5e112),
            ("v3", 13, 117, 4.0**39 * 2.0**78),
        ],
    )
    def test_number(self, variant: Variant, layers: int, decisions: int, size: float) -> None:
        """The sizes of the spec, section 2."""
        space = NasConvSpace(variant, layers)
        assert len(space.decisions) == decisions
        assert space.size == pytest.approx(size, rel=0.05)
        strides = 9**layers if variant == "v2" else 1
        assert space.size == 64**layers * strides * 2 ** math.comb(layers, 2)

    def test_order_kinds_and_choices(self) -> None:
        described = [(d.name, d.kind, d.choices) for d in NasConvSpace("v2", 2).decisions]
        kernels, strides, filters = (1, 3, 5, 7), (1, 2, 3), (24, 36, 48, 64)
        numbers = [
            *(("height", kernels), ("width", kernels)),
            *(("stride_height", strides), ("stride_width", strides), ("filters", filters)),
        ]
        assert described == [
            *((f"layer0/{name}", "number", choices) for name, choices in numbers),
            ("layer1/skip0", "flag", (False, True)),
            *((f"layer1/{name}", "number", choices) for name, choices in numbers),
        ]

    def test_variants(self) -> None:
        spaces = [NasConvSpace("v1"), NasConvSpace("v2"), NasConvSpace("v3")]
        assert {space.variant: (space.layers, space.filters) for space in spaces} == {
            "v1": (15, (24, 36, 48, 64)),
            "v2": (20, (24, 36, 48, 64)),
            "v3": (13, (6, 12, 24, 36)),
        }
        assert [d.name.partition("/")[2] for d in NasConvSpace("v3", 1).decisions] == ["height", "width", "filters"]

    def test_without_skips(self) -> None:
        space = NasConvSpace(layers=3, skips=False)
        assert {d.kind for d in space.decisions} == {"number"}
        assert space.size == 64**3
        plan = space.plan(space.from_string("1 1 24  3 3 24  5 5 24"))
        assert [layer.reads for layer in plan] == [(-1,), (0,), (1,)]

    @pytest.mark.parametrize(
        ("space", "name"),
        [
            (NasConvSpace(), "nas_conv"),
            (NasConvSpace(layers=6), "nas_conv?layers=6"),
            (NasConvSpace("v2"), "nas_conv?variant=v2"),
            (NasConvSpace("v2", 15), "nas_conv?variant=v2&layers=15"),
            (NasConvSpace("v3", skips=False), "nas_conv?variant=v3&skips=false"),
            (NasConvSpace("v3", filters=(6, 12, 24, 36)), "nas_conv?variant=v3"),
            (NasConvSpace("v3", filters=(24, 36, 48, 64)), "nas_conv?variant=v3&filters=24,36,48,64"),
            (
                NasConvSpace("v2", 4, True, ("1", "3"), (8, "16")),
                "nas_conv?variant=v2&layers=4&kernels=1,3&filters=8,16",
            ),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_names(self, space: NasConvSpace, name: str) -> None:
        assert space.name == name
        again = get_space(name)
        assert again.name == name
        assert again.decisions == space.decisions

    def test_sampling_is_uniform(self) -> None:
        space, generator = NasConvSpace(), torch.Generator().manual_seed(0)
        drawn = [space.sample(generator) for _ in range(100)]
        on = sum(value is True for a in drawn for value in a.values.values()) / (100 * 105)
        widest = sum(a.values[f"layer{k}/filters"] == 64 for a in drawn for k in range(15)) / (100 * 15)
        assert on == pytest.approx(1 / 2, abs=0.02)  # four standard deviations
        assert widest == pytest.approx(1 / 4, abs=0.045)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"variant": "v4"}, r"Expected `variant` to be one of \['v1', 'v2', 'v3'\] but got 'v4'"),
            ({"layers": 0}, "Expected `layers` to be at least 1 but got 0"),
            ({"kernels": (1, 2)}, r"Expected `kernels` to be odd but got \(1, 2\)"),
            ({"kernels": ()}, r"Expected `kernels` to be distinct whole numbers of at least 1 but got \(\)"),
            ({"filters": (8, 8)}, r"Expected `filters` to be distinct whole numbers of at least 1 but got \(8, 8\)"),
            ({"filters": (0,)}, "Expected `filters` to be distinct whole numbers of at least 1"),
            ({"filters": ("-8",)}, "Expected `filters` to be distinct whole numbers of at least 1"),
            ({"filters": (True,)}, "Expected `filters` to be distinct whole numbers of at least 1"),
        ],
    )
    def test_settings_out_of_range(self, settings: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            NasConvSpace(**settings)


class TestNotation:
    @pytest.mark.parametrize("space", [NasConvSpace(), NasConvSpace("v2", 6), NasConvSpace("v3", skips=False)])
    def test_both_ways(self, space: NasConvSpace) -> None:
        generator = torch.Generator().manual_seed(0)
        for _ in range(10):
            architecture = space.sample(generator)
            text = space.to_string(architecture)
            assert space.from_string(text) == space.from_string(text.replace("|", "\n")) == architecture

    def test_by_hand(self) -> None:
        space = NasConvSpace("v2", 2)
        architecture = space.from_string("3 5 2 1 24 |, 7 1 1 3 64 | 1", {"name": "mine"})
        assert dict(architecture.values) == {
            "layer0/height": 3,
            "layer0/width": 5,
            "layer0/stride_height": 2,
            "layer0/stride_width": 1,
            "layer0/filters": 24,
            "layer1/skip0": True,
            "layer1/height": 7,
            "layer1/width": 1,
            "layer1/stride_height": 1,
            "layer1/stride_width": 3,
            "layer1/filters": 64,
        }
        assert architecture.provenance == {"name": "mine"}
        assert space.to_string(architecture) == "3 5 2 1 24 |\n7 1 1 3 64 | 1"
        assert NasConvSpace(layers=5).to_string(NasConvSpace(layers=5).from_string(T1)) == T1

    def test_published(self) -> None:
        """The table of the spec, section 9: what the layers read, counted from 1."""
        reads = [[source + 1 for source in layer.reads] for layer in NasConvSpace().plan(NAS_V1)]
        assert reads == [
            *([0], [1], [1, 2], [1, 2, 3], [3, 4], [2, 3, 4, 5], [2, 3, 4, 5, 6], [1, 6, 7], [1, 5, 6, 8]),
            *([1, 3, 4, 5, 6, 7, 8, 9], [1, 2, 5, 6, 7, 8, 9, 10], [1, 2, 3, 4, 6, 11]),
            *([1, 3, 6, 7, 8, 9, 10, 11, 12], [3, 7, 12, 13], [6, 7, 11, 12, 13, 14]),
        ]
        plan = NasConvSpace().plan(NAS_V1)
        kernels = "33 33 33 55 37 77 77 73 71 77 57 77 75 75 75"
        assert " ".join("{}{}".format(*layer.kernel) for layer in plan) == kernels
        assert [layer.filters for layer in plan] == [36, 48, 36, 36, 48, 48, 48, 36, 36, 36, 36, 48, 48, 48, 48]
        assert {layer.stride for layer in plan} == {(1, 1)}
        assert NAS_V1.space == "nas_conv"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "Expected 7 numbers for 2 layers but got 0"),
            ("3 3 24 | 3 3 24", "Expected 7 numbers for 2 layers but got 6"),
            ("3 3 25 | 3 3 24 | 1", "'layer0/filters' to be one of 24, 36, 48, 64 but got '25'"),
            ("3 3 24 | 2 3 24 | 1", "'layer1/height' to be one of 1, 3, 5, 7 but got '2'"),
            ("3 3 24 | 3 3 24 | True", "'layer1/skip0' to be one of 0, 1 but got 'True'"),
            ("3 3 24 | 03 3 24 | 1", "'layer1/height' to be one of 1, 3, 5, 7 but got '03'"),
        ],
    )
    def test_other_text(self, text: str, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            NasConvSpace(layers=2).from_string(text)

    def test_architecture_of_another_space(self) -> None:
        with pytest.raises(ValueError, match=r"of space 'nas_conv\?layers=6' but got one of 'nas_conv'"):
            NasConvSpace(layers=6).to_string(NAS_V1)


class TestNoSupernet:
    @pytest.mark.parametrize(
        "use",
        [
            lambda space: space.supernet(),
            lambda space: space.discretize({}),
            lambda space: space.mixtures(NAS_V1),
            lambda space: space.build(NAS_V1, weights_from=torch.nn.Identity()),
        ],
    )
    def test_is_an_error_that_says_so(self, use: Callable[[NasConvSpace], object]) -> None:
        with pytest.raises(
            ValueError, match="a space with a supernet but got 'nas_conv': its networks share no weights"
        ):
            use(NasConvSpace())

    def test_no_groups(self) -> None:
        assert NasConvSpace().groups == ()


class TestGraph:
    def test_by_hand(self) -> None:
        """The layers of nas-rl T1, counted from 0; layers 0 and 2 read the image."""
        space = NasConvSpace(layers=5)
        (graph,) = space.graph(space.from_string(T1))
        assert graph.nodes == ("image", "0", "1", "2", "in 3", "3", "in 4", "4", "head")
        assert graph.edges == (
            ("image", "0", "3x3 24"),
            ("0", "1", "5x5 36"),
            ("image", "2", "1x7 48"),
            ("0", "in 3", ""),
            ("2", "in 3", ""),
            ("in 3", "3", "7x1 64"),
            ("1", "in 4", ""),
            ("3", "in 4", ""),
            ("in 4", "4", "3x5 36"),
            ("4", "head", ""),
        )

    def test_strides(self) -> None:
        space = NasConvSpace("v2", 2)
        (graph,) = space.graph(space.from_string("3 5 2 1 24 |, 7 1 1 1 64 | 0"))
        assert graph.edges[:2] == (("image", "0", "3x5/2x1 24"), ("image", "1", "7x1 64"))
        assert graph.edges[2:] == (("0", "head", ""), ("1", "head", ""))

    def test_poolings(self) -> None:
        """Three layers, pooled before layers 1 and 2: layer 2 reads the image through both."""
        space = NasConvSpace("v3", 3)
        (graph,) = space.graph(space.from_string("1 1 6 |, 1 3 6 | 1, 3 3 6 | 0 0"))
        assert graph.edges == (
            ("image", "0", "1x1 6"),
            ("0", "in 1", "max_pool_2x2"),
            ("in 1", "1", "1x3 6"),
            ("image", "in 2", "max_pool_2x2 max_pool_2x2"),
            ("in 2", "2", "3x3 6"),
            ("1", "head", "max_pool_2x2"),
            ("2", "head", ""),
        )

    def test_published_can_be_drawn(self) -> None:
        (graph,) = NasConvSpace().graph(NAS_V1)
        assert len(graph.nodes) == 15 + 2 + 13  # layers 0 and 1 alone read a single output
        assert to_dot([graph]).count("->") == len(graph.edges)


def test_every_value_counts() -> None:
    """No layer is without effect, so no two architectures are one in canonical form."""
    space = NasConvSpace(layers=2, kernels=(1, 3), filters=(8,))
    generator = torch.Generator().manual_seed(0)
    canonical = {space.canonical(space.sample(generator)) for _ in range(300)}
    assert len(canonical) == space.size == 32
    assert all(isinstance(architecture, Architecture) for architecture in canonical)
