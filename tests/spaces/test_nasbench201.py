"""The NAS-Bench-201 space: strings, equal cells, networks."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lightning_nas.architecture import Architecture
from lightning_nas.costs import count_multiply_adds, count_parameters
from lightning_nas.spaces import DartsSpace, NasBench201Space, SearchSpace
from lightning_nas.spaces.nasbench201 import OPERATIONS
from lightning_nas.spaces.nasbench201_network import EDGES
from lightning_nas.testing.space import SpaceContract

SPACE = NasBench201Space()
BEST = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_1x1~1|nor_conv_3x3~2|"

Vector = NDArray[np.float64]


class TestNasBench201Space(SpaceContract):
    def space(self) -> SearchSpace:
        return NasBench201Space()

    def scale(self) -> dict[str, Any]:
        return {"channels": 4, "cells": 1, "classes": 10}

    def example(self) -> Tensor:
        return torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))

    def samples(self, count: int = 4, seed: int = 0) -> list[Architecture]:
        """Put a cell first whose output is nothing."""
        return [uniform("none"), *super().samples(count, seed)]

    def equivalent(self, architecture: Architecture) -> Architecture:
        """Change what node 1 gets where nothing leaves it, else what leaves it where it gets nothing."""
        values = dict(architecture.values)
        if values["edge1-2"] == values["edge1-3"] == "none":
            values["edge0-1"] = "avg_pool_3x3" if values["edge0-1"] != "avg_pool_3x3" else "nor_conv_3x3"
        elif values["edge0-1"] == "none":
            values["edge1-2"] = "avg_pool_3x3" if values["edge1-2"] != "avg_pool_3x3" else "nor_conv_3x3"
        return replace(architecture, values=values, provenance={"written": "otherwise"})


def uniform(operation: str) -> Architecture:
    """Return the cell with one operation on all edges."""
    return Architecture("nasbench201", {decision.name: operation for decision in SPACE.decisions})


def all_cells() -> Iterator[tuple[str, ...]]:
    return itertools.product(OPERATIONS, repeat=6)


def cell(operations: tuple[str, ...]) -> Architecture:
    return Architecture("nasbench201", {d.name: op for d, op in zip(SPACE.decisions, operations, strict=True)})


class TestStrings:
    def test_order_of_the_decisions(self) -> None:
        text = "|none~0|+|skip_connect~0|nor_conv_1x1~1|+|nor_conv_3x3~0|avg_pool_3x3~1|none~2|"
        architecture = SPACE.from_string(text)
        assert dict(architecture.values) == {
            "edge0-1": "none",
            "edge0-2": "skip_connect",
            "edge1-2": "nor_conv_1x1",
            "edge0-3": "nor_conv_3x3",
            "edge1-3": "avg_pool_3x3",
            "edge2-3": "none",
        }
        assert SPACE.to_string(architecture) == text

    def test_both_ways(self) -> None:
        generator = torch.Generator().manual_seed(0)
        for _ in range(100):
            architecture = SPACE.sample(generator)
            assert SPACE.from_string(SPACE.to_string(architecture)) == architecture

    @pytest.mark.parametrize(
        "text",
        [
            "",
            BEST[:-1],
            BEST + "\n",
            "x" + BEST,
            BEST.replace("~2", "~1"),
            BEST.replace("+", ""),
            BEST.rpartition("+")[0],
            "|nor_conv_3x3~0|+|none~1|none~0|+|none~0|none~1|none~2|",
        ],
    )
    def test_other_text(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"Expected a string like '\|op~0.* but got"):
            SPACE.from_string(text)

    def test_unknown_operation(self) -> None:
        with pytest.raises(ValueError, match=r"'edge1-3' to be one of .* but got 'nor_conv_5x5'"):
            SPACE.from_string(BEST.replace("nor_conv_1x1", "nor_conv_5x5"))

    def test_architecture_of_another_space(self) -> None:
        with pytest.raises(ValueError, match="of space 'nasbench201' but got one of 'darts'"):
            SPACE.to_string(DartsSpace().sample(torch.Generator().manual_seed(0)))


def authors_string(operations: tuple[str, ...]) -> str:
    """The authors' rule (``Structure.to_unique_str``, zeros considered): empty edges stay as ``#``."""
    nodes = {0: "0"}
    for target in (1, 2, 3):
        terms = []
        for (source, end), operation in zip(EDGES, operations, strict=True):
            if end != target:
                continue
            if operation == "none" or nodes[source] == "#":
                terms.append("#")
            else:
                terms.append(nodes[source] if operation == "skip_connect" else f"({nodes[source]})@{operation}")
        nodes[target] = "+".join(sorted(terms))
    return nodes[3]


