"""The recurrent space of ENAS. Names like "T1" are those of the spec."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from lightning_nas.controllers.forms import form_of
from lightning_nas.costs import count_parameters
from lightning_nas.operations.recurrent import Term, mix_terms
from lightning_nas.spaces import DartsSpace, EnasRecurrentSpace, LanguageModel, Mixture, SearchSpace, get_space
from lightning_nas.spaces.enas_recurrent_layers import EnasRecurrentLayer
from lightning_nas.zoo import ENAS_RNN
from tests.references import enas_recurrent as reference
from tests.spaces.language_contract import LanguageContract, tiny, tokens

SPACE, TINY = EnasRecurrentSpace(), EnasRecurrentSpace(nodes=4)
PUBLISHED = "0 0 0 1 1 2 1 2 0 2 0 5 1 1 0 6 1 8 1 8 1 8 1"
PAPER = "0 0 1 1 1 0 0"  # k0 = tanh(x, h), k1 = relu(k0), k2 = relu(k1), k3 = tanh(k0)


class RecurrentContract(LanguageContract):
    named_candidates = False  # matrices belong to pairs of node and input
    dense_mixtures = False

    def space(self) -> SearchSpace:
        return TINY


class TestOneLayer(RecurrentContract):
    pass


class TestTwoLayers(RecurrentContract):
    def scale(self) -> dict[str, Any]:
        return tiny(layers=2)


class TestDecisions:
    def test_have_the_form_that_the_controller_knows(self) -> None:
        assert form_of(SPACE.decisions) == form_of(TINY.decisions) == "recurrent"
        assert len(SPACE.decisions) == 23
        assert [(d.name, len(d.choices)) for d in TINY.decisions[:3]] == [
            ("node0/operation", 4),
            ("node1/input", 1),
            ("node1/operation", 4),
        ]

    def test_size(self) -> None:
        assert SPACE.size == 4**12 * math.factorial(11)

    def test_groups(self) -> None:
        assert [len(group.candidates) for group in TINY.groups] == [4, 4, 8, 12]
        assert TINY.groups[0].candidates == ("tanh", "relu", "identity", "sigmoid")
        assert TINY.groups[2].candidates[5] == "1/relu"
        assert {group.rows for group in TINY.groups} == {("path",)}

    def test_name(self) -> None:
        assert (SPACE.name, TINY.name) == ("enas_recurrent", "enas_recurrent?nodes=4")
        assert isinstance(get_space("enas_recurrent?nodes=4"), EnasRecurrentSpace)

    def test_a_cell_has_a_node(self) -> None:
        with pytest.raises(ValueError, match="`nodes` to be at least 1 but got 0"):
            EnasRecurrentSpace(0)


class TestNotation:
    def test_t2_published(self) -> None:
        assert SPACE.to_string(ENAS_RNN) == PUBLISHED
        assert SPACE.loose_ends(ENAS_RNN) == (3, 4, 7, 9, 10, 11)
        values = ENAS_RNN.values
        assert values["node0/operation"] == "tanh"
        pairs = [(values[f"node{i}/input"], values[f"node{i}/operation"]) for i in range(1, 12)]
        ends = [(1, "tanh"), (6, "relu"), *[(8, "relu")] * 3]
        assert pairs == [(0, "tanh"), (1, "relu"), (2, "relu"), (2, "tanh"), (2, "tanh"), (5, "relu"), *ends]

    @given(st.data())
    @settings(max_examples=30, deadline=None)
    def test_round_trip(self, data: st.DataObject) -> None:
        numbers = [data.draw(st.integers(0, len(d.choices) - 1)) for d in SPACE.decisions]
        text = " ".join(map(str, numbers))
        architecture = SPACE.from_string(text, {"source": "drawn"})
        assert SPACE.to_string(architecture) == text
        assert architecture.provenance == {"source": "drawn"}
        assert set(SPACE.loose_ends(architecture)) == set(range(12)) - set(numbers[1::2])

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (PAPER[:-2], r"Expected 7 numbers for 'enas_recurrent\?nodes=4' but got 6: '0 0 1 1 1 0'"),
            ("4 0 1 1 1 0 0", "Expected 'node0/operation' to be a number from 0 to 3 but got '4'"),
            ("0 1 1 1 1 0 0", "Expected 'node1/input' to be a number from 0 to 0 but got '1'"),
            ("0 0 1 x 1 0 0", "Expected 'node2/input' to be a number from 0 to 1 but got 'x'"),
        ],
    )
    def test_other_texts_are_refused(self, text: str, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            TINY.from_string(text)

    def test_graph(self) -> None:
        (graph,) = TINY.graph(TINY.from_string(PAPER))
        assert graph.nodes == ("x_{t}", "h_{t-1}", "0", "1", "2", "3", "h_{t}")
        assert graph.edges == (
            *(("x_{t}", "0", "tanh"), ("h_{t-1}", "0", "tanh"), ("0", "1", "relu"), ("1", "2", "relu")),
            *(("0", "3", "tanh"), ("2", "h_{t}", ""), ("3", "h_{t}", "")),
        )


class TestDiscretize:
    def test_ties_go_to_the_first(self) -> None:
        weights = {g.name: torch.full((1, len(g.candidates)), 0.1) for g in TINY.groups}
        assert TINY.to_string(TINY.discretize(weights)) == "0 0 0 0 0 0 0"

    def test_strongest(self) -> None:
        weights = {g.name: torch.zeros(1, len(g.candidates)) for g in TINY.groups}
        for node, k in enumerate((3, 2, 5, 8)):
            weights[f"node{node}"][0, k] = 1
        assert TINY.to_string(TINY.discretize(weights)) == "3 0 2 1 1 2 0"


class TestByHand:
    def test_t1_paper_example(self) -> None:
        network = TINY.build(TINY.from_string(PAPER), **tiny(vocabulary=2, hidden=1)).double()
        with torch.no_grad():
            for name, parameter in network.layers.named_parameters():
                gate_and_new = torch.tensor([0.0, 2.0 if "nodes" in name else 1.0])
                parameter.copy_(gate_and_new.expand_as(parameter))
            network.embedding.weight.fill_(0.5)
        state = (torch.full((1, 1), 0.2, dtype=torch.float64),)
        output = network(torch.zeros(1, 1, dtype=torch.long), state)
        assert output.raw.item() == pytest.approx(0.719621, abs=1e-6)
        assert output.state[0].item() == output.raw.item()
        assert output.logits[0, 0].tolist() == [output.raw.item() / 2] * 2

    def test_t1_mean_of_all_nodes_would_be_another_number(self) -> None:
        states = (0.402184, 0.603276, 0.904914, 0.534328)
        assert sum(states[2:]) / 2 == pytest.approx(0.719621, abs=1e-6)
        assert sum(states) / 4 == pytest.approx(0.611175, abs=1e-6)

    def test_parameters(self) -> None:
        with torch.device("meta"):
            network, supernet = SPACE.build(ENAS_RNN), SPACE.supernet(hidden=100)
        assert count_parameters(network) == 26 * 748**2 + 10_000 * 748 == 22_027_104
        assert count_parameters(supernet) == 4 * 100**2 + 66 * 2 * 100**2 + 2 * 100 + 10_000 * 100


def warmed(space: EnasRecurrentSpace, **given: Any) -> LanguageModel:
    torch.manual_seed(0)
    supernet = space.supernet(**tiny(**given)).double()
    with torch.no_grad():
        for parameter in supernet.parameters():  # norms too, so that BatchNorm is not left at one and zero
            parameter.mul_(10).add_(0.1)
    return supernet


class TestSupernet:
    @pytest.mark.parametrize("seed", range(3))
    def test_equals_the_plain_cell(self, seed: int) -> None:
        space, x = EnasRecurrentSpace(6), tokens(texts=8)
        supernet = warmed(space, layers=2)
        architecture = space.sample(torch.Generator().manual_seed(seed))
        numbers = [int(word) for word in space.to_string(architecture).split()]
        state = dict(supernet.named_parameters())
        inputs = list(supernet.embedding(x))
        for layer in range(2):
            last = torch.zeros(8, 6, dtype=torch.float64)
            for t, step in enumerate(inputs):
                inputs[t] = last = reference.cell(state, step, last, numbers, norm=True, layer=layer)
        found, expected = supernet(x, mixtures=space.mixtures(architecture)).raw, torch.stack(inputs)
        assert_close(found, expected, rtol=1e-10, atol=1e-10)
        used = [state[name] for name, _ in space.build(architecture, weights_from=supernet).named_parameters()]
        both = [torch.autograd.grad(raw.pow(3).sum(), used) for raw in (found, expected)]
        assert_close(both[0], both[1], rtol=1e-10, atol=1e-10)

    def test_inactive_matrices_get_no_gradient(self) -> None:
        supernet = warmed(TINY)
        supernet(tokens(), mixtures=TINY.mixtures(TINY.from_string(PAPER))).logits.square().sum().backward()
        reached = {name for name, p in supernet.layers.named_parameters() if p.grad is not None}
        nodes = {"0.nodes.1.0", "0.nodes.2.1", "0.nodes.3.0"}
        assert reached == {"0.weight", "0.norm.weight", "0.norm.bias", *nodes}

    def test_final_network_has_no_norm(self) -> None:
        network = TINY.build(TINY.from_string(PAPER), **tiny())
        assert not [name for name in network.state_dict() if "norm" in name]
        x = torch.zeros(1, 3, 6)
        raw = network(tokens(steps=1)).raw
        numbers = [int(word) for word in PAPER.split()]
        expected = reference.cell(network.state_dict(), network.embedding(tokens(1))[0], x[0], numbers, norm=False)
        assert_close(raw[0], expected)

    def test_a_mixture_is_a_weighted_sum(self) -> None:
        """Of two activations of one node's input, with the rest of the path fixed."""
        space = EnasRecurrentSpace(1)
        supernet = warmed(space)
        layer = supernet.layers[0]
        assert isinstance(layer, EnasRecurrentLayer)
        layer.norm = torch.nn.Identity()
        outputs = [
            supernet(tokens(1), mixtures={"node0": Mixture(torch.ones(1, 4), ((k,),))}).raw.detach() for k in range(4)
        ]
        weights = torch.tensor([[0.5, 2.0, 0.25, 3.0]])
        found = supernet(tokens(1), mixtures={"node0": Mixture(weights, ((1, 3),))}).raw
        assert_close(found, 2 * outputs[1] + 3 * outputs[3], rtol=1e-12, atol=1e-12)
        assert_close(supernet(tokens(1), mixtures={"node0": Mixture(weights, ((0,),))}).raw, 0.5 * outputs[0])

    def test_terms_without_weight_count_once(self) -> None:
        state, product = torch.rand(2, 3), torch.rand(2, 6)
        both = mix_terms(state, product, (Term(torch.tanh), Term(torch.relu)))
        assert_close(both, sum(mix_terms(state, product, (Term(f),)) for f in (torch.tanh, torch.relu)))

    def test_weights_come_from_a_supernet_only(self) -> None:
        architecture = TINY.from_string(PAPER)
        for other in (TINY.build(architecture, **tiny()), DartsSpace(nodes=1).supernet(channels=4, layers=3)):
            with pytest.raises(TypeError, match="`weights_from` to be a supernet of this space but got"):
                TINY.build(architecture, weights_from=other)
        with pytest.raises(ValueError, match=r"supernet of 'enas_recurrent\?nodes=4' but got one with 3 nodes"):
            TINY.build(architecture, weights_from=EnasRecurrentSpace(3).supernet(**tiny()))
