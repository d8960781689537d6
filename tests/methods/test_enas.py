from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.testing import assert_close
from torch.utils.data import DataLoader, TensorDataset

from lightning_nas import Architecture, InputChoice, ModuleSpace, OpChoice
from lightning_nas._lightning import CombinedLoader, pl
from lightning_nas.controllers import LstmController, Reinforce, UniformController
from lightning_nas.datamodules import DigitsDataModule
from lightning_nas.methods import EnasModule
from lightning_nas.methods.batch_norm import recalibrate
from lightning_nas.methods.ranking import SharedWeightRanking, kendall_tau
from lightning_nas.seeding import make_generator
from lightning_nas.tasks import Classification, Evaluation, Regression
from lightning_nas.testing.search_module import RandomImages

FEW: dict[str, Any] = {"controller_steps": 2, "samples_per_step": 3, "derive_samples": 5}
OPTIONS: dict[str, Any] = {"scale": {"channels": 4, "cells": 1}, **FEW}


def enas(**options: Any) -> EnasModule:
    return EnasModule("nasbench201", **{**OPTIONS, **options})


def trainer(**options: Any) -> pl.Trainer:
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    settings: dict[str, Any] = {**dict.fromkeys(quiet, False), "accelerator": "cpu", "max_epochs": 1, **options}
    return pl.Trainer(num_sanity_val_steps=0, **settings)


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


