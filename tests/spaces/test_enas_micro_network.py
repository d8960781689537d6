"""The final networks of ENAS's micro space: published sizes, shapes, drop-path, auxiliary classifier, a restatement."""

from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from lightning_nas.costs import count_parameters
from lightning_nas.methods import RetrainModule
from lightning_nas.operations import DropPath, FactorizedReduce
from lightning_nas.spaces import AuxiliaryLogits, EnasMicroSpace
from lightning_nas.spaces.enas_micro_network import DerivedCell, EnasMicroNetwork
from lightning_nas.zoo import ENAS_MICRO
from tests.references.enas_micro import final_network

SPACE, TINY = EnasMicroSpace(), EnasMicroSpace(nodes=2)
SKIPS_AND_POOLS = TINY.from_string("0 4 1 2 0 3 2 4", "0 4 1 3 2 4 1 2")
UNREAD_INPUT = TINY.from_string("1 4 1 1 1 3 2 0", "1 0 1 4 2 2 1 3")  # 0 is a loose end of both cells


def network(architecture: Any = ENAS_MICRO, **settings: Any) -> EnasMicroNetwork:
    space = SPACE if architecture is ENAS_MICRO else TINY
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        built = space.build(architecture, **settings)
    assert isinstance(built, EnasMicroNetwork)
    return built


def small(architecture: Any, **settings: Any) -> EnasMicroNetwork:
    """Return a network in float64 whose BatchNorms have scales, shifts and statistics of their own."""
    built = network(architecture, **{"channels": 4, "layers": 2, "dropout": 0.0, **settings}).double()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, tensor in built.state_dict().items():
            if tensor.dim() == 1:
                noise = torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
                tensor.add_(noise if name.endswith("running_var") else noise - 0.5)
    return built


def images(size: int = 16) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def cells(built: EnasMicroNetwork) -> list[DerivedCell]:
    return [cast("DerivedCell", cell) for cell in built.cells]


@pytest.fixture(scope="module")
def published() -> EnasMicroNetwork:
    return network(auxiliary=True).eval()


class TestPublishedSizes:
    def test_of_the_script(self, published: EnasMicroNetwork) -> None:
        assert count_parameters(published) == 3_894_372
        assert count_parameters(published, auxiliary=True) == 3_894_372 + 494_848
        assert cast("nn.Dropout", published.classifier[2]).p == 0.2
        assert count_parameters(network(channels=36, layers=15)) == 3_894_372

    def test_of_the_paper(self) -> None:
        assert count_parameters(network(channels=36, layers=18)) == 4_587_372

    def test_maps(self, published: EnasMicroNetwork) -> None:
        with torch.no_grad():
            shapes = [tuple(output.shape) for output in published.features(torch.zeros(1, 3, 32, 32))]
        assert shapes[:6] == [(1, 180, 32, 32)] * 5 + [(1, 288, 16, 16)]
        assert shapes[6:12] == [(1, 360, 16, 16)] * 5 + [(1, 576, 8, 8)]
        assert shapes[12:] == [(1, 720, 8, 8)] * 5

    def test_first_inputs_behind_a_reduction_are_halved(self, published: EnasMicroNetwork) -> None:
        halving = [
            index
            for index, cell in enumerate(cells(published))
            if any(isinstance(layer, FactorizedReduce) for layer in cell.calibrate0.modules())
        ]
        assert halving == [6, 12]

    def test_images_that_cannot_be_halved_twice(self) -> None:
        with pytest.raises(ValueError, match="divisible by 4 but got 16x18"):
            small(UNREAD_INPUT)(torch.zeros(2, 3, 16, 18).double())


class TestRestatement:
    @pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
    @pytest.mark.parametrize("layers", [1, 2, 3])
    def test_small(self, training: bool, layers: int) -> None:
        generator = torch.Generator().manual_seed(0)
        for architecture in (UNREAD_INPUT, SKIPS_AND_POOLS, TINY.sample(generator), TINY.sample(generator)):
            self.compare(TINY.canonical(architecture), TINY, training, layers)

    @pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
    def test_published_cells(self, training: bool) -> None:
        self.compare(ENAS_MICRO, SPACE, training, 3)

    def compare(self, architecture: Any, space: EnasMicroSpace, training: bool, layers: int) -> None:
        built = small(architecture, layers=layers).train(training)
        state = {name: tensor.clone() for name, tensor in built.state_dict().items()}
        texts = space.to_string(space.canonical(architecture))
        arcs = {
            cell: [int(word) for word in text.split()] for cell, text in zip(("normal", "reduce"), texts, strict=True)
        }
        expected, _ = final_network(state, images(), arcs, 4, layers, not training)
        assert expected.std() > 0.1
        assert_close(built(images()), expected, rtol=1e-10, atol=1e-10)

    def test_auxiliary(self) -> None:
        built = small(UNREAD_INPUT, auxiliary=True)
        state = {name: tensor.clone() for name, tensor in built.state_dict().items()}
        arcs = {"normal": [1, 1, 1, 4, 1, 3, 2, 0], "reduce": [1, 0, 1, 4, 1, 3, 2, 2]}  # pairs in rising order
        expected = final_network(state, images(32), arcs, 4, 2, False)
        assert_close(tuple(built(images(32))), expected, rtol=1e-10, atol=1e-10)


