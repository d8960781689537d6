"""Compare the sizes of the published networks with ours: parameters and multiply-adds, to the last digit.

Prints a table and exits with 1 on any difference. Run it with ``python benchmarks/published_counts.py``.
"""

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lightning_nas.architecture import Architecture
from lightning_nas.costs import count_multiply_adds, count_parameters
from lightning_nas.spaces import (
    DartsRecurrentSpace,
    DartsSpace,
    EnasMacroSpace,
    EnasMicroSpace,
    Mixture,
    NasBench201Space,
    NasConvSpace,
    get_space,
)
from lightning_nas.zoo import ARCHITECTURES


@dataclass(frozen=True)
class Counts:
    """Sizes of a network; ``None`` where no number is known.

    Args:
        parameters: All but those of the auxiliary classifier.
        multiply_adds: Of convolutions and linear layers, for one image.
        auxiliary: Parameters of the auxiliary classifier.
    """

    parameters: int
    multiply_adds: int | None = None
    auxiliary: int | None = None


@dataclass(frozen=True)
class Row:
    """A published network.

    Args:
        name: What it is.
        expected: Its sizes.
        build: Makes the network, and what its forward takes.
    """

    name: str
    expected: Counts
    build: Callable[[], tuple[nn.Module, tuple[Any, ...]]]


RECURRENT: list[tuple[str, dict[str, Any], int]] = [
    ("DARTS_RNN_V1 H=850", {}, 22_960_000),
    ("DARTS_RNN_V2 H=850", {}, 22_960_000),
    ("DARTS_RNN_V2 WikiText-2 H=700", {"vocabulary": 33_278, "hidden": 700}, 33_127_878),
    ("ENAS_RNN H=748", {}, 22_027_104),
    ("NAS_CELL untied H=735", {"hidden": 735, "tied": False}, 31_987_200),
    ("NAS_CELL H=740", {}, 24_923_200),
    ("NAS_CELL H=1150", {"hidden": 1150}, 53_820_000),
]
DARTS, BENCH = DartsSpace(), NasBench201Space()
CIFAR: dict[str, Any] = {"auxiliary": True}
IMAGENET: dict[str, Any] = {"auxiliary": True, "stem": "imagenet"}

