import math
import random
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from itertools import count as count_up

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_nas.strategies import HullPool, within_band
from lightning_nas.strategies.hull_pool import ParentChoice
from tests.strategies.growing import generator

RULES: list[ParentChoice] = ["walk", "archai", "greedy", "random"]


def pool_of(counts: Sequence[int], choice: ParentChoice = "walk", costs: Sequence[float] | None = None) -> HullPool:
    """Return a pool of models on a hull, the cheapest first, that were chosen so often."""
    pool = HullPool(choice=choice)
    for number, cost in enumerate(costs or range(1, len(counts) + 1)):
        pool.add(number, cost, 1 / cost)
    pool.counts = dict(enumerate(counts))
    return pool


def walked(counts: Sequence[int], rounds: int = 300) -> list[float]:
    """Return the probabilities of the walk, round by round as the paper has it."""
    taken = [Fraction(0)] * len(counts)
    left = Fraction(1)
    for _ in range(rounds):
        for k in reversed(range(len(counts))):
            taken[k] += left / (counts[k] + 1)
            left *= 1 - Fraction(1, counts[k] + 1)
        left = left.limit_denominator(10**30)
    assert left < 1e-9
    return [float(share) for share in taken]


def walk_once(counts: Sequence[int], draw: random.Random) -> int:
    for step in count_up(1):
        k = -step % len(counts)
        if draw.random() < 1 / (counts[k] + 1):
            return k
    raise AssertionError


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([2, 0, 1], [0, 1 / 2, 1 / 2]),
        ([1, 1, 1], [1 / 7, 2 / 7, 4 / 7]),
        ([0, 0, 0], [0, 0, 1]),
        ([3, 1, 1], [1 / 13, 4 / 13, 8 / 13]),
    ],
)
def test_the_walk(counts: list[int], expected: list[float]) -> None:  # petridish T9
    assert pool_of(counts).probabilities == pytest.approx(expected, abs=1e-12)
    assert walked(counts) == pytest.approx(expected, abs=1e-9)


def test_the_rule_of_archai() -> None:  # petridish T9
    pool = pool_of([2, 0, 1], "archai", costs=[10, 20, 30])
    assert pool.probabilities == pytest.approx([0.346, 0.385, 0.269], abs=5e-4)
    alike = pool_of([4, 4], "archai", costs=[10, 20])  # counts that do not differ say nothing
    assert alike.probabilities == pytest.approx([2 / 3.5, 1.5 / 3.5])


@given(st.lists(st.integers(0, 6), min_size=1, max_size=6))
def test_the_walk_is_that_of_the_paper(counts: list[int]) -> None:
    assert pool_of(counts).probabilities == pytest.approx(walked(counts), abs=1e-6)


def test_models_are_chosen_as_often_as_the_walk_does() -> None:
    counts, draws = [3, 1, 2, 1], 4000
    draw, stream = random.Random(0), generator()
    walks = Counter(walk_once(counts, draw) for _ in range(draws))
    chosen: Counter[int | None] = Counter()
    for _ in range(draws):
        chosen[pool_of(counts).choose(stream)] += 1
    for k, probability in enumerate(walked(counts)):
        assert chosen[k] / draws == pytest.approx(probability, abs=0.03)
        assert walks[k] / draws == pytest.approx(probability, abs=0.03)


def test_choosing_counts() -> None:
    pool, stream = pool_of([0, 0, 0]), generator()
    assert [pool.choose(stream)] == [2]
    assert pool.counts == {0: 0, 1: 0, 2: 1}
    for _ in range(5):
        number = pool.choose(stream)
        assert number in (1, 2)
        if number == 1:
            break
    assert pool.counts[1] + pool.counts[2] == sum(pool.counts.values())


def test_nothing_is_chosen_from_an_empty_pool() -> None:
    stream = generator()
    before = stream.get_state().tolist()
    assert HullPool().choose(stream) is None
    assert stream.get_state().tolist() == before


def test_the_greedy_choice_is_the_smallest_error() -> None:
    pool = HullPool(choice="greedy", eps=math.inf)
    for number, point in enumerate([(1, 0.5), (4, 0.2), (3, 0.2), (5, 0.3)]):
        pool.add(number, *point)
    assert [pool.choose(generator()) for _ in range(3)] == [2, 2, 2]
    assert pool.probabilities == [0, 1, 0, 0]  # the cheapest first: 0, 2, 1, 3


def test_the_random_choice_does_not_look_at_counts() -> None:
    assert pool_of([9, 0, 1], "random").probabilities == pytest.approx([1 / 3] * 3)


def test_models_above_the_band_are_dropped_for_good() -> None:
    pool = HullPool(eps=0.025)
    pool.add(0, 10, 0.5)
    pool.add(1, 20, 0.6)  # above the hull, which ends at 0.5
    assert list(pool.points) == [0]
    pool.add(2, 20, 0.51)
    assert list(pool.points) == list(pool.counts) == [0, 2]
    pool.choose(generator())
    pool.add(3, 15, 0.3)
    assert pool.points == {0: (10, 0.5), 3: (15, 0.3)}
    assert pool.counts == {0: 0, 3: 0}  # model 2 took its count with it


def test_models_are_in_the_order_of_cost_and_error() -> None:
    pool = HullPool(eps=math.inf)
    for number, point in enumerate([(3, 0.2), (1, 0.5), (1, 0.4), (3, 0.2)]):
        pool.add(number, *point)
    assert list(pool.points) == list(pool.counts) == [2, 1, 0, 3]


POINTS = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), max_size=12)


@given(POINTS, st.sampled_from([0.0, 0.03, 0.3]))
def test_dropping_early_keeps_what_dropping_at_the_end_keeps(points: list[tuple[int, int]], eps: float) -> None:
    pool = HullPool(eps=eps)
    for number, (cost, error) in enumerate(points):
        pool.add(number, cost, error)
    assert set(pool.points) == {number for number, kept in enumerate(within_band(points, eps)) if kept}


@given(POINTS, st.sampled_from(RULES), st.integers(0, 12), st.integers(0, 5))
def test_a_loaded_pool_goes_on_alike(
    points: list[tuple[int, int]], choice: ParentChoice, moment: int, seed: int
) -> None:
    original, stream = HullPool(choice=choice), generator(seed)
    pools = [original]
    for number, point in enumerate(points):
        if number == moment:
            pools.append(HullPool(choice=choice))
            pools[1].load_state_dict(original.state_dict())
        state = stream.get_state()
        chosen = []
        for pool in pools:
            stream.set_state(state)
            pool.add(number, *point)
            chosen.append(pool.choose(stream))
        assert len(set(chosen)) == 1
    assert all(pool.state_dict() == original.state_dict() for pool in pools)
    assert all(list(pool.points) == list(pool.counts) for pool in pools)


@pytest.mark.parametrize("eps", [-0.1, math.nan])
def test_a_band_below_the_hull_is_refused(eps: float) -> None:
    with pytest.raises(ValueError, match="Expected `eps` to be at least 0 but got"):
        HullPool(eps=eps)


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected `choice` to be one of"):
        HullPool(choice="best")  # type: ignore[arg-type]


def test_the_global_generator_plays_no_part() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state().tolist()
    pool_of([1, 2, 3]).choose(generator())
    assert torch.get_rng_state().tolist() == before
