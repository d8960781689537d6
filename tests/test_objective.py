"""Objectives."""

import math

import pytest

from lightning_nas import Objective


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("val/accuracy", "max"),
        ("val_accuracy", "max"),
        ("val/error", "min"),
        ("val/loss", "min"),
        ("val/perplexity", "min"),
        ("params", "min"),
        ("macs", "min"),
        ("latency", "min"),
    ],
)
def test_names_say_what_is_better(name: str, mode: str) -> None:
    objective = Objective(name)
    assert objective.mode == mode
    assert objective.sign == {"min": 1, "max": -1}[mode]


def test_a_mode_that_is_given_counts() -> None:
    assert Objective("val/f1", "max").sign == -1
    assert Objective("val/accuracy", "min").sign == 1


def test_refuses_a_name_that_does_not_tell() -> None:
    with pytest.raises(
        ValueError, match=r"ends in one of .* but got 'val/f1'; say what is better: Objective\('val/f1'"
    ):
        Objective("val/f1")


def test_refuses_another_mode() -> None:
    with pytest.raises(ValueError, match=r"Expected `mode` to be one of \('min', 'max'\) but got 'less'"):
        Objective("params", "less")  # type: ignore[arg-type]  # what is tested


@pytest.mark.parametrize("reference", [math.inf, -math.inf, math.nan])
def test_refuses_a_reference_that_bounds_nothing(reference: float) -> None:
    with pytest.raises(ValueError, match=r"Expected `reference` to be a finite number but got"):
        Objective("params", reference=reference)
