"""Programs: how the controller walks through the decisions of a space.

Three forms of spaces are those of ENAS (Pham et al. 2018, arXiv 1802.03268) and get its programs, as in its official
code; one, layers of numbers and flags, is that of NAS (Zoph & Le 2017, 1611.01578). They are recognised by kind and
order of the decisions. All other spaces get a program of the same instructions.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Literal

from lightning_nas.architecture import Decision
from lightning_nas.controllers.program import Anchor, Flags, Forget, Input, Instruction, Operation, Program, Step
from lightning_nas.spaces.base import SearchSpace

Form = Literal["micro", "macro", "recurrent", "layers", "other"]
Shape = list[tuple[str, int]]  # of decisions: how each is made, and for inputs the number of choices

OPERATION = ("operation", 0)
FLAG = ("flag", 0)
OUTSIDE = 2  # inputs of a micro cell
LAYER = re.compile(r"layer\d+/")


def form_of(decisions: Sequence[Decision]) -> Form:
    """Return which of the forms of ENAS and NAS decisions have, by their kinds and order and the names of layers."""
    if _are_layers(decisions):
        return "layers"
    shape = _shape(decisions)
    operations = shape.count(OPERATION)
    if FLAG in shape and shape == [s for layer in range(operations) for s in (OPERATION, *[FLAG] * layer)]:
        return "macro"
    nodes = [s for node in range(1, operations) for s in (("input", node), OPERATION)]
    if nodes and shape == [OPERATION, *nodes]:
        return "recurrent"
    alike = len({decision.choices for decision in decisions if decision.kind == "operation"}) == 1
    cells = all(_is_micro_cell(_shape(cell)) for cell in _cells(decisions))
    return "micro" if shape and alike and cells and all("/node" in d.name for d in decisions) else "other"


def _are_layers(decisions: Sequence[Decision]) -> bool:
    """Return whether they are numbers of layers and skips: a flag for each layer before, or none in any layer."""
    if not all(d.kind in ("number", "flag") and LAYER.match(d.name) for d in decisions):
        return False
    flags = [sum(_mode(d) == "flag" for d in layer) for _, layer in groupby(decisions, _layer_of)]
    return not any(flags) or flags == list(range(len(flags)))


def _layer_of(decision: Decision) -> str:
    return decision.name.partition("/")[0]


def _is_micro_cell(shape: Shape) -> bool:
    nodes = range(OUTSIDE, OUTSIDE + len(shape) // 4)
    return shape == [s for node in nodes for s in (*[("input", node)] * 2, OPERATION, OPERATION)]


def program_of(space: SearchSpace) -> Program:
    """Return the program of a space: that of ENAS or NAS if the space has its form."""
    match form_of(space.decisions):
        case "micro":
            return micro_program(space)
        case "macro":
            return macro_program(space)
        case "recurrent":
            return recurrent_program(space)
        case "layers":
            return nas_program(space)
    return other_program(space)


def micro_program(space: SearchSpace, normal_bias: tuple[float, ...] = ()) -> Program:
    """Return the program of two cells: a node has two inputs, then two operations, then a step that is its anchor.

    The second cell goes on from the LSTM's state after the first one, with anchors of its own.

    Args:
        space: A space of such decisions.
        normal_bias: Fixed, added to the logits of the operations of the first cell.
    """
    excluded = _excluded(space)
    program: list[Instruction] = []
    for index, cell in enumerate(_cells(space.decisions)):
        program += [Forget(), *(Step(), Anchor(zero=True)) * OUTSIDE]
        for position, decision in enumerate(cell):
            program += [Step(), _decide(decision, excluded, () if index else normal_bias)]
            if position % 4 == 3:
                program += [Step(), Anchor()]
    return tuple(program)


def macro_program(space: SearchSpace) -> Program:
    """Return the program of layers: an operation, then a step that is the layer's anchor and asks for its skips."""
    program: list[Instruction] = []
    for mode, run in groupby(space.decisions, _mode):
        if mode == "flag":
            program.append(Flags(tuple(decision.name for decision in run)))
        else:  # layers 0 and 1 may stand in one run
            program += [i for d in run for i in (Step(), Operation(d.name), Step(), Anchor())]
    return tuple(program)


def recurrent_program(space: SearchSpace, *, locality: bool = True) -> Program:
    """Return the program of a recurrent cell: a step that is the node's anchor and asks for its input, an operation.

    Args:
        space: A space of such decisions.
        locality: Whether near inputs are likelier; official code only.
    """
    program: list[Instruction] = [Step(), Anchor()]
    for decision in space.decisions:
        if _mode(decision) == "input":
            program += [Step(), Anchor(), Input(decision.name, locality=locality, by_distance=True)]
        else:
            program += [Step(), Operation(decision.name)]
    return tuple(program)


