"""The recurrent space of DARTS. Names like "T8" are those of the spec."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from lightning_nas.architecture import Architecture
from lightning_nas.costs import count_costs, count_parameters
from lightning_nas.spaces import DartsRecurrentSpace, DartsSpace, LanguageModel, Mixture, SearchSpace, get_space
from lightning_nas.spaces.darts_recurrent_layers import DartsRecurrentLayer, MixedRecurrentLayer
from lightning_nas.spaces.darts_recurrent_norm import Normalisation
from lightning_nas.spaces.darts_recurrent_steps import mixed_steps
from lightning_nas.zoo import DARTS_RNN_V1, DARTS_RNN_V2
from tests.references import darts_recurrent as reference
from tests.spaces.language_contract import LanguageContract, tiny, tokens

SPACE, TINY = DartsRecurrentSpace(), DartsRecurrentSpace(nodes=3)
EDGES = 6  # of three nodes
BATCH = Normalisation(None, None, 1e-5)


class RecurrentContract(LanguageContract):
    named_candidates = False  # activations have no parameters

    def space(self) -> SearchSpace:
        return TINY


class TestOneLayer(RecurrentContract):
    pass


class TestTwoLayers(RecurrentContract):
    def scale(self) -> dict[str, Any]:
        return tiny(layers=2)


class WithoutNorm(DartsRecurrentSpace):
    def supernet(self, *args: Any, **scale: Any) -> LanguageModel:
        return super().supernet(*args, **{**scale, "norm": False})


class TestWithoutNorm(RecurrentContract):
    def space(self) -> SearchSpace:
        return WithoutNorm(nodes=3)


class TestDecisions:
    def test_are_input_and_operation_of_every_node(self) -> None:
        assert [(d.name, d.choices) for d in DartsRecurrentSpace(2).decisions] == [
            ("node0/input", (0,)),
            ("node0/operation", ("tanh", "relu", "sigmoid", "identity")),
            ("node1/input", (0, 1)),
            ("node1/operation", ("tanh", "relu", "sigmoid", "identity")),
        ]
        assert {d.kind for d in SPACE.decisions} == {"input", "operation"}

    def test_size(self) -> None:
        assert SPACE.size == math.factorial(8) * 4**8 == 2_642_411_520

    def test_group(self) -> None:
        (group,) = SPACE.groups
        assert group.candidates == ("none", "tanh", "relu", "sigmoid", "identity")
        assert len(group.rows) == 36
        assert group.rows[:4] == ("node0/input0", "node1/input0", "node1/input1", "node2/input0")
        offsets = [group.rows.index(f"node{node}/input0") for node in range(8)]
        assert offsets == [0, 1, 3, 6, 10, 15, 21, 28]

    def test_name(self) -> None:
        assert (SPACE.name, TINY.name) == ("darts_recurrent", "darts_recurrent?nodes=3")
        assert isinstance(get_space("darts_recurrent?nodes=3"), DartsRecurrentSpace)

    def test_a_cell_has_a_node(self) -> None:
        with pytest.raises(ValueError, match="`nodes` to be at least 1 but got 0"):
            DartsRecurrentSpace(0)


class TestNotation:
    def test_round_trip(self) -> None:
        pairs = [("tanh", 0), ("identity", 1), ("relu", 0)]
        architecture = TINY.from_genotype(pairs, {"source": "a paper"})
        assert TINY.genotype(architecture) == pairs
        assert architecture.provenance == {"source": "a paper"}

    def test_published(self) -> None:
        text = "sigmoid0 relu1 relu1 identity1 tanh2 sigmoid5 tanh3 relu5"
        assert " ".join(f"{name}{source}" for name, source in SPACE.genotype(DARTS_RNN_V2)) == text
        text = "relu0 relu1 tanh2 relu3 relu4 identity1 relu5 relu1"
        assert " ".join(f"{name}{source}" for name, source in SPACE.genotype(DARTS_RNN_V1)) == text

    def test_other_lengths_are_refused(self) -> None:
        with pytest.raises(ValueError, match=r"Expected 3 pairs for 'darts_recurrent\?nodes=3' but got 2"):
            TINY.from_genotype([("tanh", 0), ("tanh", 0)])

    def test_none_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"'node1/operation' to be one of .* but got 'none'"):
            TINY.from_genotype([("tanh", 0), ("none", 0), ("tanh", 0)])

    def test_graph(self) -> None:
        (graph,) = TINY.graph(TINY.from_genotype([("tanh", 0), ("identity", 1), ("relu", 0)]))
        assert graph.nodes == ("x_{t}", "h_{t-1}", "0", "1", "2", "3", "h_{t}")
        assert graph.edges == (
            *(("x_{t}", "0", ""), ("h_{t-1}", "0", "")),
            *(("0", "1", "tanh"), ("1", "2", "identity"), ("0", "3", "relu")),
            *(("1", "h_{t}", ""), ("2", "h_{t}", ""), ("3", "h_{t}", "")),
        )


class TestDiscretize:
    def test_t4_ties_go_to_the_first(self) -> None:
        architecture = SPACE.discretize({"cell": torch.zeros(36, 5).softmax(1)})
        assert SPACE.genotype(architecture) == [("tanh", 0)] * 8

    def test_none_is_left_out_after_the_softmax(self) -> None:
        """An edge that likes "none" is weak, though its best alpha is the largest."""
        alphas = torch.zeros(3, 5)
        alphas[1] = torch.tensor([9.0, 0.0, 0.0, 2.0, 0.0])
        alphas[2, 4] = 1.0
        weights = {"cell": alphas.softmax(1)}
        assert DartsRecurrentSpace(2).genotype(DartsRecurrentSpace(2).discretize(weights))[1] == ("identity", 1)

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.integers(0, 4), min_size=EDGES * 5, max_size=EDGES * 5))
    def test_is_the_strongest_operation_of_the_strongest_input(self, numbers: list[int]) -> None:
        table = torch.tensor(numbers).float().view(EDGES, 5)
        expected, row = [], 0
        for node in range(3):
            best = max((float(table[row + j, k]), -j, -k) for j in range(node + 1) for k in range(1, 5))
            expected.append((TINY.groups[0].candidates[-best[2]], -best[1]))
            row += node + 1
        assert TINY.genotype(TINY.discretize({"cell": table})) == expected


def one_unit(network: LanguageModel, matrices: int) -> LanguageModel:
    """Set the weights of T8: every gate is one half, new states are the sum of what they read."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("weight") and parameter.shape == (2, 2):
                parameter.copy_(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
            elif ".nodes." in name:
                parameter.copy_(torch.tensor([[0.0, 1.0]]))
        network.embedding.weight.fill_(1.0)
    layer = network.layers[0]
    assert isinstance(layer, DartsRecurrentLayer | MixedRecurrentLayer)
    assert len(layer.nodes) == matrices
    return network.double().eval()


def run_one(space: DartsRecurrentSpace, pairs: list[tuple[str, int]]) -> float:
    network = space.build(space.from_genotype(pairs), **tiny(vocabulary=2, hidden=1))
    output: float = one_unit(network, len(pairs))(torch.zeros(1, 1, dtype=torch.long)).raw.item()
    return output


class TestByHand:
    @pytest.mark.parametrize(
        ("operation", "expected"),
        [("tanh", 0.37209828), ("relu", 0.38079708), ("identity", 0.38079708), ("sigmoid", 0.48743121)],
    )
    def test_t8_one_node(self, operation: str, expected: float) -> None:
        assert run_one(DartsRecurrentSpace(1), [(operation, 0)]) == pytest.approx(expected, abs=1e-8)

    def test_t8_two_nodes(self) -> None:
        assert run_one(DartsRecurrentSpace(2), [("tanh", 0), ("sigmoid", 1)]) == pytest.approx(0.42706519, abs=1e-8)

    def test_t8_mixed_node(self) -> None:
        supernet = one_unit(DartsRecurrentSpace(1).supernet(**tiny(vocabulary=2, hidden=1), norm=False), 1)
        output = supernet(torch.zeros(1, 1, dtype=torch.long), mixtures={"cell": Mixture(torch.full((1, 5), 0.2))})
        assert output.raw.item() == pytest.approx(0.32422473, abs=1e-8)

    @pytest.mark.parametrize("architecture", [DARTS_RNN_V1, DARTS_RNN_V2])
    def test_parameters_of_evaluation(self, architecture: Architecture) -> None:
        with torch.device("meta"):
            assert count_parameters(SPACE.build(architecture)) == 22_960_000
            assert count_parameters(SPACE.build(architecture, vocabulary=33_278, hidden=700)) == 33_127_878

    def test_parameters_of_search(self) -> None:
        with torch.device("meta"):
            assert count_parameters(SPACE.supernet()) == 4_810_000

    def test_multiply_adds_of_a_word(self) -> None:
        network = SPACE.build(DARTS_RNN_V2, vocabulary=20, hidden=8)
        assert count_costs(network, SPACE.example)["macs"] == 16 * 16 + 8 * 8 * 16 + 8 * 20


def layer_arguments(nodes: int = 3, steps: int = 4, texts: int = 3, hidden: int = 5) -> list[Tensor]:
    """Return x, state, mask, table, weight and the matrices, in float64."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=generator)

    mask = torch.bernoulli(torch.full((texts, hidden), 0.75, dtype=torch.float64), generator=generator) / 0.75
    edges = nodes * (nodes + 1) // 2
    x, state, table = draw(steps, texts, hidden), draw(texts, hidden), draw(edges, 5).softmax(1)
    weights = [draw(2 * hidden, 2 * hidden), *(draw(hidden, 2 * hidden) for _ in range(nodes))]
    given = [x, state, mask, table, *(weight / 2 for weight in weights)]
    return [tensor if tensor is mask else tensor.requires_grad_() for tensor in given]


def ours(norm: Normalisation | None = BATCH) -> Callable[..., Tensor]:
    def run(
        x: Tensor, state: Tensor, mask: Tensor | None, table: Tensor, weight: Tensor, matrices: list[Tensor]
    ) -> Tensor:
        of_input, recurrent = torch.split(weight, state.shape[1])
        return mixed_steps(x @ of_input, state, mask, table, recurrent, matrices, norm)[0]

    return run


def plain(norm: Callable[[Tensor], Tensor] = reference.batch_norm) -> Callable[..., Tensor]:
    def run(
        x: Tensor, state: Tensor, mask: Tensor | None, table: Tensor, weight: Tensor, matrices: list[Tensor]
    ) -> Tensor:
        return reference.mixed_layer(x, state, 1.0 if mask is None else mask, table, weight, matrices, norm)

    return run


def measure(run: Callable[..., Tensor], given: list[Tensor], *, mask: bool = True, twice: bool = False) -> list[Tensor]:
    """Return outputs and gradients, or the gradients of a function of the gradients."""
    x, state, drawn, table, weight, *matrices = given
    outputs = run(x, state, drawn if mask else None, table, weight, matrices)
    inputs = [tensor for tensor in given if tensor.requires_grad]
    # no time step and no unit may be as good as another, and the last state counts by itself
    loss = (outputs * torch.arange(outputs.numel()).view_as(outputs).cos()).sum() + outputs[-1].square().sum()
    found = torch.autograd.grad(loss, inputs, create_graph=twice)
    if twice:
        return list(torch.autograd.grad(torch.stack([g.square().sum() for g in found]).sum(), inputs))
    return [outputs, *found]


class TestMixedSteps:
    @pytest.mark.parametrize("mask", [True, False])
    @pytest.mark.parametrize("norm", ["batch", "none", "fixed"])
    def test_equals_the_plain_loop(self, norm: str, mask: bool) -> None:
        generator = torch.Generator().manual_seed(1)
        mean, deviation = (torch.rand(5, dtype=torch.float64, generator=generator) + 0.5 for _ in range(2))
        forms: dict[str, tuple[Normalisation | None, Callable[[Tensor], Tensor]]] = {
            "batch": (BATCH, reference.batch_norm),
            "none": (None, lambda x: x),
            "fixed": (Normalisation(mean, 1 / deviation, 1e-5), lambda x: (x - mean) / deviation),
        }
        form, oracle = forms[norm]
        found = measure(ours(form), layer_arguments(), mask=mask)
        assert_close(found, measure(plain(oracle), layer_arguments(), mask=mask), rtol=1e-10, atol=1e-10)

    @pytest.mark.parametrize("norm", [True, False])
    def test_second_derivatives_equal_those_of_the_plain_loop(self, norm: bool) -> None:
        oracle = plain() if norm else plain(lambda x: x)
        found = measure(ours(BATCH if norm else None), layer_arguments(), twice=True)
        assert_close(found, measure(oracle, layer_arguments(), twice=True), rtol=1e-9, atol=1e-9)

    def test_frozen_weights_get_no_gradient_and_the_rest_stays(self) -> None:
        given, frozen = layer_arguments(), layer_arguments()
        for tensor in frozen[4:]:
            tensor.requires_grad_(False)
        expected, found = measure(ours(), given), measure(ours(), frozen)
        assert_close(found, expected[:4], rtol=1e-12, atol=1e-12)
        for tensor in frozen[3:4]:
            tensor.requires_grad_(False)
        assert_close(measure(ours(), frozen), expected[:3], rtol=1e-12, atol=1e-12)

    def test_can_go_back_twice_over_one_graph(self) -> None:
        x, state, mask, table, weight, *matrices = given = layer_arguments()
        outputs = ours()(x, state, mask, table, weight, matrices)
        inputs = [tensor for tensor in given if tensor.requires_grad]
        first = torch.autograd.grad(outputs.sum(), inputs, retain_graph=True)
        assert_close(torch.autograd.grad(outputs.sum(), inputs), first, rtol=0, atol=0)

    def test_without_gradients_the_outputs_are_the_same(self) -> None:
        x, state, mask, table, weight, *matrices = layer_arguments()
        with torch.no_grad():
            found = ours()(x, state, mask, table, weight, matrices)
        assert_close(found, ours()(x, state, mask, table, weight, matrices).detach(), rtol=0, atol=0)

    @settings(max_examples=15, deadline=None)
    @given(nodes=st.integers(1, 4), steps=st.integers(1, 4), texts=st.integers(2, 4), hidden=st.integers(1, 4))
    def test_equals_the_plain_loop_in_all_sizes(self, nodes: int, steps: int, texts: int, hidden: int) -> None:
        # gradients through BatchNorm of two nearly equal texts are huge, and so is their rounding: no norm here
        sizes = (nodes, steps, texts, hidden)
        found = measure(ours(None), layer_arguments(*sizes))
        assert_close(found, measure(plain(lambda x: x), layer_arguments(*sizes)), rtol=1e-10, atol=1e-10)

    @pytest.mark.parametrize("products", ["operation", "edge", "node"])
    def test_the_forms_of_the_plain_loop_agree(self, products: reference.Products) -> None:
        x, state, mask, table, weight, *matrices = layer_arguments()
        given = (x, state, mask, table, weight, matrices)
        found = reference.mixed_layer(*given, products=products)
        assert_close(found, reference.mixed_layer(*given), rtol=1e-12, atol=1e-12)


def uniform(space: DartsRecurrentSpace) -> dict[str, Mixture]:
    return {"cell": Mixture(torch.full((len(space.groups[0].rows), 5), 0.2, dtype=torch.float64))}


def supernet_of(**given: Any) -> LanguageModel:
    torch.manual_seed(0)
    return TINY.supernet(**tiny(**given)).double()


def norm_of(network: LanguageModel) -> nn.BatchNorm1d:
    norm = network.layers[0].get_submodule("norm")
    assert isinstance(norm, nn.BatchNorm1d)
    return norm


class TestSupernet:
    def test_one_hot_active_or_not_is_the_same(self) -> None:
        """T6h, with BatchNorm in both: the mixture that computes everything equals the one that computes one path."""
        supernet = supernet_of()
        for seed in range(5):
            (path,) = TINY.mixtures(TINY.sample(torch.Generator().manual_seed(seed))).values()
            dense = {"cell": Mixture(path.weights.double())}
            found, expected = (supernet(tokens(), mixtures=given) for given in (dense, {"cell": path}))
            assert_close(found.logits, expected.logits, rtol=1e-10, atol=1e-12)

    @pytest.mark.parametrize("momentum", [0.1, None])
    def test_running_statistics_are_those_of_one_call_after_the_other(self, momentum: float | None) -> None:
        supernet, steps = supernet_of(), supernet_of()
        every = Mixture(uniform(TINY)["cell"].weights, ((0, 1, 2, 3, 4),) * EDGES)
        for network in (supernet, steps):
            norm_of(network).momentum = momentum
        for seed in range(3):  # with everything named active, the layer calls its BatchNorm node by node
            supernet(tokens(seed=seed), mixtures=uniform(TINY))
            steps(tokens(seed=seed), mixtures={"cell": every})
        assert norm_of(supernet).num_batches_tracked == 3 * 4 * 4
        assert_close(dict(supernet.named_buffers()), dict(steps.named_buffers()), rtol=1e-9, atol=1e-12)

    @pytest.mark.parametrize("frozen", ["eval", "track"])
    def test_running_statistics_stay(self, frozen: str) -> None:
        supernet = supernet_of()
        supernet(tokens(), mixtures=uniform(TINY))
        before = {name: buffer.clone() for name, buffer in supernet.named_buffers()}
        supernet.train(frozen != "eval")
        norm_of(supernet).track_running_stats = frozen != "track"
        supernet(tokens(seed=1), mixtures=uniform(TINY))
        assert_close(dict(supernet.named_buffers()), before, rtol=0, atol=0)

    def test_batch_norm_needs_texts(self) -> None:
        with pytest.raises(ValueError, match="at least 2 texts side by side for BatchNorm in training mode but got 1"):
            supernet_of()(tokens(texts=1), mixtures=uniform(TINY))

    def test_a_node_that_reads_nothing_is_zero(self) -> None:
        supernet = supernet_of(vocabulary=11).eval()
        norm_of(supernet).running_mean = torch.zeros(6, dtype=torch.float64)
        nothing = Mixture(torch.zeros(EDGES, 5), ((),) * EDGES)
        assert supernet(tokens(), mixtures={"cell": nothing}).raw.abs().max() == 0
        named = Mixture(torch.ones(EDGES, 5), ((0,),) * EDGES)
        assert supernet(tokens(), mixtures={"cell": named}).raw.abs().max() == 0

    def test_weights_of_single_paths_get_gradients(self) -> None:
        supernet = supernet_of()
        (path,) = TINY.mixtures(TINY.from_genotype([("tanh", 0)] * 3)).values()
        weights = path.weights.double().requires_grad_()
        supernet(tokens(), mixtures={"cell": Mixture(weights, path.active)}).logits.square().sum().backward()
        assert weights.grad is not None
        assert weights.grad.count_nonzero() == 3
        assert weights.grad[0, 1] != 0

    def test_works_in_mixed_precision(self) -> None:
        supernet = TINY.supernet(**tiny())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = supernet(tokens(), mixtures={"cell": Mixture(torch.full((EDGES, 5), 0.2))})
            child = TINY.build(TINY.from_genotype([("tanh", 0)] * 3), **tiny())(tokens())
        assert (output.raw.dtype, child.raw.dtype) == (torch.float32, torch.float32)
        output.logits.float().square().sum().backward()
        assert all(p.grad is not None for p in supernet.parameters())

    def test_weights_come_from_a_supernet_only(self) -> None:
        architecture = TINY.sample(torch.Generator().manual_seed(0))
        network = TINY.build(architecture, **tiny())
        for other in (network, DartsSpace(nodes=1).supernet(channels=4, layers=3)):
            with pytest.raises(TypeError, match="`weights_from` to be a supernet of this space but got"):
                TINY.build(architecture, weights_from=other)
        with pytest.raises(ValueError, match=r"supernet of 'darts_recurrent\?nodes=3' but got one with 2 nodes"):
            TINY.build(architecture, weights_from=DartsRecurrentSpace(2).supernet(**tiny()))

    def test_inherited_scale(self) -> None:
        supernet = supernet_of(hidden=4, layers=2, dropoute=0.3)
        network = TINY.build(TINY.sample(torch.Generator().manual_seed(0)), weights_from=supernet)
        assert network.scale == supernet.scale
        assert len(network.layers) == 2


class TestDiscrete:
    @pytest.mark.parametrize("seed", range(3))
    def test_equals_the_plain_cell(self, seed: int) -> None:
        space = DartsRecurrentSpace(6)
        architecture = space.sample(torch.Generator().manual_seed(seed))
        torch.manual_seed(seed)
        network = space.build(architecture, **tiny(layers=2)).double()
        with torch.no_grad():
            for parameter in network.layers.parameters():
                parameter.mul_(20)
        x, state = network.embedding(tokens()), dict(network.named_parameters())
        for layer in range(2):
            zeros = torch.zeros(3, 6, dtype=torch.float64)
            matrices = [state[f"layers.{layer}.nodes.{node}"] for node in range(6)]
            weight = state[f"layers.{layer}.weight"]
            x = reference.discrete_layer(x, zeros, weight, matrices, space.genotype(architecture))
        found = network(tokens())
        assert_close(found.raw, x, rtol=1e-10, atol=1e-12)
        inputs = list(network.layers.parameters())
        gradients = [torch.autograd.grad(raw.square().sum(), inputs) for raw in (found.raw, x)]
        assert_close(gradients[0], gradients[1], rtol=1e-10, atol=1e-12)
