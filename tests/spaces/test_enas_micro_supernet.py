"""The search network of ENAS's micro space: size, sharing, gradients, and a slow restatement of it."""

from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from lightning_nas.architecture import Architecture
from lightning_nas.costs import count_parameters
from lightning_nas.spaces import EnasMicroSpace, Mixture
from lightning_nas.spaces.enas_micro_plan import micro_reductions
from lightning_nas.spaces.enas_micro_supernet import EnasMicroSupernet, SearchCell
from lightning_nas.zoo import ENAS_MICRO
from tests.references.enas_micro import search_network

SPACE, TINY = EnasMicroSpace(), EnasMicroSpace(nodes=2)
UNREAD_INPUT = TINY.from_string("1 4 1 1 1 3 2 0", "1 0 1 4 2 2 1 3")  # 0 is a loose end of both cells


def supernet(space: EnasMicroSpace = TINY, **scale: Any) -> EnasMicroSupernet:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return made(space.supernet(**{"channels": 4, "layers": 2, "dropout": 0.0, **scale})).double()


def made(network: nn.Module) -> EnasMicroSupernet:
    assert isinstance(network, EnasMicroSupernet)
    return network


def images(count: int = 2) -> Tensor:
    return torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def randomized(network: nn.Module) -> nn.Module:
    """Give every BatchNorm a scale and shift of its own."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64), alpha=0.3)
    return network


def arcs(space: EnasMicroSpace, architecture: Architecture) -> dict[str, list[int]]:
    texts = space.to_string(architecture)
    return {cell: [int(word) for word in text.split()] for cell, text in zip(("normal", "reduce"), texts, strict=True)}


def members(space: EnasMicroSpace, count: int) -> list[Architecture]:
    generator = torch.Generator().manual_seed(0)
    return [space.sample(generator) for _ in range(count)]


def touched(network: nn.Module) -> set[str]:
    return {name for name, parameter in network.named_parameters() if parameter.grad is not None}


@pytest.fixture(scope="module")
def published() -> EnasMicroSupernet:
    return made(SPACE.supernet())


@pytest.fixture(scope="module")
def strided() -> EnasMicroSupernet:
    return made(SPACE.supernet(channels=20, layers=6, reduction="stride"))


class TestStructure:
    def test_published_size(self, published: EnasMicroSupernet) -> None:
        assert count_parameters(published) == 5_373_140
        assert (published.scale.channels, published.scale.layers) == (20, 6)

    def test_size_with_strides(self, strided: EnasMicroSupernet) -> None:
        # the calibrations behind the reductions, 20 strided skip connections and two loose inputs, each c * c + 2 * c
        wide, wider = 40 * 40 + 2 * 40, 80 * 80 + 2 * 80
        behind = 20 * 40 + 2 * 40 + 40 * 80 + 2 * 80
        assert count_parameters(strided) == 5_373_140 + behind + 22 * (wide + wider) == 5_558_660

    @pytest.mark.parametrize(
        ("layers", "expected"), [(6, (2, 5)), (15, (5, 11)), (18, (6, 13)), (3, (1, 3)), (2, (0, 1)), (1, (0, 1))]
    )
    def test_reductions(self, layers: int, expected: tuple[int, int]) -> None:
        assert micro_reductions(layers) == expected

    def test_every_batch_norm_uses_the_batch(self) -> None:
        norms = [module for module in supernet().modules() if isinstance(module, nn.BatchNorm2d)]
        assert {norm.track_running_stats for norm in norms} == {False}
        assert {norm.affine for norm in norms} == {True}
        assert not list(supernet().buffers())

    def test_dropout_is_the_scripts(self, published: EnasMicroSupernet) -> None:
        [dropout] = [module for module in published.modules() if isinstance(module, nn.Dropout)]
        assert dropout.p == 0.1

    @pytest.mark.parametrize("which", ["published", "strided"])
    def test_maps(self, which: str, request: pytest.FixtureRequest) -> None:
        network = made(request.getfixturevalue(which))
        shapes: list[tuple[int, ...]] = []
        hooks = [
            cell.register_forward_hook(lambda _, inputs, outputs: shapes.append(tuple(outputs[1].shape)))
            for cell in network.cells
        ]
        network(torch.zeros(1, 3, 32, 32), SPACE.mixtures(ENAS_MICRO))
        for hook in hooks:
            hook.remove()
        assert shapes == [(1, 20, 32, 32)] * 2 + [(1, 40, 16, 16)] * 3 + [(1, 80, 8, 8)] * 3

    def test_images_that_cannot_be_halved_twice(self) -> None:
        with pytest.raises(ValueError, match="divisible by 4 but got 18x16"):
            supernet()(torch.zeros(2, 3, 18, 16).double(), TINY.mixtures(UNREAD_INPUT))

    def test_weights_are_drawn_as_he_does(self) -> None:
        state = supernet(channels=16, layers=1).state_dict()
        cell = "cells.2.slots.0.1/sep_conv_5x5"
        for name, fan_in in ((f"{cell}.1.weight", 25), (f"{cell}.2.weight", 64), ("cells.2.combine.weights.3", 64)):
            assert float(state[name].std()) == pytest.approx((2 / fan_in) ** 0.5, rel=0.1)


class TestRestatement:
    @pytest.mark.parametrize("reduction", ["factorized", "stride"])
    @pytest.mark.parametrize("layers", [1, 2, 3])
    def test_small(self, reduction: str, layers: int) -> None:
        network = randomized(supernet(layers=layers, reduction=reduction))
        for architecture in [UNREAD_INPUT, *members(TINY, 4)]:
            found = network(images(), TINY.mixtures(architecture))
            expected = search_network(
                network.state_dict(), images(), arcs(TINY, architecture), 4, layers, reduction == "stride"
            )
            assert expected.std() > 0.1
            assert_close(found, expected, rtol=1e-10, atol=1e-10)

    @pytest.mark.parametrize("reduction", ["factorized", "stride"])
    def test_published_cells(self, reduction: str) -> None:
        network = randomized(supernet(SPACE, layers=3, reduction=reduction))
        expected = search_network(network.state_dict(), images(), arcs(SPACE, ENAS_MICRO), 4, 3, reduction == "stride")
        assert_close(network(images(), SPACE.mixtures(ENAS_MICRO)), expected, rtol=1e-10, atol=1e-10)

    def test_evaluation_uses_the_batch_too(self) -> None:
        network = randomized(supernet())
        mixtures = TINY.mixtures(UNREAD_INPUT)
        assert torch.equal(network.eval()(images(), mixtures), network.train()(images(), mixtures))
        assert not torch.allclose(network(images(3), mixtures)[:2], network(images(3)[:2], mixtures))


class TestSharing:
    def used(self, network: EnasMicroSupernet, architecture: Architecture) -> set[str]:
        network.zero_grad()
        network(images(), TINY.mixtures(architecture)).square().sum().backward()
        return touched(network)

    def test_only_the_sampled_path_gets_a_gradient(self) -> None:
        network = supernet(layers=1)
        found = self.used(network, TINY.from_string("1 1 1 4 2 2 0 0", "0 3 1 0 0 1 1 0"))
        normal, reduce = "cells.2", ["cells.0", "cells.1"]
        candidates = {name.rsplit(".", 2)[0] for name in found if ".slots." in name}
        assert candidates == {
            f"{normal}.slots.0.1/sep_conv_5x5",
            f"{normal}.slots.3.0/sep_conv_3x3",
            *(f"{cell}.slots.1.1/sep_conv_3x3" for cell in reduce),
            *(f"{cell}.slots.2.0/sep_conv_5x5" for cell in reduce),
            *(f"{cell}.slots.3.1/sep_conv_3x3" for cell in reduce),
        }
        slices = {name for name in found if ".combine.weights." in name}
        assert slices == {
            f"{normal}.combine.weights.3",
            *(f"{cell}.combine.weights.{j}" for cell in reduce for j in (2, 3)),
        }
        others = {name for name in found if ".slots." not in name and ".combine.weights." not in name}
        assert others == {
            name for name, _ in network.named_parameters() if ".slots." not in name and ".weights." not in name
        }

    def test_a_step_changes_the_sampled_path_only(self) -> None:
        network = supernet()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
        before = {name: parameter.clone() for name, parameter in network.named_parameters()}
        used = self.used(network, UNREAD_INPUT)
        optimizer.step()
        changed = {name for name, parameter in network.named_parameters() if not torch.equal(parameter, before[name])}
        assert changed == used

    def test_equal_places_share_their_weights(self) -> None:
        """Slot, node, source and operation decide: T15."""
        network = supernet()
        one = TINY.from_string("0 0 1 1 2 4 0 2", "0 2 0 2 0 2 0 2")
        other = TINY.from_string("0 0 0 0 0 3 1 0", "0 2 0 2 0 2 0 2")  # node 2, slot 0 is the same
        shared = {name for name in self.used(network, one) & self.used(network, other) if ".slots." in name}
        cell = "cells.2.slots.0.0/sep_conv_3x3"
        assert {name for name in shared if "cells.2" in name} == {
            f"{cell}.{layer}"
            for layer in ("1.weight", "2.weight", "3.weight", "3.bias", "5.weight", "6.weight", "7.weight", "7.bias")
        }

    @pytest.mark.parametrize("text", ["1 1 0 0 2 4 0 2", "1 0 1 1 2 4 0 2", "0 1 1 1 2 4 0 2", "0 2 1 1 0 0 0 2"])
    def test_other_slots_sources_operations_and_nodes_do_not(self, text: str) -> None:
        network = supernet()
        alone = "0 2 0 2 0 2 0 2"
        one = TINY.from_string("0 0 0 2 2 4 0 2", alone)
        shared = self.used(network, one) & self.used(network, TINY.from_string(text, alone))
        assert not any(".slots." in name for name in shared)

    def test_cells_do_not_share(self) -> None:
        network = supernet(layers=2)  # two normal cells
        used = {name for name in self.used(network, UNREAD_INPUT) if "slots.3.2/sep_conv_3x3" in name}
        assert {name.split(".")[1] for name in used} == {"2", "3"}


class TestChild:
    def test_state_is_the_part_of_the_supernets_that_is_used(self) -> None:
        network = randomized(supernet())
        for architecture in [UNREAD_INPUT, *members(TINY, 4)]:
            child = TINY.build(architecture, weights_from=network)
            network.zero_grad()
            network(images(), TINY.mixtures(architecture)).square().sum().backward()
            assert {name for name, _ in child.named_parameters()} == touched(network)
            shared = network.state_dict()
            assert all(torch.equal(tensor, shared[name]) for name, tensor in child.state_dict().items())

    def test_order_of_the_pairs_matters_to_shared_weights(self) -> None:
        network = supernet()
        one, other = (
            TINY.from_string("0 0 1 1 2 0 2 0", "0 0 1 1 2 0 2 0"),
            TINY.from_string("1 1 0 0 2 0 2 0", "0 0 1 1 2 0 2 0"),
        )
        assert TINY.canonical(one) == TINY.canonical(other)
        outputs = [TINY.build(architecture, weights_from=network)(images()) for architecture in (one, other)]
        assert not torch.allclose(*outputs)

    def test_precision_is_the_supernets(self) -> None:
        child = TINY.build(UNREAD_INPUT, weights_from=supernet().float())
        assert {parameter.dtype for parameter in child.parameters()} == {torch.float32}


def test_mixture_weights_scale_the_candidates() -> None:
    network = supernet(layers=1)
    mixtures = TINY.mixtures(TINY.from_string("0 4 0 4 0 4 0 4", "0 2 0 2 0 2 0 2"))
    nothing = {name: Mixture(0 * mixture.weights, mixture.active) for name, mixture in mixtures.items()}
    outputs: list[Tensor] = []
    cast("SearchCell", network.cells[2]).combine.register_forward_pre_hook(lambda _, inputs: outputs.append(inputs[0]))
    network(images(), mixtures)
    network(images(), nothing)
    full, zero = outputs
    assert torch.equal(full[2], full[3])
    assert full[2].any()
    assert not zero[2].any()
    assert zero[1].any()  # a loose input has no weight
