"""The controller of NAS on ``NasConvSpace``. Names like "nas-rl T4" are those of the spec."""

import math
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from lightning_nas.controllers import LstmController, Reinforce, Samples, depth_after, nas_settings
from lightning_nas.controllers.forms import nas_program
from lightning_nas.controllers.program import Anchor, Flags, Operation, Program, Step
from lightning_nas.spaces import NasConvSpace
from lightning_nas.spaces.nas_conv import Variant
from tests.controllers.spaces import ListSpace, every_architecture, layered
from tests.references import nas_conv as reference

TWO = NasConvSpace(layers=2, kernels=(1, 3), filters=(24, 36))  # 128 architectures
THREE = NasConvSpace(layers=3, kernels=(1,), filters=(24, 36))  # 64, with three skips


def controller_of(space: NasConvSpace, anchor_first: bool = True, **settings: Any) -> LstmController:
    return LstmController(space, **{**nas_settings(space, anchor_first=anchor_first), **settings})


def lively(space: NasConvSpace, anchor_first: bool = True, **settings: Any) -> LstmController:
    """Return a controller in float64 whose probabilities are far from equal."""
    return controller_of(space, anchor_first, **{"hidden": 6, "init_range": 1.5, "seed": 3, **settings}).double()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbers(layer: int) -> Program:
    names = ("height", "width", "filters")
    return tuple(i for name in names for i in (Step(), Operation(f"layer{layer}/{name}", vocabulary=name)))


class TestProgram:
    def test_anchor_first(self) -> None:
        assert nas_settings(NasConvSpace(layers=3))["program"] == (
            *(Step(), Anchor(), *numbers(0)),  # layer 0 decides no skips, but its anchor is needed
            *(Step(), Anchor(), Flags(("layer1/skip0",), pair=False), *numbers(1)),
            *(Step(), Anchor(), Flags(("layer2/skip0", "layer2/skip1"), pair=False), *numbers(2)),
        )

    def test_anchor_last(self) -> None:
        assert nas_program(NasConvSpace(layers=2), anchor_first=False) == (
            *(*numbers(0), Step(), Anchor()),
            *(*numbers(1), Step(), Anchor(), Flags(("layer1/skip0",), pair=False)),
        )

    def test_without_skips(self) -> None:
        space = NasConvSpace(layers=2, skips=False)
        assert nas_program(space) == (*numbers(0), *numbers(1))
        assert controller_of(space).attention is None

    def test_of_another_space_of_layers(self) -> None:
        space: ListSpace = layered(2)
        assert nas_program(space) == nas_program(NasConvSpace(layers=2))


class TestSettings:
    def test_values(self) -> None:
        space = NasConvSpace(layers=6)
        controller = controller_of(space)
        assert controller.start.shape == (1, 35)
        assert len(controller.lstm) == 2
        assert (controller.tanh_constant, controller.operation_tanh_constant) == (None, None)
        assert (controller.temperature, controller.skip_target) == (None, None)
        largest = max(float(parameter.detach().abs().max()) for parameter in controller.parameters())
        assert 0.0799 < largest <= 0.08

    @pytest.mark.parametrize(("variant", "heads", "spec"), [("v1", (4, 4, 4), 23_532), ("v2", (4, 4, 3, 3, 4), 23_958)])
    def test_parameters(self, variant: Variant, heads: tuple[int, ...], spec: int) -> None:
        controller = controller_of(NasConvSpace(variant, 6))
        count = sum(parameter.numel() for parameter in controller.parameters())
        assert count == spec
        lstm = nn.LSTM(35, 35, 2)
        assert sum(p.numel() for p in controller.lstm.parameters()) == sum(p.numel() for p in lstm.parameters())
        assert [len(v.get_parameter("embedding")) for v in controller.vocabularies] == list(heads)

    @pytest.mark.parametrize("variant", ["v1", "v2", "v3"])
    def test_depth_does_not_change_the_weights(self, variant: Variant) -> None:
        shallow, deep = (controller_of(NasConvSpace(variant, layers)).state_dict() for layers in (2, 9))
        assert {name: p.shape for name, p in shallow.items()} == {name: p.shape for name, p in deep.items()}


