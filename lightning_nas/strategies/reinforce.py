"""Neural architecture search with reinforcement learning (Zoph & Le 2017, arXiv 1611.01578)."""

import math
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from lightning_nas.architecture import Architecture
from lightning_nas.checks import check_at_least, check_positive
from lightning_nas.controllers import LstmController, Reinforce, nas_settings
from lightning_nas.spaces.base import SearchSpace
from lightning_nas.spaces.registry import get_space
from lightning_nas.strategies.base import Strategy
from lightning_nas.strategies.proposal import Proposal

LARGEST = 15  # power of ten above which a reward, squared by Adam, would leave single precision, and end all learning


class ReinforceStrategy(Strategy):
    """Proposes what a controller draws, and teaches the controller by REINFORCE from the scores.

    An update takes ``samples_per_update`` draws of the present controller whose scores are known, in the order in which
    they were drawn. A draw that was proposed before counts with the score of then and is not proposed again: the
    gradient is that of all draws. It never waits: what it proposes beyond ``samples_per_update`` stands in for scores
    that do not come. Scores of draws from an earlier controller count for ``best`` only; keep ``ask`` to at most
    ``samples_per_update`` at a time, else they are for nothing. After ``samples_per_update`` known draws in a row the
    next proposal is a random one, which does not count for the controller.

    The reward of the paper is the best validation accuracy of a child's last five epochs, to the third power. Which
    epochs make the score is a matter of who trains the child.

    Args:
        space: What to search.
        samples_per_update: Architectures whose gradients make one step of Adam, m.
        learning_rate: Of Adam; the paper's for images, 0.0006.
        baseline_decay: Decay of the moving average of rewards. The paper does not state it.
        reward_power: The reward is the score to this power; the sign of the score is kept. The paper's is 3, for
            accuracies; where scores are not bounded, such as negative losses, 1 keeps a single bad one from drowning
            all others. A score whose reward would be above 1e15 in size counts as failed for the controller.
        reward_constant: For scores that are negative perplexities: the reward is this over the perplexity to
            ``reward_power``, which is positive. The paper's for language is 80, with a power of 2.
        failed_reward: Reward of an architecture whose evaluation failed; ``None`` leaves it out of the updates. It
            should be below all rewards: 0 is not where scores are below zero.
        entropy_weight: Weight of the controller's entropy in the reward; the paper has none.
        controller: Settings of ``LstmController`` that differ from the paper's.
        growth: The space after so many proposals, such as deeper networks: the paper adds two layers every 1,600
            architectures. All spaces need the same kinds of decisions: the controller goes on with its weights. Draws
            of the smaller space whose scores are not known by then do not count for it.
        seed: Seed of everything random.
        repeats: Whether an architecture may be proposed again: all draws are proposed, and each counts with a score of
            its own.

    Raises:
        ValueError: If a setting is out of range, or the controller of a space of ``growth`` has other weights.

    Example:
        >>> strategy = ReinforceStrategy("nasbench201", learning_rate=0.02)
        >>> for _ in range(25):
        ...     for proposal in strategy.ask(8):
        ...         values = list(proposal.architecture.values.values())
        ...         strategy.tell(proposal, values.count("nor_conv_3x3") / 6)
        >>> strategy.updates >= 25
        True
    """

    def __init__(
        self,
        space: SearchSpace | str,
        *,
        samples_per_update: int = 8,
        learning_rate: float = 6e-4,
        baseline_decay: float = 0.95,
        reward_power: float = 3.0,
        reward_constant: float | None = None,
        failed_reward: float | None = 0.0,
        entropy_weight: float = 0.0,
        controller: Mapping[str, Any] | None = None,
        growth: Mapping[int, SearchSpace | str] | None = None,
        seed: int = 0,
        repeats: bool = False,
    ) -> None:
        super().__init__(space, seed=seed, repeats=repeats)
        check_at_least("samples_per_update", samples_per_update, 1)
        check_positive("learning_rate", learning_rate)
        check_positive("reward_power", reward_power)
        check_positive("reward_constant", reward_constant)
        if failed_reward is not None and not math.isfinite(failed_reward):
            raise ValueError(f"Expected `failed_reward` to be a finite number or None but got {failed_reward}")
        self.samples_per_update = samples_per_update
        self.learning_rate = learning_rate
        self.reward_power = reward_power
        self.reward_constant = reward_constant
        self.failed_reward = failed_reward
        self.updates = 0
        self.reinforce = Reinforce(decay=baseline_decay, entropy_weight=entropy_weight, skip_weight=0.0)
        self._settings = {"seed": seed, **(controller or {})}
        self._schedule = {0: self.space, **_schedule(growth or {})}
        self._spaces = {space.name: space for space in self._schedule.values()}
        self._check_growth()
        self.controller = self._controller_of(self.space)
        self.optimizer = torch.optim.Adam(self.controller.parameters(), learning_rate)
        self._queue: list[list[int]] = []  # rows of choices drawn from the present controller, not looked at yet
        self._draws: list[tuple[list[int], int]] = []  # those looked at, each with the number of its proposal
        self._numbers: dict[Architecture, int] = {}  # of the proposal of an architecture

    @property
    def first_space(self) -> SearchSpace:
        """The space before any growth."""
        return self._schedule[0]

    def space_of(self, architecture: Architecture) -> SearchSpace:
        """Return the space of a proposed architecture."""
        return self._spaces.get(architecture.space) or super().space_of(architecture)

    def reward(self, score: float | None) -> float | None:
        """Return the reward for a score, ``None`` if it does not count.

        Raises:
            ValueError: If there is a ``reward_constant``, and the score is no negative perplexity.
        """
        if score is None:
            return self.failed_reward
        if self.reward_constant is not None:
            return self._of_perplexity(-score, self.reward_constant)
        if score and self.reward_power * math.log10(abs(score)) > LARGEST:
            return self.failed_reward
        return math.copysign(abs(score) ** self.reward_power, score)

    def _of_perplexity(self, perplexity: float, constant: float) -> float:
        if perplexity <= 0:
            raise ValueError(
                f"Expected scores that are negative perplexities for `reward_constant` but got {-perplexity}; leave "
                "`reward_constant` out for other scores"
            )
        return float(constant * max(perplexity, 1.0) ** -self.reward_power)  # 0 where a power would overflow

    @torch.inference_mode(False)
    def _propose(self) -> Architecture | None:
        self._grow()
        architecture = self._draw_new()
        if architecture is None:
            architecture = self.sample_new()
        if architecture is not None:
            self._numbers.setdefault(self.key(architecture), len(self.proposals))
        return architecture

    def _draw_new(self) -> Architecture | None:
        """Return the first draw that may be proposed; the known ones before it count with the scores they have."""
        for _ in range(self.samples_per_update):
            row = self._next_draw()
            architecture = self.controller.architectures(torch.tensor([row]))[0]
            number = None if self.repeats else self._numbers.get(self.key(architecture))
            if number is None:
                self._draws.append((row, len(self.proposals)))
                return architecture
            if len(self._draws) < self.samples_per_update:  # else all that count next are known or on their way
                self._draws.append((row, number))
                self._update()
        return None

    @torch.no_grad()
    def _next_draw(self) -> list[int]:
        if not self._queue:
            self._queue = self.controller.sample(self.samples_per_update, self.generator).choices.tolist()
        return self._queue.pop(0)

    @torch.inference_mode(False)
    def _learn(self, proposal: Proposal, score: float | None) -> None:
        self._update()

    def _update(self) -> None:
        """Make a step as soon as enough draws of the present controller have rewards."""
        rewards = {number: self.reward(self.scores[number]) for _, number in self._draws if number in self.scores}
        self._draws = [(row, number) for row, number in self._draws if rewards.get(number, 0.0) is not None]
        counted = [(row, rewards[number]) for row, number in self._draws if number in rewards]
        if len(counted) >= self.samples_per_update:
            rows, known = zip(*counted[: self.samples_per_update], strict=True)
            self._step(torch.tensor(rows), torch.tensor(known))
            self._queue, self._draws = [], []

    @torch.enable_grad()
    def _step(self, rows: Tensor, rewards: Tensor) -> None:
        loss = self.reinforce.loss(self.controller.evaluate(rows), rewards)
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        self.optimizer.step()
        self.updates += 1

    def _controller_of(self, space: SearchSpace) -> LstmController:
        return LstmController(space, **{**nas_settings(space), **self._settings})

    def _check_growth(self) -> None:
        shapes = [
            {name: tuple(p.shape) for name, p in self._controller_of(space).named_parameters()}
            for space in self._schedule.values()
        ]
        for space, own in zip(self._schedule.values(), shapes, strict=True):
            if own != shapes[0]:
                raise ValueError(
                    f"Expected spaces in `growth` whose controller has the weights of that of {self.space.name!r} but "
                    f"got {space.name!r}"
                )

    def _grow(self) -> None:
        space = self._schedule[max(after for after in self._schedule if after <= len(self.proposals))]
        if space is not self.space:
            self._enter(space)

    def _enter(self, space: SearchSpace) -> None:
        """Go over to another space, with the same weights."""
        controller = self._controller_of(space).to(self.controller.start.dtype)
        controller.load_state_dict(self.controller.state_dict())
        optimizer = torch.optim.Adam(controller.parameters(), self.learning_rate)
        optimizer.load_state_dict(self.optimizer.state_dict())
        self.space, self.controller, self.optimizer = space, controller, optimizer
        self._queue, self._draws = [], []

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the future depends on, controller and optimizer among it."""
        return {
            **super().state_dict(),
            "present_space": self.space.name,
            "updates": self.updates,
            "controller": {name: tensor.clone() for name, tensor in self.controller.state_dict().items()},
            "optimizer": deepcopy(self.optimizer.state_dict()),
            "reinforce": {name: tensor.clone() for name, tensor in self.reinforce.state_dict().items()},
            "queue": [list(row) for row in self._queue],
            "draws": [[list(row), number] for row, number in self._draws],
        }

    @torch.inference_mode(False)
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state.

        Raises:
            ValueError: If it is the state of another strategy, or of one on another space or with another ``growth``.
        """
        super().load_state_dict(state)
        self._enter(self._spaces[state["present_space"]])
        self.updates = state["updates"]
        self.controller.load_state_dict(state["controller"])
        self.optimizer.load_state_dict(deepcopy(state["optimizer"]))
        self.reinforce.load_state_dict(state["reinforce"])
        self._queue = [list(row) for row in state["queue"]]
        self._draws = [(list(row), number) for row, number in state["draws"]]
        self._numbers = {}
        for proposal in self.proposals:
            self._numbers.setdefault(self.key(proposal.architecture), proposal.number)

    def _check_state(self, state: Mapping[str, Any]) -> None:
        super()._check_state(state)
        if (present := state["present_space"]) not in self._spaces:
            raise ValueError(f"Expected a state with spaces of {list(self._spaces)} but got one on {present!r}")


def _schedule(growth: Mapping[int, SearchSpace | str]) -> dict[int, SearchSpace]:
    for after in growth:
        check_at_least("growth", after, 1, "the first space is `space`")
    return {int(after): get_space(space) if isinstance(space, str) else space for after, space in growth.items()}
