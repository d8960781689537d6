from collections import Counter
from collections.abc import Sequence

import pytest

from lightning_nas.architecture import Architecture
from lightning_nas.operations.weak_learner import Term
from lightning_nas.strategies import PetridishStrategy, Proposal, Strategy
from lightning_nas.testing import StrategyContract
from tests.strategies.growing import LAYERS, GrowingToy, evaluate, first_terms, growths, kinds, one, run, toy


class Outcomes(PetridishStrategy):
    """Makes up costs and selections, so that scores alone can be told."""

    def tell(
        self,
        proposal: Proposal,
        score: float | None,
        *,
        cost: float | None = None,
        selection: Sequence[Sequence[Term]] | None = None,
    ) -> None:
        job = self.jobs[min(max(proposal.number, 0), len(self.jobs) - 1)]
        super().tell(proposal, score, cost=float(1 + growths(self, job)), selection=first_terms(self, job))


class TestPetridishStrategy(StrategyContract):
    """Every failure ends a line, so there must be as many seeds as failures; the jobs of a line repeat networks."""

    waits = True
    budget = 20

    def strategy(self, seed: int = 0) -> PetridishStrategy:
        space = GrowingToy("macro", LAYERS)
        return Outcomes(space, seeds=[space.seed(start) for start in range(12)], seed=seed)

    def score(self, strategy: Strategy, architecture: Architecture) -> float:
        grown = str(architecture.values["increments"]).count(":")
        return 1 - 0.5 / (1 + grown) - 0.001 * int(architecture.values["start"])

    @pytest.mark.parametrize("batch", [1, 7])
    def test_nothing_is_proposed_twice(self, batch: int) -> None:
        """What is not repeated is a growth: each seed once, and at most two hallucinations for a model."""
        strategy = self.strategy()
        self._search(strategy, batch)
        hallucinations, children = (
            [job.parent for job in strategy.jobs if job.kind == kind] for kind in ("hallucination", "child")
        )
        assert len(strategy.jobs) - len(hallucinations) - len(children) == 12
        assert 8 >= len(hallucinations) > 0
        assert len(set(children)) == len(children)


@pytest.mark.parametrize("max_jobs", [1, 2, 7, 20, 31])
def test_the_toy_loop(max_jobs: int) -> None:  # petridish T10
    strategy = toy(max_jobs=max_jobs)
    jobs = run(strategy)
    assert len(jobs) == len(strategy.scores) == max_jobs
    assert strategy.ask(5) == strategy.waiting == []
    assert kinds(jobs) == ("s" + "hc" * 20)[:max_jobs]
    assert [growths(strategy, job) for job in jobs[:7]] == [0, 0, 1, 1, 2, 2, 3][:max_jobs]
    assert [job.parent for job in jobs[:7]] == [None, 0, 1, 2, 3, 4, 5][:max_jobs]


def test_the_parents_after_the_chain() -> None:  # petridish T10
    parents: Counter[int | None] = Counter()
    for seed in range(400):
        strategy = toy(max_jobs=8, seed=seed)
        jobs = run(strategy)
        assert strategy.pool.points == {0: (1, 0.5), 2: (2, 0.25), 4: (3, pytest.approx(0.5 / 3))}
        parents[jobs[7].parent] += 1
    # each has been chosen once: a half, a quarter, an eighth, and around again
    assert parents[4] / 400 == pytest.approx(4 / 7, abs=0.06)
    assert parents[2] / 400 == pytest.approx(2 / 7, abs=0.06)
    assert parents[0] / 400 == pytest.approx(1 / 7, abs=0.06)


def test_what_is_not_admitted_is_recorded() -> None:  # petridish T11
    strategy = toy(max_jobs=40)
    run(strategy)
    full = [job.number for job in strategy.jobs if growths(strategy, job) == 3]
    assert full
    assert all(number in strategy.costs and number in strategy.scores for number in full)
    assert {growths(strategy, strategy.jobs[number]) for number in strategy.pool.points} == {0, 1, 2}
    assert full[0] in strategy.hull()


@pytest.mark.parametrize(("max_cost", "admitted"), [(2.0, [0]), (2.1, [0, 2]), (0.5, [])])
def test_a_cost_that_is_not_admitted(max_cost: float, admitted: list[int]) -> None:  # petridish T11
    strategy = toy(max_cost=max_cost, max_jobs=3)
    run(strategy)
    assert list(strategy.pool.points) == admitted
    assert strategy.costs == ({0: 1.0, 2: 2.0} if admitted else {0: 1.0})


def test_the_search_ends_when_no_model_may_grow() -> None:
    strategy = toy(max_growth=0)
    assert kinds(run(strategy, n=4)) == "s"
    assert list(strategy.hull()) == [0]


@pytest.mark.parametrize("failed", [0, 1, 2, 5])
def test_a_failure_ends_the_only_line(failed: int) -> None:  # petridish T12
    strategy = toy()
    run(strategy, tell=lambda s, job: s.tell(job, None) if job.number == failed else evaluate(s, job))
    assert len(strategy.jobs) == len(strategy.scores) == failed + 1
    assert strategy.children(failed) == []
    assert failed not in strategy.costs
    assert strategy.scores[failed] is None


def test_a_selection_of_nothing_ends_a_line_too() -> None:
    strategy = toy(space=GrowingToy())
    run(strategy, tell=lambda s, job: s.tell(job, 0.5, selection=[[], []]) if job.places else evaluate(s, job))
    assert kinds(strategy.jobs) == "sh"
    assert strategy.scores == {0: 0.5, 1: 0.5}


