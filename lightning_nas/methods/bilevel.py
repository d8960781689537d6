"""The two architecture gradients of DARTS (arXiv 1806.09055, section 2.3), in pure PyTorch.

Weights ``w`` minimise the training loss for given alphas; alphas minimise the validation loss of those weights:

    first order:   dL_val(w, alpha) / dalpha
    second order:  dL_val(w', alpha) / dalpha - xi * d/dalpha <dL_train(w, alpha)/dw, dL_val(w', alpha)/dw'>

where ``w' = w - xi * (momentum * buffer + dL_train/dw + weight_decay * w)`` is the weight optimiser's next step.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightning_nas.methods.precision import full_precision

Loss = Callable[[], Tensor]
Reduce = Callable[[Sequence[Tensor]], list[Tensor]]

EPSILON = 0.01  # length of the finite difference's step in weight space


def gradients(loss: Tensor, inputs: Sequence[Tensor], *, create_graph: bool = False) -> list[Tensor]:
    """Return ``d loss / d input`` for every input, zeros where the loss does not depend on it."""
    return list(torch.autograd.grad(loss, inputs, create_graph=create_graph, allow_unused=True, materialize_grads=True))


def first_order(validation_loss: Loss, alphas: Sequence[Tensor], reduce: Reduce = list) -> list[Tensor]:
    """Return the gradient of the validation loss at the current weights.

    Args:
        validation_loss: Computes the loss from the current weights and alphas.
        alphas: Leaf tensors that the loss depends on.
        reduce: Averages a list of tensors over processes.
    """
    return reduce(gradients(validation_loss(), alphas))


@dataclass(frozen=True)
class SecondOrder:
    """Computes the second-order gradient; the weights are as before afterwards, bit for bit.

    Args:
        weights: Leaf tensors of the network.
        optimizer: The SGD optimiser of the weights: its learning rate, momentum and weight decay make the virtual step.
        hessian: ``"finite_difference"`` is the paper's; ``"exact"`` differentiates twice, with more memory.
        clip: Norm to which the two weight gradients are clipped, or ``None``; the paper clips for language only.
        virtual_step: With several processes, ``"local"`` lets each take its own virtual step and averages the results;
            ``"global"`` averages every gradient, and equals one process with the whole batch.
        reduce: Averages a list of tensors over processes.
    """

    weights: Sequence[Tensor]
    optimizer: Optimizer
    hessian: Literal["finite_difference", "exact"] = "finite_difference"
    clip: float | None = None
    virtual_step: Literal["local", "global"] = "local"
    reduce: Reduce = list

    def gradient(self, training_loss: Loss, validation_loss: Loss, alphas: Sequence[Tensor]) -> list[Tensor]:
        """Return the gradient for every tensor of alphas.

        Args:
            training_loss: Computes the loss of the training batch from the current weights and alphas; called twice
                (exact) or three times, and must treat the batch the same each time.
            validation_loss: Computes the loss of the validation batch.
            alphas: Leaf tensors that both losses depend on.
        """
        reduce_each: Reduce = self.reduce if self.virtual_step == "global" else list
        training, coefficient = self._clipped(reduce_each(gradients(training_loss(), self.weights)))
        original = [weight.detach().clone() for weight in self.weights]
        try:
            self._write(torch._foreach_sub(original, self._step(training)))
            both = reduce_each(gradients(validation_loss(), [*alphas, *self.weights]))
            self._write(original)
            vector, _ = self._clipped(both[len(alphas) :])
            # the learning rates are part of the direction: parameter groups may have different ones
            direction = [rate * coefficient * v for rate, v in zip(self._settings("lr"), vector, strict=True)]
            # a gradient that overflowed gives no direction: leave the correction out
            usable = torch.isfinite(_norm(direction))
            direction = [torch.where(usable, v, 0.0) for v in direction]
            if self.hessian == "exact":
                implicit = self._exact(training_loss, alphas, direction)
            else:
                implicit = self._finite_difference(training_loss, alphas, direction, original)
        finally:
            self._write(original)
        total = torch._foreach_sub(both[: len(alphas)], reduce_each(implicit))
        return self.reduce(total) if self.virtual_step == "local" else list(total)

    def _exact(self, training_loss: Loss, alphas: Sequence[Tensor], direction: list[Tensor]) -> list[Tensor]:
        with full_precision(direction[0].device.type):
            training = gradients(training_loss(), self.weights, create_graph=True)
            product = torch.stack([(g * v).sum() for g, v in zip(training, direction, strict=True)]).sum()
            return gradients(product, alphas)

    def _finite_difference(
        self, training_loss: Loss, alphas: Sequence[Tensor], direction: list[Tensor], original: list[Tensor]
    ) -> list[Tensor]:
        norm = _norm(direction)
        epsilon = EPSILON / norm.clamp(min=torch.finfo(norm.dtype).tiny)
        sides = []
        with full_precision(norm.device.type):
            for sign in (1, -1):  # around w, not w'
                self._write(torch._foreach_add(original, [sign * epsilon * v for v in direction]))
                sides.append(gradients(training_loss(), alphas))
        return [(p - n) / (2 * epsilon) for p, n in zip(*sides, strict=True)]

    def _step(self, gradient: list[Tensor]) -> list[Tensor]:
        """Return what SGD would subtract from the weights for this gradient; its state stays as it is."""
        steps = []
        settings = zip(*(self._settings(key) for key in ("lr", "momentum", "weight_decay")), strict=True)
        for weight, g, (rate, momentum, decay) in zip(self.weights, gradient, settings, strict=True):
            buffer = self.optimizer.state.get(weight, {}).get("momentum_buffer")
            velocity = g + decay * weight.detach()
            steps.append(rate * (velocity if buffer is None else velocity + momentum * buffer))
        return steps

    def _settings(self, key: str) -> list[float]:
        by_weight = {weight: group[key] for group in self.optimizer.param_groups for weight in group["params"]}
        return [by_weight[weight] for weight in self.weights]

    def _clipped(self, tensors: list[Tensor]) -> tuple[list[Tensor], Tensor | float]:
        if self.clip is None:
            return tensors, 1.0
        coefficient = (self.clip / (_norm(tensors) + 1e-6)).clamp(max=1.0)
        return [coefficient * tensor for tensor in tensors], coefficient

    def _write(self, values: Sequence[Tensor]) -> None:
        with torch.no_grad():
            torch._foreach_copy_(list(self.weights), list(values))
        torch.clear_autocast_cache()  # it would keep low-precision copies of the old values


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    norms = torch.stack(list(torch._foreach_norm(list(tensors))))
    return torch.sqrt((norms * norms).sum())
