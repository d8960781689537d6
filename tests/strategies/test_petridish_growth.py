import math
from collections import Counter
from typing import Literal

import pytest

from lightning_nas.spaces import PetridishSpace, get_space
from lightning_nas.strategies import Job, PetridishStrategy
from tests.strategies.growing import (
    LAYERS,
    GrowingToy,
    evaluate,
    growths,
    kinds,
    one,
    plain,
    run,
    saved,
    toy,
)


def test_a_candidate_for_each_kind_of_cell_and_a_coin_for_the_child() -> None:
    grown: Counter[str] = Counter()
    for seed in range(200):
        jobs = run(toy(space=GrowingToy(), seed=seed, max_jobs=3))
        assert jobs[1].places == ("normal", "reduction")
        (place,) = jobs[2].places
        assert jobs[1].places[jobs[2].candidate or 0] == place
        grown[place] += 1
    assert grown["normal"] + grown["reduction"] == 200
    assert 70 < grown["normal"] < 130  # four standard deviations


def test_candidates_that_selected_nothing_are_not_grown() -> None:
    for seed in range(10):
        strategy = toy(space=GrowingToy(), seed=seed)
        evaluate(strategy, one(strategy))
        strategy.tell(one(strategy), 0.5, selection=[[], [(0, "identity")]])
        child = one(strategy)
        assert (child.places, child.candidate, child.terms) == (("reduction",), 1, ((0, "identity"),))
        assert child.architecture.values["increments"] == "reduction:0identity"