class Phases(EnasModule):
    """Notes the state of weights and controller around both phases, and the paths of the weight steps."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.notes: dict[str, list[dict[str, Tensor]]] = {}
        self.paths: list[Architecture] = []
        self.scored: list[Architecture] = []

    def _note(self, name: str) -> None:
        self.notes.setdefault(f"{name}/weights", []).append(state(self.supernet))
        self.notes.setdefault(f"{name}/controller", []).append(state(self.controller))

    def _weights_step(self, batch: Any, batch_idx: int) -> None:
        self._note("before step")
        super()._weights_step(batch, batch_idx)
        self._note("after step")

    def _teach(self) -> None:
        self._note("before teaching")
        super()._teach()
        self._note("after teaching")

    def _choose(self) -> None:
        super()._choose()
        self._note("after choosing")

    def _evaluate(self, architecture: Architecture, batch: Any) -> Evaluation:
        (self.paths if torch.is_grad_enabled() else self.scored).append(architecture)
        return super()._evaluate(architecture, batch)


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def test_weights_and_controller_learn_in_turns() -> None:
    """ENAS T14."""
    module = Phases("nasbench201", **OPTIONS)
    trainer(max_epochs=2).fit(module, datamodule=RandomImages(4))
    notes = module.notes
    assert len(notes["before step/weights"]) == 4
    assert len(notes["before teaching/weights"]) == 2
    for before, after in zip(notes["before step/controller"], notes["after step/controller"], strict=True):
        assert same(before, after)
    for before, after in zip(notes["before step/weights"], notes["after step/weights"], strict=True):
        assert not same(before, after)
    for number in range(2):
        weights = [notes[f"{name}/weights"][number] for name in ("before teaching", "after teaching", "after choosing")]
        assert same(weights[0], weights[1])
        assert same(weights[0], weights[2])
        assert not same(notes["before teaching/controller"][number], notes["after teaching/controller"][number])
        assert same(notes["after teaching/controller"][number], notes["after choosing/controller"][number])


def test_every_batch_has_a_fresh_path_and_moves_it_only() -> None:
    module = Phases("nasbench201", **OPTIONS)
    trainer(max_epochs=3).fit(module, datamodule=RandomImages(2))
    assert len(module.paths) == 12
    assert len(set(module.paths)) > 6
    pairs = zip(module.notes["before step/weights"], module.notes["after step/weights"], module.paths, strict=True)
    for before, after, path in pairs:
        moved = {name for name in before if not torch.equal(before[name], after[name])}
        assert moved
        operations = [str(path.values[decision.name]) for decision in module.space.decisions]
        for name in moved:
            if ".edges." in name:  # cells.<cell>.edges.<edge>.<operation>
                edge, operation = name.split(".edges.")[1].split(".")[:2]
                assert operations[int(edge)] == operation


def test_rewards_are_accuracies_of_the_batches_kept() -> None:
    module = enas()
    images, labels = torch.randn(6, 3, 8, 8), torch.arange(6)
    module.trainer = trainer()
    choices = module.controller.sample(4, torch.Generator().manual_seed(3)).choices
    rewards = module._rewards(choices, [(images, labels)] * 4)
    module.supernet.train()
    for architecture, reward in zip(module.controller.architectures(choices), rewards, strict=True):
        with torch.no_grad():
            logits = module.supernet(images, module.space.mixtures(architecture))
        assert float(reward) == pytest.approx(float((logits.argmax(1) == labels).float().mean()))
    assert int(module.examples_seen) == 24


class Scored(EnasModule):
    """The reward is the share of 3x3 convolutions, whatever the weights say."""

    def _rewards(self, choices: Tensor, batches: Any) -> Tensor:
        return (choices == 3).double().mean(1)


def test_the_best_of_the_samples_is_derived() -> None:
    """ENAS T15."""
    module = Scored("nasbench201", **{**OPTIONS, "controller_steps": 0, "derive_samples": 50})
    trainer().fit(module, datamodule=RandomImages(4))
    generator = make_generator(0, 0, "derive")  # seed and epoch
    architectures = module.controller.architectures(module.controller.sample(50, generator).choices)
    counts = [sum(value == "nor_conv_3x3" for value in architecture.values.values()) for architecture in architectures]
    derived = module.derive()
    assert derived == architectures[counts.index(max(counts))]
    assert float(module.best_reward) == pytest.approx(max(counts) / 6)
    assert derived.provenance["controller"] == "LstmController"


def test_the_controller_learns_what_is_rewarded() -> None:
    """ENAS T16: the share of the rewarded operation rises, and the entropy falls."""
    module = Scored("nasbench201", **{**OPTIONS, "controller_steps": 60, "samples_per_step": 10})

    def share() -> float:
        choices = module.controller.sample(500, torch.Generator().manual_seed(1)).choices
        return float((choices == 3).float().mean())

    before = share()
    entropies = [float(module.controller.sample(200, torch.Generator().manual_seed(2)).entropy.mean())]
    trainer(max_epochs=4).fit(module, datamodule=RandomImages(4))
    entropies.append(float(module.controller.sample(200, torch.Generator().manual_seed(2)).entropy.mean()))
    assert before == pytest.approx(0.2, abs=0.05)
    assert share() > before + 0.1
    assert entropies[1] < entropies[0]


def test_a_step_of_the_controller_is_reinforce() -> None:
    """Against the formula: the mean of -log P * (R - b), plainly with SGD."""
    options = {**OPTIONS, "controller_steps": 1, "preset": "paper", "controller_optimizer": sgd}
    module = Scored("nasbench201", **options).double()
    plain = LstmController(module.space, temperature=5.0, tanh_constant=2.5, hidden=100).double()
    plain.load_state_dict(module.controller.state_dict())
    fit = trainer(precision="64-true")
    fit.fit(module, datamodule=RandomImages(4))
    samples = plain.sample(3, make_generator(0, 0, "controller", 0))
    rewards = (samples.choices == 3).double().mean(1) + 1e-4 * samples.entropy.detach()
    loss = -(samples.log_prob * (rewards - rewards.mean())).mean()
    gradients = torch.autograd.grad(loss, list(plain.parameters()), allow_unused=True, materialize_grads=True)
    for own, before, gradient in zip(module.controller.parameters(), plain.parameters(), gradients, strict=True):
        assert_close(own, before - gradient, rtol=1e-9, atol=1e-12)


def sgd(parameters: Any) -> SGD:
    return SGD(parameters, lr=1.0)


def test_warmup_leaves_the_controller_alone() -> None:
    module = Phases("nasbench201", **OPTIONS, warmup_epochs=1)
    trainer(max_epochs=2).fit(module, datamodule=RandomImages(4))
    taught = zip(module.notes["before teaching/controller"], module.notes["after teaching/controller"], strict=True)
    assert [same(before, after) for before, after in taught] == [True, False]


def test_uniform_sampling_has_no_controller_to_teach() -> None:
    module = Phases("nasbench201", **OPTIONS, controller="uniform")
    fit = trainer(max_epochs=2)
    fit.fit(module, datamodule=RandomImages(4))
    assert isinstance(module.controller, UniformController)
    assert len(fit.optimizers) == 1
    assert len(module.scored) == 2 * (5 + 1)  # to derive from, and in validation
    assert module.derive().provenance["controller"] == "UniformController"


def test_examples_are_counted_as_the_papers_do() -> None:
    """Two epochs of 8 images for the weights, and of 6 + 5 samples on batches of 4 images."""
    module = enas()
    trainer(max_epochs=2).fit(module, datamodule=RandomImages(4))
    assert int(module.examples_seen) == 2 * (8 + (6 + 5) * 4)


def test_what_is_logged() -> None:
    module = enas()
    fit = trainer(max_epochs=2)
    fit.fit(module, datamodule=RandomImages(4))
    metrics = {name: float(value) for name, value in fit.callback_metrics.items()}
    assert {"search/reward", "search/entropy", "search/baseline", "search/best_reward", "val/accuracy"} <= set(metrics)
    assert metrics["search/examples_seen"] == int(module.examples_seen)
    assert metrics["search/best_reward"] == float(module.best_reward)
    assert metrics["search/baseline"] == pytest.approx(float(module.reinforce.baseline))
    assert 1.0 < metrics["search/entropy"] < 1.6095  # of five operations, the mean over edges
    assert fit.global_step == 4


def test_learning_rate_restarts() -> None:
    module = enas(restart_epochs=1, min_learning_rate=0.01, controller_steps=0)
    rates = []

    class Note(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    trainer(max_epochs=4, callbacks=[Note()]).fit(module, datamodule=RandomImages(4))
    assert rates == pytest.approx([0.05, 0.05, 0.03, 0.05])


@pytest.mark.parametrize(
    ("preset", "rate", "order"), [("official", 3.5e-3, "official"), ("paper", 3.5e-4, "after_use")]
)
def test_presets(preset: Any, rate: float, order: str) -> None:
    module = enas(preset=preset)
    assert module.controller_optimizer(module.controller.parameters()).defaults["lr"] == rate
    assert module.reinforce.order == order
    macro = EnasModule("enas_macro?layers=3", preset=preset, scale={"channels": 4})
    expected = 1e-3 if preset == "official" else rate
    assert macro.controller_optimizer(macro.controller.parameters()).defaults["lr"] == expected


@pytest.mark.parametrize(
    ("space", "preset", "steps", "samples", "entropy_weight"),
    [
        ("enas_micro?nodes=2", "official", 30, 10, 1e-4),
        ("enas_macro?layers=3", "official", 50, 20, 1e-4),
        ("nasbench201", "official", 30, 10, 1e-4),
        ("enas_micro?nodes=2", "paper", 2000, 1, 0.1),
        ("enas_macro?layers=3", "paper", 2000, 1, 0.1),
        ("nasbench201", "paper", 2000, 1, 1e-4),
    ],
)
def test_presets_say_how_the_controller_steps(
    space: str, preset: Any, steps: int, samples: int, entropy_weight: float
) -> None:
    module = EnasModule(space, preset=preset, scale={"channels": 4})
    assert (module.controller_steps, module.samples_per_step) == (steps, samples)
    assert module.reinforce.entropy_weight == entropy_weight


@pytest.mark.parametrize("preset", ["official", "paper"])
def test_arguments_win_over_the_preset(preset: Any) -> None:
    module = EnasModule(
        "enas_micro?nodes=2",
        scale={"channels": 4},
        preset=preset,
        controller_steps=0,
        samples_per_step=7,
        min_learning_rate=0.0,
        reinforce=Reinforce(decay=0.9),
    )
    assert (module.controller_steps, module.samples_per_step, module.min_learning_rate) == (0, 7, 0.0)
    assert (module.reinforce.decay, module.reinforce.entropy_weight) == (0.9, 1e-4)


def test_any_task_has_a_reward() -> None:
    evaluation = Evaluation(torch.tensor(0.0), torch.tensor([1.0, 2.0]), torch.tensor([1.0, 5.0]))
    assert float(Regression().reward(evaluation)) == pytest.approx(-(4.5**0.5))  # less error is better
    logits = torch.tensor([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0]])
    evaluation = Evaluation(torch.tensor(0.0), logits, torch.tensor([0, 1, 1]))
    assert float(Classification(2).reward(evaluation)) == pytest.approx(2 / 3)


def test_a_diverged_controller_is_reported() -> None:
    module = enas(controller_optimizer=lambda parameters: SGD(parameters, lr=torch.inf))
    with pytest.raises(FloatingPointError, match="Expected a finite controller but got NaN or infinity in epoch 0"):
        trainer().fit(module, datamodule=RandomImages(4))


def test_load_from_checkpoint(tmp_path: Path) -> None:
    module = enas(controller="uniform", seed=3)
    fit = trainer()
    fit.fit(module, datamodule=RandomImages(4))
    fit.save_checkpoint(tmp_path / "search.ckpt")
    loaded = EnasModule.load_from_checkpoint(tmp_path / "search.ckpt")
    assert loaded.derive() == module.derive()
    assert isinstance(loaded.controller, UniformController)
    assert same(state(module.supernet), state(loaded.supernet))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"controller": "gru"}, "Expected `controller` to be one of"),
        ({"preset": "mine"}, "Expected `preset` to be one of"),
        ({"samples_per_step": 0}, "Expected `samples_per_step` to be at least 1"),
        ({"derive_samples": 0}, "Expected `derive_samples` to be at least 1"),
        ({"uniform_samples": -1}, "Expected `uniform_samples` to be at least 0"),
        ({"reward_batches": 0}, "Expected `reward_batches` to be at least 1"),
        ({"controller_steps": -1}, "Expected `controller_steps` to be at least 0"),
        ({"warmup_epochs": -1}, "Expected `warmup_epochs` to be at least 0"),
        ({"restart_epochs": 0}, "Expected `restart_epochs` to be at least 1"),
        ({"grad_clip": 0.0}, "Expected `grad_clip` to be above 0"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        enas(**options)


def test_batches_of_one_stream_are_refused() -> None:
    loader = DataLoader(TensorDataset(torch.randn(4, 3, 8, 8), torch.arange(4)), 2)
    with pytest.raises(Exception, match="Expected training batches"):
        trainer().fit(enas(), loader, loader)


def test_few_batches_are_kept() -> None:
    module = enas(reward_batches=2)
    kept = []

    class Note(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
            kept.append(len(pl_module._held_out))

    trainer(callbacks=[Note()]).fit(module, datamodule=RandomImages(2))
    assert kept == [1, 2, 2, 0]


class Rewarding(EnasModule):
    """Notes the batches that rewards are measured on."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.scored: list[list[Any]] = []
        self.seen: list[Any] = []

    def training_step(self, batch: Any, batch_idx: int) -> None:
        self.seen.append(batch["architecture"])
        super().training_step(batch, batch_idx)

    def _rewards(self, choices: Tensor, batches: Any) -> Tensor:
        self.scored.append(list(batches))
        return super()._rewards(choices, batches)


