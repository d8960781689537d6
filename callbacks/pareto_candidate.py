"""A candidate of a trade-off."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Self

from lightning_nas.architecture import Architecture


@dataclass(frozen=True)
class ParetoCandidate:
    """A network that was validated, and what it is worth.

    Args:
        name: Name that stays its own: ``"epoch 3"`` or ``"child 7"``.
        values: Its values by the names of the objectives; ``None`` for what is no finite number.
        epoch: Epoch in which it was known.
        examples_seen: Training examples that the search had processed by then, if it counts them.
        architecture: Its architecture, if it is one, with the finite values as metrics.
    """

    name: str
    values: Mapping[str, float | None]
    epoch: int
    examples_seen: int | None = None
    architecture: Architecture | None = None

    def __post_init__(self) -> None:
        finite = {name: _finite(value) for name, value in self.values.items()}
        object.__setattr__(self, "values", MappingProxyType(finite))
        if self.architecture is not None:
            object.__setattr__(self, "architecture", replace(self.architecture, metrics=self.numbers))

    @property
    def numbers(self) -> dict[str, float]:
        """The values that are finite numbers."""
        return {name: value for name, value in self.values.items() if value is not None}

    def to_dict(self) -> dict[str, Any]:
        """Return the candidate as plain JSON data."""
        architecture = None if self.architecture is None else self.architecture.to_dict()
        return {**vars(self), "values": dict(self.values), "architecture": architecture}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` wrote."""
        plain = data["architecture"]
        return cls(**{**data, "architecture": None if plain is None else Architecture.from_dict(plain)})


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
