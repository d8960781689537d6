from pathlib import Path

from lightning_nas.objective import Objective
from lightning_nas.runs import Candidate, Comparison, Run


def run(
    name: str, *rows: dict[str, float], objectives: tuple[Objective, ...] = (), values: dict[str, float] | None = None
) -> Run:
    candidates = (Candidate("epoch 0", values),) if values else ()
    return Run(name, Path(name), history=rows, candidates=candidates, objectives=objectives)


def test_the_quality_is_what_most_runs_have() -> None:
    classifier = run("a", {"val/error": 0.5, "val/loss": 1.0})
    language = run("b", {"val/perplexity": 80.0, "val/loss": 4.0})
    assert Comparison([classifier]).quality == Objective("val/error")
    assert Comparison([language]).quality == Objective("val/perplexity")
    assert Comparison([classifier, language]).quality == Objective("val/loss")
    assert Comparison([run("c", {"search/best_error": 0.5})]).quality == Objective("val/error")


def test_what_a_project_searches_for_comes_before_its_loss() -> None:
    f1 = Objective("val/f1", "max")
    own = run("a", {"val/loss": 1.0, "val/f1": 0.5}, objectives=(Objective("params"), f1))
    assert Comparison([own]).quality == f1


def test_metrics_of_other_names_will_do_but_not_those_of_training() -> None:
    assert Comparison([run("a", {"train_loss": 1.0, "val_loss": 2.0})]).quality == Objective("val_loss")


def test_costs_are_the_usual_ones_and_what_was_searched_for() -> None:
    energy, f1 = Objective("energy", "min"), Objective("val/f1", "max")
    objectives = (energy, f1, Objective("val/loss"))
    own = run(
        "a", objectives=objectives, values={"energy": 1.0, "val/error": 0.5, "val/f1": 0.5, "macs": 2.0, "train/x": 1.0}
    )
    comparison = Comparison([own, run("b", values={"val/error": 0.5, "params": 2.0})])
    assert comparison.costs == [Objective("params"), Objective("macs"), energy, f1]
    assert Comparison([run("c", {"val/error": 0.5})]).costs == []


def test_what_is_not_measured_together_with_the_quality_is_no_cost_of_it() -> None:
    errors = [run(name, {"val/error": 0.5}, values={"val/error": 0.5, "params": 2.0}) for name in "ab"]
    f1 = Objective("val/f1", "max")
    other = run("c", objectives=(f1,), values={"val/f1": 0.5, "macs": 2.0})
    assert Comparison([*errors, other]).costs == [Objective("params")]


def test_the_best_run_comes_first_and_those_without_the_quality_last() -> None:
    runs = [run("none", {"x": 1.0}), run("bad", {"val/error": 0.5}), run("good", {"val/error": 0.25})]
    assert [one.name for one in Comparison(runs).runs] == ["good", "bad", "none"]
    f1 = Objective("val/f1", "max")
    runs = [run("bad", {"val/f1": 0.25}, objectives=(f1,)), run("good", {"val/f1": 0.5})]
    assert [one.name for one in Comparison(runs).runs] == ["good", "bad"]
