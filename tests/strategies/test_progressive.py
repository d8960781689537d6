import math
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor

from lightning_nas.architecture import Architecture
from lightning_nas.predictors import Prediction, Tokens
from lightning_nas.spaces.nasnet import NasnetSpace
from lightning_nas.strategies import ProgressiveStrategy, Proposal
from lightning_nas.strategies.level_correlation import LevelCorrelation
from lightning_nas.strategies.search_cost import search_cost
from lightning_nas.testing import StrategyContract
from tests.references import pnas
from tests.references.pnas import Cell, toy_accuracy

OPERATIONS = ("max_pool_3x3", "sep_conv_3x3")  # a and b of the specification's example


class Oracle:
    """Knows the toy accuracy of every cell."""

    def __init__(self) -> None:
        self.fits: list[tuple[int, float | None, float | None, int]] = []
        self.scores: list[float] = []

    def fit(
        self,
        tokens: Tokens,
        scores: Tensor,
        *,
        seed: int = 0,
        start: float | None = None,
        learning_rate: float | None = None,
    ) -> None:
        self.fits.append((len(tokens), start, learning_rate, seed))
        self.scores = scores.tolist()

    def predict(self, tokens: Tokens) -> Prediction:
        pairs = zip(tokens.ids.tolist(), tokens.mask.sum(1).tolist(), strict=True)
        return Prediction(torch.tensor([[toy_accuracy(ids[:blocks]) for ids, blocks in pairs]], dtype=torch.float64))


def cell_of(strategy: ProgressiveStrategy, architecture: Architecture) -> Cell:
    space = strategy.space_of(architecture)
    assert isinstance(space, NasnetSpace)
    row = space.rows([architecture])[0].tolist()
    return tuple(tuple(row[k : k + 4]) for k in range(0, len(row), 4))


def toy(
    blocks: int = 3, beam: int = 3, reorder: bool = True, winner: Literal["last", "any"] = "last"
) -> ProgressiveStrategy:
    space = NasnetSpace(blocks=blocks, operations=OPERATIONS)
    return ProgressiveStrategy(space, beam, Oracle(), reorder=reorder, winner=winner)


def learned(seed: int = 0) -> ProgressiveStrategy:
    space = NasnetSpace(blocks=3, operations=OPERATIONS)
    return ProgressiveStrategy(space, beam=4, members=3, epochs=10, seed=seed)


def run(strategy: ProgressiveStrategy, evaluate: Callable[[Cell], float] = toy_accuracy, n: int = 1000) -> list[int]:
    """Search to the end, and return how many were proposed by each ask."""
    sizes = []
    while proposals := strategy.ask(n):
        sizes.append(len(proposals))
        for proposal in proposals:
            strategy.tell(proposal, evaluate(cell_of(strategy, proposal.architecture)))
    return sizes


class TestProgressiveStrategy(StrategyContract):
    learns = True
    waits = True
    budget = 40  # level 1 has 36

    def strategy(self, seed: int = 0) -> ProgressiveStrategy:
        operations = ("sep_conv_3x3", "identity", "avg_pool_3x3", "max_pool_3x3")
        space = NasnetSpace(blocks=4, operations=operations)
        return ProgressiveStrategy(space, beam=50, members=2, epochs=10, winner="any", seed=seed)


def test_the_example_of_the_specification() -> None:
    strategy = toy()
    assert run(strategy) == [10, 3, 3]
    scores = list(strategy.scores.values())
    assert sorted([s for s in scores[:10] if s is not None], reverse=True)[:4] == [7.0, 6.5, 6.0, 5.0]
    assert scores[10:13] == [15.5, 15.0, 14.75]
    assert scores[13:] == [24.0, 24.0, 24.0]
    assert strategy.best is not None
    assert strategy.best.metrics["score"] == 24.0
    assert strategy.best.space == "nasnet?blocks=3&operations=max_pool_3x3,sep_conv_3x3"


