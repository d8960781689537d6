"""Executes a controller's program for a batch of architectures at once."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lightning_nas.controllers.program import Anchor, Flags, Forget, Input, Instruction, Operation, Step
from lightning_nas.controllers.samples import Samples

if TYPE_CHECKING:
    from lightning_nas.controllers.lstm import LstmController


class Execution:
    """What is known while a program runs.

    Args:
        controller: Its weights and settings.
        n: Number of architectures.
        uniforms: ``[n, decisions]``, from 0 to 1: what to draw the choices with.
        given: ``[n, decisions]``: the choices, instead of drawing.
    """

    def __init__(
        self, controller: "LstmController", n: int, *, uniforms: Tensor | None = None, given: Tensor | None = None
    ) -> None:
        self.controller = controller
        self.uniforms, self.given = uniforms, given
        self.input = self.start = controller.start.expand(n, -1)
        self.zeros = torch.zeros_like(self.start)
        self.states = [(self.zeros, self.zeros)] * len(controller.lstm)
        self.anchors: list[Tensor] = []
        self.keys: list[Tensor] = []
        self.chosen: dict[str, Tensor] = {}
        self.log_prob = self.entropy = self.zeros[:, 0]
        self.penalties: list[Tensor] = []

    def run(self) -> Samples:
        """Execute all instructions."""
        for instruction in self.controller.program:
            self._execute(instruction)
        choices = torch.stack([self.chosen[decision.name] for decision in self.controller.space.decisions], 1)
        penalty = torch.stack(self.penalties).mean(0) if self.penalties else self.zeros[:, 0]
        return Samples(choices, self.log_prob, self.entropy, penalty)

    @property
    def state(self) -> Tensor:
        """What the last step of the top layer put out, ``[n, hidden]``."""
        return self.states[-1][1]

    def _execute(self, instruction: Instruction) -> None:
        match instruction:
            case Step():
                self._step()
            case Anchor(zero):
                self._anchor(zero)
            case Forget():
                self.anchors, self.keys = [], []
            case Operation():
                self._operation(instruction)
            case Input():
                self._input(instruction)
            case Flags():
                self._flags(instruction)

    def _step(self) -> None:
        x = self.input
        for k, layer in enumerate(self.controller.lstm):
            self.states[k] = layer(x, self.states[k])
            x = self.states[k][1]

    def _anchor(self, zero: bool) -> None:
        self.anchors.append(self.zeros if zero else self.state)
        if self.controller.attention is not None:
            self.keys.append(self.state @ self.controller.attention.key)
        self.input = self.start

    def _operation(self, instruction: Operation) -> None:
        vocabulary = self.controller.vocabulary_of(instruction)
        logits = self.controller.squash(vocabulary(self.state), operation=True)
        if instruction.bias:
            logits = logits + logits.new_tensor(instruction.bias)
        self.input = vocabulary.embedding[self._decide((instruction.decision,), logits[:, None])[:, 0]]

    def _input(self, instruction: Input) -> None:
        count = self.controller.choice_counts[instruction.decision]
        logits = self.controller.squash(self._scores(count))
        distance = torch.arange(count, 0, -1, device=logits.device)  # i - j
        if instruction.locality:
            logits = logits - distance**2 / 6
        if instruction.exclude:
            taken = torch.stack([self.chosen[name] for name in instruction.exclude], 1)
            logits = logits.scatter(1, taken, -torch.inf)
        chosen = self._decide((instruction.decision,), logits[:, None])[:, 0]
        self.input = torch.stack(self.anchors[:count], 1)[torch.arange(len(chosen), device=chosen.device), chosen]
        if instruction.by_distance:
            self.input = self.input / (0.1 + distance[chosen])[:, None]

    def _flags(self, instruction: Flags) -> None:
        names = instruction.decisions
        scores = self._scores(len(names))
        off = -scores if instruction.pair else torch.zeros_like(scores)
        logits = self.controller.squash(torch.stack([off, scores], 2))
        self._penalize(logits)
        on = self._decide(names, logits)
        anchors = torch.stack(self.anchors[: len(names)], 1)
        self.input = (on[:, :, None] * anchors).sum(1) / (1 + on.sum(1, keepdim=True))

    def _scores(self, count: int) -> Tensor:
        attention = self.controller.attention
        assert attention is not None
        scores: Tensor = attention(torch.stack(self.keys[:count], 1), self.state)
        return scores

    def _penalize(self, logits: Tensor) -> None:
        """Add the divergence of the flags' probabilities from the target, summed over flags."""
        target = self.controller.skip_target
        if target is None:
            return
        official = self.controller.skip_prior == "official"
        # the logit of the pair is twice that of the single flag: the official prior forgets that
        off, on = torch.log_softmax(logits / 2 if official else logits, 2).unbind(2)
        each = off.exp() * (off - math.log(1 - target)) + on.exp() * (on - math.log(target))
        self.penalties.append(each.sum(1))

    def _decide(self, names: Sequence[str], logits: Tensor) -> Tensor:
        """Decide one row of logits per name, ``[n, names, choices]``, independently; return ``[n, names]``."""
        columns = [self.controller.columns[name] for name in names]
        log_probs = logits.log_softmax(2)
        if self.given is not None:
            chosen = self.given[:, columns]
        else:
            assert self.uniforms is not None
            chosen = _draw(log_probs.detach().exp(), self.uniforms[:, columns])
        self.chosen |= zip(names, chosen.unbind(1), strict=True)
        log_prob = log_probs.gather(2, chosen[:, :, None])
        self.log_prob = self.log_prob + log_prob.sum((1, 2))
        counted = log_probs if self.controller.entropy == "full" else log_prob
        # what cannot be chosen has an infinite logarithm: zero times that would be no number
        finite = torch.where(counted.isfinite(), counted, 0.0)
        self.entropy = self.entropy - (counted.exp() * finite).sum((1, 2))
        return chosen


def _draw(probabilities: Tensor, uniforms: Tensor) -> Tensor:
    """Return for every row the first index whose cumulative probability is above the uniform number."""
    cumulative = probabilities.cumsum(2)
    # divided by its end, which is then above every number drawn, whatever the rounding
    return (cumulative / cumulative[:, :, -1:] <= uniforms[:, :, None]).sum(2)
