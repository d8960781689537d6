"""Spaces by name."""

from collections.abc import Callable

from lightning_nas.spaces.base import SearchSpace
from lightning_nas.spaces.darts import DartsSpace
from lightning_nas.spaces.nasbench201 import NasBench201Space
from lightning_nas.spaces.settings import parse_space_name

SPACES: dict[str, Callable[..., SearchSpace]] = {"darts": DartsSpace, "nasbench201": NasBench201Space}


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
    base, settings = parse_space_name(name)
    if base not in SPACES:
        raise ValueError(f"Expected a space of {sorted(SPACES)} but got {name!r}")
    try:
        return SPACES[base](**settings)
    except TypeError as error:
        raise ValueError(f"Expected settings of space {base!r} but got {name!r}: {error}") from error