@pytest.mark.parametrize(("count", "most"), [(1, 1), (11, 1), (13, 2), (22, 2)])
def test_candidates_are_spread_over_the_layers(count: int, most: int) -> None:  # petridish T6
    drawn = set()
    for seed in range(20):
        space = GrowingToy("macro", LAYERS)
        jobs = run(toy(space=space, places_per_hallucination=count, max_jobs=2, seed=seed))
        times = Counter(jobs[1].places)
        assert sum(times.values()) == count
        assert max(times.values()) == most
        assert len(times) == min(count, 11)
        assert sum(times[place] > count // 11 for place in LAYERS) == count % 11
        assert list(jobs[1].places[11 * (count // 11) :]) == sorted(
            set(jobs[1].places[11 * (count // 11) :]), key=LAYERS.index
        )
        drawn.add(jobs[1].places)
    assert (len(drawn) > 3) == (count % 11 > 0)


def test_a_child_says_which_of_two_candidates_of_a_layer_it_was() -> None:
    seen = set()
    for seed in range(10):
        strategy = toy(space=GrowingToy("macro", ["only"]), places_per_hallucination=2, seed=seed)
        evaluate(strategy, one(strategy))
        strategy.tell(one(strategy), 0.5, selection=[[(0, "identity")], [(1, "identity")]])
        child = one(strategy)
        assert child.terms == ((child.candidate, "identity"),)
        seen.add(child.candidate)
    assert seen == {0, 1}


def test_a_hallucination_trains_its_parent_from_its_weights() -> None:
    strategy = toy(max_jobs=9)
    for job in run(strategy)[1:]:
        assert job.parent is not None
        parent = strategy.jobs[job.parent]
        if job.kind == "hallucination":
            assert job.architecture == parent.architecture
            assert parent.kind in ("seed", "child")
        else:
            assert parent.kind == "hallucination"
            grown = strategy.space.grow(parent.architecture, job.places[0], job.terms)  # type: ignore[attr-defined]
            assert job.architecture == grown


def test_random_growth_has_the_same_jobs() -> None:
    random = toy(choice="random", selection="random", eps=math.inf, max_jobs=41)
    run(random)
    assert kinds(random.jobs) == kinds(run(toy(max_jobs=41)))
    terms = [job.terms for job in random.jobs if job.kind == "child"]
    assert {len(set(chosen)) for chosen in terms} == {3}
    assert len(set(terms)) > 5  # what is told is always the same
    assert len({job.terms for job in run(toy(max_jobs=7)) if job.kind == "child"}) == 1


def test_random_growth_chooses_parents_evenly() -> None:
    def worse(strategy: PetridishStrategy, job: Job) -> None:
        if job.kind == "hallucination":
            evaluate(strategy, job)
        else:
            strategy.tell(job, 0.5 - 0.1 * growths(strategy, job), cost=1 + growths(strategy, job))

    random = toy(choice="random", selection="random", eps=math.inf, max_jobs=601, max_growth=2)
    run(random, tell=worse)
    assert len(random.pool.points) > 20
    assert random.pool.counts[0] < 100
    walk = toy(max_jobs=601, max_growth=2)
    run(walk, tell=worse)
    assert walk.pool.counts == {0: 301}  # the last is never asked for


def test_random_growth_takes_all_where_there_are_few_candidates() -> None:
    strategy = toy(space=GrowingToy(terms=50), selection="random", max_jobs=3)
    assert len(run(strategy)[2].terms) == 6


@pytest.mark.parametrize("mode", ["cell", "macro"])
@pytest.mark.parametrize("selection", ["told", "random"])
def test_the_space_of_the_paper(mode: Literal["cell", "macro"], selection: Literal["told", "random"]) -> None:
    space = PetridishSpace(mode, cells=1, max_growth=3)
    strategy = PetridishStrategy(space.name, selection=selection, places_per_hallucination=2, max_jobs=15)
    while strategy.ask(2):
        for job in [strategy.jobs[proposal.number] for proposal in strategy.waiting]:
            cost = 1.0 + space.growths(job.architecture)
            if job.kind == "hallucination":
                chosen = [space.candidates(job.architecture, place)[-3:] for place in job.places]
                strategy.tell(job, 0.5, selection=chosen)
            else:
                strategy.tell(job, 1 - 0.5 / cost, cost=cost)
    assert len(strategy.scores) == 15
    for job in strategy.jobs:
        assert space.growths(job.architecture) == sum(one.kind == "child" for one in strategy.family(job.number))
        if job.kind == "child":
            increment = space.increments(job.architecture)[-1]
            assert (increment.place, set(increment.terms)) == (job.places[0], set(job.terms))
    assert max(space.growths(job.architecture) for job in strategy.jobs) == 3
    loaded = PetridishStrategy(space.name, places_per_hallucination=2, max_jobs=15)
    loaded.load_state_dict(saved(strategy))
    assert (loaded.jobs, plain(loaded)) == (strategy.jobs, plain(strategy))


def test_seeds_of_two_sizes() -> None:
    seeds = [PetridishSpace(cells=cells).seed() for cells in (1, 2)]
    strategy = PetridishStrategy("petridish?cells=1", seeds=seeds)
    for proposal, (cost, error) in zip(strategy.ask(2), [(1.0, 0.5), (2.0, 0.2)], strict=True):
        strategy.tell(proposal, 1 - error, cost=cost)
    hallucinations = [strategy.jobs[proposal.number] for proposal in strategy.ask(2)]
    assert {job.architecture.space for job in hallucinations} == {"petridish?cells=1", "petridish?cells=2"}
    larger = next(job for job in hallucinations if job.parent == 1)
    strategy.tell(larger, 0.5, selection=[[(0, "identity")], []])
    assert one(strategy).architecture == PetridishSpace(cells=2).grow(seeds[1], "normal", [(0, "identity")])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "petridish?cells=1&max_growth=1",
            "Expected `max_growth` to be 0 to 1, as 'petridish.cells=1&max_growth=1' allows",
        ),
        (
            "petridish?cells=1&terms=2",
            "Expected `terms` to be 1 to 2, as 'petridish.cells=1&terms=2' allows, but got 3",
        ),
    ],
)
def test_a_seed_of_a_space_that_grows_less_is_refused(name: str, message: str) -> None:
    space = get_space(name)
    assert isinstance(space, PetridishSpace)
    with pytest.raises(ValueError, match=message):
        PetridishStrategy("petridish", seeds=[space.seed()])
