"""The networks of Petridish: sizes, growth without change, hallucination. Names like "petridish T5" are the spec's."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from lightning_nas.architecture import Architecture
from lightning_nas.costs import count_multiply_adds, count_parameters
from lightning_nas.operations import DropPath, FactorizedReduce
from lightning_nas.operations.weak_learner import select_terms
from lightning_nas.spaces import AuxiliaryLogits, PetridishNetwork, PetridishSpace
from tests.references import petridish as reference

CELL: Any
MACRO: Any
CELL, MACRO = PetridishSpace(cells=1), PetridishSpace("macro", cells=1)
SMALL: dict[str, Any] = {"filters": 4, "classes": 5}
# several increments, which read both inputs and each other, in normal and in reduction cells
GROWN = {
    "cell": [
        ("normal", [(0, "sep_conv_3x3"), (1, "avg_pool_3x3"), (1, "dil_conv_5x5")]),
        ("reduce", [(1, "dil_conv_3x3"), (0, "max_pool_3x3")]),
        ("normal", [(2, "sep_conv_5x5"), (0, "identity")]),
    ],
    "macro": [
        ("layer2", [(0, "sep_conv_3x3"), (1, "avg_pool_3x3"), (1, "dil_conv_5x5")]),
        ("layer3", [(1, "dil_conv_3x3"), (0, "max_pool_3x3")]),
        ("layer2", [(2, "sep_conv_5x5"), (0, "identity")]),
    ],
}
BOTH = pytest.mark.parametrize("space", [CELL, MACRO], ids=["cell", "macro"])


def images(size: int = 8, seed: int = 0) -> Tensor:
    return torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def grown(space: Any, steps: int = 3) -> Architecture:
    architecture: Architecture = space.seed()
    for place, terms in GROWN[space.mode][:steps]:
        architecture = space.grow(architecture, place, terms)
    return architecture


@torch.no_grad()
def trained(network: Any, seed: int = 0) -> Any:
    """Return a float64 network all of whose weights and statistics are random, gates and alphas included."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.double().state_dict().items():
        if tensor.is_floating_point():
            shift = 0.5 if "running" in name or tensor.dim() == 1 else 0.0
            tensor.copy_(shift + 0.5 * torch.rand(tensor.shape, generator=generator, dtype=torch.float64) - shift / 4)
    return network


def hallucinated(space: Any, architecture: Architecture, places: tuple[str, ...] = ()) -> tuple[Any, Any]:
    """Return a parent, and the same network with weak learners."""
    parent = trained(space.build(architecture, **SMALL))
    network = space.hallucinate(architecture, places or space.all_places, **SMALL).double()
    network.inherit(parent.state_dict())
    return parent, network


def step(network: PetridishNetwork, x: Tensor) -> Tensor:
    logits = network(x)
    loss = nn.functional.cross_entropy(logits, torch.arange(len(x)) % 5)
    torch.autograd.backward(loss)
    result: Tensor = logits.detach()
    return result