def test_lines_that_are_left_go_on_after_a_failure() -> None:
    space = GrowingToy(places=["normal"])
    strategy = toy(space=space, seeds=[space.seed(k) for k in range(3)], max_jobs=20)
    run(strategy, tell=lambda s, job: s.tell(job, None) if job.number == 1 else evaluate(s, job))
    assert kinds(strategy.jobs)[:6] == "ssshhc"
    assert len(strategy.scores) == 20


def test_seeds_then_hallucinations_then_children_the_newest_first() -> None:
    space = GrowingToy(places=["normal"])
    seeds = [space.seed(k) for k in range(3)]
    strategy = toy(space=space, seeds=seeds)
    first = strategy.ask(3)
    assert [proposal.architecture for proposal in first] == seeds
    for proposal in first[:2]:
        evaluate(strategy, strategy.jobs[proposal.number])
    one_job, other = strategy.ask(2)  # of seed 1 or 0: both were trained
    evaluate(strategy, strategy.jobs[one_job.number])  # its child waits
    evaluate(strategy, strategy.jobs[2])  # a hallucination is newer, and comes first in any case
    assert kinds([strategy.jobs[p.number] for p in strategy.ask(2)]) == "hc"
    evaluate(strategy, strategy.jobs[other.number])
    child = one(strategy)
    assert (child.kind, child.parent) == ("child", other.number)


def test_the_newest_child_comes_first() -> None:
    space = GrowingToy(places=["normal"])
    strategy = toy(space=space, seeds=[space.seed(k) for k in range(2)])
    for n in (2, 2):
        for proposal in strategy.ask(n):
            evaluate(strategy, strategy.jobs[proposal.number])
    assert [strategy.jobs[p.number].parent for p in strategy.ask(2)] == [3, 2]


def test_idle_workers_get_a_second_hallucination() -> None:
    strategy = toy()
    evaluate(strategy, one(strategy, n=4))
    assert kinds([strategy.jobs[p.number] for p in strategy.ask(4)]) == "hh"
    assert strategy.ask(2) == []  # two for each model, no more


def test_no_second_hallucination_for_workers_that_are_busy() -> None:
    strategy = toy()
    evaluate(strategy, one(strategy))
    assert one(strategy).kind == "hallucination"
    assert strategy.ask(3) == []  # a worker that comes later waits for the next model


def test_two_workers_are_busy_from_the_second_round_on() -> None:
    strategy = toy(max_jobs=21)
    sizes = []
    while proposals := strategy.ask(2):
        sizes.append(len(proposals))
        for proposal in proposals:
            evaluate(strategy, strategy.jobs[proposal.number])
    assert sizes == [1] + [2] * 10


def test_budgets_are_by_kind() -> None:
    strategy = toy(seed_epochs=7, hallucination_epochs=5, child_epochs=3, max_jobs=5)
    assert [job.epochs for job in run(strategy)] == [7, 5, 3, 5, 3]
    assert [job.epochs for job in run(toy(max_jobs=3))] == [200, 80, 80]


def test_the_family_of_a_model() -> None:
    strategy = toy(max_jobs=7)
    jobs = run(strategy)
    assert strategy.family(6) == jobs
    assert strategy.family(0) == jobs[:1]
    assert strategy.family(3) == jobs[:4]
    assert [[job.number for job in strategy.children(k)] for k in range(7)] == [[1], [2], [3], [4], [5], [6], []]


def test_the_hull_is_of_all_models() -> None:
    strategy = toy(max_jobs=7)
    run(strategy)
    hull = strategy.hull()
    assert list(hull) == [0, 2, 4, 6]
    assert 6 not in strategy.pool.points
    assert hull[2].metrics == {"score": 0.75, "cost": 2.0}
    assert hull[2] == strategy.jobs[2].architecture


def test_the_band_of_the_hull_can_be_chosen() -> None:
    space = GrowingToy()
    strategy = toy(space=space, seeds=[space.seed(k) for k in range(3)])
    for proposal, (cost, error) in zip(strategy.ask(3), [(2, 0.3), (1, 0.4), (3, 0.304)], strict=True):
        strategy.tell(proposal, 1 - error, cost=cost)
    assert list(strategy.hull()) == [1, 0, 2]
    assert list(strategy.hull(eps=0)) == [1, 0]
    assert toy().hull() == {}


def test_hallucinations_are_never_the_best() -> None:
    strategy = toy(max_jobs=2)
    evaluate(strategy, one(strategy))
    job = one(strategy)
    strategy.tell(job, 0.9, selection=first_terms(strategy, job))
    assert strategy.scores[1] == 0.9
    assert strategy.best is not None
    assert strategy.best.metrics == {"score": 0.5}


def test_the_weights_that_are_needed() -> None:
    strategy = toy()
    assert strategy.needed == set()
    evaluate(strategy, one(strategy))
    assert strategy.needed == {0}
    job = one(strategy)
    assert strategy.needed == {0}
    evaluate(strategy, job)  # its child is not asked for yet
    assert strategy.needed == {0, 1}
    child = one(strategy)
    assert strategy.needed == {0, 1}
    strategy.tell(child, 0.4, cost=2.0)  # above the hull: not kept, nor is what it came from
    assert strategy.needed == {0}


def test_a_parent_that_has_left_the_pool_is_needed_until_its_child_is_trained() -> None:
    space = GrowingToy(places=["normal"])
    strategy = toy(space=space, seeds=[space.seed(k) for k in range(2)])
    first, second = strategy.ask(2)
    strategy.tell(first, 0.5, cost=2.0)
    strategy.tell(second, 0.6, cost=1.0)
    assert list(strategy.pool.points) == [1]
    assert strategy.needed == {0, 1}  # a hallucination of the first was begun
    strategy.ask(2)
    assert strategy.needed == {0, 1}