@pytest.mark.parametrize("beam", [1, 2, 4, 20, 64])
def test_it_is_the_plain_search(beam: int) -> None:
    def unequal(cell: Cell) -> float:  # no two cells that differ score the same
        return toy_accuracy(cell) + 1e-3 * math.sin(hash(pnas.key(cell)))

    class Unequal(Oracle):
        def predict(self, tokens: Tokens) -> Prediction:
            cells = [tuple(map(tuple, i[:b])) for i, b in zip(tokens.ids.tolist(), tokens.mask.sum(1), strict=True)]
            return Prediction(torch.tensor([[unequal(cell) for cell in cells]], dtype=torch.float64))

    strategy = ProgressiveStrategy(NasnetSpace(blocks=3, operations=OPERATIONS), beam, Unequal())
    sizes = run(strategy, unequal)
    winner, levels = pnas.search(2, 3, beam, unequal, unequal)
    assert sizes == [len(level) for level in levels]
    cells = [pnas.key(cell_of(strategy, proposal.architecture)) for proposal in strategy.proposals]
    assert set(cells) == {cell for level in levels for cell in level}
    assert strategy.best is not None
    assert pnas.key(cell_of(strategy, strategy.best)) == winner


def test_small_spaces_are_not_padded() -> None:
    space = NasnetSpace(blocks=5, operations=("identity",))
    strategy = ProgressiveStrategy(space, beam=256, members=2, epochs=2)
    assert run(strategy, len) == [3, 15, 97, 256, 256]
    keys = [pnas.key(cell_of(strategy, proposal.architecture)) for proposal in strategy.proposals]
    assert len(set(keys)) == 627


def test_orders_of_blocks_may_count_as_different() -> None:
    assert run(toy(blocks=2, beam=1000)) == [10, 165]
    assert run(toy(blocks=2, beam=1000, reorder=False)) == [10, 210]


def check_paper_setting(epochs: int) -> ProgressiveStrategy:
    strategy = ProgressiveStrategy(NasnetSpace(), epochs=epochs)
    weights = (1.0, 3.0, 1.5, 0.5, 2.0, 1.25, 0.75, 2.5)
    evaluations: list[Cell] = []

    def evaluate(cell: Cell) -> float:
        evaluations.append(pnas.key(cell))
        return toy_accuracy(cell, weights) / 50

    assert run(strategy, evaluate, n=2000) == [136, 256, 256, 256, 256]
    assert len(evaluations) == len(set(evaluations)) == 1160
    assert search_cost(len(evaluations), 45_000 * 20) == 1.044e9
    assert strategy.best is not None
    assert strategy.best.space == "nasnet"
    assert [correlation.level for correlation in strategy.correlations] == [1, 2, 3, 4]
    return strategy


@pytest.mark.slow
def test_the_setting_of_the_paper() -> None:
    strategy = check_paper_setting(epochs=300)
    assert all(correlation.fitted > 0.9 for correlation in strategy.correlations)
    assert all(correlation.ahead is not None for correlation in strategy.correlations)
    assert strategy.best is not None
    assert strategy.best.metrics["score"] > 0.75  # the best there is: 0.82


def test_nothing_is_proposed_while_scores_are_awaited() -> None:
    strategy = toy()
    first = strategy.ask(4)
    rest = strategy.ask(100)
    assert [len(first), len(rest), strategy.level] == [4, 6, 1]
    for proposal in [*rest, *first[1:]]:  # late and in another order
        strategy.tell(proposal, toy_accuracy(cell_of(strategy, proposal.architecture)))
        assert strategy.ask() == []
    strategy.tell(first[0], 3.0)
    assert len(strategy.ask(2)) == 2
    assert strategy.level == 2


