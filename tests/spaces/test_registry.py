"""Spaces by name, and names that carry settings."""

from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_nas.operations import OPERATIONS
from lightning_nas.spaces import SPACES, DartsSpace, NasBench201Space, get_space
from lightning_nas.spaces.settings import Setting, parse_settings, space_name

operation_lists = st.lists(st.sampled_from(sorted(OPERATIONS)), min_size=1, unique=True).filter(
    lambda ops: ops != ["none"]
)
concats: st.SearchStrategy[Literal["all", "loose_ends"]] = st.sampled_from(["all", "loose_ends"])


@settings(database=None, deadline=None)
@given(st.integers(1, 12), operation_lists, concats, st.booleans())
def test_a_name_makes_the_same_space(
    nodes: int, operations: list[str], concat: Literal["all", "loose_ends"], distinct_inputs: bool
) -> None:
    space = DartsSpace(nodes, operations, concat, distinct_inputs)
    again = get_space(space.name)
    assert isinstance(again, DartsSpace)
    assert (again.nodes, again.operations, again.concat) == (nodes, tuple(operations), concat)
    assert again.distinct_inputs is distinct_inputs
    assert again.name == space.name


def test_plain_names_stand_for_the_papers_spaces() -> None:
    assert isinstance(get_space("darts"), DartsSpace)
    assert isinstance(get_space("nasbench201"), NasBench201Space)
    assert {name: get_space(name).name for name in SPACES} == {name: name for name in SPACES}


def test_default_settings_are_left_out_of_the_name() -> None:
    assert DartsSpace(nodes=4, concat="all").name == "darts"
    assert DartsSpace(5, concat="loose_ends", distinct_inputs=False).name == (
        "darts?nodes=5&concat=loose_ends&distinct_inputs=false"
    )
    assert space_name("toy", {"a": 1}, {"a": 1}) == "toy"


def test_settings_have_the_types_of_their_defaults() -> None:
    defaults: dict[str, Setting] = {"nodes": 1, "flag": False, "off": True, "word": "some", "names": ("c",), "rest": 7}
    parsed = parse_settings("nodes=5&flag=true&off=false&word=5&names=a,b", defaults)
    assert parsed == {"nodes": 5, "flag": True, "off": False, "word": "5", "names": ("a", "b")}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nats", r"a space of \['darts', .*, 'nas_recurrent', 'nasbench201', 'nasnet', 'petridish'\] but got 'nats'"),
        ("", r"a space of \['darts', .*, 'nas_recurrent', 'nasbench201', 'nasnet', 'petridish'\] but got ''"),
        ("darts?cells=3", "but got 'darts.cells=3': Expected settings of .*'nodes'.* but got .'cells'."),
        ("darts?nodes=four", "but got 'darts.nodes=four': Expected 'nodes' to be a number but got 'four'"),
        ("darts?nodes", "but got 'darts.nodes': Expected 'nodes' to be a number but got ''"),
        ("darts?nodes=", "but got 'darts.nodes=': Expected 'nodes' to be a number but got ''"),
        ("nasbench201?nodes=4", "but got 'nasbench201.nodes=4': Expected settings of .. but got .'nodes'."),
        ("darts?nodes=true", "Expected 'nodes' to be a number but got 'true'"),
        ("darts?distinct_inputs=yes", "Expected 'distinct_inputs' to be true or false but got 'yes'"),
        ("darts?nodes=0", "`nodes` to be at least 1 but got 0"),
        ("darts?operations=conv", r"but got \['conv'\]"),
    ],
)
def test_wrong_names(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        get_space(name)
