"""Models that pictures of a growing search show."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite


@dataclass(frozen=True)
class GrownModel:
    """A trained model, and from which other it has grown.

    Args:
        name: Its name, which no other model has.
        cost: What it costs, such as its multiply-adds.
        error: Its error: less is better.
        parent: Name of the model that it has grown from; ``None`` for a seed.
        label: What was added to the parent, in short.

    Raises:
        ValueError: If the cost or the error is not finite.
    """

    name: str
    cost: float
    error: float
    parent: str | None = None
    label: str = ""

    def __post_init__(self) -> None:
        if not (isfinite(self.cost) and isfinite(self.error)):
            raise ValueError(
                f"Expected finite numbers as cost and error but got {self.cost} and {self.error} of {self.name!r}"
            )


def check_grown(models: Sequence[GrownModel]) -> None:
    """Raise ValueError if there is no model, two have one name, or one stands before its parent or lacks it."""
    if not models:
        raise ValueError("Expected at least one model but got none")
    known: set[str] = set()
    names = {model.name for model in models}
    for model in models:
        if model.name in known:
            raise ValueError(f"Expected different names but got {model.name!r} twice")
        if model.parent is not None and model.parent not in known:
            where = f"after {model.name!r}; sort the models" if model.parent in names else "which is no model"
            raise ValueError(f"Expected the parent of {model.name!r} before it but got {model.parent!r}, {where}")
        known.add(model.name)