class TestOrder:
    def test_of_the_pairs_makes_no_difference(self) -> None:
        one = TINY.from_string("0 0 1 1 2 2 0 3", "1 4 1 0 2 1 0 1")
        other = TINY.from_string("1 1 0 0 0 3 2 2", "1 0 1 4 0 1 2 1")
        built = [network(architecture, channels=4, layers=2) for architecture in (one, other)]
        for module in (module for both in built for module in both.modules() if isinstance(module, DropPath)):
            module.probability = 0.5
        outputs = []
        for each in built:
            torch.manual_seed(3)
            outputs.append(each(images().float()))
        assert torch.equal(*outputs)
        assert outputs[0].std() > 0


class TestAuxiliary:
    def test_both_logits_in_training_only(self) -> None:
        built = small(UNREAD_INPUT, auxiliary=True)
        output = built(images(32))
        assert isinstance(output, AuxiliaryLogits)
        assert (output.logits.shape, output.auxiliary.shape) == ((2, 10), (2, 10))
        assert built.eval()(images(32)).shape == (2, 10)

    def test_without_it_training_gives_plain_logits(self) -> None:
        assert isinstance(small(UNREAD_INPUT)(images()), Tensor)

    @pytest.mark.parametrize(("layers", "expected"), [(1, 2), (2, 2), (3, 4), (15, 12), (18, 14)])
    def test_stands_behind_the_cell_after_the_second_reduction(self, layers: int, expected: int) -> None:
        assert network(UNREAD_INPUT, channels=2, layers=layers, auxiliary=True).auxiliary_after == expected

    def test_every_parameter_trains(self) -> None:
        built = small(UNREAD_INPUT, auxiliary=True)
        output = built(images(32))
        (output.logits.square().sum() + output.auxiliary.square().sum()).backward()
        assert all(parameter.grad is not None and parameter.grad.any() for parameter in built.parameters())

    def test_refuses_another_size(self) -> None:
        built = small(UNREAD_INPUT, auxiliary=True)
        with pytest.raises(ValueError, match=r"8x8 for the auxiliary classifier but got 4x4.*auxiliary=False"):
            built(images())


class TestDropPath:
    @pytest.mark.parametrize(("layer", "progress", "keep"), [(0, 1.0, 0.97647), (16, 1.0, 0.6), (8, 0.5, 0.89412)])
    def test_schedule(self, layer: int, progress: float, keep: float) -> None:
        """T12: ``RetrainModule`` sets the probability, a share of it counts."""
        drop_path = cells(network(UNREAD_INPUT, channels=2))[layer].drop_path
        drop_path.probability = 0.4 * progress
        torch.manual_seed(0)
        kept = drop_path(torch.ones(40_000, 1, 1, 1))
        assert float(kept.max()) == pytest.approx(1 / keep, abs=1e-4)
        deviation = (keep * (1 - keep) / 40_000) ** 0.5
        assert abs(float(kept.bool().float().mean()) - keep) < 4 * deviation

    def test_retraining_finds_every_place(self) -> None:
        scale = {"channels": 4, "layers": 1}
        module = RetrainModule("enas_micro", "ENAS_MICRO", scale=scale, auxiliary=False, drop_path=0.4)
        found = [part for part in module.network.modules() if isinstance(part, DropPath)]
        assert [part.scale for part in found] == [1 / 3, 2 / 3, 1.0]  # one normal cell, two that reduce

    def test_everything_but_the_identity_is_masked(self) -> None:
        built = small(SKIPS_AND_POOLS)
        masked: list[Tensor] = []
        for cell in cells(built):
            cell.drop_path.register_forward_hook(lambda _, inputs, output: masked.append(output))
        built(images())
        assert len(masked) == 4 * 2

    def test_dropped_paths_leave_the_identity(self) -> None:
        built = small(SKIPS_AND_POOLS, layers=3)
        normal, reduction = cells(built)[:2]
        for cell in (normal, reduction):
            cell.drop_path.probability, cell.drop_path.scale = 1 - 1e-7, 1.0  # nothing is kept
        x = torch.randn(2, 12, 8, 8).double()
        first = normal.calibrate0(x)
        # node 2 = id(0) + dropped; node 3 = dropped + id(2); 1 is read, so 3 alone is put out
        assert normal.loose_ends == (3,)
        assert_close(normal(x, x), first)
        y = torch.randn(2, 4, 8, 8).double()
        halved = reduction.edges[0](reduction.calibrate0(x[:, :12]))
        assert isinstance(reduction.edges[0], FactorizedReduce)
        assert_close(reduction(x, y), halved)

    def test_scale_is_a_share(self) -> None:
        for scale in (0.0, 1.5):
            with pytest.raises(ValueError, match=f"`scale` to be a share with 0 < share <= 1 but got {scale}"):
                DropPath(scale=scale)


class TestLooseEnds:
    def test_large_ones_are_halved(self) -> None:
        reduction = cells(small(UNREAD_INPUT))[0]
        assert reduction.loose_ends == (0, 3)
        assert set(reduction.halvings) == {"0"}
        output = reduction(*[torch.randn(2, 12, 16, 16).double()] * 2)
        assert output.shape == (2, 2 * 8, 8, 8)

    def test_an_unread_input_is_put_out_as_it_is(self) -> None:
        normal = cells(small(UNREAD_INPUT))[3]
        assert not normal.halvings
        first, second = torch.randn(2, 2, 32, 8, 8).double()
        assert_close(normal(first[:, :32], second)[:, :16], normal.calibrate0(first))