class TestUniformPolicy:
    @pytest.mark.parametrize("anchor_first", [True, False])
    @pytest.mark.parametrize(("variant", "expected"), [("v1", 27.7259), ("v2", 38.7120)])
    def test_zero_weights(self, variant: Variant, expected: float, anchor_first: bool) -> None:  # nas-rl T4
        controller = controller_of(NasConvSpace(variant, 5), anchor_first, init_range=0.0)
        samples = controller.sample(4, seeded())
        assert_close(-samples.log_prob, torch.full((4,), expected), atol=1e-4, rtol=0)
        assert_close(samples.entropy, torch.full((4,), expected), atol=1e-4, rtol=0)
        strides = 5 * math.log(9) if variant == "v2" else 0
        assert expected == pytest.approx(5 * math.log(64) + 10 * math.log(2) + strides, abs=1e-4)


class TestReinforce:
    def test_loss_and_baseline(self) -> None:  # nas-rl T5
        reinforce = Reinforce(decay=0.95, entropy_weight=0.0)
        reinforce.advantages(torch.tensor([0.8]))  # the baseline
        log_prob = torch.tensor([-10.0, -12.0, -9.0, -11.0])
        given = Samples(torch.zeros(4, 1), log_prob, torch.full((4,), 7.0), torch.zeros(4))
        assert reinforce.loss(given, torch.tensor([0.80, 0.84, 0.76, 0.90])).item() == pytest.approx(0.305, abs=1e-6)
        assert reinforce.baseline.item() == pytest.approx(0.804905, abs=1e-6)

    @pytest.mark.parametrize("space", [TWO, THREE], ids=["two layers", "three layers"])
    @pytest.mark.parametrize("anchor_first", [True, False])
    def test_the_mean_gradient_is_that_of_the_expected_reward(self, space: NasConvSpace, anchor_first: bool) -> None:
        """The loss of every architecture, weighted by its probability, whatever the baseline."""
        controller = lively(space, anchor_first)
        table = every_architecture(space)
        rewards = torch.rand(len(table), dtype=torch.float64, generator=seeded())
        weights = list(controller.parameters())
        exact = torch.autograd.grad((controller.evaluate(table).log_prob.exp() * rewards).sum(), weights)

        for baseline in (0.0, 0.6):
            samples = controller.evaluate(table)
            losses = [one_loss(samples, k, reward, baseline) for k, reward in enumerate(rewards)]
            mean = (torch.stack(losses) * samples.log_prob.detach().exp()).sum()
            found = torch.autograd.grad(mean, weights)
            assert max(float(gradient.abs().max()) for gradient in exact) > 0.01
            for got, want in zip(found, exact, strict=True):
                assert_close(-got, want, atol=1e-6, rtol=0)


def one_loss(samples: Samples, k: int, reward: Tensor, baseline: float) -> Tensor:
    """Return the loss of one architecture alone, with a given baseline."""
    reinforce = Reinforce(decay=0.95, entropy_weight=0.0).double()
    reinforce.advantages(torch.tensor([baseline]))
    fields = (samples.choices, samples.log_prob, samples.entropy, samples.skip_penalty)
    return reinforce.loss(Samples(*(field[k : k + 1] for field in fields)), reward[None])


class TestDepth:
    @pytest.mark.parametrize(("samples", "layers"), [(0, 6), (1599, 6), (1600, 8), (12_799, 20)])
    def test_schedule(self, samples: int, layers: int) -> None:  # nas-rl T7
        assert depth_after(samples) == layers

    def test_other_schedules(self) -> None:
        assert [depth_after(n, first=2, step=1, every=3) for n in range(7)] == [2, 2, 2, 3, 3, 3, 4]

    def test_out_of_range(self) -> None:
        with pytest.raises(ValueError, match="Expected `samples` to be at least 0 but got -1"):
            depth_after(-1)
        with pytest.raises(ValueError, match="Expected `every` to be at least 1 but got 0"):
            depth_after(0, every=0)


