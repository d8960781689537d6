"""Spaces by name."""

from lightning_nas.spaces.base import SearchSpace
from lightning_nas.spaces.darts import DartsSpace
from lightning_nas.spaces.darts_recurrent import DartsRecurrentSpace
from lightning_nas.spaces.enas_macro import EnasMacroSpace
from lightning_nas.spaces.enas_micro import EnasMicroSpace
from lightning_nas.spaces.enas_recurrent import EnasRecurrentSpace
from lightning_nas.spaces.nas_conv import NasConvSpace
from lightning_nas.spaces.nas_recurrent import NasRecurrentSpace
from lightning_nas.spaces.nasbench201 import NasBench201Space
from lightning_nas.spaces.nasnet import NasnetSpace
from lightning_nas.spaces.petridish import PetridishSpace
from lightning_nas.spaces.settings import parse_settings

SPACES: dict[str, type[SearchSpace]] = {
    "darts": DartsSpace,
    "darts_recurrent": DartsRecurrentSpace,
    "enas_macro": EnasMacroSpace,
    "enas_micro": EnasMicroSpace,
    "enas_recurrent": EnasRecurrentSpace,
    "nas_conv": NasConvSpace,
    "nas_recurrent": NasRecurrentSpace,
    "nasbench201": NasBench201Space,
    "nasnet": NasnetSpace,
    "petridish": PetridishSpace,
}


def get_space(name: str) -> SearchSpace:
    """Make the space that a name stands for, the name of an architecture file among others.

    Args:
        name: ``"darts"``, ``"nasbench201"``, or one with settings: ``"darts?nodes=5"``.

    Raises:
        ValueError: If there is no such space, or it has no such setting.

    Example:
        >>> get_space("darts?nodes=2").nodes
        2
    """
    base, _, query = name.partition("?")
    if base not in SPACES:
        raise ValueError(
            f"Expected a space of {sorted(SPACES)} but got {name!r}; a space of your own has no registered name, give "
            "the space itself: space=..."
        )
    try:
        return SPACES[base](**parse_settings(query, SPACES[base].settings))
    except ValueError as error:
        raise ValueError(f"Expected a space with settings as darts?nodes=5 but got {name!r}: {error}") from error
