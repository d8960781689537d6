"""What a model with choices costs, as a differentiable function of what is mixed."""

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lightning_nas.architecture import Choice as Value
from lightning_nas.costs import run_on_meta
from lightning_nas.spaces.choices.choice_map import ChoiceMap, merge_conditions
from lightning_nas.spaces.inputs import Inputs
from lightning_nas.spaces.mixture import Mixture

Cost = Literal["macs", "params"]
Condition = tuple[str, tuple[Value, ...]]  # a key, and the values of which one must be chosen
Parts = dict[tuple[Condition, ...], int]


class ExpectedCost:
    """The expected parameters or multiply-adds of the architectures that mixtures stand for.

    The weights of a mixture are taken as probabilities of independent decisions. A part of the model that is nested in
    chosen candidates costs what it costs, times the probability that all of them are chosen. For weights of one and
    zero this is exactly the cost of the model that is built.

    Args:
        choices: The choices of a model.
        parts: What each part of the model costs, by the conditions under which it is part of an architecture.
    """

    def __init__(self, choices: ChoiceMap, parts: Parts) -> None:
        self.parts = parts
        self._choices = choices
        conditions = sorted({condition for part in parts for condition in part}, key=repr)
        columns = [(key, value) for key, choice in choices.choices.items() for value in choice.values]
        members = [[key == k and value in values for k, value in columns] for key, values in conditions]
        depth = max((len(part) for part in parts), default=0)
        numbers = [[1 + conditions.index(condition) for condition in part] for part in parts]
        self._members = torch.tensor(members, dtype=torch.float64).view(len(conditions), len(columns))
        # factor 0 is one: parts with fewer conditions are filled up with it
        self._factors = torch.tensor([row + [0] * (depth - len(row)) for row in numbers], dtype=torch.int64)
        self._costs = torch.tensor(list(parts.values()), dtype=torch.float64)

    def __call__(self, mixtures: Mapping[str, Mixture]) -> Tensor:
        """Return the expected cost, a scalar through which gradients flow to the weights of the mixtures."""
        weights = torch.cat([mixtures[key].weights[0] for key in self._choices.choices])
        probabilities = torch.cat([weights.new_ones(1), self._members.to(weights) @ weights])
        return probabilities[self._factors.to(weights.device)].prod(1) @ self._costs.to(weights)

    def of(self, values: Mapping[str, Value]) -> int:
        """Return the exact cost of the model that is built for an architecture's values."""
        return sum(
            cost
            for conditions, cost in self.parts.items()
            if all(values[key] in allowed for key, allowed in conditions)
        )


def measure_cost(model: nn.Module, choices: ChoiceMap, cost: Cost, inputs: Inputs | None) -> ExpectedCost:
    """Measure what every part of a model costs.

    Args:
        model: A model that holds choices.
        choices: Its choices.
        cost: ``"params"``, or ``"macs"``: multiply-adds of convolutions and matrix products in one forward pass.
        inputs: What the model is called with; needed for multiply-adds.

    Raises:
        ValueError: If multiply-adds are asked for without inputs.
    """
    if cost == "params":
        return ExpectedCost(choices, _parameters(model, choices))
    if inputs is None:
        raise ValueError(
            "Expected an example input to count multiply-adds but got none; give ModuleSpace an `example`, or a "
            "LightningModule its `example_input_array`"
        )
    return ExpectedCost(choices, _multiply_adds(model, choices, inputs))


def _parameters(model: nn.Module, choices: ChoiceMap) -> Parts:
    conditions: dict[nn.Parameter, tuple[Condition, ...]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        found = tuple(choices.conditions(name).items())
        # a tied weight is there as soon as one of its places is
        conditions[parameter] = min(conditions.get(parameter, found), found, key=len)
    parts: Parts = {}
    for parameter, part in conditions.items():
        parts[part] = parts.get(part, 0) + parameter.numel()
    return parts


def _multiply_adds(model: nn.Module, choices: ChoiceMap, inputs: Inputs) -> Parts:
    flops: Parts = {}
    around: list[dict[str, tuple[Value, ...]]] = [{}]  # the conditions of the module that is being computed

    def charge() -> None:
        """Charge what was counted since the last call to the module that is being computed."""
        part = tuple(around[-1].items())
        flops[part] = flops.get(part, 0) + counter.get_total_flops() - sum(flops.values())

    def enter(key: str, values: tuple[Value, ...], module: nn.Module, arguments: Any) -> None:
        charge()
        around.append(merge_conditions(around[-1], key, values))

    def leave(module: nn.Module, arguments: Any, output: Any) -> None:
        charge()
        around.pop()

    with ExitStack() as hooks, FlopCounterMode(display=False) as counter:
        for key, values, module in choices.branches():
            hooks.enter_context(module.register_forward_pre_hook(partial(enter, key, values)))
            hooks.enter_context(module.register_forward_hook(leave))
        choices.set_mixtures({})  # all candidates are to be computed
        run_on_meta(model, inputs)
        charge()
    return {part: count // 2 for part, count in flops.items() if count}
