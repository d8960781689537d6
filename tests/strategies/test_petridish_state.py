import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_nas.architecture import Architecture
from lightning_nas.spaces import NasBench201Space
from lightning_nas.strategies import PetridishStrategy, Proposal
from tests.strategies.growing import (
    LAYERS,
    GrowingToy,
    evaluate,
    first_terms,
    growths,
    kinds,
    one,
    plain,
    run,
    saved,
    toy,
)

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"terms": 0}, "Expected `terms` to be 1 to 3, as 'list' allows, but got 0"),
    ({"terms": 4}, "Expected `terms` to be 1 to 3"),
    ({"max_jobs": 0}, "Expected `max_jobs` to be at least 1"),
    ({"places_per_hallucination": 0}, "Expected `places_per_hallucination` to be at least 1"),
    ({"seed_epochs": 0}, "Expected `seed_epochs` to be at least 1"),
    ({"hallucination_epochs": 0}, "Expected `hallucination_epochs` to be at least 1"),
    ({"child_epochs": 0}, "Expected `child_epochs` to be at least 1"),
    ({"max_cost": 0.0}, "Expected `max_cost` to be above 0"),
    ({"eps": -0.1}, "Expected `eps` to be at least 0"),
    ({"choice": "best"}, "Expected `choice` to be one of"),
    ({"selection": "best"}, "Expected `selection` to be one of"),
    ({"max_growth": 9}, "Expected `max_growth` to be 0 to 8, as 'list' allows, but got 9"),
    ({"max_growth": -1}, "Expected `max_growth` to be 0 to 8"),
    ({"seeds": []}, "Expected `seeds` to hold at least one architecture"),
]


def step(strategy: PetridishStrategy, data: st.DataObject, workers: int) -> bool:
    """Ask for idle workers and tell one of the jobs under way, some of them as failed; return whether there was one."""
    if idle := workers - len(strategy.waiting):
        strategy.ask(idle)
    if not strategy.waiting:
        return False
    job = strategy.jobs[data.draw(st.sampled_from([job.number for job in strategy.waiting]))]
    outcome = data.draw(st.sampled_from(["good", "good", "good", "bad", "failed"]))
    if outcome == "failed":
        strategy.tell(job, None)
    elif job.kind == "hallucination":
        strategy.tell(job, 0.1, selection=first_terms(strategy, job, 2 if outcome == "good" else 0))
    else:
        strategy.tell(job, 1 - 0.5 / (1 + growths(strategy, job)) - 0.2 * (outcome == "bad"), cost=1.0 + job.number % 7)
    return True


def search(places: int, seed: int = 0) -> PetridishStrategy:
    space = GrowingToy("macro", LAYERS[:3])
    seeds = [space.seed(k) for k in range(3)]
    return toy(space=space, seeds=seeds, max_jobs=25, places_per_hallucination=places, seed=seed)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(1, 4))
def test_no_order_of_telling_loses_a_job(data: st.DataObject, workers: int) -> None:
    strategy = search(data.draw(st.integers(1, 4)))
    while step(strategy, data, workers):
        assert len(strategy.waiting) <= workers
    jobs = strategy.jobs
    assert len(jobs) == len(strategy.scores) <= 25
    assert [job.number for job in jobs] == list(range(len(jobs)))
    assert all(job.parent is None or strategy.scores[job.parent] is not None for job in jobs)
    assert all(strategy.jobs[number].kind != "hallucination" for number in strategy.costs)
    for job in jobs:
        born = [child.kind for child in strategy.children(job.number)]
        if job.kind == "hallucination":
            assert born in ([], ["child"])
        else:
            assert set(born) <= {"hallucination"}
    hallucinations = kinds(jobs).count("h")
    assert hallucinations <= 2 * len(strategy.costs)
    if len(jobs) < 25:  # the queues have drained: each model has had its hallucination
        assert hallucinations >= len(strategy.costs)


@settings(max_examples=30, deadline=None)
@given(st.data(), st.integers(1, 3), st.integers(0, 24))
def test_a_search_that_is_cut_anywhere_goes_on_alike(data: st.DataObject, workers: int, moment: int) -> None:
    count = data.draw(st.integers(1, 4))
    original, loaded = search(count), search(count, seed=9)
    for _ in range(moment):
        step(original, data, workers)
    loaded.load_state_dict(saved(original))
    assert plain(loaded) == plain(original)
    for strategy in (original, loaded):
        run(strategy, n=2)
    assert loaded.jobs == original.jobs
    assert plain(loaded) == plain(original)
    assert (loaded.pool.points, loaded.needed, loaded.hull()) == (
        original.pool.points,
        original.needed,
        original.hull(),
    )