def nas_program(space: SearchSpace, *, anchor_first: bool = True) -> Program:
    """Return the program of layers of numbers, as in "Neural architecture search with reinforcement learning".

    A layer has a step that is its anchor and asks for its skips, and a step for every number. Layer 0 has that anchor,
    too: later layers ask for it. A number shares its head with the numbers of equal name of the other layers, so the
    weights serve a space of more layers (Zoph & Le 2017, arXiv 1611.01578, section 3.3 and figure 4).

    Args:
        space: A space of decisions named ``layer<k>/<name>``.
        anchor_first: Whether a layer's anchor comes before its numbers, as the figure shows it, or after them.
    """
    asks = any(_mode(decision) == "flag" for decision in space.decisions)
    program: list[Instruction] = []
    for _, run in groupby(space.decisions, _layer_of):
        flags, numbers = _flags_and_numbers(run)
        anchor: Program = (Step(), Anchor()) if asks else ()
        anchor += (Flags(flags, pair=False),) if flags else ()
        program += [*anchor, *numbers] if anchor_first else [*numbers, *anchor]
    return tuple(program)


def _flags_and_numbers(layer: Iterable[Decision]) -> tuple[tuple[str, ...], list[Instruction]]:
    """Return the names of a layer's flags, and the instructions that make its other decisions."""
    flags: list[str] = []
    numbers: list[Instruction] = []
    for decision in layer:
        if _mode(decision) == "flag":
            flags.append(decision.name)
        else:
            numbers += [Step(), Operation(decision.name, vocabulary=decision.name.rpartition("/")[2])]
    return tuple(flags), numbers


def other_program(space: SearchSpace) -> Program:
    """Return a program for any decisions: a step before each, and more as inputs and flags need anchors.

    Flags in a row are decided together. Decisions named ``cell/node...`` of another cell begin with new anchors.
    """
    excluded = _excluded(space)
    program: list[Instruction] = []
    for cell in _cells(space.decisions):
        program.append(Forget())
        anchors = 0
        for needed, instruction in _instructions(cell, excluded):
            program += (Step(), Anchor()) * (needed - anchors)
            program += [Step(), instruction]
            anchors = max(anchors, needed)
    return tuple(program)


def _instructions(cell: Iterable[Decision], excluded: dict[str, tuple[str, ...]]) -> Iterator[tuple[int, Instruction]]:
    """Yield the instructions that decide, each with the number of anchors that it needs."""
    for mode, run in groupby(cell, _mode):
        if mode == "flag":
            names = tuple(decision.name for decision in run)
            yield len(names), Flags(names)
            continue
        for decision in run:
            yield len(decision.choices) if mode == "input" else 0, _decide(decision, excluded)


def _decide(
    decision: Decision, excluded: dict[str, tuple[str, ...]], bias: tuple[float, ...] = ()
) -> Operation | Input:
    if _mode(decision) == "input":
        return Input(decision.name, excluded.get(decision.name, ()))
    return Operation(decision.name, bias=bias)


def _excluded(space: SearchSpace) -> dict[str, tuple[str, ...]]:
    """Return for every decision that must differ from earlier ones the names of these."""
    known = {decision.name: decision for decision in space.decisions}
    for group in space.distinct:
        forms = {(known[name].kind, known[name].choices) for name in group}
        if len(forms) > 1 or known[group[0]].kind != "input":
            raise ValueError(f"Expected distinct decisions to be inputs of equal choices but got {group}")
    return {name: group[:k] for group in space.distinct for k, name in enumerate(group)}


def _mode(decision: Decision) -> str:
    """Return how a decision is made; numbers, and flags of other choices, are made as operations are."""
    if decision.kind == "input" or (decision.kind == "flag" and decision.choices == (False, True)):
        return decision.kind
    return "operation"


def _shape(decisions: Iterable[Decision]) -> Shape:
    return [(mode, len(d.choices) if mode == "input" else 0) for d in decisions for mode in (_mode(d),)]


def _cells(decisions: Sequence[Decision]) -> list[list[Decision]]:
    """Return runs of decisions of one cell; ``"normal/node2/input0"`` is of the cell ``"normal"``."""
    return [list(run) for _, run in groupby(decisions, lambda decision: decision.name.rpartition("/node")[0])]
