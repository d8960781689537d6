import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from lightning_nas.architecture import Architecture, Decision
from lightning_nas.controllers import Controller, LstmController, Reinforce, Samples
from lightning_nas.spaces import EnasMacroSpace, NasBench201Space, SearchSpace
from lightning_nas.strategies import Proposal, ReinforceStrategy, Strategy
from lightning_nas.testing import StrategyContract
from tests.controllers.spaces import ListSpace, every_architecture, flag, layered, operation

Score = Callable[[Architecture], float]


class TestReinforceStrategy(StrategyContract):
    learns = True
    budget_to_learn = 80

    def strategy(self, seed: int = 0) -> Strategy:
        return ReinforceStrategy("enas_macro?layers=6", samples_per_update=4, learning_rate=0.01, seed=seed)


class TestWhereManyDrawsAreKnown(StrategyContract):
    budget = 30

    def strategy(self, seed: int = 0) -> Strategy:
        return ReinforceStrategy("nasbench201", samples_per_update=4, learning_rate=0.04, seed=seed)


class TestWithGrowth(StrategyContract):
    def strategy(self, seed: int = 0) -> Strategy:
        growth = {15: "enas_macro?layers=6", 30: "enas_macro?layers=7"}
        return ReinforceStrategy("enas_macro?layers=4", samples_per_update=4, growth=growth, seed=seed)


def convolutions(architecture: Architecture) -> float:
    return list(architecture.values.values()).count("nor_conv_3x3") / len(architecture.values)


def tell(strategy: Strategy, proposals: Sequence[Proposal], score: Score = convolutions) -> None:
    for proposal in proposals:
        strategy.tell(proposal, score(proposal.architecture))


def weights(controller: Controller) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in controller.named_parameters()}


def changed(before: dict[str, Tensor], strategy: ReinforceStrategy) -> bool:
    after = weights(strategy.controller)
    return any(not torch.equal(tensor, after[name]) for name, tensor in before.items())


def first_adam_step(controller: LstmController, loss: Tensor, rate: float) -> dict[str, Tensor]:
    """Return the weights after one step of Adam from nothing, by its formula."""
    names, parameters = zip(*controller.named_parameters(), strict=True)
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    return {
        name: (p if g is None else p - rate * g / (g.abs() + 1e-8)).detach()
        for name, p, g in zip(names, parameters, gradients, strict=True)
    }


def test_an_update_is_the_papers_formula() -> None:
    strategy = ReinforceStrategy("nasbench201", samples_per_update=4)
    controller = copy.deepcopy(strategy.controller)
    proposals = strategy.ask(4)
    tell(strategy, proposals[:3])
    assert strategy.updates == 0
    tell(strategy, proposals[3:])
    assert strategy.updates == 1
    rewards = torch.tensor([convolutions(p.architecture) ** 3 for p in proposals])
    log_prob = controller.log_prob([p.architecture for p in proposals])
    loss = -(log_prob * (rewards - rewards.mean())).mean()  # the first baseline is the mean of the first batch
    assert rewards.std() > 0
    assert_close(weights(strategy.controller), first_adam_step(controller, loss, 6e-4), rtol=1e-4, atol=1e-6)
    baseline = rewards.mean()
    for reward in rewards:
        baseline = 0.95 * baseline + 0.05 * reward
    assert_close(strategy.reinforce.baseline, baseline)


def test_the_controller_is_the_papers() -> None:
    strategy = ReinforceStrategy("nasbench201")
    shapes = {name: tuple(parameter.shape) for name, parameter in strategy.controller.named_parameters()}
    assert [shapes[f"lstm.{k}.weight"] for k in range(2)] == [(70, 140)] * 2
    assert "lstm.2.weight" not in shapes
    largest = max(float(p.detach().abs().max()) for p in strategy.controller.parameters())
    assert 0.0799 < largest <= 0.08
    assert (
        strategy.controller.tanh_constant is strategy.controller.temperature is strategy.controller.skip_target is None
    )
    assert strategy.reinforce.entropy_weight == strategy.reinforce.skip_weight == 0
    assert (strategy.samples_per_update, strategy.optimizer.defaults["lr"]) == (8, 6e-4)
    controller = ReinforceStrategy("nasbench201", controller={"hidden": 8, "tanh_constant": 2.5}).controller
    assert (controller.start.shape, controller.tanh_constant) == ((1, 8), 2.5)