def random_functions() -> dict[str, Callable[[Vector], Vector]]:
    """Return a smooth function for every operation; it maps nothing to nothing."""
    random = np.random.default_rng(0)

    def smooth() -> Callable[[Vector], Vector]:
        inner, outer = random.normal(size=(2, 4, 4))
        return lambda x: outer @ np.tanh(inner @ x)

    layers = {name: smooth() for name in OPERATIONS if "_conv_" in name or "pool" in name}
    return {"none": lambda x: 0 * x, "skip_connect": lambda x: x, **layers}


def output(operations: tuple[str, ...], functions: dict[str, Callable[[Vector], Vector]]) -> Vector:
    """Return what a cell of these functions computes."""
    states = [np.array([0.3, -0.7, 1.1, 0.5])]
    for target in (1, 2, 3):
        first = target * (target - 1) // 2
        incoming = operations[first : first + target]
        states.append(
            np.sum([functions[op](state) for op, state in zip(incoming, states, strict=True)], axis=0)  # in node order
        )
    return states[3]


@cache
def canonical_cells() -> dict[tuple[str, ...], Architecture]:
    return {operations: SPACE.canonical(cell(operations)) for operations in all_cells()}


class TestCanonical:
    def test_equal_exactly_where_the_functions_are_equal(self) -> None:
        functions = random_functions()
        by_value: dict[tuple[float, ...], set[Architecture]] = {}
        for operations, canonical in canonical_cells().items():
            value = tuple(np.round(output(operations, functions), 9) + 0.0)  # no negative zero
            by_value.setdefault(value, set()).add(canonical)
        assert len(by_value) == 4930
        assert {len(found) for found in by_value.values()} == {1}
        assert len(set(canonical_cells().values())) == 4930

    def test_the_authors_classes_are_finer(self) -> None:
        classes: dict[str, set[Architecture]] = {}
        for operations, canonical in canonical_cells().items():
            classes.setdefault(authors_string(operations), set()).add(canonical)
        assert len(classes) == 6466
        assert {len(found) for found in classes.values()} == {1}

    def test_is_the_first_of_its_class(self) -> None:
        first: dict[Architecture, tuple[str, ...]] = {}
        for operations, canonical in canonical_cells().items():
            first.setdefault(canonical, operations)
        assert all(cell(operations) == canonical for canonical, operations in first.items())

    def test_by_hand(self) -> None:
        through_node_1 = "|skip_connect~0|+|none~0|none~1|+|none~0|nor_conv_3x3~1|none~2|"
        direct = "|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|"
        doubled = "|skip_connect~0|+|none~0|none~1|+|nor_conv_3x3~0|nor_conv_3x3~1|none~2|"
        one, two, three = (SPACE.canonical(SPACE.from_string(text)) for text in (through_node_1, direct, doubled))
        assert one == two
        assert one != three


class TestDiscretize:
    def test_none_can_win_and_ties_go_to_the_earlier(self) -> None:
        table = torch.zeros(6, 5)
        table[0, 3] = table[0, 4] = 1.0
        table[1, 4] = 1.0
        table[2, 0] = 1.0
        values = SPACE.discretize({"cell": table}).values
        assert list(values.values()) == ["nor_conv_3x3", "avg_pool_3x3", "none", "none", "none", "none"]


