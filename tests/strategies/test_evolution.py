import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from lightning_nas.architecture import Architecture, Decision, Value
from lightning_nas.spaces import NasBench201Space, SearchSpace
from lightning_nas.strategies import EvolutionStrategy, Proposal, Strategy
from lightning_nas.strategies.evolution import Kill
from lightning_nas.testing import StrategyContract
from tests.controllers.spaces import ListSpace, flag, operation
from tests.references import evolution


class TestEvolutionStrategy(StrategyContract):
    learns = True

    def strategy(self, seed: int = 0) -> Strategy:
        return EvolutionStrategy("nasbench201", population=10, sample=5, seed=seed)


class TestWithoutAging(TestEvolutionStrategy):
    def strategy(self, seed: int = 0) -> Strategy:
        return EvolutionStrategy("nasbench201", population=10, sample=5, kill="worst_in_sample", seed=seed)


class Integers(ListSpace):
    """One integer, which mutation lowers by two; 1, 2, 3 are drawn in turn."""

    def __init__(self) -> None:
        super().__init__([Decision("value", tuple(range(-9, 4)), "number")])
        self.drawn = 0

    def sample(self, generator: torch.Generator) -> Architecture:
        self.drawn += 1
        return Architecture(self.name, {"value": self.drawn})

    def mutate(self, architecture: Architecture, generator: torch.Generator) -> Architecture:
        return Architecture(self.name, {"value": int(value(architecture)) - 2})


class WithoutReplacement(EvolutionStrategy):
    def _draw(self) -> list[int]:
        order = torch.randperm(len(self.members), generator=self.generator)
        return [self.members[k] for k in order[: self.sample].tolist()]


def value(architecture: Architecture) -> Value:
    return architecture.values["value"]


def populations(strategy: EvolutionStrategy, evaluations: int) -> list[list[Value]]:
    """Return the population after every cycle from the first full one on."""
    seen = []
    while len(strategy.scores) < evaluations:
        (proposal,) = strategy.ask()
        strategy.tell(proposal, float(value(proposal.architecture)))
        seen.append([value(strategy.proposals[number].architecture) for number in strategy.members])
    return seen[strategy.population :]


@pytest.mark.parametrize(
    ("kill", "expected", "children"),
    [
        ("oldest", [[2, 3, 1], [3, 1, 1], [1, 1, 1]], [1, 1, 1]),
        ("worst", [[2, 3, 1], [2, 3, 1], [2, 3, 1]], [1, 1, 1]),
        ("worst_in_sample", [[2, 3, 1], [2, 3, 1], [2, 3, 1]], [1, 1, 1]),
    ],
)
def test_trace(kill: Kill, expected: list[list[int]], children: list[int]) -> None:  # evolution T1
    strategy = WithoutReplacement(Integers(), population=3, sample=3, identity=0.0, kill=kill, repeats=True)
    assert populations(strategy, 6) == expected
    assert [value(p.architecture) for p in strategy.proposals] == [1, 2, 3, *children]
    assert len(strategy.proposals) == len(strategy.scores) == 6
    assert strategy.best is not None
    assert value(strategy.best) == 3
    history, reference = evolution.evolve(
        iter([1, 2, 3]).__next__, lambda x: x - 2, float, 6, 3, 3, kill, replacement=False
    )
    assert reference == expected
    assert max(history, key=lambda member: member[1])[0] == 3


def test_the_worst_of_equals_is_the_oldest() -> None:
    strategy = WithoutReplacement(Integers(), population=3, sample=3, identity=0.0, kill="worst", repeats=True)
    populations(strategy, 6)
    # 1 is dropped first, then the ones that came after it, in the order in which they came
    assert strategy.members == [1, 2, 5]


def test_the_parent_is_the_best_of_draws_with_replacement() -> None:  # evolution T3
    strategy = EvolutionStrategy(bits(100), population=100, sample=25)
    for proposal in strategy.ask(100):
        strategy.tell(proposal, float(proposal.number))
    draws = [strategy._draw() for _ in range(20_000)]
    assert sum(99 in drawn for drawn in draws) / len(draws) == pytest.approx(1 - 0.99**25, abs=0.01)
    assert Counter(map(len, draws)) == {25: 20_000}
    assert any(len(set(drawn)) < 25 for drawn in draws)
    members = Counter(number for drawn in draws for number in drawn)
    assert min(members.values()) > 0.93 * 5000
    assert max(members.values()) < 1.07 * 5000


