"""The networks of NASNet spaces: published sizes, shapes, what is left out, drop-path, a restatement."""

from typing import Any, Literal, cast

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from lightning_nas.architecture import Architecture
from lightning_nas.costs import count_multiply_adds, count_parameters
from lightning_nas.methods import RetrainModule
from lightning_nas.operations import DropPath, FactorizedReduce
from lightning_nas.operations.nasnet import AMOEBANET_OPERATIONS, NASNET_OPERATIONS
from lightning_nas.spaces import AuxiliaryLogits, NasnetSpace, get_space
from lightning_nas.spaces.nasnet_network import NasnetCell, NasnetNetwork, SkippedCell
from lightning_nas.zoo import AMOEBANET_A, ARCHITECTURES, NASNET_A, PNASNET_5
from tests.references import nasnet as reference

SMALL: dict[str, Any] = {"channels": 4, "cells_per_stage": 1}
LARGE: dict[str, Any] = {"stem": "imagenet", "channels": 216, "cells_per_stage": 4, "stem_channels": 96}


def space_of(architecture: Architecture) -> NasnetSpace:
    space = get_space(architecture.space)
    assert isinstance(space, NasnetSpace)
    return space


def network(architecture: Architecture = PNASNET_5, **settings: Any) -> NasnetNetwork:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        built = space_of(architecture).build(architecture, **settings)
    assert isinstance(built, NasnetNetwork)
    return built


def cells(built: NasnetNetwork) -> list[NasnetCell]:
    return [cast("NasnetCell", cell) for cell in built.cells]


