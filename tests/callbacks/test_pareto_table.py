"""What the callback ParetoFront is made of, without a Trainer."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_nas import (
    Architecture,
    Objective,
    ParetoFront,
)
from lightning_nas.callbacks.metric_value import metric_value
from lightning_nas.callbacks.pareto_candidate import ParetoCandidate
from lightning_nas.callbacks.pareto_files import write_members
from lightning_nas.callbacks.pareto_table import ParetoTable

OBJECTIVES = ["val/error", "params", "macs"]


def table(*rows: tuple[str, float, float], reference: bool = False) -> ParetoTable:
    """Errors are to be small, accuracies large."""
    references = (1.0, 0.0) if reference else (None, None)
    made = ParetoTable([Objective("error", "min", references[0]), Objective("accuracy", "max", references[1])])
    for name, error, accuracy in rows:
        made.add(candidate(name, error, accuracy))
    return made


def candidate(name: str, error: float | None, accuracy: float | None, width: int | None = None) -> ParetoCandidate:
    architecture = None if width is None else Architecture("toy", {"width": width})
    return ParetoCandidate(name, {"error": error, "accuracy": accuracy}, 0, None, architecture)


def test_each_objective_has_its_own_direction() -> None:
    made = table(("a", 0.5, 0.5), ("b", 0.4, 0.4), ("c", 0.5, 0.4), ("d", 0.4, 0.4))
    assert made.on_front == [True, True, False, True]
    assert [member.name for member in made.front] == ["a", "b", "d"]


def test_hypervolume_needs_references() -> None:
    rows = (("a", 0.5, 0.5), ("b", 0.25, 0.25), ("outside", 1.5, 0.9))
    assert table(*rows, reference=True).hypervolume == 0.5 * 0.5 + 0.25 * 0.25
    assert table(*rows).hypervolume is None
    assert table(reference=True).hypervolume == 0.0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None])
def test_what_is_not_finite_is_kept_but_never_on_the_front(value: float | None) -> None:
    made = table(("a", 0.5, 0.5))
    made.add(candidate("b", value, 0.9, width=8))
    assert made.on_front == [True, False]
    written = json.loads(json.dumps(made.to_dict(), allow_nan=False))["candidates"][1]
    assert written["values"] == {"error": None, "accuracy": 0.9}
    assert written["architecture"]["metrics"] == {"accuracy": 0.9}


def test_a_name_is_there_once() -> None:
    """What is the same changes nothing; what differs takes its place, and a front that was hidden comes back."""
    made = table(("a", 0.5, 0.5), ("b", 0.1, 0.9))
    assert made.on_front == [False, True]
    assert not made.add(candidate("b", 0.1, 0.9))
    assert made.add(candidate("b", 0.9, 0.1))
    assert [known.name for known in made.candidates] == ["a", "b"]
    assert made.on_front == [True, False]


def test_values_of_an_architecture_are_known_by_any_name() -> None:
    made = table()
    made.add(candidate("epoch 0", 0.5, None, width=8))
    assert made.known_values(Architecture("toy", {"width": 8})) == {"error": 0.5}
    assert made.known_values(Architecture("toy", {"width": 9})) == {}
    assert made.holds("epoch 0", Architecture("toy", {"width": 8}))
    assert not made.holds("epoch 1", Architecture("toy", {"width": 8}))
    assert not made.holds("epoch 0", Architecture("toy", {"width": 9}))


def test_layout_of_the_json() -> None:
    made = table(reference=True)
    made.add(ParetoCandidate("child 3", {"error": 0.5, "accuracy": 0.5}, 7, 64, Architecture("toy", {"width": 8})))
    assert made.to_dict() == {
        "format": "lightning-nas pareto front",
        "version": 1,
        "objectives": [
            {"name": "error", "mode": "min", "reference": 1.0},
            {"name": "accuracy", "mode": "max", "reference": 0.0},
        ],
        "candidates": [
            {
                "name": "child 3",
                "values": {"error": 0.5, "accuracy": 0.5},
                "epoch": 7,
                "examples_seen": 64,
                "architecture": {
                    "format": "lightning-nas architecture",
                    "version": 1,
                    "space": "toy",
                    "values": {"width": 8},
                    "provenance": {},
                    "metrics": {"error": 0.5, "accuracy": 0.5},
                },
                "on_front": True,
            }
        ],
        "hypervolume": 0.25,
    }
    assert made.columns == ["name", "error", "accuracy", "on_front", "epoch", "examples_seen"]
    assert made.rows == [["child 3", 0.5, 0.5, 1, 7, 64]]


@pytest.mark.parametrize("names", [[], ["params"], ["params", "macs", "latency", "val/error", "val/loss"]])
def test_refuses_too_few_or_too_many_objectives(names: list[str]) -> None:
    with pytest.raises(ValueError, match=rf"Expected 2 to 4 objectives but got {len(names)}"):
        ParetoFront(names)


def test_refuses_a_string() -> None:
    with pytest.raises(ValueError, match=r"Expected a list of objectives but got 'loss'; give two to four"):
        ParetoFront("loss")


def test_refuses_one_objective_twice() -> None:
    with pytest.raises(ValueError, match=r"Expected different objectives but got \['params', 'params'\]"):
        ParetoFront(["params", Objective("params", "max")])


def test_refuses_references_of_some() -> None:
    with pytest.raises(
        ValueError, match=r"for every objective, or for none, but got none for \['val/error'\]; give Obj"
    ):
        ParetoFront(["val/error", Objective("params", reference=1e6)])


def test_refuses_an_empty_scale() -> None:
    with pytest.raises(ValueError, match=r"Expected `scale` to hold sizes of a network but got \{\}; leave it out"):
        ParetoFront(OBJECTIVES, scale={})


def test_callbacks_differ_by_objectives_and_folder() -> None:
    fronts = [
        ParetoFront(["params", "macs"]),
        ParetoFront(["params", "latency"]),
        ParetoFront(["params", Objective("macs", "max")]),
        ParetoFront(["params", "macs"], dirpath="a"),
    ]
    assert len({front.state_key for front in fronts}) == 4


@pytest.mark.parametrize(
    ("name", "logged", "expected"),
    [
        ("val/error", {"val/error": 0.5, "val/accuracy": 0.25}, 0.5),
        ("val/error", {"val/accuracy": 0.25}, 0.75),
        ("val_error", {"val_accuracy": 0.25}, 0.75),
        ("val_error", {"val_acc": 0.25}, 0.75),
        ("error", {"acc": 0.25}, 0.75),
        ("val/loss", {"val/loss": torch.tensor(2.0)}, 2.0),
    ],
)
def test_value_of_a_metric(name: str, logged: dict[str, Any], expected: float) -> None:
    assert metric_value(name, logged) == expected


def test_an_accuracy_is_not_made_of_an_error() -> None:
    with pytest.raises(ValueError, match=r"Expected a metric 'val/accuracy' of validation but got \['val/error'\]"):
        metric_value("val/accuracy", {"val/error": 0.5})


def test_files_of_members_that_have_left_the_front_are_removed(tmp_path: Path) -> None:
    """And no other file is."""
    (tmp_path / "mine.json").write_text("{}")
    made = table()
    made.add(candidate("epoch 0", 0.5, 0.5, width=8))
    assert write_members(made, tmp_path) == {"epoch 0": tmp_path / "epoch-0.json"}
    made.add(candidate("epoch 1", 0.1, 0.9, width=16))
    assert write_members(made, tmp_path) == {"epoch 1": tmp_path / "epoch-1.json"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch-1.json", "mine.json"]
    assert Architecture.load(tmp_path / "epoch-1.json").metrics == {"error": 0.1, "accuracy": 0.9}


def test_objectives_as_plain_data() -> None:
    front = ParetoFront(["params", {"name": "val/f1", "mode": "max"}])  # type: ignore[list-item]  # of a config
    assert front.table.objectives == (Objective("params"), Objective("val/f1", "max"))