def test_a_budget_of_the_population_is_random_search() -> None:  # evolution T2
    proposals = []
    for population, sample in ((20, 1), (1000, 50)):
        strategy = EvolutionStrategy("nasbench201", population=population, sample=sample, repeats=True)
        search(strategy, 20)
        proposals.append([proposal.architecture for proposal in strategy.proposals])
    assert proposals[0] == proposals[1]
    generator = EvolutionStrategy("nasbench201").generator
    drawn = [NasBench201Space().sample(generator) for _ in range(20)]
    assert proposals[0] == drawn


def test_identity_mutations() -> None:  # evolution T4, what of it is not the space's
    strategy = EvolutionStrategy(bits(20), population=1, sample=1, identity=0.05, repeats=True)
    parent = search(strategy, 1)[0].architecture
    changed = Counter(distance(proposal.architecture, parent) for proposal in strategy.ask(20_000))
    assert changed.keys() == {0, 1}
    assert changed[0] / 20_000 == pytest.approx(0.05, abs=0.006)  # four standard deviations


@pytest.mark.parametrize("options", [{"identity": 0.0, "repeats": True}, {"identity": 0.9}])
def test_no_identity_mutations(options: dict[str, Any]) -> None:
    strategy = EvolutionStrategy("nasbench201", population=1, sample=1, **options)
    parent = search(strategy, 1)[0].architecture
    assert {distance(proposal.architecture, parent) for proposal in strategy.ask(15)} == {1}


def test_children_join_in_the_order_of_their_scores_and_the_failed_do_not() -> None:
    strategy = EvolutionStrategy("nasbench201", population=3, sample=1)
    asked = strategy.ask(6)
    for number, score in ((4, 0.5), (0, None), (2, 0.1), (5, float("nan"))):
        strategy.tell(asked[number], score)
    assert strategy.members == [4, 2]
    strategy.tell(asked[3], 0.2)
    assert strategy.members == [4, 2, 3]
    strategy.tell(asked[1], 0.9)
    assert strategy.members == [2, 3, 1]
    assert strategy.best == asked[1].architecture


def test_parents_may_be_dead_when_children_come() -> None:
    """With one member only, whoever comes first is the parent of all asked for before the next."""
    strategy = EvolutionStrategy("nasbench201", population=1, sample=1, kill="worst_in_sample")
    (first,) = search(strategy, 1)
    one, other = strategy.ask(2)
    assert distance(one.architecture, first.architecture) == distance(other.architecture, first.architecture) == 1
    strategy.tell(one, 2.0)
    assert strategy.members == [one.number]
    strategy.tell(other, 1.0)  # its tournament is dead: the worst of all goes, which is itself
    assert strategy.members == [one.number]


def test_only_the_sample_competes() -> None:
    strategy = EvolutionStrategy("nasbench201", population=2, sample=1, kill="worst_in_sample")
    bad, good = strategy.ask(2)
    strategy.tell(bad, 0.0)
    strategy.tell(good, 1.0)
    child = strategy.ask()[0]
    (drawn,) = strategy._drawn[child.number]
    strategy.tell(child, 0.5)
    assert strategy.members == [1 - drawn, child.number]


def test_a_space_that_is_used_up() -> None:
    space = ListSpace([flag("one"), flag("two"), flag("three")])
    strategy = EvolutionStrategy(space, population=2, sample=2)
    assert len({proposal.architecture for proposal in search(strategy, 8)}) == 8
    assert strategy.ask() == []


def test_a_single_architecture_has_no_mutants() -> None:
    strategy = EvolutionStrategy(ListSpace([operation("one", ("a",))]), population=1)
    (proposal,) = strategy.ask()
    strategy.tell(proposal, 1.0)
    assert strategy.ask() == []


