"""DARTS for language, restated slowly and plainly from the paper and ``rnn/`` of its authors.

A loop over windows, every optimiser written out by hand, networks deep-copied for every pass. Only the network itself
and the seeds of its dropout masks are given. ``mistakes`` are errors that others have made, to show that they matter.
"""

import copy
import math
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lightning_nas.spaces.mixture import Mixture
from lightning_nas.tasks.text_batch import TextBatch


class Pass(NamedTuple):
    loss: Tensor
    penalty: Tensor
    state: Any
    alpha: Tensor
    weights: dict[str, Tensor]


@dataclass
class ReferenceLanguageSearch:
    """State of a search: network, alphas, hidden states of both texts, and what Adam remembers."""

    network: nn.Module
    alpha: Tensor
    second_order: bool
    learning_rate: float
    weight_decay: float
    clip: float = 0.25
    bptt: int = 35
    tar: float = 1e-3
    epsilon: float = 0.01
    alpha_rate: float = 3e-3
    alpha_decay: float = 1e-3
    mistakes: Collection[str] = ()
    training_state: Any = None
    validation_state: Any = None
    first_moment: Tensor | float = 0.0
    second_moment: Tensor | float = 0.0
    steps: int = 0
    norms: list[float] = field(default_factory=list)

    def start_epoch(self) -> None:
        self.training_state = self.validation_state = None

    def iterate(self, training: TextBatch, validation: TextBatch, alpha_seed: int, weights_seed: int) -> None:
        """One iteration: a step of the alphas, then a step of the weights, at a rate by the window's length."""
        rate = self.learning_rate * len(training.inputs) / self.bptt
        self.step_alphas(training, validation, rate, alpha_seed)
        self.step_weights(training, rate, weights_seed)

    def run(self, network: nn.Module, batch: TextBatch, state: Any, seed: int) -> Pass:
        torch.manual_seed(seed)  # the masks of dropout
        alpha = self.alpha.clone().requires_grad_(True)
        exponentials = alpha.exp()
        output = network(batch.inputs, state, {"cell": Mixture(exponentials / exponentials.sum(1, keepdim=True))})
        losses = []
        for logits, targets in zip(output.logits, batch.targets, strict=True):
            for row, target in zip(logits, targets, strict=True):
                losses.append(torch.logsumexp(row, 0) - row[target])
        changes = [
            ((after - before) ** 2).mean() for before, after in zip(output.raw[:-1], output.raw[1:], strict=True)
        ]
        after = tuple(part.detach() for part in output.state)
        penalty = self.tar * torch.stack(changes).mean()
        return Pass(torch.stack(losses).mean(), penalty, after, alpha, dict(network.named_parameters()))

    def moved(self, change: dict[str, Tensor], factor: float) -> nn.Module:
        """A copy of the network with ``factor * change`` added to its weights."""
        network = copy.deepcopy(self.network)
        with torch.no_grad():
            for name, weight in network.named_parameters():
                weight.copy_(weight + factor * change[name])
        return network

    def clipped(self, gradient: dict[str, Tensor]) -> tuple[dict[str, Tensor], float]:
        norm = math.sqrt(sum(float((g**2).sum()) for g in gradient.values()))
        self.norms.append(norm)
        factor = min(1.0, self.clip / (norm + 1e-6))
        return {name: factor * g for name, g in gradient.items()}, factor

    def alpha_gradient(self, training: TextBatch, validation: TextBatch, rate: float, seed: int) -> Tensor:
        if not self.second_order:
            done = self.run(copy.deepcopy(self.network), validation, self.validation_state, seed)
            self.validation_state = done.state
            return torch.autograd.grad(done.loss, done.alpha)[0]
        if "unscaled rate" in self.mistakes:
            rate = self.learning_rate
        done = self.run(copy.deepcopy(self.network), training, self.training_state, seed)
        loss = done.loss + done.penalty if "penalty in the look-ahead" in self.mistakes else done.loss
        found = torch.autograd.grad(loss, list(done.weights.values()))
        gradient, coefficient = self.clipped(dict(zip(done.weights, found, strict=True)))
        weights = dict(self.network.named_parameters())
        step = {name: gradient[name] + self.weight_decay * weight.detach() for name, weight in weights.items()}
        if "word table stays" in self.mistakes:  # A8 of the specification
            step["embedding.weight"] = torch.zeros_like(step["embedding.weight"])
        done = self.run(self.moved(step, -rate), validation, self.validation_state, seed)
        self.validation_state = done.state
        direct, *others = torch.autograd.grad(done.loss, [done.alpha, *done.weights.values()])
        vector, _ = self.clipped(dict(zip(done.weights, others, strict=True)))
        epsilon = self.epsilon / math.sqrt(sum(float((v**2).sum()) for v in vector.values()))
        sides = []
        for sign in (1, -1):
            other = seed + 1 + sign if "new masks" in self.mistakes else seed  # A7
            done = self.run(self.moved(vector, sign * epsilon), training, self.training_state, other)
            sides.append(torch.autograd.grad(done.loss, done.alpha)[0])
        if "no coefficient" in self.mistakes:
            coefficient = 1.0
        return direct - rate * coefficient * (sides[0] - sides[1]) / (2 * epsilon)

    def step_alphas(self, training: TextBatch, validation: TextBatch, rate: float, seed: int) -> None:
        """Adam with coupled weight decay."""
        gradient = self.alpha_gradient(training, validation, rate, seed) + self.alpha_decay * self.alpha
        self.steps += 1
        self.first_moment = 0.9 * self.first_moment + 0.1 * gradient
        self.second_moment = 0.999 * self.second_moment + 0.001 * gradient**2
        mean, square = self.first_moment / (1 - 0.9**self.steps), self.second_moment / (1 - 0.999**self.steps)
        self.alpha = self.alpha - self.alpha_rate * mean / (square.sqrt() + 1e-8)

    def step_weights(self, training: TextBatch, rate: float, seed: int) -> None:
        """SGD without momentum, after clipping; the loss has the penalty."""
        done = self.run(self.network, training, self.training_state, seed)
        self.training_state = done.state
        found = torch.autograd.grad(done.loss + done.penalty, list(done.weights.values()))
        gradient, _ = self.clipped(dict(zip(done.weights, found, strict=True)))
        with torch.no_grad():
            for name, weight in self.network.named_parameters():
                weight.copy_(weight - rate * (gradient[name] + self.weight_decay * weight))
