"""What a strategy asks for."""

from dataclasses import dataclass

from lightning_nas.architecture import Architecture


@dataclass(frozen=True)
class Proposal:
    """An architecture to evaluate.

    Args:
        number: Counts the proposals of a strategy from 0; whoever tells the score refers to it.
        architecture: What to evaluate.
    """

    number: int
    architecture: Architecture
