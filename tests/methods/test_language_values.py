"""Methods on text compute what plain restatements compute."""

import copy
import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import SGD, Adam

from lightning_nas._lightning import pl
from lightning_nas.controllers import Reinforce, Samples
from lightning_nas.methods import DartsModule, EnasModule, NasModule, RandomSearchModule, RetrainModule
from lightning_nas.methods.base import TaskModule
from lightning_nas.seeding import derive_seed
from lightning_nas.strategies import ReinforceStrategy
from lightning_nas.tasks import ImageClassification, Regression
from lightning_nas.tasks.text_batch import TextBatch
from tests.methods.tiny_text import WORDS, TinyText, Watched, columns
from tests.references.darts_language import ReferenceLanguageSearch

RATE, DECAY, WINDOW, CLIP = 3.0, 1e-2, 5, 1.25
SMALL: dict[str, Any] = {"vocabulary": WORDS, "hidden": 4}
PLAIN = {**SMALL, "dropout": 0.0, "dropouth": 0.0, "dropoutx": 0.0, "dropouti": 0.0, "dropoute": 0.0}
sgd = partial(SGD, lr=RATE, weight_decay=DECAY)


def fit(module: TaskModule, data: TinyText, epochs: int = 2, **options: Any) -> pl.Trainer:
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **options,
    )
    with torch.random.fork_rng([]):
        trainer.fit(module, datamodule=data)
    return trainer


# --- DARTS ------------------------------------------------------------------------------------------------------------


def darts(order: Any, task: Watched) -> DartsModule:
    return DartsModule(
        "darts_recurrent?nodes=2",
        task,
        scale={**SMALL, "dropoute": 0.1},
        order=order,
        clip_virtual=order == "second",
        grad_clip=CLIP,
        min_learning_rate=RATE,
        weights_optimizer=sgd,
        alphas_optimizer=partial(Adam, lr=3e-3, weight_decay=1e-3),
        seed=1,
    )


def windows(tokens: Tensor, pieces: int, before: int, whole: bool) -> list[TextBatch]:
    inputs, targets = columns(tokens, pieces, before)
    steps = len(inputs) // 4 * 4 if whole else len(inputs)
    if whole:  # the text is cut first, then made into columns
        inputs, targets = columns(tokens[: steps * pieces], pieces, before)
    return [TextBatch(inputs[k : k + 4], targets[k : k + 4]) for k in range(0, steps, 4)]


def reference(module: DartsModule, data: TinyText, second_order: bool, mistakes: Any = ()) -> ReferenceLanguageSearch:
    """Return the reference after two epochs; the module is as at the start."""
    (before,) = data.vocabulary(["<eos>"])
    training = windows(data.text("train"), 4, before, whole=False)
    validation = windows(data.text("val"), 4, before, whole=True)
    assert [len(window.inputs) for window in training] == [4, 4, 4, 4, 2]
    assert len(validation) == 2
    search = ReferenceLanguageSearch(
        copy.deepcopy(module.supernet).double().train(),
        module.alphas["cell"].detach().double(),
        second_order,
        RATE,
        DECAY,
        clip=CLIP,
        bptt=WINDOW,
        mistakes=mistakes,
    )
    with torch.random.fork_rng([]):
        for epoch in range(2):
            search.start_epoch()
            for k, window in enumerate(training):
                seeds = derive_seed(1, "alpha step", 5 * epoch + k, 0), derive_seed(1, epoch, k, 0)
                search.iterate(window, validation[k % 2], *seeds)
    return search