# CIFAR-10 C=36 L=20, ImageNet C=48 L=14. Counted apart from this package, from a reading of the authors' code
# (github.com/quark0/darts, cnn/model.py). They round to the figures of its README (3.3M, 4.7M) and to the comments in
# FairDARTS' genotypes.py (528M and 3.3M for DARTS_V2, 532M and 3.43M for PDARTS).
GENOTYPES = {
    "DARTS_V1": (Counts(3_169_414, 500_987_520, 476_426), Counts(4_510_432, 505_864_704, 1_260_776)),
    "DARTS_V2": (Counts(3_349_342, 528_359_040, 476_426), Counts(4_718_752, 529_911_552, 1_260_776)),
    "NASNet": (Counts(3_830_950, 603_452_448, 457_994), Counts(5_564_320, 604_031_616, 1_236_200)),
    "AmoebaNet": (Counts(3_145_078, 488_931_552, 457_994), Counts(4_627_360, 526_746_624, 1_236_200)),
    "PDARTS": (Counts(3_433_798, 532_174_464, 476_426), Counts(4_944_352, 542_819_328, 1_260_776)),
    "PC_DARTS": (Counts(3_634_678, 556_670_592, 476_426), None),
    "PC_DARTS_IMAGE": (None, Counts(5_342_464, 581_627_328, 1_260_776)),
}
# One operation on inputs 0 and 1 everywhere: the same counter.
UNIFORM = {
    "sep_conv_3x3": (Counts(4_701_718, None, 476_426), Counts(6_548_320, None, 1_260_776)),
    "skip_connect": (Counts(1_580_950, None, 476_426), Counts(2_800_480, None, 1_260_776)),
}
# Channels and cells of DARTS_V2 and of the supernet. 1,930,618 is asserted in NASLib too (test_darts_search_space.py).
SMALL = {(4, 3): Counts(2_858, 1_442_432), (16, 8): Counts(246_106)}
SUPERNETS = {(16, 8): Counts(1_930_618, 300_255_744), (4, 3): Counts(72_854), (8, 3): Counts(209_442)}
# C=16, N=5 and C=8, N=1. Counted apart from this package, from a reading of github.com/D-X-Y/AutoDL-Projects.
SKIPS = (Counts(73_306, 7_783_040), Counts(18_738, 2_056_512))
CELLS = {
    "nor_conv_3x3": (Counts(1_531_546, 220_119_680), Counts(91_986, 12_673_344)),
    "nor_conv_1x1": (Counts(241_306, 31_376_000), Counts(27_474, 3_236_160)),
    "skip_connect": SKIPS,
    "avg_pool_3x3": SKIPS,
    "none": SKIPS,
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_1x1~1|nor_conv_3x3~2|": (
        Counts(1_073_466, 153_272_960),
        Counts(69_026, 9_331_008),
    ),
}
# The 24-layer network of the official script at F=96, with separable convolutions and, as in the official code, with
# plain ones instead. Counted apart from this package, from a reading of github.com/melodyguan/enas; so is the search
# network.
ENAS_MACRO = {True: Counts(30_947_424), False: Counts(42_559_392)}
ENAS_MACRO_SUPERNET = Counts(697_860)
# By normal cells, at F=36: those of the authors' script, and six a block, which are the paper's 4.6M. The same counter.
ENAS_MICRO = {15: Counts(3_894_372, None, 494_848), 18: Counts(4_587_372, None, 494_848)}
ENAS_MICRO_SUPERNET = Counts(5_373_140)
# By whether all skips are on. Counted apart from this package, by the formula; the published one is the paper's 4.2M.
NAS_CONV = {False: Counts(4_201_630), True: Counts(6_630_910)}
# PNASNet-5 for CIFAR-10, as a child of the search, and for ImageNet (mobile, large); NASNet-A and AmoebaNet-A. Counted
# apart from this package, from a reading of github.com/tensorflow/models (slim). 86,057,668 and 5,289,978 are also the
# sizes of the ports to PyTorch and Keras. All round to the papers' figures: 3.2M, 5.1M and 588M, 86.1M; 3.3M, 5.3M;
# 2.6M, 3.2M.
LARGE: dict[str, Any] = {"stem": "imagenet", "channels": 216, "cells_per_stage": 4, "stem_channels": 96}
MOBILE: dict[str, Any] = {"stem": "imagenet"}
NASNET: list[tuple[str, dict[str, Any], Counts]] = [
    ("PNASNET_5 F=48 N=3", {}, Counts(3_189_082, 574_891_392)),
    ("PNASNET_5 F=24 N=2", {"channels": 24, "cells_per_stage": 2}, Counts(559_090, 112_046_784)),
    ("PNASNET_5 ImageNet F=54 N=3", MOBILE, Counts(5_064_487, 587_293_200)),
    ("PNASNET_5 ImageNet F=216 N=4", LARGE, Counts(86_057_668)),
    ("NASNET_A F=32 N=6", {}, Counts(3_346_538)),
    ("NASNET_A ImageNet F=44 N=4", MOBILE, Counts(5_289_978)),
    ("AMOEBANET_A F=32 N=6", {}, Counts(2_567_754)),
    ("AMOEBANET_A F=36 N=6", {"channels": 36}, Counts(3_218_266)),
    ("AMOEBANET_A F=24 N=3", {"channels": 24, "cells_per_stage": 3}, Counts(843_322)),
]


def images(size: int = 32) -> torch.Tensor:
    """Return one image; only its shape matters."""
    return torch.zeros(1, 3, size, size)


def discrete(name: str, expected: Counts, architecture: Architecture, **settings: Any) -> Row:
    """Return the row of a DARTS network."""
    space = get_space(architecture.space)
    size = 224 if settings.get("stem") == "imagenet" else 32
    return Row(name, expected, lambda: (space.build(architecture, **settings), (images(size),)))


def genotype_rows() -> Iterable[Row]:
    """Yield the published genotypes and the uniform cells, for both data sets."""
    uniform = {op: DARTS.from_genotype([(op, 0), (op, 1)] * 4, [(op, 0), (op, 1)] * 4) for op in UNIFORM}
    for name, both in {**GENOTYPES, **UNIFORM}.items():
        architecture = {**ARCHITECTURES, **uniform}[name]
        for data, settings, expected in zip(("CIFAR", "ImageNet"), (CIFAR, IMAGENET), both, strict=True):
            if expected:
                yield discrete(f"{name} {data}", expected, architecture, **settings)


def small_rows() -> Iterable[Row]:
    """Yield the small DARTS_V2 networks."""
    for (channels, layers), expected in SMALL.items():
        name = f"DARTS_V2 C={channels} L={layers}"
        yield discrete(name, expected, ARCHITECTURES["DARTS_V2"], channels=channels, layers=layers)


def supernet_rows() -> Iterable[Row]:
    """Yield the search networks of DARTS."""
    mixtures = {group.name: Mixture(torch.zeros(len(group.rows), len(group.candidates))) for group in DARTS.groups}
    for (channels, layers), expected in SUPERNETS.items():

        def build(channels: int = channels, layers: int = layers) -> tuple[nn.Module, tuple[Any, ...]]:
            return DARTS.supernet(channels, layers), (images(), mixtures)

        yield Row(f"supernet C={channels} L={layers}", expected, build)


