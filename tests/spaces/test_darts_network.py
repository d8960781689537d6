"""The evaluation networks of DARTS: shapes, auxiliary classifier, drop-path, errors."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_nas.operations import DropPath, FactorizedReduce
from lightning_nas.spaces import AuxiliaryLogits, DartsSpace
from lightning_nas.spaces.auxiliary import AuxiliaryHead
from lightning_nas.spaces.cell_plan import plan_cells, reductions
from lightning_nas.spaces.darts_network import DartsNetwork, DiscreteCell
from lightning_nas.zoo import DARTS_V2

SPACE = DartsSpace()
SKIPS_AND_POOLS = SPACE.from_genotype(
    [("skip_connect", 0), ("skip_connect", 1)] * 4,
    [("skip_connect", 0), ("max_pool_3x3", 1), *[("skip_connect", 2), ("avg_pool_3x3", 0)] * 3],
)


def network(architecture: Any = DARTS_V2, **settings: Any) -> DartsNetwork:
    built = SPACE.build(architecture, **settings)
    assert isinstance(built, DartsNetwork)
    return built


def cells(built: DartsNetwork) -> list[DiscreteCell]:
    return [cell for cell in built.cells if isinstance(cell, DiscreteCell)]


def meta_shapes(size: int, **settings: Any) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Return the output shapes of all cells, and the input shapes of the auxiliary classifier."""
    with torch.device("meta"):
        built = network(auxiliary=True, **settings)
        images = torch.zeros(2, 3, size, size)
    seen: list[tuple[int, ...]] = []
    assert built.auxiliary is not None
    built.auxiliary.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    built(images)
    return [tuple(output.shape) for output in built.features(images)], seen


class TestShapes:
    def test_cifar(self) -> None:
        outputs, auxiliary = meta_shapes(32)
        assert outputs == [(2, 144, 32, 32)] * 6 + [(2, 288, 16, 16)] * 7 + [(2, 576, 8, 8)] * 7
        assert auxiliary == [(2, 576, 8, 8)]

    def test_imagenet(self) -> None:
        outputs, auxiliary = meta_shapes(224, stem="imagenet")
        assert outputs == [(2, 192, 28, 28)] * 4 + [(2, 384, 14, 14)] * 5 + [(2, 768, 7, 7)] * 5
        assert auxiliary == [(2, 768, 7, 7)]

    def test_imagenet_stem(self) -> None:
        with torch.device("meta"):
            first, second = network(stem="imagenet").stem(torch.zeros(1, 3, 224, 224))
        assert (first.shape, second.shape) == ((1, 48, 56, 56), (1, 48, 28, 28))

    def test_first_imagenet_cell_halves_its_first_input(self) -> None:
        with torch.device("meta"):
            built = network(stem="imagenet")
        halving = [index for index, cell in enumerate(cells(built)) if isinstance(cell.preprocess0, FactorizedReduce)]
        assert halving == [0, 5, 10]

    @pytest.mark.parametrize(("layers", "expected"), [(8, (2, 5)), (20, (6, 13)), (14, (4, 9)), (3, (1, 2))])
    def test_reductions(self, layers: int, expected: tuple[int, int]) -> None:
        assert reductions(layers) == expected

    def test_channels_of_the_search_network(self) -> None:
        plans = list(plan_cells(48, 48, 16, 8, {"normal": 4, "reduce": 4}))
        assert [plan.channels for plan in plans] == [16, 16, 32, 32, 32, 64, 64, 64]
        first_three, others = [(48, 48), (48, 64), (64, 64)], [(64, 128), (128, 128), (128, 128), (128, 256)]
        assert [(plan.before_last, plan.last) for plan in plans] == [*first_three, *others, (256, 256)]
        assert [plan.cell for plan in plans].count("reduce") == 2
        assert [(plan.stride(0), plan.stride(1), plan.stride(2)) for plan in plans[1:3]] == [(1, 1, 1), (2, 2, 1)]

    @pytest.mark.parametrize("size", [(33, 32), (32, 30)])
    def test_sizes_that_cannot_be_halved(self, size: tuple[int, int]) -> None:
        with pytest.raises(ValueError, match=f"divisible by 4 but got {size[0]}x{size[1]}; resize or pad"):
            network(channels=4, layers=3)(torch.zeros(2, 3, *size))

    def test_imagenet_needs_a_multiple_of_32(self) -> None:
        with torch.device("meta"), pytest.raises(ValueError, match="divisible by 32 but got 112x112"):
            network(stem="imagenet")(torch.zeros(2, 3, 112, 112))

    def test_supernet_refuses_odd_images(self) -> None:
        supernet = SPACE.supernet(channels=4, layers=3)
        with pytest.raises(ValueError, match="divisible by 4 but got 18x16"):
            supernet(torch.zeros(2, 3, 18, 16), SPACE.mixtures(DARTS_V2))