def test_the_loss_by_hand() -> None:  # nas-rl T5
    reinforce = Reinforce(decay=0.95, entropy_weight=0.0, skip_weight=0.0)
    reinforce.baseline.fill_(0.8)
    reinforce.started.fill_(True)
    log_prob, zeros = torch.tensor([-10.0, -12.0, -9.0, -11.0]), torch.zeros(4)
    loss = reinforce.loss(Samples(zeros[:, None].long(), log_prob, zeros, zeros), torch.tensor([0.8, 0.84, 0.76, 0.9]))
    assert loss.item() == pytest.approx(0.305, abs=1e-6)
    assert reinforce.baseline.item() == pytest.approx(0.804905, abs=1e-6)
    strategy = ReinforceStrategy("nasbench201").reinforce
    assert (strategy.decay, strategy.order) == (reinforce.decay, reinforce.order)


@pytest.mark.parametrize(
    ("score", "power", "reward"),
    [(0.92, 3.0, 0.778688), (0.92, 1.0, 0.92), (-2.0, 3.0, -8.0), (-4.0, 0.5, -2.0), (0.0, 3.0, 0.0), (None, 3.0, 0.0)],
)
def test_reward(score: float | None, power: float, reward: float) -> None:  # nas-rl T6
    assert ReinforceStrategy("nasbench201", reward_power=power).reward(score) == pytest.approx(reward, abs=1e-9)


@pytest.mark.parametrize("score", [-1e6, 1e300])
def test_scores_that_would_end_all_learning_count_as_failed(score: float) -> None:
    strategy = ReinforceStrategy("nasbench201", samples_per_update=4, failed_reward=-1.0)
    assert strategy.reward(score) == -1.0
    assert strategy.reward(-9e4) == pytest.approx(-7.29e14)
    for proposal in strategy.ask(4):
        strategy.tell(proposal, -9e4 if proposal.number else score)
    before = strategy.controller.start.detach().clone()
    tell(strategy, strategy.ask(4), lambda _: 0.5)
    assert strategy.updates == 2
    assert all(state["exp_avg_sq"].isfinite().all() for state in strategy.optimizer.state.values())
    assert not torch.equal(strategy.controller.start, before)


