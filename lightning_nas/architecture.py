"""Decisions and architectures: the values that every search space, strategy and method exchanges."""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Self

Value = str | int | float | bool
DecisionKind = Literal["operation", "input", "flag", "number"]

FORMAT = "lightning-nas architecture"
VERSION = 1


@dataclass(frozen=True)
class Decision:
    """One categorical choice of a search space.

    Args:
        name: Unique name inside the space.
        choices: What can be chosen.
        kind: ``"operation"`` (a layer's name), ``"input"`` (index of an earlier node), ``"flag"`` or ``"number"``.

    Raises:
        ValueError: If there is no choice, or one choice is listed twice.
    """

    name: str
    choices: tuple[Value, ...]
    kind: DecisionKind

    def __post_init__(self) -> None:
        if not self.choices or len(set(self.choices)) != len(self.choices):
            raise ValueError(f"Expected distinct choices for decision {self.name!r} but got {self.choices}")

    def allows(self, value: object) -> bool:
        """Return whether ``value`` is one of the choices; ``1`` and ``True`` are different values."""
        return any(type(value) is type(choice) and value == choice for choice in self.choices)


@dataclass(frozen=True)
class Architecture:
    """A point of a search space: immutable, hashable, independent of any trained weight.

    Args:
        space: Name of the search space, as in ``SearchSpace.name``.
        values: The chosen value of every decision, by decision name.
        provenance: Where it comes from (method, seed, epoch, ...): plain JSON data. Does not count for equality.
        metrics: What was measured of it, finite numbers. Does not count for equality.

    Raises:
        ValueError: If a value is no string, number or flag, or a metric is not a finite number.

    Example:
        >>> architecture = Architecture("toy", {"activation": "relu", "width": 64}, metrics={"val/accuracy": 0.9})
        >>> architecture == Architecture("toy", {"width": 64, "activation": "relu"})
        True
        >>> Architecture.from_dict(architecture.to_dict()).metrics["val/accuracy"]
        0.9
    """

    space: str
    values: Mapping[str, Value]
    provenance: Mapping[str, Any] = field(default_factory=dict, compare=False)
    metrics: Mapping[str, float] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        for name, value in self.values.items():
            if not isinstance(value, str | int | float) or (isinstance(value, float) and not math.isfinite(value)):
                raise ValueError(f"Expected a string, number or flag for decision {name!r} but got {value!r}")
        for name, value in self.metrics.items():
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(f"Expected a finite number for metric {name!r} but got {value!r}")
        for name in ("values", "provenance", "metrics"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def __hash__(self) -> int:
        return hash((self.space, frozenset(self.values.items())))

    def __repr__(self) -> str:
        return f"Architecture({self.space!r}, {dict(self.values)!r})"

    def __reduce__(self) -> tuple[Any, ...]:  # read-only mappings do not pickle by themselves
        return type(self), (self.space, dict(self.values), dict(self.provenance), dict(self.metrics))

    def to_dict(self) -> dict[str, Any]:
        """Return the architecture as plain JSON data with a format version."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "space": self.space,
            "values": dict(self.values),
            "provenance": dict(self.provenance),
            "metrics": dict(self.metrics),
        }

    @classmethod
    def from_dict(cls, data: object) -> Self:
        """Read what ``to_dict`` wrote.

        Raises:
            ValueError: If ``data`` is something else, or was written by a newer version.
        """
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            got = f"format {data.get('format')!r}" if isinstance(data, dict) else type(data).__name__
            raise ValueError(f'Expected a dictionary with "format": "{FORMAT}" but got {got}')
        if data.get("version") != VERSION:
            raise ValueError(
                f"Expected format version {VERSION} but got {data.get('version')!r}; "
                "a file of a newer lightning-nas needs a newer lightning-nas to be read"
            )
        for key, kind in {"space": str, "values": dict, "provenance": dict, "metrics": dict}.items():
            if not isinstance(data.get(key), kind):
                raise ValueError(
                    f"Expected {key!r} of an architecture to be a {kind.__name__} but got {data.get(key)!r}"
                )
        return cls(data["space"], data["values"], data["provenance"], data["metrics"])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the architecture to a JSON file; a reader never sees half of it."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        partial.write_text(json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n", encoding="utf-8")
        partial.replace(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read an architecture from a JSON file.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the file is damaged or holds something else; the message says what and names the file.
        """
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(
                f"Expected {path} to hold an architecture as JSON but got damaged text: {error}"
            ) from error
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