DIGITS: dict[str, Any] = {**OPTIONS, "scale": {"channels": 4, "cells": 1, "in_channels": 1}}


def digits(**options: Any) -> DigitsDataModule:
    """24 images for the weights and 24 for the architecture."""
    settings = {"search": True, "max_train_images": 48, "batch_size": 4, "augment_architecture": False, **options}
    return DigitsDataModule(**settings)


def test_rewards_are_measured_on_the_last_batches_as_they_are() -> None:
    """Four batches of 5 images and one of 4; each sample is scored on the next batch, the derived on a full one."""
    data = digits(batch_size=5)
    module = Rewarding("nasbench201", **DIGITS, reward_batches=2)
    trainer().fit(module, datamodule=data)
    last, short = module.seen[-2:]
    assert [len(labels) for _, labels in module.seen] == [5, 5, 5, 5, 4]
    expected = [[last, short, last], [short, last, short], [last] * 5]
    assert [[id(batch) for batch in batches] for batches in module.scored] == [[id(b) for b in row] for row in expected]
    plain = digits(batch_size=5)
    plain.setup("fit")
    clean = torch.cat([plain.on_after_batch_transfer(batch, 0)[0] for batch in plain.val_dataloader()])
    known = {image.numpy().tobytes() for image in clean}
    assert {image.numpy().tobytes() for images, _ in module.seen for image in images} == known