class TestAuxiliary:
    def test_both_logits_in_training_only(self) -> None:
        built, images = network(channels=4, layers=3, auxiliary=True), torch.randn(2, 3, 32, 32)
        output = built(images)
        assert isinstance(output, AuxiliaryLogits)
        assert (output.logits.shape, output.auxiliary.shape) == ((2, 10), (2, 10))
        assert built.eval()(images).shape == (2, 10)

    def test_without_it_training_gives_plain_logits(self) -> None:
        built = network(channels=4, layers=3)
        assert built.auxiliary is None
        assert isinstance(built(torch.randn(2, 3, 32, 32)), Tensor)

    def test_layers_for_cifar(self) -> None:
        kinds = [type(layer).__name__ for layer in AuxiliaryHead(8, 10, imagenet=False)]
        start = ["ReLU", "AvgPool2d", "Conv2d", "BatchNorm2d", "ReLU", "Conv2d", "BatchNorm2d"]
        assert kinds == [*start, "ReLU", "Flatten", "Linear"]

    def test_imagenet_has_no_second_norm_and_pools_with_stride_two(self) -> None:
        head = AuxiliaryHead(8, 10, imagenet=True)
        assert [type(layer) for layer in head].count(nn.BatchNorm2d) == 1
        assert head(torch.randn(2, 8, 7, 7)).shape == (2, 10)
        assert nn.Sequential(*list(head)[:3])(torch.randn(2, 8, 7, 7)).shape == (2, 128, 2, 2)

    @pytest.mark.parametrize(("imagenet", "size"), [(False, 8), (True, 7)])
    def test_refuses_another_size(self, imagenet: bool, size: int) -> None:
        message = f"features of {size}x{size} for the auxiliary classifier but got 9x8.*or auxiliary=False"
        with pytest.raises(ValueError, match=message):
            AuxiliaryHead(8, 10, imagenet=imagenet)(torch.zeros(2, 8, 9, 8))


class TestDropPath:
    def drops(self, probability: float) -> tuple[DartsNetwork, list[Tensor]]:
        built = network(SKIPS_AND_POOLS, channels=4, layers=3)
        built.drop_path.probability = probability
        masked: list[Tensor] = []
        built.drop_path.register_forward_hook(lambda _, inputs, output: masked.append(output))
        return built, masked

    def test_everything_but_the_identity_is_masked(self) -> None:
        built, masked = self.drops(0.5)
        built(torch.randn(2, 3, 16, 16))
        edges = [edge for cell in cells(built) for edge in cell.edges]
        assert sum(isinstance(edge, FactorizedReduce) for edge in edges) == 2
        assert len(masked) == sum(not isinstance(edge, nn.Identity) for edge in edges) == 2 * 5

    def test_dropped_paths_leave_the_identity(self) -> None:
        built, masked = self.drops(1 - 1e-7)  # nothing is kept
        x = torch.randn(2, 12, 8, 8)
        normal, reduction, _ = cells(built)
        first, second = normal.preprocess0(x), normal.preprocess1(x)
        torch.testing.assert_close(normal(x, x)[:, :4], first + second)
        assert not masked
        reduced = reduction(x, torch.randn(2, 16, 8, 8))
        assert len(masked) == 5
        assert not reduced.any()

    def test_nothing_is_dropped_in_evaluation(self) -> None:
        built, _ = self.drops(0.9)
        images = torch.randn(2, 3, 16, 16)
        dropped = built.eval()(images)
        built.drop_path.probability = 0.0
        assert torch.equal(dropped, built(images))

    def test_all_cells_share_one_probability(self) -> None:
        built, _ = self.drops(0.0)
        assert [type(module) for module in built.modules()].count(DropPath) == 1
