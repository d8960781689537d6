"""How much the networks that a search finds may cost."""

from typing import get_args

from torch import nn

from lightning_nas.bound_budget import BoundBudget
from lightning_nas.checks import check_choice, check_positive
from lightning_nas.expected_cost import Cost, measure_cost
from lightning_nas.spaces.choices.choice_map import ChoiceMap
from lightning_nas.spaces.inputs import Inputs


class CostBudget:
    """What the networks that a search finds should cost: a term in the architecture's loss, and a limit.

    The cost is that of the mixture: the expected cost of an architecture whose decisions are drawn with the mixture's
    weights. With a ``target`` the term is ``weight * |cost / target - 1|``, and the derived network costs at most the
    target and, if such a network is found, at least 90 % of it. Without one the term is
    ``weight * cost / (cost at equal weights)``, and there is no limit.

    Args:
        cost: ``"macs"`` (multiply-adds of convolutions and matrix products for one input; of an example that is a batch
            the first, along the first dimension) or ``"params"`` (all parameters, as
            ``count_parameters(network, auxiliary=True)`` counts them).
        target: What the derived network should cost, at most.
        weight: Weight of the term in the loss; by default 1.

    Raises:
        ValueError: If there is neither target nor weight, or one is not positive.
    """

    def __init__(self, cost: Cost = "macs", target: float | None = None, weight: float | None = None) -> None:
        check_choice("cost", cost, get_args(Cost))
        check_positive("target", target)
        check_positive("weight", weight)
        if target is None and weight is None:
            raise ValueError("Expected a `target` or a `weight` but got neither")
        self.cost = cost
        self.target = target
        self.weight = 1.0 if weight is None else weight

    def bind(self, model: nn.Module, choices: ChoiceMap, inputs: Inputs | None) -> BoundBudget:
        """Measure what a model with choices costs.

        Args:
            model: The model.
            choices: Its choices.
            inputs: What it is called with; needed for multiply-adds.

        Raises:
            ValueError: If multiply-adds are asked for without inputs that the model takes, the model costs nothing, a
                parameter has no shape yet, or no architecture is found that meets the target.
        """
        cost = measure_cost(model, choices, self.cost, inputs)
        return BoundBudget(choices, cost, self.target, self.weight)
