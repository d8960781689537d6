"""A place of a supernet where several operations are mixed."""

import operator
from functools import reduce

from torch import Tensor, nn


class MixedOperation(nn.ModuleDict):
    """The candidates of one edge, by name; the forward is their weighted sum.

    The plain form: one candidate after the other. ``"none"`` is left out of the sum (it adds zero) but keeps its column
    of the weights.
    """

    def forward(self, x: Tensor, weights: Tensor, active: tuple[int, ...]) -> Tensor:
        """Return ``sum(weights[k] * candidate_k(x) for k in active)``.

        Args:
            x: ``[N, C, H, W]``.
            weights: ``[candidates]``.
            active: Indices of the candidates to compute.
        """
        names = list(self)
        computed = [weights[k] * self[names[k]](x) for k in active if names[k] != "none"]
        output: Tensor = reduce(operator.add, computed) if computed else self["none"](x)
        return output