def test_the_gradient_is_that_of_the_expected_reward() -> None:
    """Weighted by their probabilities, the updates of all architectures add up to the exact gradient."""
    space = layered(2)
    strategy = ReinforceStrategy(space, controller={"init_range": 1.0, "hidden": 8})
    controller = strategy.controller.double()
    table = every_architecture(space)
    rewards = torch.rand(len(table), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    log_prob = controller.evaluate(table).log_prob
    assert log_prob.exp().sum().item() == pytest.approx(1)
    parameters = list(controller.parameters())
    exact = torch.autograd.grad(-(log_prob.exp() * rewards).sum(), parameters, allow_unused=True)
    summed = [torch.zeros_like(p) for p in parameters]
    for row, reward, probability in zip(table, rewards, log_prob.detach().exp(), strict=True):
        reinforce = copy.deepcopy(strategy.reinforce)
        reinforce.baseline.fill_(0.3)
        reinforce.started.fill_(True)
        loss = reinforce.loss(controller.evaluate(row[None]), reward[None])
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        summed = [s if g is None else s + probability * g for s, g in zip(summed, gradients, strict=True)]
    assert max(float(s.abs().max()) for s in summed) > 0.01
    for total, gradient in zip(summed, exact, strict=True):
        assert_close(total, torch.zeros_like(total) if gradient is None else gradient, rtol=0, atol=1e-6)


def height(architecture: Architecture) -> float:
    heights = [value for name, value in architecture.values.items() if name.endswith("height")]
    return heights.count(7) / len(heights)


def test_a_planted_height_is_learned() -> None:  # nas-rl T14
    decisions = [
        decision
        for k in range(6)
        for decision in (
            *(flag(f"layer{k}/skip{j}") for j in range(k)),
            *(Decision(f"layer{k}/{what}", (1, 3, 5, 7), "number") for what in ("height", "width")),
            Decision(f"layer{k}/filters", (24, 36, 48, 64), "number"),
        )
    ]
    strategy = ReinforceStrategy(ListSpace(decisions), learning_rate=0.01, reward_power=1.0)
    for _ in range(40):
        tell(strategy, strategy.ask(8), height)
    shares = [height(proposal.architecture) for proposal in strategy.proposals]
    assert strategy.updates >= 40  # a few draws come twice
    assert sum(shares[:40]) / 40 == pytest.approx(0.25, abs=0.1)
    assert sum(shares[-40:]) / 40 > 0.6


def test_late_scores_do_not_move_the_controller() -> None:
    strategy = ReinforceStrategy("nasbench201", samples_per_update=4)
    late, lost, *others = strategy.ask(6)
    tell(strategy, others)
    assert strategy.updates == 1
    before, baseline = weights(strategy.controller), strategy.reinforce.baseline.clone()
    strategy.tell(late, 2.0)
    assert not changed(before, strategy)
    assert strategy.reinforce.baseline == baseline
    assert strategy.best == late.architecture
    # nor does it count with the four of the next version
    tell(strategy, strategy.ask(3))
    assert strategy.updates == 1
    tell(strategy, strategy.ask(1))
    assert strategy.updates == 2
    assert strategy.waiting == [lost]


def test_the_draws_that_count_are_the_first() -> None:
    """Six are drawn, the scores of the last come first: the update takes what is there when it is enough."""
    strategy = ReinforceStrategy("nasbench201", samples_per_update=2, learning_rate=0.1)
    controller = copy.deepcopy(strategy.controller)
    proposals = strategy.ask(6)
    tell(strategy, [proposals[4]])
    tell(strategy, [proposals[1]], lambda _: 0.9)
    counted = [proposals[1], proposals[4]]  # in the order of the draws
    rewards = torch.tensor([0.9**3, convolutions(proposals[4].architecture) ** 3])
    loss = -(controller.log_prob([p.architecture for p in counted]) * (rewards - rewards.mean())).mean()
    assert_close(weights(strategy.controller), first_adam_step(controller, loss, 0.1), rtol=1e-4, atol=1e-5)


def test_failures_count_as_no_reward_or_not_at_all() -> None:
    for failed_reward, updates in ((0.0, 1), (None, 0)):
        strategy = ReinforceStrategy("nasbench201", samples_per_update=4, failed_reward=failed_reward)
        proposals = strategy.ask(4)
        strategy.tell(proposals[0], float("nan"))
        tell(strategy, proposals[1:], lambda _: 1.0)
        assert strategy.updates == updates
        tell(strategy, strategy.ask(1))
        assert strategy.updates == 1
    assert strategy.reinforce.baseline.item() > 0.7  # the failure is no part of it


COIN = ListSpace([operation("side", ("heads", "tails")), operation("other", ("left", "right"))])


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[list[int]], list[float]]]:
    """What the updates are made of, as choices and rewards; the controller stays as it is."""
    made: list[tuple[list[list[int]], list[float]]] = []

    def step(_: ReinforceStrategy, rows: Tensor, rewards: Tensor) -> None:
        made.append((rows.tolist(), rewards.tolist()))

    monkeypatch.setattr(ReinforceStrategy, "_step", step)
    return made


Steps = list[tuple[list[list[int]], list[float]]]


def test_known_draws_count_with_their_scores_and_are_not_proposed_again(steps: Steps) -> None:
    """On four architectures the eight draws of an update are of at most four: it is that of all eight."""
    strategy = ReinforceStrategy(COIN, samples_per_update=8)
    draws = first_draws(strategy, 8)
    architectures = strategy.controller.architectures(draws)
    distinct = list(dict.fromkeys(architectures))
    assert 1 < len(distinct) < 8
    for number, expected in enumerate(distinct):
        assert steps == []
        (proposal,) = strategy.ask()
        assert (proposal.number, proposal.architecture) == (number, expected)
        tell(strategy, [proposal], side)
    strategy.ask()
    assert steps[0] == (draws.tolist(), [side(architecture) ** 3 for architecture in architectures])