@pytest.mark.parametrize("order", ["first", "second"])
def test_darts_is_that_of_the_paper(order: str) -> None:
    module, data = darts(order, Watched(window=WINDOW)), TinyText(search=True)
    expected = reference(module, data, order == "second")
    assert min(expected.norms) < CLIP < max(expected.norms)  # clipping acts, and does not act
    trainer = fit(module, data, precision="64-true")
    assert trainer.global_step == 10
    torch.testing.assert_close(module.alphas["cell"].detach(), expected.alpha, rtol=1e-7, atol=1e-10)
    for name, weight in expected.network.named_parameters():
        torch.testing.assert_close(module.supernet.get_parameter(name).detach(), weight, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize(
    "mistake", ["unscaled rate", "penalty in the look-ahead", "word table stays", "new masks", "no coefficient"]
)
def test_the_reference_would_notice(mistake: str) -> None:
    module, data = darts("second", Watched(window=WINDOW)), TinyText(search=True)
    right, wrong = (reference(module, data, True, mistakes) for mistakes in ((), (mistake,)))
    assert float((right.alpha - wrong.alpha).abs().max()) > 1e-7


def test_darts_carries_both_states_and_draws_new_masks() -> None:
    """The alpha step carries the architecture's state once a batch, though it makes four passes."""
    module, data = darts("second", task := Watched(window=WINDOW)), TinyText(search=True)
    fit(module, data, epochs=1, limit_val_batches=0)
    assert len(task.calls) == 5 * 5  # an alpha step is four passes
    first, last = None, None
    for k in range(5):
        g, v, plus, minus, w = task.calls[5 * k : 5 * k + 5]
        for _, _, before, _ in (g, plus, minus, w):
            assert_states(before, last)
        assert_states(v[2], first)
        first, last = v[3].state, w[3].state
        assert all(not part.requires_grad for part in (*first, *last))


def test_dropout_masks_differ_from_batch_to_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    from lightning_nas.spaces.language_model import LanguageModel

    masks: list[Tensor] = []
    draw = LanguageModel._masks

    def watch(self: LanguageModel, texts: int) -> Any:
        drawn = draw(self, texts)
        if drawn.outputs is not None:
            masks.append(drawn.outputs)
        return drawn

    monkeypatch.setattr(LanguageModel, "_masks", watch)
    fit(darts("second", Watched(window=WINDOW)), TinyText(search=True), epochs=2)
    assert len(masks) == 50
    steps = [masks[5 * k : 5 * k + 5] for k in range(10)]
    for g, v, plus, minus, _ in steps:
        assert all(torch.equal(g, other) for other in (v, plus, minus))
    different = [mask for step in steps for mask in (step[0], step[4])]
    assert all(not torch.equal(a, b) for k, a in enumerate(different) for b in different[:k])


def assert_states(got: Any, expected: Any) -> None:
    assert (got is None) == (expected is None)
    for left, right in zip(got or (), expected or (), strict=True):
        for one, other in zip(as_tensors(left), as_tensors(right), strict=True):
            assert torch.equal(one, other)


def as_tensors(state: Any) -> list[Tensor]:
    return [state] if isinstance(state, Tensor) else [tensor for part in state for tensor in as_tensors(part)]


# --- ENAS -------------------------------------------------------------------------------------------------------------


class Listener(Reinforce):
    def __init__(self) -> None:
        super().__init__()
        self.rewards: list[Tensor] = []

    def loss(self, samples: Samples, rewards: Tensor) -> Tensor:
        self.rewards.append(rewards)
        return super().loss(samples, rewards)


def test_enas_rewards_and_states() -> None:
    """Rewards are 80 over the perplexity, from a zero state; weights carry theirs from architecture to architecture."""
    listener, task = Listener(), Watched(tar=0.0)
    module = EnasModule(
        "enas_recurrent?nodes=3",
        task,
        scale=SMALL,
        reinforce=listener,
        controller_steps=2,
        samples_per_step=3,
        derive_samples=4,
        grad_clip=0.25,
        weights_optimizer=sgd,
    )
    fit(module, TinyText(search=True), epochs=1, limit_val_batches=0)
    training, rewarded = [call for call in task.calls if call[0]], [call for call in task.calls if not call[0]]
    assert (len(training), len(rewarded)) == (5, 2 * 3 + 4)
    last = None
    for _, _, before, evaluation in training:
        assert_states(before, last)
        last = evaluation.state
    paths = [tuple(m.active for m in network.keywords["mixtures"].values()) for _, network, _, _ in training]
    assert len(set(paths)) > 1
    assert all(before is None for _, _, before, _ in rewarded)
    logits = [(evaluation.predictions.double(), evaluation.targets) for _, _, _, evaluation in rewarded[:6]]
    perplexities = [math.exp(plain_loss(*pair)) for pair in logits]
    assert torch.cat(listener.rewards).tolist() == pytest.approx([80 / p for p in perplexities], rel=1e-5)


def plain_loss(logits: Tensor, targets: Tensor) -> float:
    losses = [
        float(torch.logsumexp(logits[i, j], 0) - logits[i, j, targets[i, j]])
        for i in range(len(targets))
        for j in range(targets.shape[1])
    ]
    return sum(losses) / len(losses)


# --- networks that are trained by themselves --------------------------------------------------------------------------


def retraining(task: Watched) -> TaskModule:
    return RetrainModule(architecture="NAS_CELL", task=task, scale=SMALL, optimizer=sgd, grad_clip=0.25)


def children(task: Watched) -> TaskModule:
    return RandomSearchModule("nas_recurrent?base=2", task, scale=SMALL, epochs_per_child=1, optimizer=sgd)


@pytest.mark.parametrize("make", [retraining, children])
def test_states_are_carried_within_an_epoch(make: Any, tmp_path: Path) -> None:
    task = Watched()
    fit(make(task), TinyText(), default_root_dir=tmp_path)
    for gradients, count in ((True, 5), (False, 5)):
        calls = [call for call in task.calls if call[0] == gradients]
        assert len(calls) == 2 * count
        for start in (0, count):
            last = None
            for _, _, before, evaluation in calls[start : start + count]:
                assert_states(before, last)
                last = evaluation.state


@pytest.mark.parametrize(("pieces", "bptt"), [(1, 4), (2, 4), (2, 7), (5, 3)])
def test_perplexity_is_of_the_whole_text(pieces: int, bptt: int) -> None:
    """Word by word, from one end of a piece to the other; each word is a target once."""
    module = RetrainModule(architecture="DARTS_RNN_V2", scale={**SMALL, "hidden": 8}, optimizer=sgd, grad_clip=0.25)
    trainer = fit(module, data := TinyText(eval_batch_size=pieces, bptt=bptt), epochs=1)
    got = float(trainer.callback_metrics["val/perplexity"])
    tokens, network, losses = data.text("val"), module.network.eval(), []
    (last,) = data.vocabulary(["<eos>"])
    with torch.no_grad():
        for piece in tokens.tensor_split(pieces):
            state = None
            for word in piece:
                output = network(torch.tensor([[last]]), state)
                losses.append(float(-output.logits[0, 0].double().log_softmax(0)[word]))
                state, last = output.state, int(word)
    assert len(losses) == len(tokens)
    assert got == pytest.approx(math.exp(sum(losses) / len(losses)), rel=1e-5)
    assert float(trainer.callback_metrics["val/loss"]) == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_perplexity_of_a_word_that_is_all_but_impossible() -> None:
    """Its probability is zero in single precision, its cross-entropy is not."""
    logits, targets = torch.zeros(1, 2, WORDS), torch.tensor([[1, 2]])
    logits[0, :, 0] = logits[0, 1, 2] = 120.0
    metric = Watched().metrics()["perplexity"]
    metric.update(logits, targets)  # 120 and ln 2 in the mean
    assert float(metric.compute()) == pytest.approx(math.exp(60) * math.sqrt(2), rel=1e-4)


# --- the reward of NAS ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("score", "reward"), [(-90.0, 0.0098765), (-1.0, 80.0), (-1e200, 0.0), (None, 0.0)])
def test_reward_of_a_perplexity(score: float | None, reward: float) -> None:  # nas-rl T6
    for strategy in (
        ReinforceStrategy("nas_recurrent?base=2", reward_constant=80.0, reward_power=2.0),
        NasModule("nas_recurrent?base=2", scale=SMALL).strategy,
    ):
        assert isinstance(strategy, ReinforceStrategy)
        assert strategy.reward(score) == pytest.approx(reward, abs=5e-8)


def test_nas_tells_the_negative_perplexity_and_learns_from_the_paper_s_reward(tmp_path: Path) -> None:
    module = NasModule(
        "nas_recurrent?base=2", scale=SMALL, epochs_per_child=1, samples_per_update=2, optimizer=sgd, max_children=2
    )
    strategy = module.strategy
    assert isinstance(strategy, ReinforceStrategy)
    trainer = fit(module, TinyText(), default_root_dir=tmp_path)
    scores = [record.score for record in module.ledger]
    assert scores == [-record.metrics["val/perplexity"] for record in module.ledger]
    assert float(trainer.callback_metrics["search/best_score"]) == pytest.approx(-max(s for s in scores if s))
    rewards = [80 / (score or 0) ** 2 for score in scores]
    assert strategy.updates == 1
    first = sum(rewards) / 2  # the baseline begins with the mean, then moves
    assert float(strategy.reinforce.baseline) == pytest.approx(first, rel=0.1)


@pytest.mark.parametrize(
    ("task", "options", "expected"),
    [
        (ImageClassification(10), {}, (3.0, None, 0.0)),
        (ImageClassification(10), {"reward_power": 1.0}, (1.0, None, 0.0)),
        (Regression(), {}, (1.0, None, None)),
        (Regression(), {"reward_power": 2.0}, (2.0, None, None)),
        (Watched(), {}, (2.0, 80.0, 0.0)),
        (Watched(), {"reward_power": 1.0, "reward_constant": 40.0}, (1.0, 40.0, 0.0)),
    ],
)
def test_reward_by_objective(task: Any, options: dict[str, Any], expected: tuple[float | None, ...]) -> None:
    strategy = NasModule("nas_recurrent?base=2", task, **options).strategy
    assert isinstance(strategy, ReinforceStrategy)
    assert (strategy.reward_power, strategy.reward_constant, strategy.failed_reward) == expected


def test_refuses_a_constant_for_what_is_no_perplexity() -> None:
    with pytest.raises(ValueError, match="Expected `reward_constant` only where the objective is a perplexity but got"):
        NasModule("nas_conv?layers=2", reward_constant=80.0)
    with pytest.raises(ValueError, match="Expected `reward_constant` to be above 0 but got 0"):
        ReinforceStrategy("nas_recurrent?base=2", reward_constant=0.0)
    strategy = ReinforceStrategy("nas_recurrent?base=2", reward_constant=80.0)
    with pytest.raises(ValueError, match=r"Expected scores that are negative perplexities .* but got 0\.5"):
        strategy.reward(0.5)
