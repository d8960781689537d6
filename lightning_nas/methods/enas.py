"""ENAS (Pham, Guan, Zoph, Le, Dean 2018, arXiv 1802.03268)."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, cast, get_args

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightning_nas._lightning import LightningOptimizer
from lightning_nas.architecture import Architecture
from lightning_nas.checks import check_at_least, check_choice, check_positive
from lightning_nas.controllers import Controller, Reinforce, UniformController
from lightning_nas.controllers.presets import Preset
from lightning_nas.methods.base import SearchModule
from lightning_nas.methods.batch_norm import BatchNorm, batch_norms, batch_statistics
from lightning_nas.methods.batches import batch_size, split_streams
from lightning_nas.methods.enas_parts import (
    ControllerName,
    as_list,
    controller_adam,
    learning,
    make_controller,
    make_reinforce,
    steps_and_samples,
    warn_of_lost_batches,
    weights_sgd,
)
from lightning_nas.methods.optimizers import OptimizerCallable
from lightning_nas.methods.processes import mean_over_processes
from lightning_nas.methods.schedules import cosine_with_restarts, scaled_rates
from lightning_nas.seeding import derive_seed, fixed_seed, make_generator
from lightning_nas.spaces.base import SearchSpace
from lightning_nas.tasks.base import Evaluation, Task


class EnasModule(SearchModule):
    """Efficient neural architecture search: a controller learns which paths of a network with shared weights are good.

    ``load_from_checkpoint`` needs no arguments but a ``task``, a ``controller`` or an optimiser that is not the
    default, and a space that has no registered name.

    Every training batch is ``{"weights": ..., "architecture": ...}`` (our data modules with ``search=True``, or
    ``SearchSplit``). For every batch the controller samples a fresh architecture, the same in all processes, and its
    weights step on the first part. At the end of the epoch the weights rest: the controller learns by REINFORCE from
    rewards on batches of the second part, then samples ``derive_samples`` architectures, of which the best on one such
    batch is what ``derive`` returns. Shared weights are evaluated with the statistics of the batch, without dropout.
    Rewards want images that are not augmented: our data modules' ``augment_architecture=False``.

    Args:
        space: A search space, or the name of one.
        task: What is learned; by default image classification with the classes that ``scale`` says, or else 10. Its
            ``reward`` is the controller's.
        scale: Size of the supernet, passed to ``space.supernet``.
        controller: ``"lstm"``, the paper's; ``"uniform"``, random search with shared weights; or one of your own, whose
            parameters take gradients only while it learns.
        preset: Settings of the controller, its steps, the baseline, the entropy's weight and the optimisers: those of
            the authors' ``"official"`` code, or of the ``"paper"``.
        reinforce: Baseline, and weights of entropy and skips; by default those of the preset.
        controller_steps: Steps of the controller an epoch; by default those of the preset for such a space.
        samples_per_step: Architectures whose mean gradient makes a step; by default as for ``controller_steps``.
        derive_samples: Architectures among which the best is derived, each epoch.
        uniform_samples: Architectures drawn uniformly, each epoch, whose mean reward is logged beside that of the
            controller's samples, with the same weights and batches. The search does not depend on them.
        reward_batches: Batches of the second part that are kept for rewards, the last ones of an epoch.
        warmup_epochs: Epochs at the start in which the controller does not learn.
        grad_clip: Norm to which the weights' gradient is clipped, or ``None``.
        min_learning_rate: Learning rate of the weights at the end of each cosine; by default that of the preset.
        restart_epochs: Length of the first cosine of the learning rate; each one is twice as long as the one before.
        weights_optimizer: Makes the weights' optimiser; by default SGD(lr=0.05, momentum=0.9, nesterov=True) with the
            decay of the preset. Weights that were not sampled rest: they do not even decay.
        controller_optimizer: Makes the controller's optimiser; by default that of the preset.
        seed: Seed of weights, controller and samples.

    Raises:
        ValueError: If an argument is none of its options, or out of range.

    Example:
        >>> module = EnasModule("nasbench201", scale={"channels": 4, "cells": 1}, controller_steps=2)
        >>> module.derive().space
        'nasbench201'
    """

    best: Tensor
    best_reward: Tensor

    def __init__(
        self,
        space: SearchSpace | str = "enas_micro",
        task: Task | None = None,
        *,
        scale: Mapping[str, Any] | None = None,
        controller: ControllerName | Controller = "lstm",
        preset: Preset = "official",
        reinforce: Reinforce | None = None,
        controller_steps: int | None = None,
        samples_per_step: int | None = None,
        derive_samples: int = 10,
        uniform_samples: int = 0,
        reward_batches: int = 40,
        warmup_epochs: int = 0,
        grad_clip: float | None = None,
        min_learning_rate: float | None = None,
        restart_epochs: int = 10,
        weights_optimizer: OptimizerCallable | None = None,
        controller_optimizer: OptimizerCallable | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(space, task, scale, seed)
        check_choice("preset", preset, get_args(Preset))
        check_at_least("controller_steps", controller_steps, 0)
        check_at_least("samples_per_step", samples_per_step, 1)
        check_at_least("derive_samples", derive_samples, 1)
        check_at_least("uniform_samples", uniform_samples, 0)
        check_at_least("reward_batches", reward_batches, 1)
        check_at_least("warmup_epochs", warmup_epochs, 0)
        check_at_least("restart_epochs", restart_epochs, 1)
        check_positive("grad_clip", grad_clip)
        steps, samples = steps_and_samples(self.space, preset)
        self.controller_steps = steps if controller_steps is None else controller_steps
        self.samples_per_step = samples if samples_per_step is None else samples_per_step
        self.derive_samples = derive_samples
        self.uniform_samples = uniform_samples
        self.reward_batches = reward_batches
        self.warmup_epochs = warmup_epochs
        self.grad_clip = grad_clip
        stated = 0.0005 if preset == "official" else 0.001
        self.min_learning_rate = stated if min_learning_rate is None else min_learning_rate
        self.restart_epochs = restart_epochs
        self.weights_optimizer = weights_optimizer or weights_sgd(self.space, preset)
        self.controller_optimizer = controller_optimizer or controller_adam(self.space, preset)
        self.automatic_optimization = False
        with fixed_seed(derive_seed(seed, "weights")):
            self.supernet = self.space.supernet(**self.scale)
        self.controller = make_controller(controller, self.space, preset, seed)
        # the weights' step must not pay for it, nor DistributedDataParallel wait for its gradient
        self.controller.requires_grad_(False)
        self.reinforce = reinforce or make_reinforce(self.space, preset)
        first = self.controller.sample(1, make_generator(seed, "first")).choices[0]
        self.register_buffer("best", first.clone())
        self.register_buffer("best_reward", torch.full((), -torch.inf))
        # the last, not the first: a run resumed before them has all of them
        self._held_out: deque[Any] = deque(maxlen=reward_batches)
        # plain data only: a checkpoint must load with weights_only
        self.save_hyperparameters(
            ignore=["space", "task", "scale", "controller", "reinforce", "weights_optimizer", "controller_optimizer"]
        )
        kind = controller if isinstance(controller, str) else None
        self.save_hyperparameters(
            {"space": self.space.name, "scale": self.scale, **({"controller": kind} if kind else {})}
        )

    def configure_optimizers(self) -> list[Optimizer]:
        """Return the optimiser of the weights and, for a controller that learns, its own."""
        weights = self.weights_optimizer(self.supernet.parameters())
        parameters = list(self.controller.parameters())
        return [weights, self.controller_optimizer(parameters)] if parameters else [weights]

    def on_train_start(self) -> None:
        """Forget the batches of a run that failed."""
        super().on_train_start()
        self._held_out.clear()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Set the learning rate of the weights for this epoch, and seed torch for this batch."""
        super().on_train_batch_start(batch, batch_idx)
        # at every batch: a run resumed from the last batch of an epoch never gets to the start of the next
        for group in self._optimizers()[0].param_groups:
            initial = group.setdefault("initial_lr", group["lr"])
            final = min(self.min_learning_rate, initial)
            group["lr"] = cosine_with_restarts(self.current_epoch, self.restart_epochs, initial, final)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Step the weights of a fresh architecture; behind the last batch of an epoch, teach the controller."""
        weights_batch, architecture_batch = split_streams(batch)
        if batch_idx == 0:
            self._held_out.clear()
        self._held_out.append(architecture_batch)
        weights_batch = self.continued("weights", weights_batch, batch_idx)
        with scaled_rates(self._optimizers()[0], self.task.rate_factor(weights_batch)):
            self._weights_step(weights_batch, batch_idx)
        self.examples_seen += self.trainer.world_size * batch_size(weights_batch)
        if self.trainer.is_last_batch:
            self._check_loss()
            warn_of_lost_batches(len(self._held_out), min(self.reward_batches, batch_idx + 1), self.current_epoch)
            self._teach()
            self._choose()

    def on_train_end(self) -> None:
        """Choose what is derived also when the last epoch was not finished."""
        super().on_train_end()
        if self._held_out:
            self._choose()

    def _weights_step(self, batch: Any, batch_idx: int) -> None:
        optimizer = cast("list[LightningOptimizer]", as_list(self.optimizers()))[0]
        (architecture,) = self.controller.architectures(self._draw(1, "path", batch_idx))
        evaluation = self._evaluate(architecture, batch)
        optimizer.zero_grad()
        # not manual_backward: DistributedDataParallel would wait for the weights of all other paths
        torch.autograd.backward(evaluation.training_loss)
        if self.trainer.world_size > 1:
            self._average_gradients()
        if self.grad_clip is not None:
            self.clip_gradients(optimizer.optimizer, gradient_clip_val=self.grad_clip, gradient_clip_algorithm="norm")
        optimizer.step()
        self.record("train", evaluation, batch_size(batch))
        self.carry("weights", evaluation)
        self._train_loss = evaluation.loss.detach()

    def _check_loss(self) -> None:
        """Raise when the shared weights have diverged: accuracies of NaN are finite."""
        if not torch.isfinite(self._train_loss):
            raise FloatingPointError(
                f"Expected a finite loss but got {float(self._train_loss)} in epoch {self.current_epoch}: the shared "
                "weights have diverged; start again with a lower learning rate of `weights_optimizer`, or a `grad_clip`"
            )

    def _average_gradients(self) -> None:
        """Average the gradients of the path, which is the same in all processes."""
        path = [weight for weight in self.supernet.parameters() if weight.grad is not None]
        gradients = [cast("Tensor", weight.grad) for weight in path]
        for weight, mean in zip(path, mean_over_processes(gradients, self.trainer), strict=True):
            weight.grad = mean

    def _teach(self) -> None:
        """Let the controller learn from rewards; each sample is scored on the next of the batches kept."""
        if len(self._optimizers()) == 1 or self.current_epoch < self.warmup_epochs:
            return
        self._compare_with_uniform()
        means, entropies = [], []
        for step in range(self.controller_steps):
            with learning(self.controller):
                samples = self.controller.evaluate(self._draw(self.samples_per_step, "controller", step))
                first = step * self.samples_per_step
                rewards = self._rewards(samples.choices, [self._kept(first + k) for k in range(self.samples_per_step)])
                self._controller_step(self.reinforce.loss(samples, rewards))
            means.append(rewards.mean())
            entropies.append(samples.entropy.detach().mean())
        if means:
            reward = torch.stack(means).mean()
            entropy = torch.stack(entropies).mean() / len(self.space.decisions)  # as DARTS: the mean over the rows
            baseline = self.reinforce.baseline
            self._log_phase({"search/reward": reward, "search/entropy": entropy, "search/baseline": baseline})

    def _compare_with_uniform(self) -> None:
        """Log what architectures drawn uniformly are rewarded with, at these weights and on these batches."""
        if self.uniform_samples:
            uniform = UniformController(self.space).to(self.device)
            choices = self._draw(self.uniform_samples, "uniform", controller=uniform)
            rewards = self._rewards(choices, [self._kept(k) for k in range(self.uniform_samples)])
            self._log_phase({"search/uniform_reward": rewards.mean()})

    def _controller_step(self, loss: Tensor) -> None:
        # the bare optimiser: Lightning's global_step must count batches; all processes compute the same gradient
        optimizer = self._optimizers()[1]
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        if not all(torch.isfinite(parameter).all() for parameter in self.controller.parameters()):
            raise FloatingPointError(
                f"Expected a finite controller but got NaN or infinity in epoch {self.current_epoch}: the search has "
                "diverged; start again with a lower learning rate, or a `grad_clip`"
            )

    def _choose(self) -> None:
        """Keep the best of some architectures on one batch, a full one, as what is derived."""
        choices = self._draw(self.derive_samples, "derive")
        rewards = self._rewards(choices, [max(self._held_out, key=batch_size)] * len(choices))
        self.best.copy_(choices[int(rewards.argmax())])
        self.best_reward.copy_(rewards.max())
        self._held_out.clear()

    @torch.no_grad()
    def _rewards(self, choices: Tensor, batches: Sequence[Any]) -> Tensor:
        """Return the reward of each architecture on its batch, averaged over all processes."""
        architectures = self.controller.architectures(choices)
        with batch_statistics(self.supernet, self._batch_norms):
            rewards = [
                self.task.reward(self._evaluate(architecture, batch))
                for architecture, batch in zip(architectures, batches, strict=True)
            ]
        self.examples_seen += self.trainer.world_size * sum(batch_size(batch) for batch in batches)
        (mean,) = mean_over_processes([torch.stack(rewards)], self.trainer)
        if not torch.isfinite(mean).all():
            raise FloatingPointError(
                f"Expected finite rewards but got {mean.tolist()} in epoch {self.current_epoch}: the shared weights "
                "have diverged; start again with a lower learning rate of `weights_optimizer`, or a `grad_clip`"
            )
        return mean

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Evaluate the shared weights on a fresh architecture."""
        (architecture,) = self.controller.architectures(self._draw(1, "validation", batch_idx))
        with batch_statistics(self.supernet, self._batch_norms):
            evaluation = self._evaluate(architecture, self.continued("val", batch, batch_idx))
        self.record("val", evaluation, batch_size(batch))
        self.carry("val", evaluation)

    def on_train_epoch_end(self) -> None:
        """Log where the search stands."""
        state: dict[str, float | Tensor] = {
            "search/skip_count": self.skip_count(self.derive()),
            "search/best_reward": self.best_reward,
            "train/learning_rate": float(self._optimizers()[0].param_groups[0]["lr"]),
        }
        self.log_dict(state, sync_dist=True, batch_size=1)  # equal everywhere; Lightning warns without it
        self.log_search()

    def _log_phase(self, state: dict[str, Tensor]) -> None:
        self.log_dict(state, on_step=False, on_epoch=True, sync_dist=True, batch_size=1)

    def derive(self) -> Architecture:
        """Return the best of the architectures sampled at the end of the last epoch."""
        (architecture,) = self.controller.architectures(self.best[None])
        return replace(architecture, provenance={**self.provenance(), "controller": type(self.controller).__name__})

    def _evaluate(self, architecture: Architecture, batch: Any) -> Evaluation:
        return self.task.evaluate(partial(self.supernet, mixtures=self.mixtures_of(architecture)), batch)

    @torch.no_grad()
    def _draw(self, n: int, *place: int | str, controller: Controller | None = None) -> Tensor:
        """Sample architectures; those of the first process, should devices round differently."""
        generator = make_generator(self.seed, self.current_epoch, *place)
        choices = (controller or self.controller).sample(n, generator).choices
        return choices if self.trainer.world_size == 1 else self.trainer.strategy.broadcast(choices)

    def _kept(self, index: int) -> Any:
        return self._held_out[index % len(self._held_out)]

    def _optimizers(self) -> list[Optimizer]:
        return cast("list[Optimizer]", as_list(self.optimizers(use_pl_optimizer=False)))

    @cached_property
    def _batch_norms(self) -> list[BatchNorm]:
        return batch_norms(self.supernet)
