import math
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lightning_nas import LanguageModeling
from lightning_nas.methods.batches import batch_size
from lightning_nas.tasks.text_batch import IGNORED, TextBatch

VOCABULARY = 7


class Output(NamedTuple):
    logits: Tensor
    state: Any
    outputs: Tensor
    raw: Tensor


class Counter(nn.Module):
    """Its logits say what it has read; its state is how many tokens that were."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(VOCABULARY, VOCABULARY, generator=torch.Generator().manual_seed(0)))

    def forward(self, tokens: Tensor, state: Any = None) -> Output:
        seen = (torch.zeros(tokens.shape[1]) if state is None else state[0]) + len(tokens)
        raw = self.table[tokens]
        return Output(raw, (seen, (2 * raw[-1],)), raw / 2, raw)


def text(steps: int, texts: int, seed: int = 0) -> TextBatch:
    tokens = torch.randint(VOCABULARY, (steps + 1, texts), generator=torch.Generator().manual_seed(seed))
    return TextBatch(tokens[:-1], tokens[1:].clone())


def make(**options: Any) -> LanguageModeling:
    return LanguageModeling(VOCABULARY, **options)


def test_loss_is_the_mean_over_tokens_without_the_penalty() -> None:
    network, batch = Counter(), text(5, 3)
    evaluation = make().evaluate(network, batch)
    expected = [
        cross_entropy(network.table[batch.inputs[i, j]], batch.targets[i, j]) for i in range(5) for j in range(3)
    ]
    torch.testing.assert_close(evaluation.loss, torch.stack(expected).mean())
    assert make(ar=9.0, tar=9.0).loss(network, batch) == evaluation.loss


def test_penalty() -> None:
    network, batch = Counter(), text(4, 2)
    raw = network.table[batch.inputs]
    changes = torch.stack([(raw[i + 1] - raw[i]).square().mean() for i in range(3)]).mean()
    evaluation = make(ar=2.0, tar=3.0).evaluate(network, batch)
    assert evaluation.penalty is not None
    torch.testing.assert_close(evaluation.penalty, 2 * (raw / 2).square().mean() + 3 * changes)
    torch.testing.assert_close(evaluation.training_loss, evaluation.loss + evaluation.penalty)
    with torch.no_grad():
        assert make(ar=2.0, tar=3.0).evaluate(network, batch).penalty is None
    single = make(ar=0.0).evaluate(network, text(1, 2)).penalty
    assert single is not None
    assert float(single.detach()) == 0.0


def test_states_are_carried_and_cut_from_the_graph() -> None:
    task, network, batch = make(), Counter(), text(4, 2)
    first = task.evaluate(network, task.continue_from(batch, None))
    second = task.evaluate(network, task.continue_from(batch, first.state))
    assert first.state[0].tolist() == [4.0, 4.0]
    assert second.state[0].tolist() == [8.0, 8.0]
    assert not first.state[1][0].requires_grad
    torch.testing.assert_close(first.state[1][0], 2 * network.table[batch.inputs[-1]].detach())


@pytest.mark.parametrize(("window", "factor"), [(35, 0.2), (14, 0.5), (None, 1.0)])
def test_rates_go_with_the_length_of_windows(window: int | None, factor: float) -> None:
    assert make(window=window).rate_factor(text(7, 2)) == pytest.approx(factor)


def test_perplexity_is_of_all_tokens_whatever_the_batches() -> None:
    network, whole = Counter(), text(12, 4)
    expected = float(make().loss(network, whole).detach().exp())
    for windows in ([12], [5, 7], [1, 2, 9], [4, 4, 4]):
        metric, start = make().metrics()["perplexity"], 0
        for length in windows:
            part = TextBatch(whole.inputs[start : start + length], whole.targets[start : start + length])
            with torch.no_grad():
                evaluation = make().evaluate(network, part)
            metric.update(evaluation.predictions, evaluation.targets)
            start += length
        assert float(metric.compute()) == pytest.approx(expected, rel=1e-5)


def test_what_is_no_target_counts_nowhere() -> None:
    network, batch = Counter(), text(3, 2)
    batch.targets[1:] = IGNORED
    evaluation = make().evaluate(network, batch)
    torch.testing.assert_close(evaluation.loss, make().loss(network, TextBatch(batch.inputs[:1], batch.targets[:1])))
    metric = make().metrics()["perplexity"]
    metric.update(evaluation.predictions, evaluation.targets)
    assert float(metric.compute()) == pytest.approx(float(evaluation.loss.detach().exp()), rel=1e-5)
    assert batch_size(batch) == 2


def test_a_window_without_targets_adds_nothing() -> None:
    batch = text(3, 2)
    batch.targets[:] = IGNORED
    assert float(make().evaluate(Counter(), batch).loss.detach()) == 0.0
    assert batch_size(batch) == 0


def test_reward_of_enas() -> None:
    """Of specs/enas.md T13: perplexity 90 is worth 80/90."""
    evaluation = make().evaluate(Counter(), text(2, 2))._replace(loss=torch.tensor(math.log(90.0)))
    assert float(make().reward(evaluation)) == pytest.approx(0.8889, abs=5e-5)


def test_refuses_other_batches() -> None:
    with pytest.raises(TypeError, match="Expected batches that are TextBatch for LanguageModeling but got list"):
        make().evaluate(Counter(), [torch.zeros(2, 2), torch.zeros(2)])


def test_refuses_another_vocabulary() -> None:
    with pytest.raises(ValueError, match=r"Expected a network with 9 outputs for LanguageModeling\(9\) but got 7"):
        LanguageModeling(9).evaluate(Counter(), text(2, 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vocabulary": 1}, "vocabulary"),
        ({"window": 0}, "window"),
        ({"ar": -1.0}, "`ar` and `tar` of 0 or more but got -1.0 and 0.001"),
        ({"tar": -1.0}, "`ar` and `tar` of 0 or more but got 0.0 and -1.0"),
    ],
)
def test_arguments_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LanguageModeling(**options)
