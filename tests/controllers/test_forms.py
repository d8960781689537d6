"""Programs of the forms of ENAS, instruction by instruction, and of other spaces."""

import pytest
import torch

from lightning_nas.architecture import Decision
from lightning_nas.controllers import LstmController, form_of, nas_settings, program_of
from lightning_nas.controllers.forms import micro_program
from lightning_nas.controllers.program import Anchor, Flags, Forget, Input, Operation, Program, Step
from lightning_nas.spaces import DartsSpace, InputChoice, ModuleSpace, NasBench201Space
from tests.controllers.spaces import ListSpace, flag, inputs, layered, macro, micro, number, operation, recurrent


def steps(program: Program) -> int:
    return sum(isinstance(instruction, Step) for instruction in program)


def test_micro() -> None:
    node: Program = (
        *(Step(), Input("normal/node2/input0"), Step(), Input("normal/node2/input1")),
        *(Step(), Operation("normal/node2/operation0"), Step(), Operation("normal/node2/operation1")),
    )
    program = program_of(micro(1))
    assert program[: len(program) // 2] == (
        Forget(),
        *(Step(), Anchor(zero=True)) * 2,
        *node,
        *(Step(), Anchor()),
    )
    assert steps(program_of(micro(5))) == 2 * 27


def test_normal_bias_is_that_of_the_first_cell() -> None:
    operations = [i for i in micro_program(micro(1), (1.0, 0.0, 0.0, 0.0, 0.0)) if isinstance(i, Operation)]
    assert [i.bias for i in operations] == [(1.0, 0.0, 0.0, 0.0, 0.0)] * 2 + [()] * 2


def test_macro() -> None:
    layers = [(Step(), Operation(f"layer{k}/operation"), Step(), Anchor()) for k in range(3)]
    assert program_of(macro(3)) == (
        *layers[0],
        *layers[1],
        Flags(("layer1/skip0",)),
        *layers[2],
        Flags(("layer2/skip0", "layer2/skip1")),
    )


def test_recurrent() -> None:
    assert program_of(recurrent(2)) == (
        *(Step(), Anchor(), Step(), Operation("node0/operation")),
        *(Step(), Anchor(), Input("node1/input", locality=True, by_distance=True)),
        *(Step(), Operation("node1/operation")),
    )


def test_darts() -> None:
    def node(cell: str, i: int) -> Program:
        first, second = f"{cell}/node{i}/input0", f"{cell}/node{i}/input1"
        return (
            *(Step(), Input(first), Step(), Operation(f"{cell}/node{i}/operation0")),
            *(Step(), Input(second, exclude=(first,)), Step(), Operation(f"{cell}/node{i}/operation1")),
        )

    def cell(name: str) -> Program:
        return (Forget(), *(Step(), Anchor()) * 2, *node(name, 0), Step(), Anchor(), *node(name, 1))

    assert program_of(DartsSpace(nodes=2)) == cell("normal") + cell("reduce")


def test_layers_of_numbers() -> None:
    def numbers(k: int) -> Program:
        names = ("height", "width", "filters")
        return tuple(i for name in names for i in (Step(), Operation(f"layer{k}/{name}", vocabulary=name)))

    assert program_of(layered(3)) == (
        *(Step(), Anchor(), *numbers(0)),
        *(Step(), Anchor(), Flags(("layer1/skip0",), pair=False), *numbers(1)),
        *(Step(), Anchor(), Flags(("layer2/skip0", "layer2/skip1"), pair=False), *numbers(2)),
    )


def test_slots_of_an_input_choice_exclude_each_other() -> None:
    program = program_of(ModuleSpace(lambda: InputChoice(4, 3, key="x")))
    assert program == (
        Forget(),
        *(Step(), Anchor()) * 4,
        *(Step(), Input("x/0"), Step(), Input("x/1", ("x/0",)), Step(), Input("x/2", ("x/0", "x/1"))),
    )


