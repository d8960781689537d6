"""Where a search stands, whatever kind of search it is."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

from lightning_nas._lightning import pl
from lightning_nas.architecture import Architecture, Decision
from lightning_nas.callbacks.differentiable_search import DifferentiableSearch
from lightning_nas.methods.base import SearchModule
from lightning_nas.spaces.choices.choice_map import ChoiceMap
from lightning_nas.spaces.decision_group import DecisionGroup
from lightning_nas.spaces.graph import CellGraph


@dataclass(frozen=True)
class Snapshot:
    """What a search weighs and what it would derive at one moment.

    Args:
        architecture: The derived architecture.
        weights: Every group that the search has weights of, with its table ``[rows, candidates]``.
        graphs: Drawings of the derived architecture; none where the space is not known.
        labels: What stands on the edges of the derived architecture.
        operations: What could stand there: the candidates of the space's operations. ``"none"`` is no edge.
    """

    architecture: Architecture
    weights: tuple[tuple[DecisionGroup, Tensor], ...]
    graphs: tuple[CellGraph, ...]
    labels: tuple[str, ...]
    operations: tuple[str, ...]

    @classmethod
    def of_module(cls, module: SearchModule) -> "Snapshot":
        """Look at one of the library's own searches."""
        architecture, tables = module.derive(), module.weights()
        space = module.space_of(architecture)
        groups = module.space.groups if tables else ()  # spaces without a supernet have none
        weights = tuple((group, tables[group.name].cpu()) for group in groups if group.name in tables)
        graphs = space.graph(architecture)
        labels = tuple(label for graph in graphs for _, _, label in graph.edges)
        return cls(architecture, weights, graphs, labels, _operations(space.decisions))

    @classmethod
    def of_callback(cls, search: DifferentiableSearch, module: pl.LightningModule) -> "Snapshot":
        """Look at a user's module while the callback searches it."""
        architecture, choices = search.derive(), ChoiceMap(module)
        mixed = [(group, choices.choices[group.name].mixture) for group in choices.groups]
        weights = tuple((group, mixture.weights.detach().cpu()) for group, mixture in mixed if mixture is not None)
        chosen = choices.chosen(architecture.values)
        computed = dict.fromkeys(place.key for place in choices.computed(architecture.values))
        labels = tuple(str(value) for key in computed for value in chosen[key])
        return cls(architecture, weights, (), labels, _operations(choices.decisions))


def _operations(decisions: Iterable[Decision]) -> tuple[str, ...]:
    names = (str(choice) for decision in decisions if decision.kind == "operation" for choice in decision.choices)
    return tuple(name for name in dict.fromkeys(names) if name != "none")