def test_a_failed_cell_is_not_expanded_and_counts_as_the_worst() -> None:
    strategy = toy(blocks=2, beam=1000)
    failed = strategy.ask(10)
    for proposal in failed[:8]:
        strategy.tell(proposal, None if proposal.number % 2 else math.nan)
    for proposal, score in zip(failed[8:], (0.5, 0.25), strict=True):
        strategy.tell(proposal, score)
    grown = [cell_of(strategy, proposal.architecture) for proposal in strategy.ask(1000)]
    beam = [cell_of(strategy, proposal.architecture) for proposal in failed[8:]]
    assert set(map(pnas.key, grown)) == pnas.candidates(beam, 2)
    assert isinstance(strategy.predictor, Oracle)
    assert strategy.predictor.scores == [0.25] * 8 + [0.5, 0.25]


def test_what_a_failed_cell_counts_as_can_be_given() -> None:
    oracle = Oracle()
    strategy = ProgressiveStrategy(NasnetSpace(blocks=2, operations=OPERATIONS), 3, oracle, failed_score=0.1)
    for proposal in strategy.ask(10):
        strategy.tell(proposal, None if proposal.number == 4 else 0.5)
    strategy.ask()
    assert oracle.scores == [0.5] * 4 + [0.1] + [0.5] * 5
    assert oracle.fits[0][1] == 0.5  # what untrained predictors expect is the mean of what was measured


def test_a_level_can_be_closed_without_its_scores() -> None:
    strategy = toy()
    lost, *others = strategy.ask(10)
    for proposal in others:
        strategy.tell(proposal, toy_accuracy(cell_of(strategy, proposal.architecture)))
    assert strategy.ask() == []
    strategy.give_up()
    assert strategy.waiting == []
    assert len(strategy.ask(100)) == 3
    strategy.tell(lost, 100.0)  # too late
    assert strategy.scores[lost.number] is None


def test_the_search_ends_if_a_whole_level_fails() -> None:
    strategy = toy()
    run_level(strategy)
    for proposal in strategy.ask(100):
        strategy.tell(proposal, None)
    assert strategy.ask(100) == []
    assert strategy.waiting == []
    assert strategy.best is not None
    assert strategy.best.metrics["score"] == 7.0
    nothing = toy()
    nothing.ask(100)
    nothing.give_up()
    assert nothing.ask() == []
    assert nothing.best is None


def run_level(strategy: ProgressiveStrategy) -> None:
    for proposal in strategy.ask(1000):
        strategy.tell(proposal, toy_accuracy(cell_of(strategy, proposal.architecture)))


def test_a_second_score_of_a_cell_is_ignored() -> None:
    strategy = toy()
    proposals = strategy.ask(10)
    for score in (1.0, 2.0):
        for proposal in proposals[:9]:
            strategy.tell(proposal, score)
    assert strategy.ask() == []
    strategy.tell(proposals[9], 1.0)
    assert set(strategy.scores.values()) == {1.0}
    assert len(strategy.ask(10)) == 3


@pytest.mark.parametrize(("winner", "blocks"), [("last", 2), ("any", 1)])
def test_the_winner_has_all_blocks_unless_wanted_otherwise(winner: Literal["last", "any"], blocks: int) -> None:
    strategy = toy(blocks=2, winner=winner)
    run(strategy, lambda cell: 10.0 - len(cell))
    assert strategy.best is not None
    assert len(cell_of(strategy, strategy.best)) == blocks
    assert strategy.best.metrics["score"] == 10 - blocks


def test_rates_seeds_and_start_of_the_fits() -> None:
    strategy = toy()
    run(strategy)
    assert isinstance(strategy.predictor, Oracle)
    sizes, starts, rates, seeds = zip(*strategy.predictor.fits, strict=True)
    assert sizes == (10, 13)
    level = [toy_accuracy(cell) for cell in pnas.candidates([()], 2)]
    assert starts == pytest.approx([sum(level) / 10] * 2)
    assert rates == (0.01, 0.002)
    assert seeds[0] != seeds[1]


