"""A budget for one model."""

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import combinations, product
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_nas.architecture import Value
from lightning_nas.expected_cost import ExpectedCost
from lightning_nas.spaces.choices.base import Choice
from lightning_nas.spaces.choices.choice_map import ChoiceMap
from lightning_nas.spaces.mixture import Mixture

Values = dict[str, Value]

ENOUGH = 0.9  # the share of the target that a network should cost
FEW = 4096  # combinations that are all tried


class Rank(NamedTuple):
    """How good an architecture is; the greater the better."""

    over: float
    under: float
    log_probability: float


class BoundBudget:
    """A budget for one model, made by ``CostBudget.bind``.

    Args:
        choices: The model's choices.
        cost: What the model costs.
        target: What the derived network should cost, at most.
        weight: Weight of the term in the loss.

    Raises:
        ValueError: If the model costs nothing, or no architecture is found that meets the target.
    """

    def __init__(self, choices: ChoiceMap, cost: ExpectedCost, target: float | None, weight: float) -> None:
        self.cost = cost
        self.target = target
        self.weight = weight
        self._choices = choices
        sizes = {group.name: (len(group.rows), len(group.candidates)) for group in choices.groups}
        equal = {key: torch.full(size, 1 / size[1], dtype=torch.float64) for key, size in sizes.items()}
        self._at_equal_weights = float(self._expected(equal))
        if not self._at_equal_weights:
            raise ValueError("Expected a model that costs something but got one that costs 0, whatever is chosen")
        if target is not None and (found := cost.of(self.discretize(equal))) > target:
            raise ValueError(
                f"Expected a `target` that some network meets but got {target:,.0f}: the cheapest network found costs "
                f"{found:,}"
            )

    def penalty(self, mixtures: Mapping[str, Mixture]) -> Tensor:
        """Return the term for the loss, a scalar through which gradients flow to the mixtures' weights."""
        cost = self.cost(mixtures)
        relative = cost / self._at_equal_weights if self.target is None else (cost / self.target - 1).abs()
        return self.weight * relative

    def discretize(self, weights: Mapping[str, Tensor]) -> Values:
        """Return the values of a probable architecture that keeps the target and uses at least 90 % of it.

        Up to 4096 combinations are all tried, and the most probable one that does so is taken; if there is none, the
        costliest one that keeps the target. Of more combinations only some are looked at, so better ones can be
        missed: log probabilities are lowered, or raised, by a price for what a candidate costs, which grows until the
        most probable values are right. Changes of one decision, or two, that bring them nearer come last.

        Args:
            weights: For each key probabilities ``[slots, candidates]``.
        """
        values = self._choices.discretize(weights)
        if self.target is None:
            return values
        logs = {key: table.detach().cpu().double().clamp(min=1e-300).log() for key, table in weights.items()}
        scores = {key: dict(zip(choice.values, logs[key][0].tolist(), strict=True)) for key, choice in self._single()}
        rank = partial(self._rank, scores=scores, target=self.target)
        if math.prod(len(choice.values) for _, choice in self._single()) <= FEW:
            return max(self._combinations(values), key=rank)
        best = max([values, *self._priced(logs, values, self.target)], key=rank)
        while better := self._better(best, rank):
            best = better
        return best

    def _rank(self, values: Values, scores: Mapping[str, Mapping[Value, float]], target: float) -> Rank:
        """Return how good values are: the target first, then 90 % of it, then their log probability."""
        cost = self.cost.of(values)
        probability = sum(score[values[key]] for key, score in scores.items())
        return Rank(min(0.0, target - cost), min(0.0, cost - ENOUGH * target), probability)

    def _combinations(self, values: Values) -> Iterator[Values]:
        """Yield all values that cost different things, in the order of the candidates."""
        keys, columns = [key for key, _ in self._single()], [choice.values for _, choice in self._single()]
        return ({**values, **dict(zip(keys, chosen, strict=True))} for chosen in product(*columns))

    def _priced(self, logs: Mapping[str, Tensor], values: Values, target: float) -> Iterator[Values]:
        """Yield the most probable values at prices that grow until the target is kept, or used."""
        mixed = {key: table.exp() for key, table in logs.items()}
        sign = 1 if self.cost.of(values) > target else -1
        for exponent in range(-8, 16):
            cost = self.cost.of(values)
            if ENOUGH * target <= cost <= target or (cost <= target) == (sign > 0):
                break
            for _ in range(8):  # what a candidate costs depends on the probabilities around it
                slopes = self._slopes(mixed)
                prices = {key: sign * 2**exponent * slope / target for key, slope in slopes.items()}
                mixed = {key: (table - prices[key]).softmax(1) for key, table in logs.items()}
            values = self._choices.discretize(mixed)
            yield values

    def _better(self, values: Values, rank: Callable[[Values], Rank]) -> Values | None:
        """Return the best values that one change makes, if they are better; two where the cost is not right yet."""
        now = rank(values)
        changes = [(key, value) for key, choice in self._single() for value in choice.values if value != values[key]]
        for count in (1,) if now.over == now.under == 0 else (1, 2):
            neighbours = ({**values, **dict(change)} for change in combinations(changes, count))
            best = max(neighbours, key=rank, default=values)
            if rank(best) > now:
                return best
        return None

    def _single(self) -> Iterator[tuple[str, Choice]]:
        """Yield the choices of one candidate; which of several inputs are chosen costs nothing."""
        return ((key, choice) for key, choice in self._choices.choices.items() if choice.slots == 1)

    def _slopes(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        leaves = {key: table.detach().requires_grad_() for key, table in weights.items()}
        tables = list(leaves.values())
        slopes = torch.autograd.grad(self._expected(leaves), tables, allow_unused=True, materialize_grads=True)
        return dict(zip(leaves, slopes, strict=True))

    def _expected(self, weights: Mapping[str, Tensor]) -> Tensor:
        return self.cost({key: Mixture(table) for key, table in weights.items()})
