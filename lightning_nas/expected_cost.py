"""What a model with choices costs, as a differentiable function of what is mixed."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lightning_nas.architecture import Value
from lightning_nas.costs import Run, in_one_pass
from lightning_nas.spaces.choices.choice_map import ChoiceMap, merge_conditions
from lightning_nas.spaces.inputs import Inputs, example_named
from lightning_nas.spaces.lazy import check_initialised
from lightning_nas.spaces.mixture import Mixture

Cost = Literal["macs", "params"]
Condition = tuple[str, tuple[Value, ...]]  # a key, and the values of which one must be chosen
Part = tuple[Condition, ...]  # what is there if all conditions are met, sorted by key
Parts = Mapping[Part, int]

MAX_TERMS = 4096


class ExpectedCost:
    """The expected parameters or multiply-adds of the architectures that mixtures stand for.

    The weights of a mixture are taken as probabilities of independent decisions. A part of the model that is nested in
    chosen candidates costs what it costs, times the probability that all of them are chosen. For weights of one and
    zero this is exactly the cost of the model that is built.

    Args:
        choices: The choices of a model.
        parts: What each part of the model costs, by the conditions under which it is part of an architecture. Costs can
            be negative: what is in two places is there once.
    """

    def __init__(self, choices: ChoiceMap, parts: Parts) -> None:
        self.parts = parts
        self._choices = choices
        conditions = sorted({condition for part in parts for condition in part}, key=repr)
        columns = [(key, value) for key, choice in choices.choices.items() for value in choice.values]
        members = [[key == k and value in values for k, value in columns] for key, values in conditions]
        depth = max((len(part) for part in parts), default=0)
        numbers = [[1 + conditions.index(condition) for condition in part] for part in parts]
        # with weights w [columns], all choices' values one after the other, the probability of a condition c is
        # P_c = sum of w_v over the values v that it allows: P = members @ w, members [conditions, columns] of 0 and 1;
        # the expected cost is the sum over parts p of cost_p * product of P_c over the conditions c of p:
        # costs [parts] times (1, P)[factors] multiplied over columns, factors [parts, depth] of indices
        self._members = torch.tensor(members, dtype=torch.float64).view(len(conditions), len(columns))
        # index 0 is the one in front: parts with fewer conditions are filled up with it
        filled = [row + [0] * (depth - len(row)) for row in numbers]
        self._factors = torch.tensor(filled, dtype=torch.int64).view(len(parts), depth)
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
        inputs: What the model is called with; needed for multiply-adds, which are those of the first input of a batch.

    Raises:
        ValueError: If multiply-adds are asked for without inputs, or the model does not take them.
    """
    check_initialised(model)
    if cost == "params":
        return ExpectedCost(choices, _parameters(model, choices))
    if inputs is None:
        raise ValueError(
            "Expected an example input to count multiply-adds but got none; give ModuleSpace an `example`, or a "
            "LightningModule its `example_input_array`"
        )
    with example_named("the first input of `example`, or of `example_input_array`,", inputs):
        return ExpectedCost(choices, _multiply_adds(model, choices, inputs.first()))


def _parameters(model: nn.Module, choices: ChoiceMap) -> Parts:
    places: dict[nn.Parameter, set[Part]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        places.setdefault(parameter, set()).add(_part(choices.conditions(name)))
    parts: Counter[Part] = Counter()
    for parameter, somewhere in places.items():
        for part, sign in _union(somewhere).items():
            parts[part] += sign * parameter.numel()
    return {part: cost for part, cost in parts.items() if cost}


def _part(conditions: Mapping[str, tuple[Value, ...]]) -> Part:
    return tuple(sorted(conditions.items()))


def _union(parts: set[Part]) -> Counter[Part]:
    """Return the terms whose sum is one where any of the parts is there: ``P(a or b) = P(a) + P(b) - P(a and b)``."""
    terms: Counter[Part] = Counter()
    for part in _widest(parts):
        both = Counter[Part]()
        for term, sign in terms.items():
            if (intersection := _both(term, part)) is not None:
                both[intersection] -= sign
        terms.update(both)
        terms[part] += 1
        if len(terms) > MAX_TERMS:
            raise ValueError(
                f"Expected parameters that are tied across few choices but got one in {len(parts)} places that "
                "depend on different choices; give those choices one `key`"
            )
    return terms


def _widest(parts: Iterable[Part]) -> list[Part]:
    """Return the parts that are possible, without those that are there only where another one is there, too."""
    kept: list[Part] = []
    for part in sorted(parts, key=lambda part: (len(part), repr(part))):
        possible = all(values for _, values in part)
        if possible and not any(_both(part, wider) == part for wider in kept):
            kept = [narrower for narrower in kept if _both(narrower, part) != narrower] + [part]
    return kept


def _both(first: Part, second: Part) -> Part | None:
    """Return the conditions under which two parts are there, if there are any."""
    conditions = dict(first)
    for key, values in second:
        conditions = merge_conditions(conditions, key, values)
    return _part(conditions) if all(conditions.values()) else None


def _multiply_adds(model: nn.Module, choices: ChoiceMap, inputs: Inputs) -> Parts:
    choices.set_mixtures({})  # all candidates are to be computed
    flops = in_one_pass(partial(_flops, model, choices, inputs))
    return {part: count // 2 for part, count in flops.items() if count}


def _flops(model: nn.Module, choices: ChoiceMap, inputs: Inputs, run: Run) -> Parts:
    flops: Counter[Part] = Counter()
    around: list[Part] = [()]  # the conditions of what is being computed

    def charge() -> None:
        """Charge what was counted since the last call to what is being computed."""
        flops[around[-1]] += counter.get_total_flops() - flops.total()

    @contextmanager
    def branch(key: str, values: tuple[Value, ...]) -> Iterator[None]:
        charge()
        around.append(_part(merge_conditions(dict(around[-1]), key, values)))
        yield
        charge()
        around.pop()

    with FlopCounterMode(display=False) as counter, choices.observed(branch):
        run(model, inputs)
        charge()
    return flops
