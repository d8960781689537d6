"""The baseline, the loss, and its gradient."""

import pytest
import torch
from torch.testing import assert_close

from lightning_nas.controllers import LstmController, Reinforce, Samples
from tests.controllers.spaces import every_architecture, macro


def samples(log_prob: torch.Tensor, entropy: float = 0.0, penalty: float = 0.0) -> Samples:
    n = len(log_prob)
    return Samples(torch.zeros(n, 1), log_prob, torch.full((n,), entropy), torch.full((n,), penalty))


def one_by_one(reinforce: Reinforce, rewards: list[float]) -> tuple[list[float], list[float]]:
    advantages, baselines = [], []
    for reward in rewards:
        advantages.append(reinforce.advantages(torch.tensor([reward])).item())
        baselines.append(reinforce.baseline.item())
    return advantages, baselines


def test_official_order() -> None:  # enas T10
    advantages, baselines = one_by_one(Reinforce(order="official"), [0.5, 0.5, 0.6])
    assert baselines == pytest.approx([0.005, 0.00995, 0.0158505])
    assert advantages == pytest.approx([0.495, 0.49005, 0.58415], abs=5e-6)
    together = Reinforce(order="official").advantages(torch.tensor([0.5, 0.5, 0.6]))
    assert together.tolist() == pytest.approx(advantages)


def test_updated_after_use() -> None:
    advantages, baselines = one_by_one(Reinforce(decay=0.9), [0.5, 0.7, 0.4])
    assert advantages == pytest.approx([0.0, 0.2, 0.4 - 0.52])
    assert baselines == pytest.approx([0.5, 0.52, 0.508])


def test_a_batch_has_one_baseline() -> None:  # nas-rl T5
    reinforce = Reinforce(decay=0.95, entropy_weight=0.0)
    reinforce.advantages(torch.tensor([0.8]))
    log_prob = torch.tensor([-10.0, -12.0, -9.0, -11.0])
    loss = reinforce.loss(samples(log_prob), torch.tensor([0.80, 0.84, 0.76, 0.90]))
    assert loss.item() == pytest.approx(0.305, abs=1e-6)
    assert reinforce.baseline.item() == pytest.approx(0.804905, abs=1e-6)


def test_starts_from_the_mean_of_the_first_batch() -> None:
    advantages = Reinforce().advantages(torch.tensor([1.0, 2.0, 6.0]))
    assert_close(advantages, torch.tensor([-2.0, -1.0, 3.0]))


def test_entropy_is_a_bonus_without_gradient() -> None:
    entropy = torch.tensor([2.0, 4.0], requires_grad=True)
    log_prob = torch.tensor([-1.0, -3.0], requires_grad=True)
    given = Samples(torch.zeros(2, 1), log_prob, entropy, torch.zeros(2))
    reinforce = Reinforce(order="official", decay=0.0, entropy_weight=0.5)
    reinforce.decay = 1.0  # the baseline stays zero: advantages are the rewards
    loss = reinforce.loss(given, torch.tensor([0.1, 0.2]))
    assert loss.item() == pytest.approx((1 * (0.1 + 1) + 3 * (0.2 + 2)) / 2)
    torch.autograd.backward(loss)
    assert entropy.grad is None
    assert log_prob.grad is not None
    assert_close(log_prob.grad, -torch.tensor([1.1, 2.2]) / 2)


def test_no_gradient_through_rewards() -> None:
    rewards = torch.tensor([0.5, 0.7], requires_grad=True)
    log_prob = torch.tensor([-1.0, -2.0], requires_grad=True)
    reinforce = Reinforce()
    torch.autograd.backward(reinforce.loss(samples(log_prob), rewards))
    assert rewards.grad is None
    assert not reinforce.baseline.requires_grad


def test_the_skip_penalty_is_added_to_the_loss() -> None:
    log_prob = torch.tensor([-1.0, -3.0])
    rewards = torch.tensor([0.1, 0.3])
    without = Reinforce().loss(samples(log_prob), rewards)
    assert_close(Reinforce(skip_weight=0.8).loss(samples(log_prob, penalty=0.5), rewards), without + 0.4)


def test_a_checkpoint_holds_the_baseline() -> None:
    first, second = Reinforce(decay=0.5), Reinforce(decay=0.5)
    first.advantages(torch.tensor([4.0]))
    second.load_state_dict(first.state_dict())
    assert_close(first.advantages(torch.tensor([8.0])), torch.tensor([4.0]))
    assert_close(second.advantages(torch.tensor([8.0])), torch.tensor([4.0]))
    assert first.baseline.item() == second.baseline.item() == 6.0


def test_the_mean_gradient_is_that_of_the_expected_reward() -> None:
    """Summed over all architectures, each with its probability, for any baseline: the policy gradient theorem."""
    space = macro(2, ("a", "b", "c"))
    controller = LstmController(space, hidden=5, init_range=1.0, skip_target=None).double()
    table = every_architecture(space)
    rewards = torch.rand(len(table), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weights = list(controller.parameters())

    log_prob = controller.evaluate(table).log_prob
    p = log_prob.detach().exp()
    # as if each were drawn as often as it is likely: the mean over the table, times the share
    surrogate = -(log_prob * (rewards - 0.37) * p).sum()
    expected = torch.autograd.grad((controller.evaluate(table).log_prob.exp() * rewards).sum(), weights)
    for got, want in zip(torch.autograd.grad(surrogate, weights), expected, strict=True):
        assert_close(-got, want, atol=1e-12, rtol=1e-9)

    samples = controller.sample(20_000, torch.Generator().manual_seed(1))
    index = (table[None] == samples.choices[:, None]).all(2).int().argmax(1)
    estimate = torch.autograd.grad(Reinforce(entropy_weight=0.0).loss(samples, rewards[index]), weights)
    flat, exact = (torch.cat([g.flatten() for g in many]) for many in (estimate, expected))
    assert torch.cosine_similarity(-flat, exact, dim=0) > 0.98
    assert flat.norm() / exact.norm() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"decay": 1.0}, "Expected `decay` to be a share"),
        ({"order": "before"}, r"Expected `order` to be one of \['after_use', 'official'\] but got 'before'"),
    ],
)
def test_settings_out_of_range(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Reinforce(**settings)  # type: ignore[arg-type]  # is refused