class SaveAt(pl.Callback):
    """Writes a checkpoint behind a batch."""

    def __init__(self, path: Path, step: int) -> None:
        self.path, self.step = path, step

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


def resumed_at(step: int, folder: Path, reward_batches: int) -> tuple[EnasModule, EnasModule]:
    """Return the modules of an uninterrupted search of two epochs of six batches, and of one resumed at a step."""
    modules = [EnasModule("nasbench201", **DIGITS, reward_batches=reward_batches) for _ in range(2)]
    path = folder / "middle.ckpt"
    trainer(max_epochs=2, callbacks=[SaveAt(path, step)]).fit(modules[0], datamodule=digits())
    trainer(max_epochs=2).fit(modules[1], datamodule=digits(), ckpt_path=path)
    return modules[0], modules[1]


def test_a_search_resumed_inside_an_epoch_is_the_uninterrupted_one(tmp_path: Path) -> None:
    """If the batches for rewards come later: of 12 steps here 11 and 12."""
    straight, resumed = resumed_at(10, tmp_path, reward_batches=2)
    assert same(state(straight), state(resumed))
    assert straight.derive() == resumed.derive()


@pytest.mark.parametrize(("reward_batches", "kept"), [(2, 1), (40, 1)])
def test_lost_batches_are_reported(tmp_path: Path, reward_batches: int, kept: int) -> None:
    expected = min(reward_batches, 6)
    message = f"Expected the last {expected} architecture batches of epoch 1 for rewards but got {kept}: .*differs"
    with pytest.warns(UserWarning, match=message):
        resumed_at(11, tmp_path, reward_batches)


