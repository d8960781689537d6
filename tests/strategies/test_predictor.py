import math
import os
from pathlib import Path
from statistics import median

import pytest
import torch
from torch import Tensor

from lightning_nas.architecture import Architecture
from lightning_nas.predictors import Fitting, Prediction, PredictorEnsemble, Tokens
from lightning_nas.predictors.space_encoder import make_encoder
from lightning_nas.spaces import NasBench201Space, SearchSpace
from lightning_nas.spaces.nasbench201 import OPERATIONS
from lightning_nas.spaces.nasnet import NasnetSpace
from lightning_nas.strategies import PredictorStrategy, Proposal
from lightning_nas.tables import NasBench201Table
from lightning_nas.testing import StrategyContract
from tests.controllers.spaces import ListSpace, operation

CSV = Path(
    os.environ.get(
        "NASBENCH201_CSV", Path(__file__).parents[3] / "shared" / "data" / "nasbench201" / "cifar10-12epochs.csv"
    )
)
SPACE = NasBench201Space()
WEIGHTS = dict(zip(OPERATIONS, (0.0, 2.0, 3.0, 4.0, 1.0), strict=True))


def toy_score(architecture: Architecture) -> float:
    return sum((k + 1) * WEIGHTS[str(v)] for k, v in enumerate(architecture.values.values()))  # 84 at best


def run(strategy: PredictorStrategy, queries: int) -> list[float]:
    for _ in range(queries):
        for proposal in strategy.ask():
            strategy.tell(proposal, toy_score(proposal.architecture))
    return [score for score in strategy.scores.values() if score is not None]


def small(seed: int = 0, space: SearchSpace = SPACE) -> PredictorStrategy:
    ensemble = PredictorEnsemble(
        make_encoder(space).encoding, members=3, scale="rank", fitting=Fitting(epochs=30), embedding=4, hidden=16
    )
    return PredictorStrategy(space, initial=8, refit_every=4, candidates=60, predictor=ensemble, seed=seed)


class TestPredictorStrategy(StrategyContract):  # its scores differ between cells that are equal here: none to learn
    def strategy(self, seed: int = 0) -> PredictorStrategy:
        return small(seed)


class TestPredictorStrategyOnCells(StrategyContract):
    learns = True

    def strategy(self, seed: int = 0) -> PredictorStrategy:
        return small(seed, NasnetSpace(blocks=3))


