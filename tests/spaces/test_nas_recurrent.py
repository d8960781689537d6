"""The recurrent space of Zoph & Le. Names like "T9" are those of the spec."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from lightning_nas.architecture import Architecture
from lightning_nas.controllers.forms import form_of, program_of
from lightning_nas.controllers.program import Input
from lightning_nas.costs import count_parameters
from lightning_nas.spaces import LanguageModel, NasRecurrentSpace, SearchSpace, get_space
from lightning_nas.spaces.nas_recurrent_layer import NasRecurrentLayer
from lightning_nas.zoo import NAS_CELL
from tests.references import nas_recurrent as reference
from tests.spaces.language_contract import LanguageContract, tiny, tokens

SPACE, TINY = NasRecurrentSpace(), NasRecurrentSpace(base=2)
T9 = "add tanh, elem_mult relu, elem_mult sigmoid, add relu, 1 0"


class TestContract(LanguageContract):
    has_supernet = False

    def space(self) -> SearchSpace:
        return NasRecurrentSpace(base=4)


class TestTwoLayers(TestContract):
    def space(self) -> SearchSpace:
        return TINY

    def scale(self) -> dict[str, Any]:
        return tiny(layers=2)


class TestDecisions:
    def test_are_the_tokens_of_the_paper(self) -> None:
        assert len(SPACE.decisions) == 34
        assert [(d.name, d.kind) for d in TINY.decisions] == [
            *((f"node{i}/{what}", "operation") for i in range(3) for what in ("combine", "activation")),
            *(("inject/combine", "operation"), ("inject/activation", "operation")),
            *(("memory", "number"), ("injected", "number")),
        ]
        assert TINY.decisions[0].choices == ("add", "elem_mult")
        assert TINY.decisions[1].choices == ("tanh", "relu", "sigmoid", "identity")
        assert SPACE.decisions[-1].choices == tuple(range(15))

    def test_size(self) -> None:
        assert SPACE.size == 8**15 * 8 * 15 * 15

    def test_the_controller_needs_no_anchors(self) -> None:
        assert form_of(SPACE.decisions) == "other"
        assert not [instruction for instruction in program_of(SPACE) if isinstance(instruction, Input)]

    def test_name(self) -> None:
        assert (SPACE.name, TINY.name) == ("nas_recurrent", "nas_recurrent?base=2")
        assert isinstance(get_space("nas_recurrent?base=2"), NasRecurrentSpace)

    @pytest.mark.parametrize("base", [-2, 0, 1, 3, 12])
    def test_base_is_a_power_of_two(self, base: int) -> None:
        with pytest.raises(ValueError, match=f"`base` to be a power of two above 1 but got {base}"):
            NasRecurrentSpace(base)

    def test_there_is_no_supernet(self) -> None:
        with pytest.raises(ValueError, match="a space with a supernet but got 'nas_recurrent'"):
            SPACE.supernet()
        with pytest.raises(ValueError, match="a space with a supernet but got 'nas_recurrent'"):
            SPACE.build(NAS_CELL, weights_from=torch.nn.Identity())


class TestNotation:
    def test_round_trip(self) -> None:
        for seed in range(5):
            architecture = SPACE.sample(torch.Generator().manual_seed(seed))
            assert SPACE.from_string(SPACE.to_string(architecture)) == architecture

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (T9 + " 1", r"Expected 10 words for 'nas_recurrent\?base=2' but got 11"),
            (T9.replace("add tanh", "plus tanh"), "'node0/combine' to be one of add, elem_mult but got 'plus'"),
            (T9.replace("1 0", "1 3"), "'injected' to be one of 0, 1, 2 but got '3'"),
        ],
    )
    def test_other_texts_are_refused(self, text: str, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            TINY.from_string(text)

    def test_graph(self) -> None:
        (graph,) = TINY.graph(TINY.from_string(T9))
        assert graph.nodes == ("x_{t}", "h_{t-1}", "c_{t-1}", "0", "0'", "1", "2", "c_{t}", "h_{t}")
        assert graph.edges == (
            *(("x_{t}", "0", "add tanh"), ("h_{t-1}", "0", "add tanh")),
            *(("0", "0'", "add relu"), ("c_{t-1}", "0'", "add relu")),
            *(("x_{t}", "1", "elem_mult relu"), ("h_{t-1}", "1", "elem_mult relu")),
            *(("0'", "2", "elem_mult sigmoid"), ("1", "2", "elem_mult sigmoid")),
            *(("1", "c_{t}", "before activation"), ("2", "h_{t}", "")),
        )


def all_ones(space: NasRecurrentSpace, architecture: Architecture) -> tuple[float, float]:
    """Return memory and hidden state of a step with weights of one: x = .5, h = .2, c = .1."""
    network = space.build(architecture, **tiny(vocabulary=2, hidden=1)).double()
    with torch.no_grad():
        for parameter in network.layers.parameters():
            parameter.fill_(1.0)
        network.embedding.weight.fill_(0.5)
    before = (torch.full((1, 1), 0.1, dtype=torch.float64), torch.full((1, 1), 0.2, dtype=torch.float64))
    output = network(torch.zeros(1, 1, dtype=torch.long), (before,))
    memory, hidden = output.state[0]
    assert hidden.item() == output.raw.item()
    return memory.item(), hidden.item()


class TestByHand:
    def test_t9_tree_of_two_leaves(self) -> None:
        assert all_ones(TINY, TINY.from_string(T9)) == pytest.approx((0.1, 0.517602), abs=1e-6)

    def test_t10_nas_cell(self) -> None:
        assert all_ones(SPACE, NAS_CELL) == pytest.approx((0.316628, 0.254685), abs=1e-6)

    def test_memory_is_taken_before_the_injection(self) -> None:
        """Where both indices are the same node."""
        memory, _ = all_ones(TINY, TINY.from_string(T9.replace("1 0", "0 0")))
        assert memory == pytest.approx(0.7)

    def test_injection_into_the_last_node(self) -> None:
        _, hidden = all_ones(TINY, TINY.from_string(T9.replace("1 0", "1 2")))
        plain = 1 / (1 + torch.tensor(-0.604368 * 0.1).exp().item())
        assert hidden == pytest.approx(plain + 0.1, abs=1e-6)

    @pytest.mark.parametrize(
        ("scale", "expected"),
        [
            ({"hidden": 735, "tied": False}, 31_987_200),
            ({}, 24_923_200),
            ({"hidden": 1150}, 53_820_000),
        ],
    )
    def test_parameters(self, scale: dict[str, Any], expected: int) -> None:
        with torch.device("meta"):
            assert count_parameters(SPACE.build(NAS_CELL, **scale)) == expected


def leaves(matrix: Tensor, base: int) -> list[list[list[float]]]:
    return [leaf.tolist() for leaf in matrix.detach().chunk(base, 1)]


class TestOracle:
    @settings(max_examples=25, deadline=None)
    @given(base=st.sampled_from([2, 4, 8]), seed=st.integers(0, 10_000))
    def test_equals_the_plain_cell(self, base: int, seed: int) -> None:
        space = NasRecurrentSpace(base)
        architecture = space.sample(torch.Generator().manual_seed(seed))
        network: LanguageModel = space.build(architecture, **tiny(hidden=3, layers=1)).double()
        layer = network.layers[0]
        assert isinstance(layer, NasRecurrentLayer)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.copy_(torch.randn(parameter.shape, dtype=torch.float64, generator=generator) / 2)
        words = space.to_string(architecture).replace(",", " ").split()
        matrices = leaves(layer.inputs, base), leaves(layer.recurrent, base)
        x = tokens(3, 1, seed)
        memory, hidden = [0.0] * 3, [0.0] * 3
        for word in network.embedding.weight[x[:, 0]].tolist():
            memory, hidden = reference.step(word, hidden, memory, words, *matrices)
        output = network(x)
        expected = torch.tensor([memory, hidden], dtype=torch.float64)
        found = torch.cat(output.state[0])
        assert_close(found, expected, rtol=1e-9, atol=1e-10)