def images(size: int = 16, width: int | None = None, channels: int = 3) -> Tensor:
    shape = (2, channels, size, width or size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def one_cell(blocks: int, *pairs: tuple[str, int], operations: tuple[str, ...] | None = None) -> Architecture:
    space = NasnetSpace(blocks, operations) if operations else NasnetSpace(blocks)
    return space.from_genotype(pairs)


class TestPublishedSizes:
    """pnas T6 and evolution D1, C1, to the unit; the ImageNet numbers of NASNet-A are also those of Keras."""

    @pytest.mark.parametrize(
        ("name", "settings", "expected"),
        [
            ("PNASNET_5", {}, 3_189_082),
            ("PNASNET_5", {"channels": 24, "cells_per_stage": 2}, 559_090),
            ("PNASNET_5", {"layout": "nasnet"}, 4_283_482),  # the wrong one
            ("PNASNET_5", {"stem": "imagenet"}, 5_064_487),
            ("PNASNET_5", LARGE, 86_057_668),
            ("NASNET_A", {}, 3_346_538),
            ("NASNET_A", {"stem": "imagenet"}, 5_289_978),
            ("NASNET_A", {**LARGE, "channels": 168, "cells_per_stage": 6}, 88_753_150),
            ("AMOEBANET_A", {}, 2_567_754),
            ("AMOEBANET_A", {"channels": 36}, 3_218_266),
            ("AMOEBANET_A", {"channels": 24, "cells_per_stage": 3}, 843_322),
        ],
    )
    def test_parameters(self, name: str, settings: dict[str, Any], expected: int) -> None:
        with torch.device("meta"):
            assert count_parameters(network(ARCHITECTURES[name], **settings)) == expected

    @pytest.mark.parametrize(
        ("settings", "size", "expected"),
        [
            ({}, 32, 574_891_392),
            ({"channels": 24, "cells_per_stage": 2}, 32, 112_046_784),
            ({"layout": "nasnet"}, 32, 687_990_144),
            ({"stem": "imagenet"}, 224, 587_293_200),
            pytest.param(LARGE, 331, 24_937_395_792, marks=pytest.mark.slow),
        ],
    )
    def test_multiply_adds(self, settings: dict[str, Any], size: int, expected: int) -> None:
        with torch.device("meta"):
            built = network(**settings)
        assert count_multiply_adds(built, torch.zeros(1, 3, size, size)) == expected

    def test_loose_ends_alone_are_smaller(self) -> None:
        """evolution C1: AmoebaNet-A with what no block reads as its outputs has 2.26M parameters, 2.83M at F=36."""
        space = NasnetSpace(operations=AMOEBANET_OPERATIONS, cells="two", concat="loose_ends")
        genotype = space_of(AMOEBANET_A).genotype(AMOEBANET_A)
        architecture = space.from_genotype(genotype.normal, genotype.reduce)
        with torch.device("meta"):
            sizes = [count_parameters(network(architecture, channels=channels)) for channels in (32, 36)]
        assert [round(size / 1e6, 2) for size in sizes] == [2.26, 2.83]

    def test_auxiliary_classifier_is_extra(self) -> None:
        with torch.device("meta"):
            built = network(auxiliary=True)
        assert count_parameters(built) == 3_189_082
        inputs, whole = 5 * 96, 4  # (16 - 5) // 3 + 1
        head = inputs * 128 + 2 * 128 + 128 * 768 * whole**2 + 2 * 768 + 768 * 10 + 10
        assert count_parameters(built, auxiliary=True) == 3_189_082 + head


class TestShapes:
    def test_five_blocks_of_24_channels_put_out_120(self) -> None:
        """pnas T7."""
        space, generator = NasnetSpace(), torch.Generator().manual_seed(0)
        for _ in range(5):
            built = network(space.sample(generator), channels=24, cells_per_stage=1).float()
            assert [len(x[0]) for x in built.features(images(8).float())] == [120, 240, 480]

    def test_strides(self) -> None:
        """pnas T8: only operations on the inputs of a cell stride, and the size is halved exactly twice."""
        built = network(channels=4, cells_per_stage=3).double()
        found = [tuple(x.shape[2:]) for x in built.features(images(32))]
        assert found == [(32, 32)] * 3 + [(16, 16)] * 3 + [(8, 8)] * 3
        strides = [self.stride(edge) for edge in cells(built)[3].edges]
        assert strides == [2 if source < 2 else 1 for source, _ in cells(built)[3].pairs]
        assert [self.stride(edge) for edge in cells(built)[4].edges] == [1] * 10

    @staticmethod
    def stride(edge: nn.Module) -> int:
        found = [m.stride for m in edge.modules() if isinstance(m, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d)]
        return max((stride if isinstance(stride, int) else stride[0] for stride in found), default=1)

    def test_layouts(self) -> None:
        sizes: dict[str, Any] = {"channels": 4, "cells_per_stage": 2}
        for layout, count, halving in (("pnas", 6, [2, 4]), ("nasnet", 8, [2, 5])):
            found = [x.shape[2] for x in network(layout=layout, **sizes).double().features(images(16))]
            assert len(found) == count
            assert [k for k in range(1, count) if found[k] < found[k - 1]] == halving
        assert len(network(NASNET_A, **sizes).cells) == 8

    def test_imagenet(self) -> None:
        """The stem reads 224 pixels as 111; its two cells have 13 and 27 channels, both odd."""
        built = network(stem="imagenet", cells_per_stage=1)
        stem = cast("nn.Conv2d", cast("nn.Sequential", built.stem)[0])
        assert (stem.out_channels, stem.stride, stem.padding) == (32, (2, 2), (0, 0))
        with torch.device("meta"):
            features = [
                x.shape[1:] for x in network(stem="imagenet", cells_per_stage=1).features(torch.zeros(1, 3, 224, 224))
            ]
        assert [tuple(shape) for shape in features] == [
            (65, 56, 56),
            (135, 28, 28),
            (270, 28, 28),
            (540, 14, 14),
            (1080, 7, 7),
        ]
        second = cells(built)[1].preprocess0
        assert isinstance(second, FactorizedReduce)
        assert (second.conv_1.out_channels, second.conv_2.out_channels) == (13, 14)
        assert built.dropout.p == 0.5
        assert {m.eps for m in built.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-3}

    @pytest.mark.parametrize("size", [(7, 9), (5, 4), (8, 8)])
    def test_any_size_of_images(self, size: tuple[int, int]) -> None:
        assert network(**SMALL).double()(images(*size)).shape == (2, 10)

    def test_arguments(self) -> None:
        built = network(**SMALL, classes=7, in_channels=1, stem_channels=5, dropout=0.25, norm_momentum=0.01)
        assert built.double()(images(channels=1)).shape == (2, 7)
        assert len(cast("Tensor", built.stem.state_dict()["0.weight"])) == 5
        assert built.dropout.p == 0.25
        assert {m.momentum for m in built.modules() if isinstance(m, nn.BatchNorm2d)} == {0.01}

    def test_the_first_cell_reads_the_stem_as_it_is(self) -> None:
        first, second = cells(network(channels=4, cells_per_stage=2))[:2]
        assert isinstance(first.preprocess0, nn.Identity)
        assert first.edges[0].state_dict()["1.weight"].shape == (12, 1, 5, 5)
        assert second.preprocess0.state_dict()["1.weight"].shape == (4, 12, 1, 1)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"channels": 1}, r"`channels` to be at least 2 \(reductions halve them\) but got 1"),
            ({"channels": 7, "stem": "imagenet"}, r"`channels` to be at least 8 \(reductions halve them\) but got 7"),
            ({"cells_per_stage": 0}, "`cells_per_stage` to be a whole number of at least 1 but got 0"),
            ({"classes": 0}, "`classes` to be a whole number of at least 1 but got 0"),
            ({"in_channels": 0}, "`in_channels` to be a whole number of at least 1 but got 0"),
            ({"stem_channels": -1}, "`stem_channels` to be a whole number of at least 1 but got -1"),
            ({"stem": "mnist"}, "`stem` to be one of .* but got 'mnist'"),
            ({"layout": "amoeba"}, "`layout` to be one of .* but got 'amoeba'"),
            ({"dropout": 1.0}, "`dropout` to be a share with 0 <= fraction < 1 but got 1.0"),
            ({"norm_momentum": 0.0}, "`norm_momentum` to be a share with 0 < fraction < 1 but got 0"),
        ],
    )
    def test_wrong_sizes(self, settings: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            network(**{**SMALL, **settings})

    def test_wrong_images(self) -> None:
        with pytest.raises(ValueError, match="images of 3 channels but got 1"):
            network(**SMALL).double()(images(channels=1))


class TestWhatIsLeftOut:
    def test_every_parameter_gets_a_gradient(self) -> None:
        generator = torch.Generator().manual_seed(0)
        settings: list[tuple[Literal["one", "two"], Literal["all", "loose_ends", "chosen"]]]
        settings = [("one", "all"), ("one", "loose_ends"), ("two", "chosen"), ("two", "loose_ends")]
        for blocks in (1, 2, 3):
            for cell, concat in settings:
                space = NasnetSpace(blocks, ("identity", "avg_pool_3x3", "conv_1x1"), cell, concat)
                for auxiliary in (False, True):
                    built = network(
                        space.sample(generator), channels=2, cells_per_stage=2, auxiliary=auxiliary, image_size=20
                    )
                    output = built.double()(images(20))
                    sum(x.square().sum() for x in (output if auxiliary else (output,))).backward()
                    assert [name for name, p in built.named_parameters() if p.grad is None] == []

    def test_cells_that_no_later_one_reads(self) -> None:
        architecture = one_cell(1, ("conv_1x7_7x1", 0), ("identity", 0))
        built = network(architecture, channels=4, cells_per_stage=3)
        assert [isinstance(cell, SkippedCell) for cell in built.cells] == [False, True] * 4 + [False]
        assert built.auxiliary_after == 4  # the last one of the second stage is not there
        assert all(isinstance(cell.preprocess1, nn.Identity) for cell in cells(built) if isinstance(cell, NasnetCell))
        assert built.double()(images(8)).shape == (2, 10)

    def test_inputs_that_a_cell_does_not_read(self) -> None:
        built = network(one_cell(1, ("sep_conv_3x3", 1), ("identity", 1)), channels=4, cells_per_stage=1)
        assert all(isinstance(cell.preprocess0, nn.Identity) for cell in cells(built))
        assert not any(isinstance(cell, SkippedCell) for cell in built.cells)


class TestAuxiliaryClassifier:
    def test_in_training_only(self) -> None:
        built = network(**SMALL, auxiliary=True, image_size=16).double()
        output = built(images(16))
        assert isinstance(output, AuxiliaryLogits)
        assert output.auxiliary.shape == (2, 10)
        assert isinstance(built.eval()(images(16)), Tensor)

    @pytest.mark.parametrize(
        ("architecture", "cell", "channels"), [(PNASNET_5, 3, 5 * 8), (NASNET_A, 4, 6 * 8)], ids=["pnas", "nasnet"]
    )
    def test_after_the_second_stage(self, architecture: Architecture, cell: int, channels: int) -> None:
        built = network(architecture, channels=4, cells_per_stage=2, auxiliary=True)
        assert built.auxiliary_after == cell
        assert built.auxiliary is not None
        assert cast("nn.Conv2d", built.auxiliary[2]).in_channels == channels

    def test_imagenet(self) -> None:
        """The second stage has 14 pixels of 224, and 21 of 331."""
        for size, expected in ((224, 4), (331, 6)):
            with torch.device("meta"):
                built = network(stem="imagenet", auxiliary=True, image_size=size, cells_per_stage=1)
                assert built(torch.zeros(2, 3, size, size)).auxiliary.shape == (2, 1000)
            assert built.auxiliary is not None
            assert cast("nn.Conv2d", built.auxiliary[5]).kernel_size == (expected, expected)

    def test_images_of_another_size(self) -> None:
        with pytest.raises(
            ValueError, match=r"16x16 for the auxiliary classifier but got 8x8; give the network scale="
        ):
            network(**SMALL, auxiliary=True).double()(images(16))

    def test_images_that_are_too_small(self) -> None:
        with pytest.raises(ValueError, match="5x5 at least for the auxiliary classifier but got 4x4"):
            network(**SMALL, auxiliary=True, image_size=8)


class TestDropPath:
    def test_deeper_paths_are_dropped_more_often(self) -> None:
        built = network(channels=4, cells_per_stage=2)
        scales = [cell.drop_path.scale for cell in cells(built)]
        assert_close(torch.tensor(scales), torch.arange(1, 7) / 6)
        imagenet = network(channels=8, cells_per_stage=1, stem="imagenet")
        assert [cell.drop_path.scale for cell in cells(imagenet)] == [0.2, 0.4, 0.6, 0.8, 1.0]  # stem cells count

    def test_identities_stay(self) -> None:
        built = network(one_cell(1, ("identity", 1), ("max_pool_3x3", 1)), channels=4, cells_per_stage=1).double()
        last = cells(built)[2]
        last.drop_path.probability = 1 - 1e-12
        x = torch.rand(2, 8, 6, 6, dtype=torch.float64)
        state = last.preprocess1(x)
        assert_close(last(x, x), last.edges[0](state))
        last.eval()
        assert (last(x, x) - last.edges[0](last.preprocess1(x))).abs().max() > 0.1

    def test_retraining_sets_them(self) -> None:
        module = RetrainModule(architecture="PNASNET_5", scale=SMALL, drop_path=0.4)
        assert sum(isinstance(m, DropPath) for m in module.network.modules()) == 3
        assert isinstance(module.network(torch.zeros(2, 3, 32, 32)), AuxiliaryLogits)


def restated(built: NasnetNetwork, architecture: Architecture, x: Tensor, layout: str, **settings: Any) -> Tensor:
    genotype = space_of(architecture).genotype(architecture)
    normal, reduction = (
        reference.Cell([j for _, j in pairs], [name for name, _ in pairs], outputs)
        for pairs, outputs in ((genotype.normal, genotype.normal_concat), (genotype.reduce, genotype.reduce_concat))
    )
    imagenet = settings.get("stem") == "imagenet"
    weights = reference.Weights(dict(built.state_dict()), not built.training, 1e-3 if imagenet else 1e-5)
    count, channels = settings["cells_per_stage"], settings["channels"]
    pnas = layout == "pnas"
    return reference.network(weights, normal, reduction, x, count, channels, pnas=pnas, imagenet=imagenet)


def disturb(built: NasnetNetwork) -> NasnetNetwork:
    """Give the BatchNorms scales, shifts and statistics of their own, in float64."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, tensor in built.double().state_dict().items():
            if tensor.dim() == 1:
                noise = torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
                tensor.add_(noise if name.endswith("running_var") else noise - 0.5)
    return built


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
class TestRestatement:
    def compare(self, architecture: Architecture, x: Tensor, layout: str, training: bool, **settings: Any) -> None:
        built = disturb(network(architecture, layout=layout, dropout=0.0, **settings)).train(training)
        expected = restated(built, architecture, x, layout, **settings)
        assert expected.std() > 0
        assert_close(built(x), expected, rtol=1e-9, atol=1e-10)

    @pytest.mark.parametrize("name", ["PNASNET_5", "NASNET_A", "AMOEBANET_A"])
    @pytest.mark.parametrize("layout", ["pnas", "nasnet"])
    def test_cifar(self, name: str, layout: str, training: bool) -> None:
        self.compare(ARCHITECTURES[name], images(8, 11), layout, training, channels=4, cells_per_stage=2)

    @pytest.mark.parametrize("name", ["PNASNET_5", "NASNET_A", "AMOEBANET_A"])
    def test_imagenet(self, name: str, training: bool) -> None:
        layout = "pnas" if name == "PNASNET_5" else "nasnet"
        settings = {"stem": "imagenet", "channels": 12, "cells_per_stage": 1, "classes": 5}  # 3 and 6 for stem cells
        self.compare(ARCHITECTURES[name], images(64, 79), layout, training, **settings)

    def test_random_cells(self, training: bool) -> None:
        generator = torch.Generator().manual_seed(0)
        every = (*NASNET_OPERATIONS, "bottleneck_1x7_7x1")
        for blocks, cell, concat in (
            (1, "one", "all"),
            (2, "two", "chosen"),
            (5, "two", "chosen"),
            (4, "two", "loose_ends"),
        ):
            space = NasnetSpace(blocks, every, cast("Any", cell), cast("Any", concat))
            for layout in ("pnas", "nasnet"):
                for _ in range(4):
                    self.compare(
                        space.sample(generator), images(12, 9), layout, training, channels=4, cells_per_stage=1
                    )


def test_torch_export() -> None:
    built, x = disturb(network(**SMALL)).eval(), images(9)
    exported = torch.export.export(built, (x,))
    assert_close(exported.module()(x + 1), built(x + 1))
    assert exported.state_dict.keys() == built.state_dict().keys()
