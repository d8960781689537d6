"""DARTS for images, restated slowly and plainly from the paper and its authors' code.

It computes in the precision of the network that it is given. Nothing is shared with ``lightning_nas.methods``: networks
are deep-copied, and every optimiser is written out by hand.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lightning_nas.spaces.mixture import Mixture

Batch = tuple[Tensor, Tensor]


@dataclass
class ReferenceSearch:
    """State of a search: network, alphas, and what the two optimisers remember."""

    network: nn.Module
    alphas: dict[str, Tensor]
    second_order: bool
    w_first: bool = False
    # statistics of BatchNorm also move in the alpha step's passes over the network itself, as in the authors' code
    statistics_move: bool = False
    learning_rate: float = 0.025
    momentum: float = 0.9
    weight_decay: float = 3e-4
    clip: float = 5.0
    epsilon: float = 0.01
    alpha_rate: float = 3e-4
    alpha_betas: tuple[float, float] = (0.5, 0.999)
    alpha_decay: float = 1e-3
    velocity: dict[str, Tensor] = field(default_factory=dict)
    first_moment: dict[str, Tensor] = field(default_factory=dict)
    second_moment: dict[str, Tensor] = field(default_factory=dict)
    alpha_steps: int = 0
    norms: list[float] = field(default_factory=list)

    def iterate(self, training: Batch, validation: Batch) -> None:
        """One iteration: a step of the alphas and a step of the weights."""
        if self.w_first:
            self.step_weights(training)
            self.step_alphas(training, validation)
        else:
            self.step_alphas(training, validation)
            self.step_weights(training)

    def loss(self, network: nn.Module, alphas: dict[str, Tensor], batch: Batch) -> Tensor:
        images, labels = batch
        probabilities = {}
        for name, alpha in alphas.items():
            exponentials = torch.exp(alpha)
            probabilities[name] = Mixture(exponentials / exponentials.sum(1, keepdim=True))
        logits = network(images, probabilities)
        of_label = torch.stack([row[label] for row, label in zip(logits, labels, strict=True)])
        loss: Tensor = (torch.logsumexp(logits, 1) - of_label).mean()
        return loss

    def gradient(
        self, network: nn.Module, batch: Batch, *, by_alphas: bool, by_weights: bool
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Gradients of the loss by alphas and by weights, at the network's weights; its buffers move."""
        alphas = {name: alpha.clone().requires_grad_(True) for name, alpha in self.alphas.items()}
        weights = dict(network.named_parameters())
        loss = self.loss(network, alphas, batch)
        wanted = [*(alphas.values() if by_alphas else ()), *(weights.values() if by_weights else ())]
        found = iter(torch.autograd.grad(loss, wanted, allow_unused=True))

        def named(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            pairs = ((name, tensor, next(found)) for name, tensor in tensors.items())
            return {name: torch.zeros_like(tensor) if g is None else g for name, tensor, g in pairs}

        return named(alphas) if by_alphas else {}, named(weights) if by_weights else {}

    def moved(self, change: dict[str, Tensor], factor: float) -> nn.Module:
        """A copy of the network with ``factor * change`` added to its weights."""
        network = copy.deepcopy(self.network)
        with torch.no_grad():
            for name, weight in network.named_parameters():
                weight.copy_(weight + factor * change[name])
        return network

    def keep_statistics(self, network: nn.Module) -> None:
        if self.statistics_move:
            for buffer, moved in zip(self.network.buffers(), network.buffers(), strict=True):
                buffer.copy_(moved)

    def alpha_gradient(self, training: Batch, validation: Batch) -> dict[str, Tensor]:
        """Equation 6 of the paper, with equation 7's difference in second order."""
        if not self.second_order:
            network = copy.deepcopy(self.network)
            by_alphas, _ = self.gradient(network, validation, by_alphas=True, by_weights=False)
            self.keep_statistics(network)
            return by_alphas

        xi = self.learning_rate
        network = copy.deepcopy(self.network)
        _, g = self.gradient(network, training, by_alphas=False, by_weights=True)
        self.keep_statistics(network)
        step = {}
        for name, weight in self.network.named_parameters():
            step[name] = g[name] + self.weight_decay * weight.detach()
            if name in self.velocity:
                step[name] = step[name] + self.momentum * self.velocity[name]
        d, v = self.gradient(self.moved(step, -xi), validation, by_alphas=True, by_weights=True)

        epsilon = self.epsilon / math.sqrt(sum(float((vector**2).sum()) for vector in v.values()))
        sides = []
        for sign in (1, -1):
            network = self.moved(v, sign * epsilon)
            by_alphas, _ = self.gradient(network, training, by_alphas=True, by_weights=False)
            self.keep_statistics(network)
            sides.append(by_alphas)
        plus, minus = sides
        return {name: d[name] - xi * (plus[name] - minus[name]) / (2 * epsilon) for name in d}

    def step_alphas(self, training: Batch, validation: Batch) -> None:
        """Adam with coupled weight decay."""
        gradient = self.alpha_gradient(training, validation)
        self.alpha_steps += 1
        b1, b2 = self.alpha_betas
        for name, alpha in self.alphas.items():
            g = gradient[name] + self.alpha_decay * alpha
            zero = torch.zeros_like(alpha)
            self.first_moment[name] = b1 * self.first_moment.get(name, zero) + (1 - b1) * g
            self.second_moment[name] = b2 * self.second_moment.get(name, zero) + (1 - b2) * g**2
            mean = self.first_moment[name] / (1 - b1**self.alpha_steps)
            square = self.second_moment[name] / (1 - b2**self.alpha_steps)
            self.alphas[name] = alpha - self.alpha_rate * mean / (square.sqrt() + 1e-8)

    def step_weights(self, training: Batch) -> None:
        """SGD with momentum and coupled weight decay, after clipping of the gradient's norm."""
        _, gradient = self.gradient(self.network, training, by_alphas=False, by_weights=True)
        norm = math.sqrt(sum(float((g**2).sum()) for g in gradient.values()))
        self.norms.append(norm)
        factor = min(1.0, self.clip / (norm + 1e-6))
        with torch.no_grad():
            for name, weight in self.network.named_parameters():
                g = factor * gradient[name] + self.weight_decay * weight
                self.velocity[name] = self.momentum * self.velocity[name] + g if name in self.velocity else g
                weight.copy_(weight - self.learning_rate * self.velocity[name])