def test_correlations_of_an_oracle_and_of_a_reversed_one() -> None:
    strategy = toy()
    run_level(strategy)
    proposals = strategy.ask(100)
    assert strategy.correlations == [LevelCorrelation(1, 1.0)]
    for proposal, score in zip(proposals, (1.0, 2.0, 3.0), strict=True):  # predicted in falling order
        strategy.tell(proposal, score)
    assert strategy.correlations == [LevelCorrelation(1, 1.0, -1.0)]
    for proposal in strategy.ask(100):
        strategy.tell(proposal, None)
    assert strategy.correlations[1].level == 2
    assert strategy.correlations[1].ahead is None


def test_the_predictor_of_the_paper_finds_good_cells() -> None:
    strategy = ProgressiveStrategy(NasnetSpace(blocks=3, operations=OPERATIONS), beam=10, epochs=100)
    run(strategy)
    assert strategy.best is not None
    assert strategy.best.metrics["score"] >= 23.0  # of 24
    first, second = strategy.correlations
    assert first.fitted > 0.9
    assert second.fitted > 0.9
    assert second.ahead is not None


def test_lstms_predict_too() -> None:
    space = NasnetSpace(blocks=2, operations=OPERATIONS)
    strategy = ProgressiveStrategy(space, 5, "lstm", epochs=60)
    assert run(strategy) == [10, 5]
    assert strategy.best is not None
    assert strategy.best.metrics["score"] > 13.0


@pytest.mark.parametrize("told", [0, 5, 10, 12, 14, 16])
def test_a_resumed_search_goes_on_as_the_uninterrupted_one(told: int, tmp_path: Path) -> None:
    one = learned()
    while len(one.scores) < told:
        proposal = one.ask()[0]
        one.tell(proposal, toy_accuracy(cell_of(one, proposal.architecture)))
    waiting = one.ask(2)
    torch.save(one.state_dict(), tmp_path / "state.pt")
    two = learned()
    two.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for strategy in (one, two):
        for proposal in reversed(waiting):
            strategy.tell(proposal, toy_accuracy(cell_of(strategy, proposal.architecture)))
        run(strategy, n=3)
    assert len(one.proposals) == 18
    assert one.proposals == two.proposals
    assert one.scores == two.scores
    assert one.correlations == two.correlations
    assert one.best == two.best


def test_the_state_is_not_changed_by_going_on() -> None:
    strategy = learned()
    run_level(strategy)
    state = strategy.state_dict()
    asked = strategy.ask(100)
    again = learned()
    again.load_state_dict(state)
    assert again.level == 1
    assert again.ask(100) == asked


def test_seeds_differ_and_repeat() -> None:
    strategies = [learned(seed) for seed in (0, 0, 1)]
    for strategy in strategies:
        run(strategy)
    assert strategies[0].proposals == strategies[1].proposals
    assert strategies[0].correlations == strategies[1].correlations
    predicted = [strategy.state_dict()["predicted"] for strategy in strategies]
    assert torch.equal(predicted[0], predicted[1])
    assert not torch.equal(predicted[0], predicted[2])


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="Expected `beam` to be at least 1 but got 0"):
        toy(beam=0)
    with pytest.raises(ValueError, match="Expected `failed_score` to be a finite number or None but got nan"):
        ProgressiveStrategy("nasnet?blocks=2", failed_score=float("nan"))
    with pytest.raises(ValueError, match=r"Expected `winner` to be one of \['last', 'any'\] but got 'first'"):
        toy(winner="first")  # type: ignore[arg-type]  # what is tested
    with pytest.raises(ValueError, match="Expected `space` to be a NasnetSpace but got 'nasbench201'"):
        ProgressiveStrategy("nasbench201")
    with pytest.raises(ValueError, match=r"Expected a `space` of one cell without chosen outputs but got .*cells=two"):
        ProgressiveStrategy(NasnetSpace(cells="two"))


def test_proposals_of_others_are_refused() -> None:
    strategy = toy()
    proposal = strategy.ask()[0]
    with pytest.raises(ValueError, match="Expected a proposal that this strategy has made"):
        strategy.tell(Proposal(3, proposal.architecture), 1.0)
