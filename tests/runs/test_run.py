from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_nas.objective import Objective
from lightning_nas.runs import Candidate, Run

ERROR = Objective("val/error")


def run(*rows: dict[str, float], candidates: tuple[Candidate, ...] = ()) -> Run:
    return Run("one", Path("one"), history=rows, candidates=candidates)


def test_last_is_the_last_that_was_logged() -> None:
    one = run({"a": 1.0}, {"a": 2.0}, {"b": 3.0})
    assert (one.last("a"), one.last("b"), one.last("c")) == (2.0, 3.0, None)


def test_a_value_counts_from_when_the_examples_are_known() -> None:
    one = run(
        {"search/examples_seen": 10.0},  # nothing was validated yet
        {"val/error": 0.5},
        {"val/error": 0.4},
        {"search/examples_seen": 20.0},
        {"val/error": 0.45, "search/examples_seen": 30.0},
        {"val/error": 0.3, "search/examples_seen": 40.0},
        {"val/error": 0.2},  # the run was cut here
    )
    assert one.trajectory(ERROR) == {20.0: 0.4, 30.0: 0.4, 40.0: 0.3}
    assert one.best(ERROR) == 0.2


def test_of_several_values_at_one_number_of_examples_the_last_counts() -> None:
    one = run({"val/error": 0.5, "search/examples_seen": 10.0}, {"val/error": 0.4, "search/examples_seen": 10.0})
    assert one.trajectory(ERROR) == {10.0: 0.4}


def test_examples_never_fall() -> None:
    one = run({"val/error": 0.5, "search/examples_seen": 20.0}, {"val/error": 0.4, "search/examples_seen": 10.0})
    assert list(one.trajectory(ERROR)) == [10.0, 20.0]


def test_what_a_search_calls_its_best_counts_and_not_what_children_had_on_the_way() -> None:
    one = run(
        {"val/error": 0.1, "search/best_error": 1.0, "search/examples_seen": 0.0},  # before the first child has ended
        {"val/error": 0.3, "search/best_error": 0.3, "search/examples_seen": 10.0},
    )
    assert one.trajectory(ERROR) == {10.0: 0.3}
    assert one.best(ERROR) == 0.3
    assert "val/error" in one.measures


def test_large_is_better_where_the_objective_says_so() -> None:
    f1 = Objective("val/f1", "max")
    one = run({"val/f1": 0.5, "search/examples_seen": 1.0}, {"val/f1": 0.4, "search/examples_seen": 2.0})
    assert one.trajectory(f1) == {1.0: 0.5, 2.0: 0.5}
    assert one.best(f1) == 0.5


def test_the_best_of_a_run_without_a_log_is_that_of_its_candidates() -> None:
    one = run(candidates=(Candidate("a", {"val/error": 0.4}), Candidate("b", {"val/error": 0.3}), Candidate("c", {})))
    assert one.best(ERROR) == 0.3
    assert run().best(ERROR) is None


@given(st.lists(st.floats(0, 0.99), min_size=1), st.sampled_from(["min", "max"]))
def test_a_trajectory_never_gets_worse_and_ends_at_the_best(values: list[float], mode: str) -> None:
    objective = Objective("val/x", "min" if mode == "min" else "max")
    one = run(*({"val/x": value, "search/examples_seen": float(n)} for n, value in enumerate(values)))
    bests = list(one.trajectory(objective).values())
    assert bests == sorted(bests, reverse=mode == "min")
    assert bests[-1] == one.best(objective) == (min if mode == "min" else max)(values)
    assert bests[0] == pytest.approx(values[0])
