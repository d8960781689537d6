"""Spaces by name, and names that carry settings."""

from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_nas.operations import OPERATIONS
from lightning_nas.spaces import SPACES, DartsSpace, NasBench201Space, get_space
from lightning_nas.spaces.settings import parse_space_name, space_name

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


def test_settings_have_types() -> None:
    base, parsed = parse_space_name("toy?nodes=5&flag=true&off=false&word=all&operations=a,b")
    assert base == "toy"
    assert parsed == {"nodes": 5, "flag": True, "off": False, "word": "all", "operations": ("a", "b")}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nasnet", r"a space of \['darts', 'nasbench201'\] but got 'nasnet'"),
        ("", r"a space of \['darts', 'nasbench201'\] but got ''"),
        ("darts?cells=3", "settings of space 'darts' but got 'darts.cells=3'.*cells"),
        ("darts?nodes=four", "settings of space 'darts' but got 'darts.nodes=four'"),
        ("darts?nodes", "settings of space 'darts' but got 'darts.nodes'"),
        ("darts?nodes=", "settings of space 'darts' but got 'darts.nodes='"),
        ("nasbench201?nodes=4", "settings of space 'nasbench201' but got"),
        ("darts?nodes=0", "`nodes` to be at least 1 but got 0"),
        ("darts?operations=conv", r"but got \['conv'\]"),
    ],
)
def test_wrong_names(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        get_space(name)
