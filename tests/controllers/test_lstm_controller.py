"""The LSTM controller: golden numbers of the specification, agreement with a plain restatement, sampling, gradients."""

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from lightning_nas.architecture import Architecture
from lightning_nas.controllers import LstmController
from lightning_nas.controllers.forms import micro_program
from lightning_nas.spaces import DartsSpace, NasBench201Space, SearchSpace
from tests.controllers import reference
from tests.controllers.spaces import ListSpace, flag, layered, macro, micro, operation, recurrent

SPACES: dict[str, SearchSpace] = {
    "micro": micro(3),
    "macro": macro(5),
    "recurrent": recurrent(5),
    "darts": DartsSpace(nodes=3),
    "nasbench201": NasBench201Space(),
    "layered": layered(4),
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def with_zero_weights(space: SearchSpace, **settings: Any) -> LstmController:
    controller = LstmController.enas(space, **settings)
    for name, parameter in controller.named_parameters():
        if not name.endswith("bias"):
            torch.nn.init.zeros_(parameter)
    return controller


def lively(space: SearchSpace, **settings: Any) -> LstmController:
    """Return a controller whose probabilities are far from equal."""
    return LstmController(space, **{"hidden": 6, "init_range": 1.5, "tanh_constant": None, "seed": 3, **settings})


@pytest.mark.parametrize(("space", "count"), [(macro(), 41_856), (micro(), 41_733), (recurrent(), 101_000)])
def test_official_parameter_counts(space: SearchSpace, count: int) -> None:
    assert sum(p.numel() for p in LstmController.enas(space).parameters()) == count


def test_settings_of_the_official_code() -> None:
    controller = LstmController.enas(micro())
    assert (controller.tanh_constant, controller.operation_tanh_constant) == (1.1, 0.44)
    assert (controller.temperature, controller.entropy) == (None, "full")
    assert controller.get_parameter("vocabularies.0.bias").tolist() == [10, 10, 0, 0, 0]
    assert controller.program == micro_program(micro(), (0.25, 0.25, -0.25, -0.25, -0.25))
    controller = LstmController.enas(macro())
    assert (controller.tanh_constant, controller.operation_tanh_constant, controller.temperature) == (1.5, 1.5, None)
    assert (controller.entropy, controller.skip_prior, controller.skip_target) == ("sampled", "official", 0.4)
    controller = LstmController.enas(recurrent())
    assert (controller.tanh_constant, controller.temperature, controller.entropy) == (2.5, 5.0, "sampled")


@pytest.mark.parametrize("name", list(SPACES))
def test_settings_of_the_paper(name: str) -> None:
    controller = LstmController.enas(SPACES[name], "paper", entropy="sampled")
    assert controller.start.shape == (1, 100)
    assert (controller.tanh_constant, controller.operation_tanh_constant, controller.temperature) == (2.5, 2.5, 5.0)
    assert controller.entropy == "sampled"
    assert not any(getattr(i, "locality", False) or getattr(i, "bias", ()) for i in controller.program)


def test_another_form_has_the_defaults() -> None:
    controller, default = LstmController.enas(NasBench201Space()), LstmController(NasBench201Space())
    assert controller.program == default.program
    assert (controller.tanh_constant, controller.entropy, controller.skip_prior) == (1.5, "full", "sampled")
    assert_close(controller.state_dict(), default.state_dict())


def test_micro_prior() -> None:  # enas T7
    space = micro()
    controller = with_zero_weights(space)
    entropy = controller.sample(3, seeded()).entropy
    assert_close(entropy, torch.full((3,), 57.187), atol=5e-4, rtol=0)
    base = torch.zeros(5, len(space.decisions), dtype=torch.int64)
    names = [decision.name for decision in space.decisions]
    for cell, expected in {"normal": [0.3153] * 2 + [0.1232] * 3, "reduce": [0.2543] * 2 + [0.1638] * 3}.items():
        choices = base.clone()
        choices[:, names.index(f"{cell}/node3/operation1")] = torch.arange(5)
        assert_close(controller.evaluate(choices).log_prob.softmax(0), torch.tensor(expected), atol=5e-5, rtol=0)


@pytest.mark.parametrize("skip_prior", ["official", "sampled"])
def test_macro_uniform(skip_prior: str) -> None:  # enas T8
    samples = with_zero_weights(macro(), skip_prior=skip_prior).sample(3, seeded())
    assert_close(samples.log_prob, torch.full((3,), -67.2488), atol=5e-5, rtol=0)
    assert_close(samples.entropy, torch.full((3,), 26.4574), atol=5e-5, rtol=0)
    assert_close(samples.skip_penalty, torch.full((3,), 0.122466), atol=5e-7, rtol=0)
    full = with_zero_weights(macro(), entropy="full").sample(3, seeded())
    assert_close(full.entropy, torch.full((3,), 67.2488), atol=5e-5, rtol=0)


@pytest.mark.parametrize(("node", "expected"), [(2, [0.3775, 0.6225]), (3, [0.1410, 0.3243, 0.5347])])
def test_locality(node: int, expected: list[float]) -> None:  # enas T9
    space = recurrent(4)
    column = [decision.name for decision in space.decisions].index(f"node{node}/input")
    choices = torch.zeros(node, len(space.decisions), dtype=torch.int64)
    choices[:, column] = torch.arange(node)
    log_prob = with_zero_weights(space).evaluate(choices).log_prob
    assert_close(log_prob.softmax(0), torch.tensor(expected), atol=5e-5, rtol=0)
    without = with_zero_weights(space, preset="paper").evaluate(choices).log_prob
    assert_close(without.softmax(0), torch.full((node,), 1 / node))


@pytest.mark.parametrize(
    ("space", "walk", "settings"),
    [
        (recurrent(5), reference.recurrent, {"temperature": 5.0, "tanh_constant": 2.5}),
        (micro(3), reference.micro, {"operation_tanh_constant": 0.6, "operation_bias": (1.0, 2.0, 0.0, 0.0, -1.0)}),
        (macro(4), lambda controller, tokens: reference.macro(controller, tokens, 4), {"skip_prior": "official"}),
    ],
    ids=["recurrent", "micro", "macro"],
)
def test_agrees_with_a_plain_restatement(
    space: SearchSpace, walk: Callable[..., reference.Walk], settings: dict[str, Any]
) -> None:
    if walk is reference.micro:
        settings["program"] = micro_program(space, (0.25, 0.25, -0.25, -0.25, -0.25))
    full = lively(space, **{"tanh_constant": 1.5, **settings})
    sampled = lively(space, **{"tanh_constant": 1.5, **settings, "entropy": "sampled"})
    samples = full.sample(5, seeded())
    walks = [walk(full, row) for row in samples.choices.tolist()]
    assert samples.log_prob.std() > 0.3
    assert_close(samples.log_prob, torch.tensor([w.log_prob for w in walks]), atol=1e-4, rtol=1e-5)
    assert_close(samples.entropy, torch.tensor([w.full for w in walks]), atol=1e-4, rtol=1e-5)
    chosen_only = sampled.evaluate(samples.choices).entropy
    assert_close(chosen_only, torch.tensor([w.sampled for w in walks]), atol=1e-4, rtol=1e-5)
    if walks[0].penalties:
        expected = torch.tensor([sum(w.penalties) / len(w.penalties) for w in walks])
        assert_close(samples.skip_penalty, expected, atol=1e-5, rtol=1e-5)
    else:
        assert samples.skip_penalty.eq(0).all()


@pytest.mark.parametrize("entropy", ["full", "sampled"])
@pytest.mark.parametrize("name", list(SPACES))
def test_evaluating_samples_gives_the_samples(name: str, entropy: str) -> None:
    controller = lively(SPACES[name], entropy=entropy)
    samples = controller.sample(7, seeded())
    again = controller.evaluate(samples.choices)
    assert torch.equal(again.choices, samples.choices)
    assert_close(again.log_prob, samples.log_prob)
    assert_close(again.entropy, samples.entropy)
    assert_close(again.skip_penalty, samples.skip_penalty)
    architectures = controller.architectures(samples.choices)
    for architecture in architectures:
        SPACES[name].validate(architecture)
    assert torch.equal(controller.choices(architectures), samples.choices)
    assert_close(controller.log_prob(architectures), samples.log_prob)


@pytest.mark.parametrize("name", list(SPACES))
def test_many_at_once_are_as_one_by_one(name: str) -> None:
    controller = lively(SPACES[name])
    together = controller.sample(6, seeded())
    generator = seeded()
    single = [controller.sample(1, generator) for _ in range(6)]
    assert torch.equal(together.choices, torch.cat([s.choices for s in single]))
    for field in ("log_prob", "entropy", "skip_penalty"):
        assert_close(getattr(together, field), torch.cat([getattr(s, field) for s in single]))
    assert len(set(together.log_prob.tolist())) > 1


def test_the_generator_alone_decides() -> None:
    controller = lively(macro(5))
    before = torch.get_rng_state()
    first, again = controller.sample(8, seeded(1)).choices, controller.sample(8, seeded(1)).choices
    assert torch.equal(first, again)
    assert not torch.equal(first, controller.sample(8, seeded(2)).choices)
    generator = seeded(1)
    controller.sample(8, generator)
    assert not torch.equal(first, controller.sample(8, generator).choices)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", list(SPACES))
def test_everything_is_on_the_device_of_the_weights(name: str) -> None:
    samples = lively(SPACES[name]).to("meta").sample(2, seeded())
    for tensor in (samples.choices, samples.log_prob, samples.entropy, samples.skip_penalty):
        assert tensor.device.type == "meta"
    assert samples.choices.shape == (2, len(SPACES[name].decisions))


@pytest.mark.parametrize("name", ["micro", "macro", "darts"])
def test_half_precision(name: str) -> None:
    """Within autocast, and with weights of half precision, samples stay valid and can be evaluated."""
    full, half = lively(SPACES[name]), lively(SPACES[name]).bfloat16()
    for controller, tolerance in ((full, 0.2), (half, 0.6)):
        with torch.autocast("cpu", torch.bfloat16, enabled=controller is full):
            samples = controller.sample(4, seeded())
            assert_close(controller.evaluate(samples.choices).log_prob, samples.log_prob)
        for architecture in controller.architectures(samples.choices):
            SPACES[name].validate(architecture)
        precise = lively(SPACES[name]).evaluate(samples.choices)
        assert_close(samples.log_prob.float(), precise.log_prob, atol=tolerance, rtol=0.02)


def test_the_seed_alone_decides_the_weights() -> None:
    before = torch.get_rng_state()
    first, again, other = (LstmController(macro(3), seed=seed) for seed in (5, 5, 6))
    assert torch.equal(before, torch.get_rng_state())
    assert_close(first.state_dict(), again.state_dict(), rtol=0, atol=0)
    for name, parameter in first.named_parameters():
        assert not torch.equal(parameter, dict(other.named_parameters())[name])
        assert 0.07 < parameter.abs().max() <= 0.1


def test_a_drawn_number_falls_into_its_share() -> None:
    """Probabilities a quarter and three quarters: the first choice is drawn just as the number is below a quarter."""
    controller = with_zero_weights(ListSpace([operation("a", ("x", "y"))]), operation_bias=(0.0, math.atanh(0.5)))
    controller.operation_tanh_constant = 2 * math.log(3)
    assert_close(controller.evaluate(torch.tensor([[0], [1]])).log_prob.exp(), torch.tensor([0.25, 0.75]))
    numbers = torch.rand(1000, 1, generator=seeded())
    choices = controller.sample(1000, seeded()).choices
    assert torch.equal(choices == 0, numbers < 0.25)


@pytest.mark.parametrize(("skip_prior", "rate"), [("official", 0.308), ("sampled", 0.4)])
def test_the_share_of_skips_where_the_penalty_is_least(skip_prior: str, rate: float) -> None:
    space = macro(4)
    controller = LstmController.enas(space, hidden=16, skip_prior=skip_prior)
    optimizer = torch.optim.Adam(controller.parameters(), lr=0.02)
    generator = seeded()
    for _ in range(150):
        optimizer.zero_grad()
        torch.autograd.backward(controller.sample(16, generator).skip_penalty.mean())
        optimizer.step()
    samples = controller.sample(4000, generator)
    flags = [k for k, decision in enumerate(space.decisions) if decision.kind == "flag"]
    assert samples.skip_penalty.mean() < 1e-4
    assert samples.choices[:, flags].float().mean() == pytest.approx(rate, abs=0.01)  # four standard errors: 0.0127


def test_no_penalty_without_target() -> None:
    assert lively(macro(3), skip_target=None).sample(2, seeded()).skip_penalty.eq(0).all()


@pytest.mark.parametrize("field", ["log_prob", "entropy", "skip_penalty"])
@pytest.mark.parametrize("name", list(SPACES))
def test_gradients(name: str, field: str) -> None:
    """The gradient agrees with the finite difference along a random direction, through every weight."""
    space = SPACES[name]
    controller = lively(space, init_range=0.5, tanh_constant=2.0, temperature=1.5).double()
    choices = controller.sample(3, seeded()).choices
    parameters = list(controller.parameters())
    directions = [torch.randn(p.shape, generator=seeded(k), dtype=p.dtype) for k, p in enumerate(parameters)]

    def value(shift: float) -> Tensor:
        moved = copy.deepcopy(controller)
        with torch.no_grad():
            for p, d in zip(moved.parameters(), directions, strict=True):
                p.add_(d, alpha=shift)
        result: Tensor = getattr(moved.evaluate(choices), field).sum()
        return result

    total = getattr(controller.evaluate(choices), field).sum()
    if field == "skip_penalty" and not any(decision.kind == "flag" for decision in space.decisions):
        assert total == 0
        return
    gradients = torch.autograd.grad(total, parameters, allow_unused=True, materialize_grads=True)
    slope = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True))
    assert_close(slope, (value(1e-5) - value(-1e-5)) / 2e-5, rtol=1e-6, atol=1e-8)
    assert abs(float(slope)) > 1e-3