def test_batches_of_a_run_that_failed_are_forgotten() -> None:
    class Failing(Rewarding):
        def _teach(self) -> None:
            raise KeyError

    module = Failing("nasbench201", **DIGITS)
    with pytest.raises(KeyError):
        trainer().fit(module, datamodule=digits())
    assert len(module._held_out) == 6
    fit = trainer(max_steps=2)
    fit.fit(module, datamodule=digits())
    assert all(any(batch is late for late in module.seen[6:]) for batch in module.scored[-1])


class ByChoice(Scored):
    """Notes what is scored; the reward is that of ``Scored``, and none of it depends on the weights."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.scored: list[Tensor] = []

    def _rewards(self, choices: Tensor, batches: Any) -> Tensor:
        assert len(choices) == len(batches)
        self.scored.append(choices)
        return super()._rewards(choices, batches)


def test_uniform_architectures_are_logged_beside_the_controllers() -> None:
    """Their mean reward is a fifth; that of a controller that has learned is more."""
    options = {**OPTIONS, "controller_steps": 60, "samples_per_step": 10, "uniform_samples": 400}
    module = ByChoice("nasbench201", **options)
    fit = trainer(max_epochs=4)
    fit.fit(module, datamodule=RandomImages(4))
    uniform = float(fit.callback_metrics["search/uniform_reward"])
    drawn = [choices for choices in module.scored if len(choices) == 400]
    assert len(drawn) == 4
    assert uniform == pytest.approx(float((drawn[-1] == 3).float().mean()))
    assert uniform == pytest.approx(0.2, abs=0.03)
    assert float(fit.callback_metrics["search/reward"]) > uniform + 0.1


def test_uniform_architectures_do_not_change_the_search() -> None:
    modules = [enas(uniform_samples=count) for count in (0, 3)]
    for module in modules:
        trainer(max_epochs=2).fit(module, datamodule=RandomImages(4))
    plain, compared = (state(module) for module in modules)
    assert int(compared.pop("examples_seen")) - int(plain.pop("examples_seen")) == 2 * 3 * 4
    assert same(plain, compared)


def test_shared_weights_score_architectures() -> None:
    module = enas()
    trainer().fit(module, datamodule=RandomImages(4))
    generator = torch.Generator().manual_seed(0)
    architectures = [module.space.sample(generator) for _ in range(5)]
    ranking = SharedWeightRanking(module, architectures)
    images, labels = next(iter(RandomImages(4).val_dataloader()))
    for _ in range(2):  # the second time as the first
        trainer().validate(ranking, DataLoader(TensorDataset(images, labels), 4), verbose=False)
        module.supernet.train()
        with torch.no_grad():
            outputs = [module.supernet(images, module.space.mixtures(a)) for a in architectures]
        expected = [float((logits.argmax(1) == labels).float().mean()) for logits in outputs]
        assert ranking.scores == pytest.approx(expected)


def test_ranking_needs_shared_weights() -> None:
    module = enas()
    del module.supernet
    with pytest.raises(TypeError, match="Expected a `search` with shared weights, a `supernet`, but got EnasModule"):
        SharedWeightRanking(module, [])


def test_kendall_tau_by_hand() -> None:
    """Five of six pairs agree; with ties as tau-b has it."""
    assert kendall_tau([1, 2, 3, 4], [10, 20, 40, 30]) == pytest.approx((5 - 1) / 6)
    assert kendall_tau([1, 1, 2], [5, 6, 7]) == pytest.approx(2 / (2 * 3) ** 0.5)
    with pytest.raises(ValueError, match="as many `truths` but got 2 and 3"):
        kendall_tau([1, 2], [1, 2, 3])


def test_recalibrated_statistics_are_those_of_the_batches() -> None:
    norm, linear = nn.BatchNorm1d(2, momentum=0.3), nn.Linear(2, 1)
    network = nn.Sequential(norm, nn.Dropout(0.5), linear)
    batches = [(torch.randn(8, 2) + 3, torch.zeros(8)) for _ in range(3)]
    network(batches[0][0])
    weights = linear.weight.clone()
    recalibrate(network, Regression(), batches)
    assert_close(norm.running_mean, torch.stack([x.mean(0) for x, _ in batches]).mean(0))
    assert_close(norm.running_var, torch.stack([x.var(0) for x, _ in batches]).mean(0))
    assert norm.momentum == 0.3
    assert torch.equal(linear.weight, weights)
    assert all(module.training for module in network.modules())
    with pytest.raises(ValueError, match="Expected `batches` to recalibrate with but got none"):
        recalibrate(network, Regression(), [])


def test_own_controller_and_own_model() -> None:
    space = ModuleSpace(lambda: nn.Sequential(OpChoice({"a": nn.Linear(3, 2), "b": nn.Linear(3, 2)}, key="layer")))
    controller = LstmController(space, hidden=8)
    module = EnasModule(space, Classification(2), controller=controller, **FEW)
    loader = DataLoader(TensorDataset(torch.randn(8, 3), torch.arange(8) % 2), 4)
    trainer().fit(module, CombinedLoader({"weights": loader, "architecture": loader}, "max_size_cycle"), loader)
    assert module.controller is controller
    assert module.derive().values["layer"] in ("a", "b")
    assert isinstance(module.reinforce, Reinforce)


def test_an_unfinished_epoch_still_derives_from_rewards() -> None:
    module = enas()
    before = float(module.best_reward)
    trainer(max_steps=1).fit(module, datamodule=RandomImages(2))
    assert before == -float("inf")
    assert 0.0 <= float(module.best_reward) <= 1.0
    assert int(module.examples_seen) == 2 + 5 * 2  # one step, and the samples to derive from


class Broken(Classification):
    """A task whose reward is no number."""

    def reward(self, evaluation: Evaluation) -> Tensor:
        return torch.tensor(float("nan"))


@pytest.mark.parametrize("controller", ["lstm", "uniform"])
def test_rewards_that_are_no_numbers_are_reported(controller: Any) -> None:
    with pytest.raises(FloatingPointError, match=r"Expected finite rewards but got \[nan"):
        trainer().fit(enas(task=Broken(10), controller=controller), datamodule=RandomImages(4))


def test_weights_that_have_diverged_are_reported() -> None:
    module = enas(weights_optimizer=lambda weights: SGD(weights, lr=1e30))
    with pytest.raises(FloatingPointError, match="Expected a finite loss but got nan in epoch 0"):
        trainer().fit(module, datamodule=RandomImages(2))


def test_a_controller_of_another_space_is_refused() -> None:
    controller = LstmController(ModuleSpace(lambda: nn.Sequential(OpChoice({"a": nn.Linear(3, 2)})), name="other"))
    with pytest.raises(ValueError, match="Expected a `controller` of 'nasbench201' but got one of 'other'"):
        enas(controller=controller)


def test_flags_that_are_on_are_the_skips_of_a_macro_network() -> None:
    module = EnasModule("enas_macro?layers=3", scale={"channels": 4})
    values = {"layer1/skip0": True, "layer2/skip0": False, "layer2/skip1": True}
    operations = {f"layer{k}/operation": "conv_3x3" for k in range(3)}
    assert module.skip_count(Architecture(module.space.name, {**operations, **values})) == 2.0


def test_the_loss_can_be_the_objective() -> None:
    task = Classification(2)
    task.objective = ("val/loss", "min")
    evaluation = Evaluation(torch.tensor(0.75), torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64))
    assert float(task.reward(evaluation)) == -0.75


def test_a_model_that_looks_like_a_micro_cell_has_no_bias_of_its() -> None:
    """Two inputs and two operations in a row, but the operations differ."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inputs = nn.ModuleList(InputChoice(2) for _ in range(2))
            self.first = OpChoice({"a": nn.Linear(2, 2), "b": nn.Identity()})
            self.second = OpChoice({name: nn.Linear(2, 2) for name in "abc"})

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = self.first(self.inputs[0]([x, -x])) + self.second(self.inputs[1]([x, -x]))
            return output

    module = EnasModule(ModuleSpace(Model), Classification(2), **FEW)
    assert isinstance(module.controller, LstmController)
    assert not any(name.endswith("bias") for name, _ in module.controller.named_parameters())
