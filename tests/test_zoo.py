"""Published architectures: their notation, their sizes, and the script that compares all sizes."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from lightning_nas.costs import count_multiply_adds, count_parameters
from lightning_nas.spaces import DartsSpace, PetridishSpace, get_space
from lightning_nas.zoo import ARCHITECTURES, DARTS_V1, DARTS_V2, PETRIDISH_CELL, AmoebaNet, NASNet, find_architecture

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "published_counts.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("published_counts", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "published_counts", module)  # dataclasses look their module up
        spec.loader.exec_module(module)
    return module


def space_of(name: str) -> DartsSpace:
    space = get_space(ARCHITECTURES[name].space)
    assert isinstance(space, DartsSpace)
    return space


class TestCounts:
    def test_every_published_number(self, script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
        assert script.main() == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == len(script.rows()) + 2
        assert len({len(line) for line in lines[:-1]}) == 1  # aligned
        assert "DARTS_V2 CIFAR" in lines[3]
        assert "3,349,342     3,349,342   528,359,040   528,359,040       476,426       476,426" in lines[3]
        assert lines[-1] == "All numbers are equal."

    @pytest.mark.parametrize("field", ["parameters", "multiply_adds", "auxiliary"])
    def test_a_wrong_number_is_an_error(
        self, script: ModuleType, field: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        right = script.rows()[0]
        wrong = replace(right, expected=replace(right.expected, **{field: getattr(right.expected, field) + 1}))
        assert script.main([wrong]) == 1
        assert capsys.readouterr().out.count("DIFFERENT") == 1

    def test_every_architecture_is_compared(self, script: ModuleType) -> None:
        names = {row.name.split()[0] for row in script.rows()}
        assert ARCHITECTURES.keys() - names == {"PETRIDISH_CELL"}  # the exact counts of which nobody has published
        assert len(script.rows()) == 2 * 5 + 2 + 4 + 2 + 3 + 12 + 3 + 3 + 2 + 9 + 8

    def test_supernet_tensors(self) -> None:
        with torch.device("meta"):
            supernet = DartsSpace().supernet()
        assert len(list(supernet.parameters())) == 1399
        assert count_parameters(supernet) == 1_930_618

    def test_auxiliary_classifier_is_extra(self) -> None:
        with torch.device("meta"):
            plain, extra = (DartsSpace().build(DARTS_V2, auxiliary=auxiliary) for auxiliary in (False, True))
        assert count_parameters(plain, auxiliary=True) == count_parameters(extra) == 3_349_342
        assert count_parameters(extra, auxiliary=True) == 3_349_342 + 476_426


class TestGenotypes:
    @pytest.mark.parametrize("name", ARCHITECTURES)
    def test_is_a_member_and_says_where_it_is_from(self, name: str) -> None:
        architecture = ARCHITECTURES[name]
        get_space(architecture.space).validate(architecture)
        assert architecture.provenance["name"] == name
        assert architecture.provenance["source"].startswith("arXiv:")

    @pytest.mark.parametrize("name", [name for name, cells in ARCHITECTURES.items() if cells.space == "darts"])
    def test_darts_cells_put_out_all_nodes(self, name: str) -> None:
        genotype = space_of(name).genotype(ARCHITECTURES[name])
        assert genotype.normal_concat == genotype.reduce_concat == range(2, 6)

    def test_loose_ends_are_the_published_lists(self) -> None:
        space = space_of("NASNet")
        nasnet, amoebanet = space.genotype(NASNet), space.genotype(AmoebaNet)
        assert (list(nasnet.normal_concat), list(nasnet.reduce_concat)) == ([2, 3, 4, 5, 6], [4, 5, 6])
        assert (list(amoebanet.normal_concat), list(amoebanet.reduce_concat)) == ([4, 5, 6], [3, 4, 6])

    def test_second_version_as_printed(self) -> None:
        genotype = DartsSpace().genotype(DARTS_V2)
        assert genotype.normal == [
            ("sep_conv_3x3", 0),
            ("sep_conv_3x3", 1),
            ("sep_conv_3x3", 0),
            ("sep_conv_3x3", 1),
            ("sep_conv_3x3", 1),
            ("skip_connect", 0),
            ("skip_connect", 0),
            ("dil_conv_3x3", 2),
        ]
        pool, skip = "max_pool_3x3", "skip_connect"
        first, rest = [(pool, 0), (pool, 1), (skip, 2), (pool, 1)], [(pool, 0), (skip, 2), (skip, 2), (pool, 1)]
        assert genotype.reduce == first + rest

    def test_all_differ(self) -> None:
        assert len({get_space(a.space).canonical(a) for a in ARCHITECTURES.values()}) == len(ARCHITECTURES) == 18

    @pytest.mark.parametrize("name", ["NASNet", "AmoebaNet"])
    def test_cells_with_loose_ends_train(self, name: str) -> None:
        network = space_of(name).build(ARCHITECTURES[name], channels=4, layers=3, auxiliary=True)
        output: Any = network(torch.randn(2, 3, 32, 32))
        (output.logits.sum() + output.auxiliary.sum()).backward()
        assert all(p.grad is not None for p in network.parameters())


def separable(channels: int, kernel: int) -> int:
    """Parameters of a separable convolution applied twice, with two normalisations."""
    return 2 * (kernel**2 * channels + channels**2 + 2 * channels)


def dilated(channels: int, kernel: int) -> int:
    return kernel**2 * channels + channels**2 + 2 * channels


def pointwise(inputs: int, channels: int) -> int:
    """Parameters of a 1x1 convolution and a normalisation; a factorised reduction has as many."""
    return inputs * channels + 2 * channels


def petridish_cells(filters: int, repeat: int) -> int:
    """Parameters of the published cells of Petridish, three a stage times ``repeat``, added up by hand."""
    total = 27 * 3 * filters + 6 * filters  # stem
    for stage in range(3):
        c = filters << stage
        node = pointwise(3 * c, c) + 1  # of three terms, with its gate
        if stage:
            halved = dilated(c, 5) + separable(c, 5) + 2 * separable(c, 3) + 3 * pointwise(c, c)
            seed = separable(c, 3) + pointwise(c, c)
            total += seed + halved + 3 * node + 2 * pointwise(c // 2, c)  # both inputs have half the channels
        normal = separable(c, 3) + dilated(c, 3) + node + 2 * separable(c, 3) + dilated(c, 3) + node
        total += 3 * repeat * normal
    total += pointwise(
        3 * filters, filters
    )  # the first cell reads the stem; no normal cell reads the cell before the last
    return total + 2 * c + pointwise(c, c) + 10 * c + 10


class TestPetridish:
    def test_released_cells(self) -> None:
        """As in the description of the released network; 0 is the cell before the last, 1 the last."""
        space = PetridishSpace()
        grown: dict[str, list[str]] = {"normal": [], "reduce": []}
        for increment in space.increments(PETRIDISH_CELL):
            grown[increment.place].append(" ".join(f"{operation},{source}" for source, operation in increment.terms))
        assert grown == {
            "normal": [
                "dil_conv_3x3,1 avg_pool_3x3,1 identity,1",
                "sep_conv_3x3,1 sep_conv_3x3,2 dil_conv_3x3,2",
            ],
            "reduce": [
                "sep_conv_3x3,0 sep_conv_5x5,1 avg_pool_3x3,1",
                "max_pool_3x3,1 identity,1 dil_conv_5x5,2",
                "identity,0 sep_conv_3x3,1 identity,1",
            ],
        }

    @pytest.mark.parametrize(
        ("scale", "parameters", "multiply_adds"),
        [
            ({}, 397_522, 56_816_256),  # as searched: below the limit of 83.35M multiply-adds
            ({"filters": 32}, 1_491_842, 209_052_928),
            ({"filters": 32, "repeat": 2}, 2_456_852, 353_559_808),  # the paper's 2.5M
            ({"filters": 37, "repeat": 2}, 3_255_682, 467_151_048),  # the paper's 3.2M
        ],
    )
    def test_sizes(self, scale: dict[str, Any], parameters: int, multiply_adds: int) -> None:
        """Exact numbers are ours: the paper has rounded ones, of which the second is off by a digit."""
        with torch.device("meta"):
            network = PetridishSpace().build(PETRIDISH_CELL, **scale)
            assert count_multiply_adds(network, torch.zeros(1, 3, 32, 32)) == multiply_adds
        by_hand = petridish_cells(scale.get("filters", 16), scale.get("repeat", 1))
        assert count_parameters(network) == parameters == by_hand

    def test_it_trains(self) -> None:
        network = PetridishSpace().build(PETRIDISH_CELL, filters=2, image_size=16, auxiliary=True)
        output: Any = network(torch.randn(2, 3, 16, 16))
        (output.logits.sum() + output.auxiliary.sum()).backward()
        assert all(p.grad is not None for p in network.parameters())


class TestFind:
    def test_by_name(self) -> None:
        assert find_architecture("DARTS_V1") is DARTS_V1

    def test_by_file(self, tmp_path: Path) -> None:
        DARTS_V1.save(tmp_path / "mine.json")
        assert find_architecture(tmp_path / "mine.json") == DARTS_V1
        assert find_architecture(str(tmp_path / "mine.json")).provenance == DARTS_V1.provenance

    def test_neither(self) -> None:
        with pytest.raises(FileNotFoundError, match=r"a JSON file or one of \['AMOEBANET_A'.* but got 'DARTS_V3'"):
            find_architecture("DARTS_V3")