class TestSkips:
    """nas-rl T11: the probability of the skips of layer 2 of three layers, given everything before."""

    def bits(self, controller: LstmController) -> Tensor:
        """Return the log-odds of skips 0 and 1 of layer 2."""
        table = every_architecture(THREE)
        columns = [controller.columns[f"layer2/skip{j}"] for j in range(2)]
        choices = table[:1].expand(4, -1).clone()
        choices[:, columns] = torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]])
        # heads of zeros: the numbers of layer 2, which come after the skips, are all equally likely
        with torch.no_grad():
            for vocabulary in controller.vocabularies:
                vocabulary.get_parameter("head").zero_()
        log_prob = controller.evaluate(choices).log_prob
        assert_close(log_prob[3] - log_prob[2], log_prob[1] - log_prob[0])  # independent
        return torch.stack([log_prob[1] - log_prob[0], log_prob[2] - log_prob[0]]).detach()

    def test_without_v_every_skip_is_a_coin(self) -> None:
        controller = lively(THREE)
        assert self.bits(controller).abs().min() > 0.01
        assert controller.attention is not None
        with torch.no_grad():
            controller.attention.v.zero_()
        assert_close(self.bits(controller).exp(), torch.ones(2, dtype=torch.float64))

    def test_without_the_matrix_of_earlier_layers_all_skips_are_equal(self) -> None:
        controller = lively(THREE)
        before = self.bits(controller)
        assert abs(float(before[0] - before[1])) > 0.01
        assert controller.attention is not None
        with torch.no_grad():
            controller.attention.key.zero_()
        after = self.bits(controller)
        assert_close(after[0], after[1])
        assert abs(float(after[0])) > 0.01

    def test_gradients_reach_both_states(self) -> None:
        attention = lively(TWO).attention
        assert attention is not None
        earlier, own = (torch.randn(1, 6, generator=seeded(k)).double().requires_grad_() for k in range(2))
        torch.autograd.backward(attention((earlier @ attention.key)[:, None], own).sum())
        for state in (earlier, own):
            assert state.grad is not None
            assert state.grad.abs().min() > 1e-3

    @pytest.mark.parametrize("anchor_first", [True, False])
    def test_gradients_reach_the_matrices_of_both_states(self, anchor_first: bool) -> None:
        controller = lively(TWO, anchor_first)
        choices = every_architecture(TWO)[:2]
        attention = controller.attention
        assert attention is not None
        torch.autograd.backward(controller.evaluate(choices).log_prob.sum())
        for parameter in (attention.key, attention.query, attention.v):
            assert parameter.grad is not None
            assert parameter.grad.abs().max() > 1e-4


class TestParity:
    @pytest.mark.parametrize("anchor_first", [True, False])
    @pytest.mark.parametrize("variant", ["v1", "v2", "v3"])
    def test_at_six_layers_and_with_the_same_weights_at_eight(self, variant: Variant, anchor_first: bool) -> None:
        """nas-rl T12."""
        shallow = lively(NasConvSpace(variant, 6), anchor_first)
        deep = lively(NasConvSpace(variant, 8), anchor_first, seed=4)
        deep.load_state_dict(shallow.state_dict())
        for controller in (shallow, deep):
            samples = controller.sample(4, seeded())
            again = controller.evaluate(samples.choices)
            assert_close(again.log_prob, samples.log_prob, rtol=1e-12, atol=0)
            assert_close(again.entropy, samples.entropy, rtol=1e-12, atol=0)
            architectures = controller.architectures(samples.choices)
            assert_close(controller.log_prob(architectures), samples.log_prob, rtol=1e-12, atol=0)
            assert samples.log_prob.std() > 0.1

    def test_the_first_layers_are_decided_alike(self) -> None:
        """A deeper space goes on where the other ends, as the anchor comes first."""
        shallow, deep = lively(TWO), lively(NasConvSpace(layers=3, kernels=(1, 3), filters=(24, 36)), seed=5)
        deep.load_state_dict(shallow.state_dict())
        table, third = every_architecture(TWO), torch.cartesian_prod(*[torch.arange(2)] * 5)
        every = torch.cat([table.repeat_interleave(len(third), 0), third.repeat(len(table), 1)], 1)
        summed = deep.evaluate(every).log_prob.exp().reshape(len(table), len(third)).sum(1)
        assert_close(summed, shallow.evaluate(table).log_prob.exp(), rtol=1e-10, atol=0)