def test_draws_wait_for_the_score_of_their_proposal(steps: Steps) -> None:
    """Asked for all at once, nothing is known: the draws count when the scores come, in the order of the draws."""
    strategy = ReinforceStrategy(COIN, samples_per_update=8)
    draws = first_draws(strategy, 8)
    proposals = strategy.ask(4)
    assert len(proposals) == 4
    assert steps == []
    for proposal in reversed(proposals):
        tell(strategy, [proposal], side)
    expected = [side(architecture) ** 3 for architecture in strategy.controller.architectures(draws)]
    assert steps == [(draws.tolist(), expected)]


def test_with_repeats_every_draw_is_proposed(steps: Steps) -> None:
    strategy = ReinforceStrategy(COIN, samples_per_update=8, repeats=True)
    draws = first_draws(strategy, 8)
    proposals = strategy.ask(8)
    assert [p.architecture for p in proposals] == strategy.controller.architectures(draws)
    for proposal in proposals:
        strategy.tell(proposal, proposal.number)
    assert steps == [(draws.tolist(), [float(number**3) for number in range(8)])]


def test_when_all_draws_are_known_random_ones_are_proposed(steps: Steps) -> None:
    space = NasBench201Space()
    strategy = ReinforceStrategy(space, samples_per_update=8)
    with torch.no_grad():
        for parameter in strategy.controller.parameters():
            parameter.mul_(1e4)  # it draws always the same
    first = strategy.ask()[0]
    tell(strategy, [first])
    proposals = strategy.ask(5)
    assert len({space.canonical(proposal.architecture) for proposal in [first, *proposals]}) == 6
    tell(strategy, proposals, lambda _: 1.0)
    assert len(steps) == 5  # eight known draws before each random proposal
    (reward,) = {reward for _, rewards in steps for reward in rewards}
    assert reward == pytest.approx(convolutions(first.architecture) ** 3)


def test_everything_is_proposed_in_the_end() -> None:
    strategy = ReinforceStrategy(COIN, samples_per_update=2, learning_rate=0.1)
    for _ in range(4):
        tell(strategy, strategy.ask(), side)
    assert len({proposal.architecture for proposal in strategy.proposals}) == 4
    assert strategy.ask() == []


def test_growth_keeps_the_weights() -> None:
    growth: dict[int, SearchSpace | str] = {4: EnasMacroSpace(layers=6), 6: "enas_macro?layers=8"}
    strategy = ReinforceStrategy(EnasMacroSpace(layers=4), samples_per_update=2, learning_rate=0.1, growth=growth)
    tell(strategy, strategy.ask(4), skips)
    assert strategy.updates == 1  # of the four, the last two were drawn from an earlier controller
    before, moments = weights(strategy.controller), copy.deepcopy(strategy.optimizer.state_dict())
    proposals = strategy.ask(2)
    assert_close(weights(strategy.controller), before, rtol=0, atol=0)
    assert_close(strategy.optimizer.state_dict(), moments, rtol=0, atol=0)
    assert strategy.space.name == "enas_macro?layers=6"
    tell(strategy, proposals, skips)
    assert strategy.updates == 2
    assert changed(before, strategy)
    strategy.ask()
    names = [proposal.architecture.space for proposal in strategy.proposals]
    assert names == [f"enas_macro?layers={layers}" for layers in (4, 4, 4, 4, 6, 6, 8)]


def test_scores_of_the_smaller_space_come_too_late() -> None:
    strategy = ReinforceStrategy(EnasMacroSpace(layers=4), samples_per_update=2, growth={3: EnasMacroSpace(layers=6)})
    small = strategy.ask(3)
    large = strategy.ask(1)
    tell(strategy, small, skips)
    assert strategy.updates == 0
    tell(strategy, [*large, *strategy.ask(1)], skips)
    assert strategy.updates == 1