def test_flags_of_other_choices_are_like_operations() -> None:
    other = Decision("bias", (True, False), "flag")
    assert program_of(ListSpace([other])) == (Forget(), Step(), Operation("bias"))


@pytest.mark.parametrize(
    ("space", "form"),
    [
        (micro(), "micro"),
        (micro(1), "micro"),
        (macro(), "macro"),
        (macro(2), "macro"),
        (recurrent(), "recurrent"),
        (recurrent(2), "recurrent"),
        (DartsSpace(), "other"),
        (NasBench201Space(), "other"),
        (layered(), "layers"),
        (ListSpace([operation("a", ("x", "y"))]), "other"),
        (ListSpace([operation("a", ("x", "y")), flag("b"), flag("c")]), "other"),
        (ListSpace([operation("a", ("x", "y")), inputs("b", 2), operation("c", ("x", "y"))]), "other"),
        (ListSpace([number("a", 1, 2), inputs("b", 1), number("c", 1, 2)]), "recurrent"),
    ],
)
def test_form(space: ListSpace, form: str) -> None:
    assert form_of(space.decisions) == form


def test_distinct_decisions_are_inputs_of_equal_choices() -> None:
    decisions = [inputs("a", 2), inputs("b", 3), operation("c", ("x", "y")), operation("d", ("x", "y"))]
    with pytest.raises(
        ValueError, match=r"Expected distinct decisions to be inputs of equal choices but got \('a', 'b"
    ):
        program_of(ListSpace(decisions, (("a", "b"),)))
    with pytest.raises(ValueError, match=r"got \('c', 'd'\)"):
        program_of(ListSpace(decisions, (("c", "d"),)))


def test_a_program_that_does_not_fit() -> None:
    space = ListSpace([operation("a", ("x", "y")), inputs("b", 2), flag("c")])
    a, b, c = Operation("a"), Input("b"), Flags(("c",))
    with pytest.raises(ValueError, match=r"make every decision of the space once but got \['c'\]"):
        LstmController(space, (Step(), Anchor(), Anchor(), a, b))
    with pytest.raises(ValueError, match="once but got some of them twice"):
        LstmController(space, (Step(), Anchor(), Anchor(), a, a, b, c))
    with pytest.raises(ValueError, match=r"make 2 anchors before \('b',\) but got 1"):
        LstmController(space, (Step(), Anchor(), a, b, c))
    with pytest.raises(ValueError, match=r"make 1 anchors before \('c',\) but got 0"):
        LstmController(space, (Step(), Anchor(), Anchor(), a, b, Forget(), c))


def test_vocabularies() -> None:
    height, width = number("height", 1, 3), number("width", 1, 3)
    space = ListSpace([height, width, operation("a", ("x", "y")), Decision("b", (1, 3), "operation")])
    shared = LstmController(space)
    assert len(shared.vocabularies) == 3  # numbers, and two kinds of operations
    assert shared.vocabulary_of(Operation("height")) is shared.vocabulary_of(Operation("width"))
    own = tuple(Operation(d.name, vocabulary=d.name) for d in space.decisions)
    assert len(LstmController(space, own).vocabularies) == 4


def test_the_weights_serve_a_deeper_space() -> None:
    shallow, deep = LstmController(layered(2), seed=1), LstmController(layered(4), seed=2)
    deep.load_state_dict(shallow.state_dict())
    samples = deep.sample(3, torch.Generator().manual_seed(0))
    torch.testing.assert_close(deep.evaluate(samples.choices).log_prob, samples.log_prob)


def test_flags_of_layers_that_are_no_skips() -> None:
    decisions = [flag("layer0/norm"), flag("layer0/bias"), number("layer0/width", 8, 16), flag("layer1/norm")]
    space = ListSpace(decisions)
    assert form_of(space.decisions) == "other"
    samples = LstmController(space, **nas_settings(space)).sample(3, torch.Generator().manual_seed(0))
    assert samples.choices.shape == (3, 4)
