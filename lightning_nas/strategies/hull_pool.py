"""Models near a convex hull, and which of them is to be the next parent."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch

from lightning_nas.checks import check_at_least, check_choice
from lightning_nas.hull import Point, within_band

ParentChoice = Literal["walk", "archai", "greedy", "random"]


class HullPool:
    """Models whose error is near the lower convex hull of cost and error, with how often each has been chosen.

    A model that is once above the band is dropped for good: with more models the hull only sinks.

    Args:
        eps: The band: a model stays while its error is at most ``1 + eps`` times the hull's at its cost. Infinity keeps
            all.
        choice: How a parent is chosen. ``"walk"``, as Petridish does: from the most expensive to the cheapest and
            around again, each is taken with probability ``1 / (count + 1)``. ``"archai"``: in proportion to
            ``1 / (1 + count) + 1 / (1 + cost)``, both scaled to lie between 0 and 1. ``"greedy"``: the smallest error,
            the cheapest among equals. ``"random"``: each is as likely.

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> pool = HullPool()
        >>> for number, point in enumerate([(10, 0.5), (20, 0.3), (30, 0.6), (40, 0.2)]):
        ...     pool.add(number, *point)
        >>> list(pool.points)
        [0, 1, 3]
        >>> pool.choose(torch.Generator())
        3
    """

    def __init__(self, eps: float = 0.025, choice: ParentChoice = "walk") -> None:
        check_at_least("eps", eps, 0)
        check_choice("choice", choice, get_args(ParentChoice))
        self.eps = eps
        self.choice = choice
        self.points: dict[int, Point] = {}  # cost and error by number, the cheapest first
        self.counts: dict[int, int] = {}  # how often each has been chosen

    def add(self, number: int, cost: float, error: float) -> None:
        """Add a model, and drop those that are above the band then, it among them."""
        self.counts[number] = 0
        points = sorted({**self.points, number: (cost, error)}.items(), key=lambda item: (item[1], item[0]))
        inside = within_band([point for _, point in points], self.eps)
        self.points = {key: point for (key, point), kept in zip(points, inside, strict=True) if kept}
        self.counts = {key: self.counts[key] for key in self.points}

    @property
    def probabilities(self) -> list[float]:
        """With what probability each would be chosen next, in the order of ``points``."""
        rules = {"walk": self._walk, "archai": self._archai, "greedy": self._greedy, "random": self._random}
        weights = rules[self.choice]()
        return [weight / sum(weights) for weight in weights]

    def choose(self, generator: torch.Generator) -> int | None:
        """Return the number of the next parent and count it; ``None`` if there is no model."""
        if not self.points:
            return None
        weights = torch.tensor(self.probabilities, dtype=torch.float64)
        number = list(self.points)[int(torch.multinomial(weights, 1, generator=generator))]
        self.counts[number] += 1
        return number

    def _walk(self) -> list[float]:
        weights, reached = [], 1.0  # with what probability the first round comes as far as a model
        for count in reversed(self.counts.values()):
            weights.append(reached / (count + 1))
            reached *= count / (count + 1)
        return weights[::-1]  # what is left over goes around again: it is shared out in the same proportions

    def _archai(self) -> list[float]:
        counts = _scaled(list(self.counts.values()))
        costs = _scaled([cost for cost, _ in self.points.values()])
        return [1 / (1 + count) + 1 / (1 + cost) for count, cost in zip(counts, costs, strict=True)]

    def _greedy(self) -> list[float]:
        best = min(self.points, key=lambda number: self.points[number][1])
        return [float(number == best) for number in self.points]

    def _random(self) -> list[float]:
        return [1.0] * len(self.points)

    def state_dict(self) -> dict[str, Any]:
        """Return the models and their counts as plain data."""
        return {"models": [[number, *point, self.counts[number]] for number, point in self.points.items()]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.points = {number: (cost, error) for number, cost, error, _ in state["models"]}
        self.counts = {number: count for number, _, _, count in state["models"]}


def _scaled(values: list[float] | list[int]) -> list[float]:
    """Return numbers scaled so that the smallest is 0 and the largest 1; all 0 where they are equal."""
    least, most = min(values), max(values)
    return [(value - least) / (most - least) if most > least else 0.0 for value in values]