def test_every_weight_gets_a_gradient() -> None:
    for space in (micro(3), macro(3), recurrent(3), DartsSpace(nodes=2), layered(3)):
        controller = lively(space, layers=2)
        torch.autograd.backward(controller.sample(4, seeded()).log_prob.sum())
        for name, parameter in controller.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all()
            assert parameter.grad.abs().sum() > 0, name


def test_layers() -> None:
    """The second layer reads the first one's state: with its input's weights at zero, nothing matters to it."""
    controller = lively(layered(2), layers=2)
    choices = controller.sample(4, seeded()).choices
    before = controller.evaluate(choices).log_prob
    assert sum(p.numel() for p in controller.lstm.parameters()) == 2 * 8 * 6**2
    with torch.no_grad():
        controller.lstm[1].get_parameter("weight")[:6] = 0
    after = controller.evaluate(choices).log_prob
    assert not torch.allclose(before, after)
    with torch.no_grad():
        controller.lstm[0].get_parameter("weight").mul_(3)
    assert_close(controller.evaluate(choices).log_prob, after)


def test_no_attention_where_nothing_attends() -> None:
    assert LstmController(NasBench201Space()).attention is None
    assert {name.split(".")[0] for name, _ in LstmController(NasBench201Space()).named_parameters()} == {
        "start",
        "lstm",
        "vocabularies",
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden": 0}, "Expected `hidden` to be at least 1 but got 0"),
        ({"layers": 0}, "Expected `layers` to be at least 1 but got 0"),
        ({"temperature": 0.0}, "Expected `temperature` to be above 0"),
        ({"tanh_constant": -1.0}, "Expected `tanh_constant` to be above 0"),
        ({"operation_tanh_constant": 0.0}, "Expected `operation_tanh_constant` to be above 0"),
        ({"skip_target": 1.0}, "Expected `skip_target` to be a share"),
        ({"skip_prior": "none"}, r"Expected `skip_prior` to be one of \['sampled', 'official'\]"),
        ({"entropy": "none"}, r"Expected `entropy` to be one of \['full', 'sampled'\]"),
        ({"operation_bias": (1.0,)}, r"Expected `operation_bias` to be one number for each of .* but got \(1.0,\)"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LstmController(macro(2), **settings)


def test_an_unknown_preset() -> None:
    with pytest.raises(ValueError, match=r"Expected `preset` to be one of \['official', 'paper'\] but got 'own'"):
        LstmController.enas(macro(2), "own")  # type: ignore[arg-type]  # is refused


def test_choices_that_are_none() -> None:
    controller = LstmController(macro(2))  # 6, 6, 2 choices
    with pytest.raises(ValueError, match=r"Expected `choices` to be indices of shape \(n, 3\) but got torch\.int64 of"):
        controller.evaluate(torch.zeros(2, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"but got torch\.float32 of shape"):
        controller.evaluate(torch.zeros(2, 3))
    for wrong in ([0, 0, 2], [-1, 0, 0]):
        with pytest.raises(ValueError, match=r"Expected `choices` to be indices below \[6, 6, 2\] but got"):
            controller.evaluate(torch.tensor([wrong]))
    with pytest.raises(ValueError, match="Expected `n` to be at least 1 but got 0"):
        controller.sample(0, seeded())


def test_architectures_of_another_space() -> None:
    controller = LstmController(ListSpace([flag("a"), flag("b")]))
    with pytest.raises(ValueError, match="Expected an architecture of space 'list' but got one of 'other'"):
        controller.log_prob([Architecture("other", {"a": True, "b": False})])
    with pytest.raises(ValueError, match=r"Expected 'b' to be one of \(False, True\) but got 1"):
        controller.log_prob([Architecture("list", {"a": True, "b": 1})])
