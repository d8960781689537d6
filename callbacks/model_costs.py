"""What a candidate costs: a network that a search derives or trains, or the user's own module."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, get_args

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from lightning_nas._lightning import pl
from lightning_nas.architecture import Architecture
from lightning_nas.costs import count_costs, measure_latency
from lightning_nas.expected_cost import Cost, measure_cost
from lightning_nas.methods.base import SearchModule
from lightning_nas.methods.processes import gather
from lightning_nas.seeding import fixed_seed
from lightning_nas.spaces.choices.choice_map import ChoiceMap
from lightning_nas.spaces.inputs import Inputs, as_inputs

COSTS = ("params", "macs", "latency")


def network_of(module: SearchModule, architecture: Architecture, scale: Mapping[str, Any]) -> nn.Module:
    """Build the network of an architecture; the run's random numbers go on as if nothing had been built."""
    with fixed_seed(0):  # models of the user's may need real numbers to be built
        return module.space_of(architecture).build(architecture, **scale)


def example_of(module: pl.LightningModule, input_shape: Sequence[int] | None) -> Inputs | None:
    """Return what the networks of a search, or another module, are called with, as far as anybody says it.

    Args:
        module: A search, or any other module.
        input_shape: Shape of one input; by default the search's or its space's ``example``, or the module's
            ``example_input_array``.
    """
    if input_shape is not None:
        return as_inputs(input_shape)
    if isinstance(module, SearchModule):
        shape = getattr(module, "input_shape", None)  # of searches that count costs themselves
        return module.space.example if shape is None else as_inputs(shape)
    example: Any = module.example_input_array
    return None if example is None else as_inputs(example)


def check_example(names: Collection[str], example: Inputs | None) -> None:
    """Raise ValueError if costs are asked for that cannot be measured with an example."""
    asked = sorted({"macs", "latency"} & set(names))
    if asked and example is None:
        raise ValueError(
            f"Expected an example input to measure {asked} but got none; give ParetoFront an `input_shape` such as "
            "(3, 32, 32), or your module an `example_input_array`"
        )
    if "latency" in asked and example is not None and not _is_one_tensor(example):
        raise ValueError(f"Expected a model of one tensor to measure its latency but got the example {example}")


def measure_costs(
    names: Collection[str], network: nn.Module, example: Inputs | None, module: pl.LightningModule
) -> dict[str, float]:
    """Return what a network costs; every process must call it.

    Args:
        names: Which of ``COSTS``.
        network: A network.
        example: What it takes; needed for everything but ``"params"``.
        module: On its device latencies are measured, in the first process.
    """
    example = None if example is None else _like(network, example.first())
    needs_pass = "macs" in names or any(map(is_lazy, network.parameters()))
    counted = count_costs(network, example if needs_pass else None)
    costs: dict[str, float] = {name: count for name, count in counted.items() if name in names}
    if "latency" in names:
        assert example is not None
        seconds = _seconds(network, example.positional[0], module) if module.trainer.is_global_zero else 0.0
        costs["latency"] = gather(seconds, module.trainer)[0]
    return costs


def searched_costs(
    names: Collection[str], module: pl.LightningModule, architecture: Architecture, example: Inputs | None
) -> dict[str, float]:
    """Return what a module that holds choices will cost with those of an architecture; it goes on as it was.

    Args:
        names: ``"params"``, ``"macs"``, or both.
        module: A module that is searched by ``DifferentiableSearch``.
        architecture: What is chosen.
        example: What the module takes; needed for ``"macs"``.
    """
    choices, inputs = ChoiceMap(module), None if example is None else _like(module, example)
    mixtures = {place.key: place.choice.mixture for place in choices.places}
    costs: dict[str, float] = {}
    for name in get_args(Cost):
        if name in names:
            costs[name] = measure_cost(module, choices, name, inputs).of(architecture.values)
    choices.set_mixtures({key: mixture for key, mixture in mixtures.items() if mixture is not None})
    return costs


def _seconds(network: nn.Module, example: Tensor, module: pl.LightningModule) -> float:
    return measure_latency(network.to(module.device), example.to(module.device)).seconds


def _is_one_tensor(example: Inputs) -> bool:
    return len(example.positional) == 1 and isinstance(example.positional[0], Tensor) and not example.named


def _like(network: nn.Module, example: Inputs) -> Inputs:
    """Give floating point inputs the precision of the network's weights: a Trainer's ``precision`` may change it."""
    dtypes = [weight.dtype for weight in network.parameters() if weight.is_floating_point()]

    def cast(value: Any) -> Any:
        return value.to(dtypes[0]) if isinstance(value, Tensor) and value.is_floating_point() and dtypes else value

    return Inputs(tuple(map(cast, example.positional)), {name: cast(value) for name, value in example.named.items()})
