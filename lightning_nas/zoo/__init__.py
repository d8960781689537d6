"""Published architectures and results."""

from pathlib import Path

from lightning_nas.architecture import Architecture
from lightning_nas.zoo.darts import (
    DARTS_V1,
    DARTS_V2,
    PC_DARTS,
    PC_DARTS_IMAGE,
    PDARTS,
    AmoebaNet,
    NASNet,
)
from lightning_nas.zoo.enas_macro import ENAS_MACRO
from lightning_nas.zoo.enas_micro import ENAS_MICRO
from lightning_nas.zoo.nas_conv import NAS_V1
from lightning_nas.zoo.nasnet import AMOEBANET_A, NASNET_A, PNASNET_5
from lightning_nas.zoo.petridish import PETRIDISH_CELL
from lightning_nas.zoo.published_result import PublishedResult
from lightning_nas.zoo.recurrent import DARTS_RNN_V1, DARTS_RNN_V2, ENAS_RNN, NAS_CELL
from lightning_nas.zoo.results import published_results

ARCHITECTURES: dict[str, Architecture] = {
    "DARTS_V1": DARTS_V1,
    "DARTS_V2": DARTS_V2,
    "PDARTS": PDARTS,
    "PC_DARTS": PC_DARTS,
    "PC_DARTS_IMAGE": PC_DARTS_IMAGE,
    "NASNet": NASNet,
    "AmoebaNet": AmoebaNet,
    "ENAS_MACRO": ENAS_MACRO,
    "ENAS_MICRO": ENAS_MICRO,
    "NAS_V1": NAS_V1,
    "NASNET_A": NASNET_A,
    "AMOEBANET_A": AMOEBANET_A,
    "PNASNET_5": PNASNET_5,
    "PETRIDISH_CELL": PETRIDISH_CELL,
    "DARTS_RNN_V1": DARTS_RNN_V1,
    "DARTS_RNN_V2": DARTS_RNN_V2,
    "ENAS_RNN": ENAS_RNN,
    "NAS_CELL": NAS_CELL,
}


def find_architecture(name: str | Path) -> Architecture:
    """Return a published architecture by its name, or read one from a JSON file.

    Args:
        name: A key of ``ARCHITECTURES``, or the path of a file.

    Raises:
        FileNotFoundError: If it is neither.

    Example:
        >>> find_architecture("DARTS_V2").space
        'darts'
    """
    if str(name) in ARCHITECTURES:
        return ARCHITECTURES[str(name)]
    if not Path(name).is_file():
        raise FileNotFoundError(f"Expected a JSON file or one of {sorted(ARCHITECTURES)} but got {str(name)!r}")
    return Architecture.load(name)


__all__ = [
    "AMOEBANET_A",
    "ARCHITECTURES",
    "DARTS_RNN_V1",
    "DARTS_RNN_V2",
    "DARTS_V1",
    "DARTS_V2",
    "ENAS_MACRO",
    "ENAS_MICRO",
    "ENAS_RNN",
    "NASNET_A",
    "NAS_CELL",
    "NAS_V1",
    "PC_DARTS",
    "PC_DARTS_IMAGE",
    "PDARTS",
    "PETRIDISH_CELL",
    "PNASNET_5",
    "AmoebaNet",
    "NASNet",
    "PublishedResult",
    "find_architecture",
    "published_results",
]