class TestEnumeration:
    @torch.no_grad()
    def test_the_whole_space_of_two_layers(self) -> None:
        """8,192 architectures, with the paper's controller made lively."""
        space = NasConvSpace(layers=2)
        controller = controller_of(space, init_range=0.8, seed=1).double()
        samples = controller.evaluate(every_architecture(space))
        p = samples.log_prob.exp()
        assert len(p) == space.size == 8192
        assert p.sum().item() == pytest.approx(1, abs=1e-10)
        assert_close((p * samples.entropy).sum(), -(p * samples.log_prob).sum(), atol=1e-10, rtol=0)
        assert samples.log_prob.max() - samples.log_prob.min() > 1

    @pytest.mark.parametrize("anchor_first", [True, False])
    @pytest.mark.parametrize("space", [TWO, THREE], ids=["two layers", "three layers"])
    @torch.no_grad()
    def test_drawn_as_often_as_likely(self, space: NasConvSpace, anchor_first: bool) -> None:
        table, controller = every_architecture(space), lively(space, anchor_first)
        samples = controller.evaluate(table)
        p = samples.log_prob.exp()
        assert p.sum().item() == pytest.approx(1, abs=1e-10)
        assert_close((p * samples.entropy).sum(), -(p * samples.log_prob).sum(), atol=1e-10, rtol=0)
        n = 40_000
        counts = Counter(map(tuple, controller.sample(n, seeded()).choices.tolist()))
        observed = torch.tensor([counts[tuple(row)] for row in table.tolist()], dtype=torch.float64)
        usual = n * p > 5
        chi2 = ((observed - n * p) ** 2 / (n * p))[usual].sum()
        freedom = int(usual.sum())
        assert freedom > 30
        assert chi2 < freedom + 4 * (2 * freedom) ** 0.5  # four standard deviations
        assert observed.sum() == n

    @pytest.mark.parametrize("anchor_first", [True, False])
    @pytest.mark.parametrize("variant", ["v1", "v2"])
    @torch.no_grad()
    def test_agrees_with_a_plain_restatement(self, variant: Variant, anchor_first: bool) -> None:
        """Skips are on with ``sigmoid(z)``, not with ``sigmoid(2 z)`` as in ENAS's code."""
        space = NasConvSpace(variant, 4)
        controller = lively(space, anchor_first)
        samples = controller.sample(5, seeded())
        state = dict(controller.named_parameters())
        assert state["lstm.0.biases"].abs().min() > 0
        for k, row in enumerate(samples.choices.tolist()):
            layers, bits = split(space, row)
            expected = reference.controller(state, layers, bits, sharpness=1.0, anchor_first=anchor_first)
            found = (float(samples.log_prob[k]), float(samples.entropy[k]))
            assert found == pytest.approx(expected, rel=1e-10)
        assert samples.log_prob.std() > 0.1


def split(space: NasConvSpace, row: list[int]) -> tuple[list[list[int]], list[list[int]]]:
    """Return for each layer the indices of its numbers, and its skips."""
    layers: list[list[int]] = [[] for _ in range(space.layers)]
    bits: list[list[int]] = [[] for _ in range(space.layers)]
    for decision, index in zip(space.decisions, row, strict=True):
        layer = int(decision.name.partition("/")[0].removeprefix("layer"))
        (bits if decision.kind == "flag" else layers)[layer].append(index)
    return layers, bits


def test_learning() -> None:  # nas-rl T14
    """The reward is the share of layers whose filters are 7 high; a quarter at first, nearly all after 150 updates."""
    space = NasConvSpace(layers=6)
    controller, reinforce = controller_of(space), Reinforce(decay=0.95, entropy_weight=0.0)
    optimizer = torch.optim.Adam(controller.parameters(), lr=0.01)
    heights = [controller.columns[f"layer{k}/height"] for k in range(6)]
    generator = seeded()
    means = []
    for _ in range(150):
        samples = controller.sample(8, generator)
        rewards = (samples.choices[:, heights] == 3).float().mean(1)
        means.append(float(rewards.mean()))
        optimizer.zero_grad()
        torch.autograd.backward(reinforce.loss(samples, rewards))
        optimizer.step()
    assert sum(means[:5]) / 5 == pytest.approx(0.25, abs=0.1)
    assert sum(means[-10:]) / 10 > 0.8