class TestSizes:
    @pytest.mark.parametrize("mode", ["cell", "macro"])
    @pytest.mark.parametrize(
        ("cells", "scale", "parameters", "multiply_adds"),
        [
            (3, {}, 67_258, 11_485_824),
            (6, {"filters": 32}, 388_394, 61_719_808),
            (3, {"filters": 32, "repeat": 2}, 388_394, 61_719_808),
        ],
    )
    def test_seeds(
        self, mode: Any, cells: int, scale: dict[str, Any], parameters: int, multiply_adds: int
    ) -> None:  # petridish T13
        space = PetridishSpace(mode, cells)
        network = space.build(space.seed(), **scale)
        assert count_parameters(network) == parameters
        assert count_multiply_adds(network, torch.zeros(1, 3, 32, 32)) == multiply_adds
        assert len(network.cells) == 3 * cells * scale.get("repeat", 1) + 2

    def test_seed_by_hand(self) -> None:
        """N = 1, F = 16: what is added up is stem, three stages with the cells that halve, head."""

        def sep(c: int) -> int:
            return 2 * (9 * c + c * c + 2 * c)

        stem = 27 * 48 + 2 * 48
        first = 48 * 16 + 2 * 16 + sep(16)
        halving = [c * c // 2 + 2 * c + sep(c) + c * c + 2 * c for c in (32, 64)]
        head = 2 * 64 + 64 * 64 + 2 * 64 + 64 * 10 + 10
        network = CELL.build(CELL.seed())
        assert count_parameters(network) == stem + first + sum(halving) + sep(32) + sep(64) + head

    def test_increments(self) -> None:
        """In macro mode one layer has a node, in cell mode all three normal ones have."""
        terms = [(1, "identity"), (1, "max_pool_3x3")]
        seed = count_parameters(MACRO.build(MACRO.seed()))
        node = 2 * 32 * 32 + 2 * 32 + 1  # two maps of 32 channels become one; a gate
        assert count_parameters(MACRO.build(MACRO.grow(MACRO.seed(), "layer2", terms))) == seed + node
        every = sum(2 * c * c + 2 * c + 1 for c in (16, 32, 64))
        assert count_parameters(CELL.build(CELL.grow(CELL.seed(), "normal", terms))) == seed + every

    @pytest.mark.parametrize("size", [7, 8, 9, 13])
    def test_any_image_size(self, size: int) -> None:
        network = CELL.build(grown(CELL), **SMALL).double()
        assert network(images(size)).shape == (4, 5)

    def test_auxiliary_classifier(self) -> None:
        network = MACRO.build(MACRO.seed(), auxiliary=True, **SMALL)
        assert network.auxiliary_after == 2  # the last cell before the second reduction
        output = network(torch.zeros(2, 3, 32, 32))
        assert isinstance(output, AuxiliaryLogits)
        assert output.auxiliary.shape == (2, 5)
        assert network.eval()(torch.zeros(2, 3, 32, 32)).shape == (2, 5)
        assert count_parameters(network) == count_parameters(MACRO.build(MACRO.seed(), **SMALL))

    @pytest.mark.parametrize(
        ("scale", "message"),
        [
            ({"filters": 0}, "Expected `filters` to be a whole number of at least 1 but got 0"),
            ({"repeat": 0}, "Expected `repeat` to be a whole number of at least 1 but got 0"),
            ({"classes": 2.0}, "Expected `classes` to be a whole number of at least 1 but got 2.0"),
            ({"drop_path": 1.0}, "Expected `drop_path` to be a share with 0 <= fraction < 1 but got 1.0"),
            ({"auxiliary": True, "image_size": 8}, "Expected features of 5x5 at least"),
        ],
    )
    def test_scale_out_of_range(self, scale: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            CELL.build(CELL.seed(), **scale)

    def test_wrong_images(self) -> None:
        with pytest.raises(ValueError, match="Expected images of 3 channels but got 1"):
            CELL.build(CELL.seed(), **SMALL)(torch.zeros(1, 1, 8, 8))


class TestAgainstReference:
    @pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
    @pytest.mark.parametrize("size", [8, 13])
    @pytest.mark.parametrize(("repeat", "space"), [(1, CELL), (2, CELL), (1, MACRO), (2, MACRO)])
    def test_logits(self, space: Any, repeat: int, size: int, training: bool) -> None:
        network = trained(space.build(grown(space), repeat=repeat, **SMALL)).train(training)
        nodes: dict[str, Any] = {}
        for place, terms in GROWN[space.mode]:
            order = sorted(terms, key=lambda term: (term[0], space.operations.index(term[1])))
            nodes.setdefault(place, []).append(order)
        cells = []
        for k, reduction in enumerate([False, True, False, True, False]):
            place = f"layer{k}" if space.mode == "macro" else "reduce" if reduction else "normal"
            cells += [(reduction, nodes.get(place, []))] * (1 if reduction else repeat)
        expected = reference.run(images(size), network.state_dict(), cells, 4, training)
        assert expected.std() > 1e-3
        assert_close(network(images(size)), expected, rtol=1e-10, atol=1e-10)


class TestHallucination:
    @BOTH
    @pytest.mark.parametrize("steps", [0, 1, 3])
    def test_changes_neither_output_nor_gradients(self, space: Any, steps: int) -> None:  # petridish T2
        parent, network = hallucinated(space, grown(space, steps))
        assert torch.equal(parent.eval()(images()), network.eval()(images()))
        assert torch.equal(step(parent.train(), images()), step(network.train(), images()))
        gradients = {name: p.grad for name, p in network.named_parameters()}
        for name, parameter in parent.named_parameters():
            assert torch.equal(gradients.pop(name), parameter.grad), name
        assert all(gradient is not None for gradient in gradients.values())
        assert all(network.alphas[k].grad.abs().max() > 0 for k in range(len(network.places)))
        own, other = parent.state_dict(), network.state_dict()
        assert all(torch.equal(own[name], other[name]) for name in own)  # BatchNorm statistics included

    @BOTH
    def test_with_dropped_paths(self, space: Any) -> None:  # petridish T2
        """Equal seeds drop equal paths: weak learners draw no random numbers."""
        parent, network = hallucinated(space, grown(space))
        logits = []
        for model in (parent, network):
            for module in model.modules():
                if isinstance(module, DropPath):
                    module.probability = 0.5
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(3)
                logits.append(step(model, images()))
        assert torch.equal(*logits)
        gradients = {name: p.grad for name, p in network.named_parameters()}
        assert all(torch.equal(gradients[name], p.grad) for name, p in parent.named_parameters())
        assert not torch.equal(logits[0], hallucinated(space, grown(space))[0](images()))

    @BOTH
    def test_in_half_precision(self, space: PetridishSpace) -> None:
        """Under autocast, where alphas stay in float32 and outputs do not."""
        parent, network = (model.float() for model in hallucinated(space, grown(space)))
        with torch.autocast("cpu", torch.bfloat16):
            outputs = [model(images().float()) for model in (parent, network)]
        assert outputs[0].dtype == torch.bfloat16
        assert torch.equal(*outputs)

    @BOTH
    def test_penalty_reaches_alphas_alone(self, space: Any) -> None:  # petridish T2
        _, network = hallucinated(space, grown(space))
        with torch.no_grad():
            for alpha in network.alphas:
                alpha[::2] *= -1
        torch.autograd.backward(0.01 * network.penalty())
        reached = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
        assert reached.keys() == {f"alphas.{k}" for k in range(len(network.places))}
        for alpha in network.alphas:
            assert_close(alpha.grad, 0.01 * alpha.detach().sign())
        assert network.penalty().item() == pytest.approx(len(network.places))

    def test_alphas_are_shared_by_the_cells_of_a_kind(self) -> None:
        network = CELL.hallucinate(CELL.seed(), ["reduce", "normal"], **SMALL)
        assert [tuple(alpha.shape) for alpha in network.alphas] == [(14,), (14,)]
        assert network.alphas[0].tolist() == pytest.approx([1 / 14] * 14)
        assert [[*cell.learners] for cell in network.cells] == [["1"], ["0"], ["1"], ["0"], ["1"]]
        assert network.candidates[0][:2] == ((0, "sep_conv_3x3"), (0, "sep_conv_5x5"))

    def test_several_candidates_at_a_place(self) -> None:  # petridish T6
        """13 candidates at 11 places of macro search: two have two."""
        space = PetridishSpace("macro")
        places = [*space.all_places, "layer3", "layer10"]
        network: Any = space.hallucinate(space.seed(), places, filters=2)
        assert [len(cell.learners) for cell in network.cells] == [1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2]
        assert len(network.alphas) == 13
        assert network.place(11) == "layer3"

    def test_evaluation_does_not_pay_for_weak_learners(self) -> None:
        example = torch.zeros(1, 3, 8, 8)
        network = CELL.hallucinate(CELL.seed(), ["normal"], **SMALL)
        assert count_multiply_adds(network, example) == count_multiply_adds(CELL.build(CELL.seed(), **SMALL), example)

    def test_input_that_only_a_weak_learner_reads(self) -> None:
        """Its preparation trains, but sends no gradient back."""
        parent, network = hallucinated(MACRO, MACRO.seed(), ("layer4",))
        prepared = "preprocess.0.conv_1.weight"
        assert f"cells.4.{prepared}" not in parent.state_dict()
        step(network, images())
        weight = dict(network.named_parameters())[f"cells.4.learners.0.{prepared}"]
        assert weight.grad is not None
        assert weight.grad.abs().max() > 0
        _, child = MACRO.promote(network, MACRO.seed(), 0, [(0, "identity")])
        assert torch.equal(child.state_dict()[f"cells.4.{prepared}"], weight)

    @pytest.mark.parametrize("places", [[], ["layer0"], ["normal", "none"]])
    def test_wrong_places(self, places: list[str]) -> None:
        with pytest.raises(ValueError, match=r"Expected some of the places \['normal', 'reduce'\] but got"):
            CELL.hallucinate(CELL.seed(), places)

    def test_grown_up(self) -> None:
        space = PetridishSpace(cells=1, max_growth=1)
        child = space.grow(space.seed(), "normal", [(1, "identity")])
        with pytest.raises(ValueError, match=r"Expected some of the places \[\] but got \['normal'\]"):
            space.hallucinate(child, ["normal"])


class TestPromotion:
    @BOTH
    @pytest.mark.parametrize("steps", [0, 1, 3])
    def test_computes_what_the_parent_does(self, space: Any, steps: int) -> None:  # petridish T5
        architecture = grown(space, steps)
        _, network = hallucinated(space, architecture)
        for seed in range(3):
            step(network, images(seed=seed))
        with torch.no_grad():  # the parent as fine-tuned
            for parameter in network.parameters():
                parameter -= 0.05 * parameter.grad
        for candidate, place in enumerate(network.places):
            chosen = select_terms(network.alphas[candidate])
            terms = [network.candidates[candidate][k] for k in chosen]
            child, larger = space.promote(network, architecture, candidate, terms)
            assert child == space.grow(architecture, place, terms)
            for training in (False, True):
                pair = (copy.deepcopy(model).train(training)(images(seed=9)) for model in (network, larger))
                assert_close(*pair, rtol=0, atol=1e-6)
            assert larger.training is network.training

    @BOTH
    def test_only_the_projection_and_its_gate_are_new(self, space: Any) -> None:  # petridish T5
        architecture = grown(space)
        place = space.all_places[-1]
        _, network = hallucinated(space, architecture)
        candidate = network.places.index(place)
        terms = [(0, "dil_conv_3x3"), (1, "sep_conv_5x5")]
        _, child = space.promote(network, architecture, candidate, terms)
        number = 2 + sum(one.place == place for one in space.increments(architecture))
        known, state = network.state_dict(), child.state_dict()
        new = {
            name for name in state if name not in known and not any(part in name for part in ("paths", "preprocess"))
        }
        cells = [k for k, cell in enumerate(network.cells) if str(candidate) in cell.learners]
        parts = ["gate", "project.1.weight", *(f"project.2.{name}" for name in norm_names())]
        assert new == {f"cells.{k}.nodes.{number}.{part}" for k in cells for part in parts}
        for name, tensor in state.items():
            if name not in new:
                learner = f"learners.{candidate}"
                source = name.replace(f"nodes.{number}.paths", learner).replace(
                    "preprocess.0", f"{learner}.preprocess.0"
                )
                source = name if name in known else source
                assert torch.equal(tensor, known[source]), name
                assert tensor.data_ptr() != known[source].data_ptr()
        assert all(state[f"cells.{k}.nodes.{number}.gate"] == 0 for k in cells)

    def test_gate_gets_a_gradient(self) -> None:
        _, network = hallucinated(MACRO, MACRO.seed())
        _, child = MACRO.promote(network, MACRO.seed(), 4, [(0, "identity")])
        step(child, images())
        gradients = {name: p.grad for name, p in child.named_parameters() if "nodes" in name}
        assert gradients["cells.4.nodes.2.gate"].abs() > 0
        assert gradients["cells.4.nodes.2.project.1.weight"].abs().max() == 0  # behind a gate that is closed

    def test_provenance_has_the_alphas(self) -> None:
        _, network = hallucinated(CELL, CELL.seed())
        child, _ = CELL.promote(network, CELL.seed(), 1, [(1, "identity")])
        assert child.provenance["alphas"]["1_identity"] == pytest.approx(1 / 14)
        assert len(child.provenance["alphas"]) == 14
        assert Architecture.from_dict(child.to_dict()).provenance == child.provenance

    def test_second_candidate_of_a_place(self) -> None:
        _, network = hallucinated(MACRO, MACRO.seed(), ("layer0", "layer0"))
        _, child = MACRO.promote(network, MACRO.seed(), 1, [(1, "sep_conv_3x3")])
        name = "operations.1_sep_conv_3x3.2.weight"
        state, known = child.state_dict(), network.state_dict()
        assert torch.equal(state[f"cells.0.nodes.2.paths.{name}"], known[f"cells.0.learners.1.{name}"])
        assert not torch.equal(state[f"cells.0.nodes.2.paths.{name}"], known[f"cells.0.learners.0.{name}"])

    def test_inherit_names_what_is_new(self) -> None:
        """From a file: parent to hallucination to child."""
        parent = MACRO.build(MACRO.seed(), **SMALL)
        assert MACRO.build(MACRO.seed(), **SMALL).inherit(parent.state_dict()) == ()
        network = MACRO.hallucinate(MACRO.seed(), ["layer1"], **SMALL)
        new = network.inherit(parent.state_dict())
        assert {name.split(".")[0] for name in new} == {"alphas", "cells"}
        assert {name.split(".")[1] for name in new if name.startswith("cells")} == {"1"}
        child = MACRO.build(MACRO.grow(MACRO.seed(), "layer1", [(1, "identity")]), **SMALL)
        names = child.inherit(network.state_dict())
        assert {name.removeprefix("cells.1.nodes.2.").split(".")[0] for name in names} == {"gate", "project"}
        assert torch.equal(child.stem[0].weight, parent.stem[0].weight)

    def test_of_another_scale_or_network(self) -> None:
        network = CELL.build(CELL.seed(), **SMALL)
        with pytest.raises(
            ValueError, match=r"Expected 'stem.0.weight' of shape \(12, 3, 3, 3\) but got \(6, 3, 3, 3\)"
        ):
            network.inherit(CELL.build(CELL.seed(), filters=2).state_dict())
        with pytest.raises(ValueError, match=r"Expected the weights of a parent but got some without 'stem.0.weight'"):
            network.inherit({})

    def test_errors(self) -> None:
        _, network = hallucinated(CELL, CELL.seed(), ("normal",))
        with pytest.raises(TypeError, match="Expected a PetridishNetwork, made by `hallucinate`, but got"):
            CELL.promote(nn.Identity(), CELL.seed(), 0, [(1, "identity")])
        with pytest.raises(ValueError, match="Expected the network of the architecture but got one that has grown"):
            CELL.promote(network, grown(CELL), 0, [(1, "identity")])
        for candidate in (-1, 1):
            with pytest.raises(ValueError, match=f"Expected a candidate from 0 to 0 but got {candidate}"):
                CELL.promote(network, CELL.seed(), candidate, [(1, "identity")])
        with pytest.raises(ValueError, match="Expected increment 0 to read inputs 0 to 1"):
            CELL.promote(network, CELL.seed(), 0, [(2, "identity")])


def norm_names() -> list[str]:
    return ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]


class TestKnownBugs:
    """What the official code does otherwise than it says (spec, section 8)."""

    def test_second_path_of_a_reduction_is_shifted(self) -> None:
        """A pixel in an odd row and column is seen by the second half alone, one in an even ones by the first."""
        network = CELL.build(CELL.seed(), **SMALL)
        reduction = network.cells[1].seed.operations["1_identity"]
        assert isinstance(reduction, FactorizedReduce)
        reduction.eval()
        base = reduction(torch.ones(1, 8, 4, 4))
        for (row, column), half in {(1, 1): slice(4, 8), (0, 0): slice(0, 4)}.items():
            x = torch.ones(1, 8, 4, 4)
            x[0, 0, row, column] = 5.0
            changed = (reduction(x) != base).any(3).any(2)[0]
            assert changed[half].all()
            assert changed.sum() == 4

    def test_pooled_inputs_are_projected(self) -> None:
        """A pooling that reads other channels reads their projection, whose weights train."""
        architecture = MACRO.grow(MACRO.seed(), "layer0", [(0, "max_pool_3x3")])
        network = trained(MACRO.build(architecture, **SMALL))
        seen: list[Tensor] = []
        pool = network.cells[0].nodes["2"].paths.operations["0_max_pool_3x3"]
        pool.register_forward_hook(lambda _, args, output: seen.extend([*args, output]))
        step(network, images())
        assert [tensor.shape[1] for tensor in seen] == [4, 4]  # the stem has 12
        gradient = dict(network.named_parameters())["cells.0.preprocess.0.1.weight"].grad
        assert gradient is not None
        assert gradient.abs().max() > 0

    def test_dilated_convolution_with_stride_comes_after_a_reduction(self) -> None:
        architecture = MACRO.grow(MACRO.seed(), "layer1", [(1, "dil_conv_3x3")])
        first, second = MACRO.build(architecture, **SMALL).cells[1].nodes["2"].paths.operations["1_dil_conv_3x3"]
        assert isinstance(first, FactorizedReduce)
        assert (second[1].stride, second[1].dilation, second[1].padding) == ((1, 1), (2, 2), (2, 2))
