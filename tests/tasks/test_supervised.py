"""Batches: what the network is called with, and what are the targets."""

from collections import OrderedDict
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from lightning_nas.tasks.supervised import predict

X, Y, TARGETS = torch.tensor([1.0, 2.0]), torch.tensor([30.0, 40.0]), torch.tensor([5, 6])


class Pair(NamedTuple):
    x: Tensor
    label: Tensor


def recorded(*inputs: Tensor, **named: Tensor) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    return inputs, named


class TestTuples:
    @pytest.mark.parametrize("batch", [(X, TARGETS), [X, TARGETS], Pair(X, TARGETS)], ids=["tuple", "list", "named"])
    def test_the_targets_are_last(self, batch: Any) -> None:
        (inputs, named), targets = predict(recorded, batch, "target")
        assert targets is TARGETS
        assert len(inputs) == 1
        assert inputs[0] is X
        assert named == {}

    def test_everything_before_the_targets_is_an_input_in_order(self) -> None:
        output, targets = predict(lambda x, y: x - y, (X, Y, TARGETS), "target")
        assert targets is TARGETS
        assert output.tolist() == [-29.0, -38.0]


class TestDictionaries:
    def test_inputs_are_passed_by_name(self) -> None:
        output, targets = predict(
            lambda first, second: first - second, {"second": X, "target": TARGETS, "first": Y}, "target"
        )
        assert targets is TARGETS
        assert output.tolist() == [29.0, 38.0]

    def test_the_targets_have_any_name(self) -> None:
        (inputs, named), targets = predict(recorded, OrderedDict(target=X, label=TARGETS), "label")
        assert targets is TARGETS
        assert inputs == ()
        assert named.keys() == {"target"}

    def test_the_batch_stays_as_it_was(self) -> None:
        batch = {"x": X, "target": TARGETS}
        predict(recorded, batch, "target")
        assert batch.keys() == {"x", "target"}


class TestErrors:
    @pytest.mark.parametrize(
        ("batch", "got"),
        [
            (X, "a Tensor"),
            ((TARGETS,), "a tuple"),
            ([], "a list"),
            (None, "a NoneType"),
            ({"x": X, "label": TARGETS}, r"a dictionary of \['label', 'x'\]"),
            ({}, r"a dictionary of \[\]"),
        ],
    )
    def test_other_batches(self, batch: Any, got: str) -> None:
        message = rf"\(inputs, \.\.\., targets\), or dictionaries with the targets as 'y', but got {got}; name your"
        with pytest.raises(TypeError, match=message):
            predict(recorded, batch, "y")
