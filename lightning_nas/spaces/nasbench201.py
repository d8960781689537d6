"""The search space of NAS-Bench-201 (Dong & Yang 2020, arXiv 2001.00326)."""

import itertools
import re
from collections.abc import Mapping
from functools import cache, cached_property

import torch
from torch import Tensor, nn

from lightning_nas.architecture import Architecture, Decision
from lightning_nas.spaces.base import SearchSpace
from lightning_nas.spaces.decision_group import DecisionGroup
from lightning_nas.spaces.graph import CellGraph
from lightning_nas.spaces.mixture import Mixture
from lightning_nas.spaces.nasbench201_network import EDGES, NasBench201Network, NasBench201Supernet

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


def _function(operations: tuple[str, ...]) -> str:
    """Return a text that is equal for cells that compute the same by the two rules of ``canonical``."""
    terms = {0: ["x"], 1: [], 2: [], 3: []}  # what a node is the sum of
    for (source, target), operation in zip(EDGES, operations, strict=True):
        if operation == "skip_connect":
            terms[target] += terms[source]
        elif operation != "none" and terms[source]:
            terms[target].append(f"{operation}({'+'.join(sorted(terms[source]))})")
    return "+".join(sorted(terms[3]))


@cache
def _smallest_of_each_function() -> dict[str, tuple[str, ...]]:
    smallest: dict[str, tuple[str, ...]] = {}
    for operations in itertools.product(OPERATIONS, repeat=len(EDGES)):
        smallest.setdefault(_function(operations), operations)
    return smallest


class NasBench201Space(SearchSpace):
    """Cells of four nodes, completely connected; each of the six edges carries one of five operations.

    Example:
        >>> space = NasBench201Space()
        >>> text = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"
        >>> space.to_string(space.from_string(text)) == text
        True
        >>> space.size
        15625
    """

    @property
    def name(self) -> str:
        """``"nasbench201"``."""
        return "nasbench201"

    @cached_property
    def decisions(self) -> tuple[Decision, ...]:
        """The operation of every edge, in the order of the benchmark's strings."""
        return tuple(Decision(f"edge{source}-{target}", OPERATIONS, "operation") for source, target in EDGES)

    @cached_property
    def groups(self) -> tuple[DecisionGroup, ...]:
        """One group, ``"cell"``; a row is an edge."""
        return (DecisionGroup("cell", tuple(decision.name for decision in self.decisions), OPERATIONS),)

    def from_string(self, text: str) -> Architecture:
        """Read the benchmark's notation, ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``.

        Raises:
            ValueError: If the text is something else.
        """
        form = r"\+".join(r"\|" + "".join(rf"(\w+)~{source}\|" for source in range(target)) for target in (1, 2, 3))
        match = re.fullmatch(form, text)
        if match is None:
            raise ValueError(f"Expected a string like '|op~0|+|op~0|op~1|+|op~0|op~1|op~2|' but got {text!r}")
        names = (decision.name for decision in self.decisions)
        architecture = Architecture(self.name, dict(zip(names, match.groups(), strict=True)))
        self.validate(architecture)
        return architecture

    def to_string(self, architecture: Architecture) -> str:
        """Return the architecture in the benchmark's notation."""
        operations = self._operations(architecture)
        groups = ("".join(f"{operations[s, t]}~{s}|" for s in range(t)) for t in (1, 2, 3))
        return "+".join("|" + group for group in groups)

    def canonical(self, architecture: Architecture) -> Architecture:
        """Return one architecture for all that are equal by two rules: unused edges, and chains of skip connections.

        An operation on nothing is nothing, an edge that leads nowhere does not count, and a skip connection adds what
        its source is the sum of. Of all equal architectures the first in the order of the operations is returned.
        """
        chosen = tuple(self._operations(architecture).values())
        smallest = _smallest_of_each_function()[_function(chosen)]
        return Architecture(self.name, {d.name: op for d, op in zip(self.decisions, smallest, strict=True)})

    def build(  # type: ignore[override]  # the scale is spelled out
        self,
        architecture: Architecture,
        *,
        auxiliary: bool = False,
        weights_from: nn.Module | None = None,
        channels: int = 16,
        cells: int = 5,
        classes: int = 10,
        in_channels: int = 3,
    ) -> nn.Module:
        """Build the benchmark's network; the defaults are the paper's.

        Args:
            architecture: A member of this space.
            auxiliary: Without effect: the paper has no auxiliary classifier.
            weights_from: A supernet of this space; the network gets its scale and its weights.
            channels: Channels of the first stage.
            cells: Cells of each of the three stages.
            classes: Number of classes.
            in_channels: Channels of the images.
        """
        operations = list(self._operations(architecture).values())
        if isinstance(weights_from, NasBench201Supernet):
            return NasBench201Network.inherit(operations, weights_from)
        if weights_from is not None:
            raise TypeError(f"Expected `weights_from` to be a supernet of this space but got {type(weights_from)}")
        return NasBench201Network(operations, channels, cells, classes, in_channels)

    def supernet(  # type: ignore[override]  # the scale is spelled out
        self, channels: int = 16, cells: int = 5, classes: int = 10, in_channels: int = 3
    ) -> nn.Module:
        """Build the search network, of the same size as the benchmark's networks; BatchNorm keeps no statistics.

        Args:
            channels: Channels of the first stage.
            cells: Cells of each of the three stages.
            classes: Number of classes.
            in_channels: Channels of the images.
        """
        return NasBench201Supernet(OPERATIONS, channels, cells, classes, in_channels)

    def discretize(self, weights: Mapping[str, Tensor]) -> Architecture:
        """Keep the strongest operation of every edge, ``"none"`` included; ties go to the earlier operation."""
        table = weights["cell"].detach().cpu()
        if not torch.isfinite(table).all():
            raise ValueError("Expected finite mixture weights but got NaN or infinity")
        best = [int((row == row.max()).nonzero()[0]) for row in table]
        names = (decision.name for decision in self.decisions)
        return Architecture(self.name, {name: OPERATIONS[k] for name, k in zip(names, best, strict=True)})

    def mixtures(self, architecture: Architecture) -> dict[str, Mixture]:
        """Return weight one for the operation of every edge."""
        chosen = [OPERATIONS.index(operation) for operation in self._operations(architecture).values()]
        weights = torch.nn.functional.one_hot(torch.tensor(chosen), len(OPERATIONS)).float()
        return {"cell": Mixture(weights, tuple((k,) for k in chosen))}

    def graph(self, architecture: Architecture) -> tuple[CellGraph, ...]:
        """Return the graph of the cell, without the edges that carry ``"none"``."""
        nodes = ("in", "1", "2", "out")
        edges = self._operations(architecture).items()
        drawn = tuple((nodes[s], nodes[t], operation) for (s, t), operation in edges if operation != "none")
        return (CellGraph("cell", nodes, drawn),)

    def _operations(self, architecture: Architecture) -> dict[tuple[int, int], str]:
        self.validate(architecture)
        values = architecture.values
        return {edge: str(values[d.name]) for edge, d in zip(EDGES, self.decisions, strict=True)}