def test_the_depth_schedule_of_the_paper() -> None:  # nas-rl T7
    spaces = {1600 * k: EnasMacroSpace(layers=6 + 2 * k) for k in range(8)}
    first = spaces.pop(0)
    strategy = ReinforceStrategy(first, growth=spaces, controller={"hidden": 4})
    for number, depth in ((0, 6), (1599, 6), (1600, 8), (12799, 20)):
        filler = Proposal(0, strategy.ask()[0].architecture)
        strategy.proposals = [filler] * number
        (proposal,) = strategy.ask()
        assert sum(name.endswith("operation") for name in proposal.architecture.values) == depth


def test_a_grown_strategy_loads_into_a_new_one_and_back() -> None:
    def make() -> ReinforceStrategy:
        return ReinforceStrategy(EnasMacroSpace(layers=4), samples_per_update=2, growth={3: EnasMacroSpace(layers=6)})

    strategy = make()
    young = strategy.state_dict()
    tell(strategy, strategy.ask(4), skips)
    state = strategy.state_dict()
    following = strategy.ask(3)
    other = make()
    other.load_state_dict(state)
    assert other.space.name == "enas_macro?layers=6"
    assert other.ask(3) == following
    other.load_state_dict(young)
    assert other.ask(4) == make().ask(4)


@pytest.mark.parametrize(
    ("growth", "message"),
    [
        ({5: "nasbench201"}, r"Expected spaces in `growth` whose controller has the weights of that of 'enas_macro"),
        ({0: "enas_macro?layers=6"}, "Expected `growth` to be at least 1"),
    ],
)
def test_growth_into_something_else(growth: dict[int, SearchSpace | str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ReinforceStrategy("enas_macro?layers=4", growth=growth)


def test_a_state_of_another_growth_is_refused() -> None:
    grown = ReinforceStrategy("enas_macro?layers=4", growth={1: "enas_macro?layers=6"})
    grown.ask(2)
    with pytest.raises(ValueError, match=r"Expected a state with spaces of .* but got one on 'enas_macro\?layers=6'"):
        ReinforceStrategy("enas_macro?layers=4").load_state_dict(grown.state_dict())


def test_a_refused_state_changes_nothing() -> None:
    grown, same = (ReinforceStrategy("enas_macro?layers=4", growth={1: "enas_macro?layers=6"}) for _ in range(2))
    assert grown.ask(2) == same.ask(2)
    with pytest.raises(ValueError, match="Expected the state of a strategy"):
        grown.load_state_dict(ReinforceStrategy("nasbench201").state_dict())
    assert grown.space.name == "enas_macro?layers=6"
    assert grown.ask(3) == same.ask(3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples_per_update": 0}, "Expected `samples_per_update` to be at least 1"),
        ({"learning_rate": 0.0}, "Expected `learning_rate` to be above 0"),
        ({"reward_power": 0.0}, "Expected `reward_power` to be above 0"),
        ({"failed_reward": float("nan")}, "Expected `failed_reward` to be a finite number or None but got nan"),
        ({"baseline_decay": 1.0}, "Expected `decay` to be a share"),
    ],
)
def test_settings_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ReinforceStrategy("nasbench201", **options)


def test_double_precision_elsewhere_does_not_matter() -> None:
    """A Trainer of double precision changes the default while it runs."""
    spaces = [EnasMacroSpace(layers=layers) for layers in (4, 5)]
    strategies = [ReinforceStrategy(spaces[0], samples_per_update=2, growth={4: spaces[1]}) for _ in range(2)]
    for strategy, dtype in zip(strategies, (torch.float32, torch.float64), strict=True):
        torch.set_default_dtype(dtype)
        try:
            for _ in range(3):
                tell(strategy, strategy.ask(2), skips)
        finally:
            torch.set_default_dtype(torch.float32)
    assert strategies[0].proposals == strategies[1].proposals
    assert_close(weights(strategies[0].controller), weights(strategies[1].controller), rtol=0, atol=0)


def skips(architecture: Architecture) -> float:
    return sum(value is True for value in architecture.values.values()) / len(architecture.values)


def first_draws(strategy: ReinforceStrategy, n: int) -> Tensor:
    """Return what a strategy will draw first."""
    generator = torch.Generator().set_state(strategy.generator.get_state())
    return strategy.controller.sample(n, generator).choices


def side(architecture: Architecture) -> float:
    return 0.5 * (architecture.values["side"] == "heads") + 0.25 * (architecture.values["other"] == "left")