class TestNetworks:
    @pytest.mark.parametrize(
        ("text", "small", "full"),
        [
            ("nor_conv_3x3", (91_986, 12_673_344), (1_531_546, 220_119_680)),
            ("nor_conv_1x1", (27_474, 3_236_160), (241_306, 31_376_000)),
            ("skip_connect", (18_738, 2_056_512), (73_306, 7_783_040)),
            ("none", (18_738, 2_056_512), (73_306, 7_783_040)),
            ("avg_pool_3x3", (18_738, 2_056_512), (73_306, 7_783_040)),
            (BEST, (69_026, 9_331_008), (1_073_466, 153_272_960)),
        ],
    )
    def test_golden_counts(self, text: str, small: tuple[int, int], full: tuple[int, int]) -> None:
        architecture = SPACE.from_string(text) if "~" in text else uniform(text)
        with torch.device("meta"):
            networks = SPACE.build(architecture, channels=8, cells=1), SPACE.build(architecture)
        images = torch.zeros(1, 3, 32, 32)
        counts = [(count_parameters(network), count_multiply_adds(network, images)) for network in networks]
        assert counts == [small, full]

    def test_network_restated(self) -> None:
        """A slow forward from the state dict, in evaluation mode; the cells keep skip and pooling."""
        text = "|nor_conv_3x3~0|+|avg_pool_3x3~0|skip_connect~1|+|none~0|nor_conv_1x1~1|skip_connect~2|"
        network = SPACE.build(SPACE.from_string(text), channels=4, cells=1).double()
        x = torch.randn(3, 3, 8, 8).double()
        network(x)  # moves the statistics
        assert_same = torch.testing.assert_close
        assert_same(network.eval()(x), restated_network(network.state_dict(), x), rtol=1e-10, atol=1e-12)

    def test_odd_images(self) -> None:
        with pytest.raises(ValueError, match="divisible by 4 but got 8x10"):
            SPACE.build(uniform("skip_connect"), channels=4, cells=1)(torch.zeros(1, 3, 8, 10))

    @pytest.mark.parametrize("weights_from", [nn.Linear(1, 1), DartsSpace(2).supernet(4, 3)], ids=["linear", "darts"])
    def test_weights_of_another_space(self, weights_from: nn.Module) -> None:
        with pytest.raises(TypeError, match="`weights_from` to be a supernet of this space but got"):
            SPACE.build(uniform("skip_connect"), weights_from=weights_from)

    def test_supernet_normalises_by_the_batch(self) -> None:
        supernet = SPACE.supernet(channels=4, cells=1)
        buffers = {name.rpartition(".")[0] for name, _ in supernet.named_buffers()}
        assert buffers == {"stem.1", "last.0"}

    def test_supernet_parameters(self) -> None:
        """C=16, N=5: a mixed edge holds a 1x1 and a 3x3 convolution without scale; the rest is as in the networks."""
        with torch.device("meta"):
            supernet = SPACE.supernet()
        edges = 5 * 6 * 10 * (16**2 + 32**2 + 64**2)
        affine_of_residual_blocks = 2 * 2 * (32 + 64)
        assert count_parameters(supernet) == 73_306 - affine_of_residual_blocks + edges


def restated_network(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """Return the logits of the network of ``test_network_restated``, one functional call after the other."""
    f = nn.functional

    def norm(h: Tensor, name: str) -> Tensor:
        mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        scaled = (h - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()
        return scaled * state[f"{name}.weight"][:, None, None] + state[f"{name}.bias"][:, None, None]

    def conv(h: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = state[f"{name}.1.weight"]
        return norm(f.conv2d(h.clamp(min=0), weight, None, stride, weight.shape[-1] // 2), f"{name}.2")

    def cell_output(h: Tensor, name: str) -> Tensor:
        node1 = conv(h, f"{name}.edges.0")
        node2 = f.avg_pool2d(h, 3, 1, 1, count_include_pad=False) + node1
        return conv(node1, f"{name}.edges.4") + node2

    def residual(h: Tensor, name: str) -> Tensor:
        inner = conv(conv(h, f"{name}.conv_a", 2), f"{name}.conv_b")
        return inner + f.conv2d(f.avg_pool2d(h, 2), state[f"{name}.shortcut.1.weight"])

    h = norm(f.conv2d(x, state["stem.0.weight"], padding=1), "stem.1")
    for index in range(5):
        h = residual(h, f"body.{index}") if index in (1, 3) else cell_output(h, f"body.{index}")
    pooled = norm(h, "last.0").clamp(min=0).mean((2, 3))
    return pooled @ state["classifier.weight"].T + state["classifier.bias"]