def test_where_all_neighbours_are_known_it_looks_elsewhere() -> None:
    """Two islands between which no mutation leads."""

    class Islands(ListSpace):
        def mutate(self, architecture: Architecture, generator: torch.Generator) -> Architecture:
            island = architecture.values["island"]
            return Architecture(self.name, {"island": island, "place": int(torch.randint(3, (), generator=generator))})

    space = Islands([operation("island", ("a", "b")), Decision("place", (0, 1, 2), "number")])
    strategy = EvolutionStrategy(space, population=1, sample=1)
    assert len({proposal.architecture for proposal in search(strategy, 6)}) == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"population": 0}, "Expected `population` to be at least 1"),
        ({"sample": 0}, "Expected `sample` to be at least 1"),
        ({"identity": 1.0}, "Expected `identity` to be a share"),
        ({"kill": "youngest"}, "Expected `kill` to be one of"),
    ],
)
def test_settings_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EvolutionStrategy("nasbench201", **options)


@pytest.mark.parametrize(
    ("population", "sample", "low", "high"), [(100, 10, 86, 93), (100, 25, 92, 98), (20, 5, 91, 96)]
)
@pytest.mark.slow
def test_bit_strings(population: int, sample: int, low: float, high: float) -> None:  # evolution T6
    space = bits(100)
    most = []
    for seed in range(20):
        noise = random.Random(seed)
        strategy = EvolutionStrategy(space, population=population, sample=sample, seed=seed, identity=0, repeats=True)
        for _ in range(1000):
            (proposal,) = strategy.ask()
            fitness = ones(proposal.architecture) / 100 + noise.gauss(0, 0.01)
            strategy.tell(proposal, min(max(fitness, 0.0), 1.0))
        most.append(max(ones(proposal.architecture) for proposal in strategy.proposals))
    assert low < sum(most) / 20 < high


@pytest.mark.parametrize(
    ("population", "sample", "low", "high"), [(100, 10, 86, 93), (100, 25, 92, 98), (20, 5, 91, 96)]
)
def test_the_reference_on_bit_strings(population: int, sample: int, low: float, high: float) -> None:
    most = []
    for seed in range(40):
        rng = random.Random(seed)

        def evaluate(genome: Sequence[int], rng: random.Random = rng) -> float:
            return min(max(sum(genome) / 100 + rng.gauss(0, 0.01), 0.0), 1.0)

        def flip(genome: tuple[int, ...], rng: random.Random = rng) -> tuple[int, ...]:
            place = rng.randrange(100)
            return (*genome[:place], 1 - genome[place], *genome[place + 1 :])

        def draw(rng: random.Random = rng) -> tuple[int, ...]:
            return tuple(rng.randrange(2) for _ in range(100))

        history, _ = evolution.evolve(draw, flip, evaluate, 1000, population, sample, rng=rng)
        most.append(max(sum(genome) for genome, _ in history))
    assert low < sum(most) / 40 < high


class Bits(ListSpace):
    """Flips one bit, without the checks that take most of the time."""

    def mutate(self, architecture: Architecture, generator: torch.Generator) -> Architecture:
        name = f"bit{int(torch.randint(len(self.decisions), (), generator=generator))}"
        return Architecture(self.name, {**architecture.values, name: not architecture.values[name]})

    def canonical(self, architecture: Architecture) -> Architecture:
        return architecture


def bits(count: int) -> SearchSpace:
    return Bits([flag(f"bit{k}") for k in range(count)])


def ones(architecture: Architecture) -> int:
    return sum(bool(bit) for bit in architecture.values.values())


def distance(one: Architecture, other: Architecture) -> int:
    return sum(one.values[name] != value for name, value in other.values.items())


def search(strategy: Strategy, evaluations: int) -> list[Proposal]:
    """Evaluate one after the other; the share of the first choices is the score."""
    for _ in range(evaluations):
        (proposal,) = strategy.ask()
        decisions = strategy.space.decisions
        strategy.tell(proposal, sum(proposal.architecture.values[d.name] == d.choices[0] for d in decisions))
    return strategy.proposals