class Recorder:
    """Predicts the number of 3x3 convolutions, one member surer of it than the other, and keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[Tokens, Tensor, int]] = []

    def fit(
        self,
        tokens: Tokens,
        scores: Tensor,
        *,
        seed: int = 0,
        start: float | None = None,
        learning_rate: float | None = None,
    ) -> None:
        self.told.append((tokens, scores, seed))

    def predict(self, tokens: Tokens) -> Prediction:
        convolutions, pools = ((tokens.ids == k).double().sum((1, 2)) for k in (3, 4))
        return Prediction(torch.stack([convolutions + pools, convolutions - pools]))


def count(architecture: Architecture, operation: str) -> int:
    return list(architecture.values.values()).count(operation)


def test_it_finds_what_random_proposals_do_not() -> None:
    strategy = PredictorStrategy("nasbench201", initial=8, refit_every=10, seed=0)
    scores = run(strategy, 60)
    assert max(scores[8:]) > max(scores[:8])
    assert max(scores) >= 80
    assert sum(scores[30:]) / 30 > sum(scores[:8]) / 8 + 20
    assert strategy.best is not None
    assert strategy.best.metrics["score"] == max(scores)


def test_proposals_never_repeat() -> None:
    strategy = small()
    run(strategy, 60)
    assert len({strategy.key(proposal.architecture) for proposal in strategy.proposals}) == 60


def test_fits_come_when_enough_is_known_and_know_it_all() -> None:
    recorder = Recorder()
    strategy = PredictorStrategy("nasbench201", initial=4, refit_every=3, predictor=recorder)
    run(strategy, 11)
    assert [len(scores) for _, scores, _ in recorder.told] == [4, 7, 10]
    assert recorder.told[-1][1].tolist() == [toy_score(p.architecture) for p in strategy.proposals[:10]]
    assert len({seed for _, _, seed in recorder.told}) == 3
    canonical = strategy.key(strategy.proposals[0].architecture)
    expected = [OPERATIONS.index(str(operation)) for operation in canonical.values.values()]
    assert recorder.told[0][0].ids[0].tolist() == [expected]


@pytest.mark.parametrize(("exploration", "liked"), [(0.0, "nor_conv_3x3"), (50.0, "avg_pool_3x3")])
def test_exploration_weighs_the_disagreement(exploration: float, liked: str) -> None:
    strategy = PredictorStrategy("nasbench201", initial=10, exploration=exploration, predictor=Recorder(), seed=3)
    run(strategy, 10)
    first = strategy.ask()[0].architecture
    assert count(first, liked) >= 4
    assert count(first, liked) > max(count(p.architecture, liked) for p in strategy.proposals[1:10]) - 1


def test_candidates_come_best_first_and_also_before_scores_are_known() -> None:
    strategy = PredictorStrategy("nasbench201", initial=10, exploration=0, predictor=Recorder(), seed=3)
    run(strategy, 10)
    asked = strategy.ask(100)
    counts = [count(strategy.key(proposal.architecture), "nor_conv_3x3") for proposal in asked]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]


def test_whoever_asks_too_early_gets_random_architectures() -> None:
    recorder = Recorder()
    strategy = PredictorStrategy("nasbench201", initial=3, candidates=10, predictor=recorder)
    early = strategy.ask(50)
    assert len(early) == 50
    assert recorder.told == []
    for proposal in early[:3]:
        strategy.tell(proposal, 1.0)
    assert len(strategy.ask(40)) == 40  # more than there are candidates
    assert len(recorder.told) == 1


def test_failures_count_as_the_worst_known() -> None:
    recorder = Recorder()
    strategy = PredictorStrategy("nasbench201", initial=4, predictor=recorder)
    for proposal, score in zip(strategy.ask(4), (5.0, None, math.nan, -2.0), strict=True):
        strategy.tell(proposal, score)
    strategy.ask()
    assert recorder.told[0][1].tolist() == [5.0, -2.0, -2.0, -2.0]


def test_nothing_is_fitted_to_failures_only() -> None:
    recorder = Recorder()
    strategy = PredictorStrategy("nasbench201", initial=2, predictor=recorder)
    for proposal in strategy.ask(5):
        strategy.tell(proposal, None)
    assert len(strategy.ask(3)) == 3
    assert recorder.told == []
    assert strategy.best is None


@pytest.mark.parametrize("choices", [1, 2, 4])
def test_a_small_space_is_searched_to_its_end(choices: int) -> None:
    space = ListSpace([operation(name, ("a", "b", "c", "d")[:choices]) for name in ("first", "second")])
    strategy = PredictorStrategy(space, initial=1, refit_every=1, candidates=8)
    while proposals := strategy.ask():
        strategy.tell(proposals[0], float(proposals[0].number))
    assert len({proposal.architecture for proposal in strategy.proposals}) == len(strategy.proposals) == choices**2


@pytest.mark.parametrize("choices", [1, 3])
def test_repeats_where_they_are_allowed(choices: int) -> None:
    space = ListSpace([operation("only", ("a", "b", "c")[:choices])])
    strategy = PredictorStrategy(space, initial=2, refit_every=2, candidates=4, repeats=True)
    for _ in range(10):
        proposal = strategy.ask()[0]
        strategy.tell(proposal, 1.0)
    assert {str(p.architecture.values["only"]) for p in strategy.proposals} == set(("a", "b", "c")[:choices])


@pytest.mark.parametrize("told", [3, 8, 13])
def test_a_resumed_search_goes_on_as_the_uninterrupted_one(told: int) -> None:
    one = small()
    run(one, told)
    waiting = one.ask(3)
    state = one.state_dict()
    two = small()
    two.load_state_dict(state)
    for strategy in (one, two):
        for proposal in reversed(waiting):
            strategy.tell(proposal, toy_score(proposal.architecture))
        run(strategy, 15)
    assert one.proposals == two.proposals
    assert one.scores == two.scores


def test_the_state_is_plain_and_not_changed_by_going_on(tmp_path: Path) -> None:
    strategy = small()
    run(strategy, 12)
    torch.save(strategy.state_dict(), tmp_path / "state.pt")
    before = torch.load(tmp_path / "state.pt", weights_only=True)
    asked = strategy.ask(5)
    again = small()
    again.load_state_dict(before)
    assert again.ask(5) == asked


def test_seeds_differ_and_repeat() -> None:
    runs = [small(seed) for seed in (0, 0, 1)]
    for strategy in runs:
        run(strategy, 20)
    assert runs[0].proposals == runs[1].proposals
    assert runs[0].proposals != runs[2].proposals


@pytest.mark.parametrize("name", ["initial", "refit_every", "candidates", "parents"])
def test_wrong_arguments(name: str) -> None:
    with pytest.raises(ValueError, match=f"Expected `{name}` to be at least 1 but got 0"):
        PredictorStrategy("nasbench201", **{name: 0})  # type: ignore[arg-type]  # all of these are whole numbers


def test_exploration_is_a_number() -> None:
    with pytest.raises(ValueError, match="Expected `exploration` to be a finite number but got nan"):
        PredictorStrategy("nasbench201", exploration=float("nan"))


def test_proposals_of_others_are_refused() -> None:
    strategy = small()
    with pytest.raises(ValueError, match="Expected a proposal that this strategy has made"):
        strategy.tell(Proposal(0, NasBench201Space().sample(torch.Generator())), 1.0)


@pytest.mark.slow
@pytest.mark.skipif(not CSV.is_file(), reason="needs the table of NAS-Bench-201")
def test_the_optimum_of_nasbench201() -> None:
    table = NasBench201Table(CSV)
    best = max(table.validation_accuracies)
    regrets = []
    for seed in range(20):  # 50 seeds: benchmarks/strategies_on_nasbench201.py
        strategy = PredictorStrategy(table.space, seed=seed)
        for _ in range(100):
            proposal = strategy.ask()[0]
            strategy.tell(proposal, table.look_up(proposal.architecture).validation)
        regrets.append(best - max(score for score in strategy.scores.values() if score is not None))
    assert median(regrets) == 0
    assert sum(regret == 0 for regret in regrets) >= 16  # plain local search with restarts: 11