def bench_rows() -> Iterable[Row]:
    """Yield networks of NAS-Bench-201."""
    for text, both in CELLS.items():
        alike = {decision.name: text for decision in BENCH.decisions}
        architecture = BENCH.from_string(text) if "~" in text else Architecture(BENCH.name, alike)
        for (channels, cells), expected in zip(((16, 5), (8, 1)), both, strict=True):

            def build(
                architecture: Architecture = architecture, channels: int = channels, cells: int = cells
            ) -> tuple[nn.Module, tuple[Any, ...]]:
                return BENCH.build(architecture, channels=channels, cells=cells), (images(),)

            name = "best cell" if "~" in text else text
            yield Row(f"NAS-Bench-201 {name} C={channels} N={cells}", expected, build)


def macro_rows() -> Iterable[Row]:
    """Yield the networks of ENAS's macro space."""
    for separable, expected in ENAS_MACRO.items():
        name = f"ENAS_MACRO F=96 L=24{'' if separable else ' plain'}"
        yield discrete(name, expected, ARCHITECTURES["ENAS_MACRO"], separable=separable)
    yield Row("ENAS macro supernet F=36 L=12", ENAS_MACRO_SUPERNET, lambda: (EnasMacroSpace().supernet(), ()))


def micro_rows() -> Iterable[Row]:
    """Yield the networks of ENAS's micro space."""
    for layers, expected in ENAS_MICRO.items():
        name = f"ENAS_MICRO F=36 N={layers}"
        yield discrete(name, expected, ARCHITECTURES["ENAS_MICRO"], layers=layers, auxiliary=True)
    yield Row("ENAS micro supernet F=20 N=6", ENAS_MICRO_SUPERNET, lambda: (EnasMicroSpace().supernet(), ()))


def nas_rows() -> Iterable[Row]:
    """Yield the network of "Neural architecture search with reinforcement learning", and the same with all skips."""
    for every, expected in NAS_CONV.items():
        published, on = ARCHITECTURES["NAS_V1"], {d.name: True for d in NasConvSpace().decisions if d.kind == "flag"}
        architecture = Architecture(published.space, {**published.values, **on}) if every else published
        yield discrete(f"NAS_V1{' all skips' if every else ''}", expected, architecture)


def nasnet_rows() -> Iterable[Row]:
    """Return the networks of PNAS, NASNet and AmoebaNet cells."""
    return [discrete(name, sizes, ARCHITECTURES[name.split()[0]], **scale) for name, scale, sizes in NASNET]


def recurrent_rows() -> Iterable[Row]:
    """Yield the language models, and the search network of DARTS."""
    for name, scale, parameters in RECURRENT:
        yield discrete(name, Counts(parameters), ARCHITECTURES[name.split()[0]], **scale)
    yield Row("DARTS recurrent supernet H=300", Counts(4_810_000), lambda: (DartsRecurrentSpace().supernet(), ()))


def rows() -> list[Row]:
    """Return all published networks."""
    darts = (genotype_rows(), small_rows(), supernet_rows())
    others = (bench_rows(), macro_rows(), micro_rows(), nas_rows(), nasnet_rows(), recurrent_rows())
    return [row for group in (*darts, *others) for row in group]


def count(row: Row) -> Counts:
    """Count what is known of a published network on ours; its weights are never made."""
    with torch.device("meta"):
        network, inputs = row.build()
    parameters = count_parameters(network)
    multiply_adds = None if row.expected.multiply_adds is None else count_multiply_adds(network, *inputs)
    auxiliary = None if row.expected.auxiliary is None else count_parameters(network, auxiliary=True) - parameters
    return Counts(parameters, multiply_adds, auxiliary)


def line(name: str, *columns: object) -> str:
    """Return a line of the table."""
    texts = (f"{column:,}" if isinstance(column, int) else str(column or "-") for column in columns)
    return f"{name:<40}" + "".join(f"{text:>14}" for text in texts)


def compare(row: Row) -> bool:
    """Print the published numbers beside ours, and return whether they are equal."""
    ours, theirs = count(row), row.expected
    pairs = [(theirs.parameters, ours.parameters), (theirs.multiply_adds, ours.multiply_adds)]
    pairs.append((theirs.auxiliary, ours.auxiliary))
    equal = ours == theirs
    print(line(row.name, *(number for pair in pairs for number in pair)) + ("" if equal else "   DIFFERENT"))
    return equal


def main(published: Iterable[Row] | None = None) -> int:
    """Compare all networks; return 0 if every number is equal, else 1."""
    print(line("", "parameters", "ours", "mult-adds", "ours", "auxiliary", "ours"))
    different = [row.name for row in (rows() if published is None else published) if not compare(row)]
    print(f"{len(different)} of the networks differ: {different}" if different else "All numbers are equal.")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
