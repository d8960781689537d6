"""The instructions of which a controller's program is made, each executed for a batch of architectures at once."""

from collections.abc import Sequence
from dataclasses import dataclass

from lightning_nas.architecture import Decision


@dataclass(frozen=True)
class Step:
    """One step of the LSTM on the current input; the current state is what comes out of it."""


@dataclass(frozen=True)
class Anchor:
    """Remember the current state as the next anchor, with its key; the next input is the start vector.

    Args:
        zero: Remember a vector of zeros instead, with the state's key: an input from outside of the cell.
    """

    zero: bool = False


@dataclass(frozen=True)
class Forget:
    """Forget all anchors: a new cell begins."""


@dataclass(frozen=True)
class Operation:
    """Decide by a softmax head on the current state; the next input is the embedding of the choice.

    Args:
        decision: Name of the decision.
        vocabulary: Decisions of equal kind and choices share head and embeddings if this is equal, too.
        bias: Fixed, added to the logits after temperature and tanh.
    """

    decision: str
    vocabulary: str = ""
    bias: tuple[float, ...] = ()


@dataclass(frozen=True)
class Input:
    """Decide by attention over the first anchors, one for each choice; the next input is the chosen anchor.

    Args:
        decision: Name of the decision.
        exclude: Earlier decisions of the same choices, whose values cannot be chosen again.
        locality: Subtract ``(i - j)^2 / 6`` from the logit of anchor ``j`` of ``i``, after temperature and tanh.
        by_distance: Divide the next input by ``0.1 + i - j``.
    """

    decision: str
    exclude: tuple[str, ...] = ()
    locality: bool = False
    by_distance: bool = False


@dataclass(frozen=True)
class Flags:
    """Decide flags independently by attention, one for each of the first anchors.

    The next input is the sum of the anchors whose flag is on, divided by one more than their number.

    Args:
        decisions: Names of the decisions, with choices ``(False, True)``.
        pair: Whether the score ``z`` is the logit of "on" and ``-z`` that of "off", as in ENAS's code, so that a flag
            is on with the probability ``sigmoid(2 z)``; if not, with ``sigmoid(z)``.
    """

    decisions: tuple[str, ...]
    pair: bool = True


Instruction = Step | Anchor | Forget | Operation | Input | Flags
Program = tuple[Instruction, ...]


def decided_by(instruction: Instruction) -> tuple[str, ...]:
    """Return the names of the decisions that an instruction makes."""
    match instruction:
        case Operation(decision) | Input(decision):
            return (decision,)
        case Flags(decisions):
            return decisions
    return ()


def check_program(program: Program, decisions: Sequence[Decision]) -> None:
    """Raise a ``ValueError`` unless a program makes every decision once, with as many anchors as it needs."""
    decided = [name for instruction in program for name in decided_by(instruction)]
    known = {decision.name: decision for decision in decisions}
    if sorted(decided) != sorted(known):
        different = sorted(set(decided) ^ set(known)) or "some of them twice"
        raise ValueError(f"Expected `program` to make every decision of the space once but got {different}")
    anchors = 0
    for instruction in program:
        match instruction:
            case Anchor():
                anchors += 1
            case Forget():
                anchors = 0
            case Input() | Flags():
                names = decided_by(instruction)
                needed = len(known[names[0]].choices) if isinstance(instruction, Input) else len(names)
                if needed > anchors:
                    raise ValueError(f"Expected `program` to make {needed} anchors before {names} but got {anchors}")
