import re
from typing import Any

import numpy as np
import pytest
import torch

from lightning_nas import get_space
from lightning_nas.plotting import plot_weights
from lightning_nas.spaces.decision_group import DecisionGroup
from tests.plotting.legibility import assert_legible, visible_texts

OWN = DecisionGroup("activation", ("activation",), ("relu", "gelu", "silu"))
GROUPS = {
    "darts": get_space("darts").groups,
    "nasbench201": get_space("nasbench201").groups,
    "enas_macro": get_space("enas_macro").groups,
    "enas_micro": get_space("enas_micro").groups,
    "own": (OWN,),
    "upright": (DecisionGroup("upright", ("a", "b"), tuple(f"a_long_candidate_{k}" for k in range(18))),),
    "narrow": (DecisionGroup("narrow", ("a", "b"), tuple(f"candidate_{k}" for k in range(36))), OWN, OWN),
    "titled": (DecisionGroup("a title that is longer than its table", ("a",), ("b",)),),
}


@pytest.mark.parametrize("name", GROUPS)
def test_pictures_are_legible(name: str) -> None:
    groups = GROUPS[name]
    figure = plot_weights(groups, [torch.rand(len(group.rows), len(group.candidates)) for group in groups])
    assert_legible(figure)
    shown = {text.get_text().replace("\n", "_") for text in visible_texts(figure)}
    assert shown >= {word for group in groups for word in (group.name, *group.rows, *group.candidates)}


def test_values_are_written_and_coloured() -> None:
    (axes, _) = plot_weights([OWN], [[[0.126, 0.874, float("nan")]]]).axes
    assert [text.get_text() for text in axes.texts] == ["0.13", "0.87", "nan"]
    (image,) = axes.images
    drawn = np.ma.masked_invalid(np.asarray(image.get_array()))
    np.testing.assert_array_equal(drawn.data, [[0.126, 0.874, float("nan")]])
    assert image.get_clim() == (0, 1)
    light, dark, missing = image.to_rgba(drawn)[0]
    assert light.sum() > dark.sum() + 1
    assert missing[:3] == pytest.approx([217 / 255] * 3)
    assert [text.get_color() for text in axes.texts[:2]] == ["#1f2933", "white"]


def test_columns_stand_in_the_order_of_the_candidates() -> None:
    (axes, _) = plot_weights([OWN], [torch.tensor([[0.25, 0.5, 0.25]], requires_grad=True, dtype=torch.bfloat16)]).axes
    assert [text.get_text() for text in axes.get_xticklabels()] == list(OWN.candidates)
    assert [text.get_text() for text in axes.get_yticklabels()] == ["activation"]
    assert [text.get_position() for text in axes.texts] == [(0, 0), (1, 0), (2, 0)]


def test_many_columns_have_no_values() -> None:
    (group, *_) = GROUPS["narrow"]
    assert not plot_weights([group], [np.full((2, 36), 1 / 36)]).axes[0].texts


@pytest.mark.parametrize(
    ("groups", "tables", "message"),
    [
        ([], [], "Expected groups and a table for each but got 0 groups and 0 tables"),
        ([OWN], [], "Expected groups and a table for each but got 1 groups and 0 tables"),
        ([OWN], [[0.2, 0.8]], "Expected a table of shape (1, 3) for the group 'activation' but got (2,)"),
        (
            [OWN],
            [[[-1.0, 2.0, 0.0]]],
            "Expected weights from 0 to 1 for the group 'activation' but got values from -1 to 2",
        ),
    ],
)
def test_what_is_no_table_of_weights(groups: list[Any], tables: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        plot_weights(groups, tables)
