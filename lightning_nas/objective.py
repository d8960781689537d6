"""What a search makes small or large."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

Mode = Literal["min", "max"]
MODES = {
    "accuracy": "max",
    "error": "min",
    "latency": "min",
    "loss": "min",
    "macs": "min",
    "params": "min",
    "perplexity": "min",
}


@dataclass(frozen=True)
class Objective:
    """One thing to be made small or large.

    Args:
        name: Name of a metric, such as ``"val/error"``, or ``"params"``, ``"macs"`` or ``"latency"``.
        mode: ``"min"`` or ``"max"``; by default what the end of the name means: accuracies are to be large; errors,
            losses, perplexities and costs are to be small.
        reference: A value that every solution of interest improves on, for hypervolumes.

    Raises:
        ValueError: If the mode is neither, or is not given and the name does not tell; or the reference is not finite.

    Example:
        >>> Objective("val/accuracy").mode
        'max'
    """

    name: str
    mode: Mode | None = None
    reference: float | None = None

    def __post_init__(self) -> None:
        if self.mode is None:
            kinds = [mode for ending, mode in MODES.items() if self.name.endswith(ending)]
            if not kinds:
                raise ValueError(
                    f"Expected a name that ends in one of {sorted(MODES)} but got {self.name!r}; "
                    f"say what is better: Objective({self.name!r}, 'min') or Objective({self.name!r}, 'max')"
                )
            object.__setattr__(self, "mode", kinds[0])
        if self.mode not in get_args(Mode):
            raise ValueError(f"Expected `mode` to be one of {get_args(Mode)} but got {self.mode!r}")
        if self.reference is not None and not math.isfinite(self.reference):
            raise ValueError(f"Expected `reference` to be a finite number but got {self.reference}")

    @property
    def sign(self) -> int:
        """1 for what is to be small and -1 for what is to be large: times it, less is better."""
        return 1 if self.mode == "min" else -1