@settings(max_examples=10, deadline=None)
@given(st.data())
def test_processes_that_tell_alike_hold_the_same(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 4))
    first, second = search(count), search(count)
    while proposals := first.ask(2):
        assert second.ask(2) == proposals
        for proposal in proposals:
            for strategy in (first, second):
                evaluate(strategy, strategy.jobs[proposal.number])
        assert (first.pool.points, first.pool.counts) == (second.pool.points, second.pool.counts)
    assert plain(first) == plain(second)


def test_the_second_hallucination_survives_a_state() -> None:
    original = toy()
    evaluate(original, one(original))
    loaded = toy(seed=3)
    loaded.load_state_dict(saved(original))
    assert kinds([loaded.jobs[p.number] for p in loaded.ask(2)]) == "hh"


@pytest.mark.parametrize(("settings", "message"), WRONG)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        toy(space=GrowingToy(), **settings)


def test_a_space_whose_networks_do_not_grow_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected a space whose networks grow, such as 'petridish', but got 'nasb"):
        PetridishStrategy("nasbench201")
    seed = NasBench201Space().sample(torch.Generator())
    with pytest.raises(ValueError, match="Expected a space whose networks grow"):
        toy(seeds=[seed])


def test_a_seed_that_is_no_member_is_refused() -> None:
    space = GrowingToy(max_growth=0)
    grown = Architecture(space.name, {"increments": "normal:0identity", "start": 0})
    with pytest.raises(ValueError, match="Expected a toy"):
        toy(space=space, seeds=[grown])


@pytest.mark.parametrize("cost", [None, 0.0, -1.0, math.nan, math.inf])
def test_a_model_without_a_cost_is_refused(cost: float | None) -> None:
    strategy = toy()
    job = one(strategy)
    with pytest.raises(ValueError, match="Expected the cost of job 0 to be a positive number but got"):
        strategy.tell(job, 0.5, cost=cost)
    assert (strategy.scores, strategy.costs, strategy.waiting) == ({}, {}, [job])


def test_a_score_that_is_no_accuracy_is_refused() -> None:
    strategy = toy()
    with pytest.raises(ValueError, match="Expected a score of at most 1, because the error is 1 - score, but got 93"):
        strategy.tell(one(strategy), 93.0, cost=1.0)
    assert strategy.scores == {}


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (None, "Expected a selection for each of the places .'normal', 'reduction'. but got None"),
        ([[]], "Expected a selection for each of the places"),
        ([[], [(2, "identity")]], "at most 3 different candidates of place 'reduction' but got .*2, 'identity'"),
        ([[(0, "conv")], []], "at most 3 different candidates of place 'normal'"),
        ([[(0, "identity")] * 2, []], "at most 3 different candidates"),
        (
            [[(k % 2, name) for k, name in enumerate(["identity", "identity", "sep_conv_3x3", "sep_conv_3x3"])], []],
            "at most 3",
        ),
    ],
)
def test_a_wrong_selection_is_refused(selection: Any, message: str) -> None:
    strategy = toy(space=GrowingToy())
    evaluate(strategy, one(strategy))
    job = one(strategy)
    before = plain(strategy)
    with pytest.raises(ValueError, match=message):
        strategy.tell(job, 0.5, selection=selection)
    assert plain(strategy) == before


def test_a_job_told_twice_counts_once() -> None:
    strategy = toy()
    job = one(strategy)
    strategy.tell(job, 0.5, cost=1.0)
    strategy.tell(job, 0.9, cost=-1.0)
    assert (strategy.costs, strategy.scores) == ({0: 1.0}, {0: 0.5})


def test_seeds_of_a_job_that_is_not_the_strategys() -> None:
    strategy = toy()
    job = one(strategy)
    for foreign in (replace(job, epochs=3), Proposal(0, job.architecture), replace(job, number=1)):
        with pytest.raises(ValueError, match="Expected a proposal that this strategy has made"):
            strategy.tell(foreign, 0.5, cost=1.0)
    assert strategy.costs == {}
