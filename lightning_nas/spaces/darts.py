"""The convolutional search space of DARTS (Liu, Simonyan, Yang 2018, arXiv 1806.09055)."""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from lightning_nas.architecture import Architecture, Decision
from lightning_nas.checks import check_at_least, check_choice, check_scale
from lightning_nas.operations.convolution import OPERATIONS
from lightning_nas.spaces.base import SearchSpace, pick
from lightning_nas.spaces.darts_network import DartsNetwork
from lightning_nas.spaces.darts_stem import CifarStem, ImageNetStem
from lightning_nas.spaces.darts_supernet import DartsSupernet
from lightning_nas.spaces.decision_group import DecisionGroup
from lightning_nas.spaces.genotype import CELLS, Genotype, Node, read_cells, write_cells
from lightning_nas.spaces.graph import CellGraph
from lightning_nas.spaces.mixture import Mixture
from lightning_nas.spaces.settings import Setting, space_name

PRIMITIVES = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
PAPER = {"cifar": (36, 20, 10), "imagenet": (48, 14, 1000)}  # channels, layers, classes of the evaluation networks


class DartsSpace(SearchSpace):
    """Normal and reduction cells of ``nodes`` nodes; each node sums two operations on two earlier nodes.

    Inputs are numbered as in the paper: 0 is the output of the cell before last, 1 of the last cell, ``i + 2`` is node
    ``i``. The supernet mixes all operations on all edges; ``"none"`` is a candidate there and never part of an
    architecture.

    Args:
        nodes: Intermediate nodes of a cell.
        operations: Candidates in the order that decides ties; ``"none"`` may be among them.
        concat: What a cell puts out: ``"all"`` nodes, or the ``"loose_ends"`` that no other node reads (NASNet and
            AmoebaNet cells; such a space has no supernet).
        distinct_inputs: Whether the two inputs of a node must differ, as derived DARTS cells always do.

    Raises:
        ValueError: If an operation is unknown, there is none but ``"none"``, or ``nodes`` is not positive.

    Example:
        >>> DartsSpace().size == 1037664180**2
        True
    """

    settings: ClassVar[Mapping[str, Setting]] = {
        "nodes": 4,
        "operations": PRIMITIVES,
        "concat": "all",
        "distinct_inputs": True,
    }

    def __init__(
        self,
        nodes: int = 4,
        operations: Sequence[str] = PRIMITIVES,
        concat: Literal["all", "loose_ends"] = "all",
        distinct_inputs: bool = True,
    ) -> None:
        check_at_least("nodes", nodes, 1)
        if unknown := set(operations) - OPERATIONS.keys():
            raise ValueError(f"Expected `operations` of {sorted(OPERATIONS)} but got {sorted(unknown)}")
        if len(set(operations)) != len(operations) or set(operations) <= {"none"}:
            raise ValueError(f'Expected distinct `operations`, one besides "none" at least, but got {list(operations)}')
        check_choice("concat", concat, ("all", "loose_ends"))
        self.nodes = nodes
        self.operations = tuple(operations)
        self.concat = concat
        self.distinct_inputs = distinct_inputs

    @property
    def name(self) -> str:
        """``"darts"``, followed by the settings that differ from the paper's."""
        return space_name("darts", self.settings, {key: getattr(self, key) for key in self.settings})

    @cached_property
    def decisions(self) -> tuple[Decision, ...]:
        """Per cell and node: input 0, operation 0, input 1, operation 1."""
        choosable = tuple(operation for operation in self.operations if operation != "none")
        return tuple(
            decision
            for cell in CELLS
            for node in range(self.nodes)
            for k in range(2)
            for decision in (
                Decision(f"{cell}/node{node}/input{k}", tuple(range(node + 2)), "input"),
                Decision(f"{cell}/node{node}/operation{k}", choosable, "operation"),
            )
        )

    @cached_property
    def groups(self) -> tuple[DecisionGroup, ...]:
        """One group a cell; a row is an edge, numbered node by node."""
        rows = tuple(f"node{node}/input{j}" for node in range(self.nodes) for j in range(node + 2))
        return tuple(DecisionGroup(cell, rows, self.operations) for cell in CELLS)

    @property
    def distinct(self) -> tuple[tuple[str, ...], ...]:
        """The two inputs of every node, if they must differ."""
        pairs = ((f"{cell}/node{i}/input0", f"{cell}/node{i}/input1") for cell in CELLS for i in range(self.nodes))
        return tuple(pairs) if self.distinct_inputs else ()

    @property
    def size(self) -> int:
        """Number of architectures; the order of a node's two inputs does not count."""
        choosable = len(set(self.operations) - {"none"})
        if self.distinct_inputs:
            ways = math.prod(math.comb(node + 2, 2) * choosable**2 for node in range(self.nodes))
        else:
            ways = math.prod(math.comb((node + 2) * choosable + 1, 2) for node in range(self.nodes))
        return ways * ways  # normal and reduction cell

    def sample(self, generator: torch.Generator) -> Architecture:
        """Draw an architecture; with distinct inputs each is equally likely."""
        choosable = [operation for operation in self.operations if operation != "none"]

        def node(index: int) -> Node:
            if self.distinct_inputs:
                inputs = torch.randperm(index + 2, generator=generator)[:2].sort().values
            else:
                inputs = torch.randint(index + 2, (2,), generator=generator)
            return [(pick(choosable, generator), int(j)) for j in inputs]

        return Architecture(self.name, write_cells({cell: [node(i) for i in range(self.nodes)] for cell in CELLS}))

    def validate(self, architecture: Architecture) -> None:
        """Raise a ``ValueError`` that names the reason unless ``architecture`` belongs to this space."""
        super().validate(architecture)
        if not self.distinct_inputs:
            return
        for cell, nodes in read_cells(architecture, self.nodes).items():
            for index, ((_, first), (_, second)) in enumerate(nodes):
                if first == second:
                    raise ValueError(f"Expected two different inputs of {cell}/node{index} but got {first} twice")

    def canonical(self, architecture: Architecture) -> Architecture:
        """Return the architecture with the inputs of every node in rising order."""
        self.validate(architecture)
        cells = read_cells(architecture, self.nodes)
        ordered = {
            cell: [sorted(node, key=lambda pair: (pair[1], self.operations.index(pair[0]))) for node in nodes]
            for cell, nodes in cells.items()
        }
        return Architecture(self.name, write_cells(ordered))

    def from_genotype(
        self,
        normal: Sequence[tuple[str, int]],
        reduce: Sequence[tuple[str, int]],
        provenance: Mapping[str, Any] | None = None,
    ) -> Architecture:
        """Make an architecture from the field's notation: flat lists of ``(operation, input)``, two pairs a node.

        Raises:
            ValueError: If the lists have another length, or something in them is not of this space.
        """
        for cell, pairs in zip(CELLS, (normal, reduce), strict=True):
            if len(pairs) != 2 * self.nodes:
                raise ValueError(f"Expected {2 * self.nodes} pairs for the {cell} cell but got {len(pairs)}")
        flat = {"normal": normal, "reduce": reduce}
        cells = {cell: [list(pairs[i : i + 2]) for i in range(0, len(pairs), 2)] for cell, pairs in flat.items()}
        architecture = Architecture(self.name, write_cells(cells), provenance or {})
        self.validate(architecture)
        return architecture

    def genotype(self, architecture: Architecture) -> Genotype:
        """Return the architecture in the field's notation."""
        self.validate(architecture)
        cells = read_cells(architecture, self.nodes)
        concats = {cell: self._concat(nodes) for cell, nodes in cells.items()}
        flat = {cell: [pair for node in nodes for pair in node] for cell, nodes in cells.items()}
        return Genotype(flat["normal"], concats["normal"], flat["reduce"], concats["reduce"])

    def build(  # type: ignore[override]  # the scale is spelled out
        self,
        architecture: Architecture,
        *,
        auxiliary: bool = False,
        weights_from: nn.Module | None = None,
        channels: int | None = None,
        layers: int | None = None,
        classes: int | None = None,
        in_channels: int = 3,
        stem: Literal["cifar", "imagenet"] = "cifar",
    ) -> nn.Module:
        """Build the evaluation network; the defaults are the paper's for its stem.

        Args:
            architecture: A member of this space.
            auxiliary: Attach the auxiliary classifier after the second reduction.
            weights_from: A supernet of this space; the network gets its scale and its weights.
            channels: Channels of the first cells: 36 (CIFAR), 48 (ImageNet).
            layers: Number of cells: 20, 14.
            classes: Number of classes: 10, 1000.
            in_channels: Channels of the images.
            stem: ``"cifar"`` keeps the image size, ``"imagenet"`` divides it by 8 before the first normal cell.
        """
        genotype = self.genotype(architecture)
        if isinstance(weights_from, DartsSupernet):
            self._check_supernet(weights_from)
            return DartsNetwork.inherit(genotype, weights_from)
        if weights_from is not None:
            raise TypeError(f"Expected `weights_from` to be a supernet of this space but got {type(weights_from)}")
        check_choice("stem", stem, list(PAPER))
        channels, layers, classes = (
            default if given is None else given
            for given, default in zip((channels, layers, classes), PAPER[stem], strict=True)
        )
        check_scale(channels=channels, layers=layers, classes=classes, in_channels=in_channels)
        before = CifarStem(in_channels, 3 * channels) if stem == "cifar" else ImageNetStem(in_channels, channels)
        return DartsNetwork(genotype, before, channels, layers, classes, auxiliary=auxiliary)

    def supernet(  # type: ignore[override]  # the scale is spelled out
        self, channels: int = 16, layers: int = 8, classes: int = 10, in_channels: int = 3, stem_multiplier: int = 3
    ) -> nn.Module:
        """Build the search network; the defaults are the paper's.

        Args:
            channels: Channels of the first cells.
            layers: Number of cells; those at a third and at two thirds reduce.
            classes: Number of classes.
            in_channels: Channels of the images.
            stem_multiplier: Channels of the stem as a multiple of ``channels``.
        """
        if self.concat != "all":
            raise ValueError(f'Expected a space with concat="all" for a supernet but got {self.name!r}')
        check_scale(channels=channels, layers=layers, classes=classes, in_channels=in_channels)
        return DartsSupernet(self.operations, self.nodes, channels, layers, classes, in_channels, stem_multiplier)

    def _check_supernet(self, supernet: DartsSupernet) -> None:
        own, given = (self.nodes, self.operations, "all"), (supernet.nodes, supernet.operations, self.concat)
        if own != given:
            raise ValueError(f"Expected `weights_from` to be a supernet of {self.name!r} but got one of another space")

    def discretize(self, weights: Mapping[str, Tensor]) -> Architecture:
        """Keep the two strongest inputs of every node, each with its strongest operation besides ``"none"``.

        An edge is as strong as its best operation besides ``"none"``. Ties go to the earlier input and the earlier
        operation. The pairs of a node stand in falling strength.

        Args:
            weights: ``"normal"`` and ``"reduce"``: probabilities ``[edges, operations]``, ``"none"`` included.
        """
        return Architecture(
            self.name, write_cells({cell: self._discretize(weights[cell].detach().cpu()) for cell in CELLS})
        )

    def _discretize(self, table: Tensor) -> list[Node]:
        choosable = [k for k, operation in enumerate(self.operations) if operation != "none"]
        if not torch.isfinite(table).all():
            raise ValueError("Expected finite mixture weights but got NaN or infinity")
        nodes = []
        for node, rows in enumerate(torch.split(table[:, choosable], [i + 2 for i in range(self.nodes)])):
            strongest = rows.max(1).values.sort(descending=True, stable=True).indices[:2].tolist()
            best = [int((rows[j] == rows[j].max()).nonzero()[0]) for j in range(node + 2)]  # ties: the earlier one
            nodes.append([(self.operations[choosable[best[j]]], j) for j in strongest])
        return nodes

    def mixtures(self, architecture: Architecture) -> dict[str, Mixture]:
        """Return weight one for the architecture's operations; an edge that it does not use has nothing active."""
        self.validate(architecture)
        return {cell: self._mixture(nodes) for cell, nodes in read_cells(architecture, self.nodes).items()}

    def _mixture(self, nodes: list[Node]) -> Mixture:
        weights = torch.zeros(sum(node + 2 for node in range(self.nodes)), len(self.operations))
        offset = 0
        for index, node in enumerate(nodes):
            for operation, j in node:
                weights[offset + j, self.operations.index(operation)] += 1
            offset += index + 2
        return Mixture(weights, tuple(tuple(row.nonzero().flatten().tolist()) for row in weights))

    def graph(self, architecture: Architecture) -> tuple[CellGraph, ...]:
        """Return the graphs of the normal and the reduction cell."""
        cells = read_cells(architecture, self.nodes)
        return tuple(self._graph(cell, nodes) for cell, nodes in cells.items())

    def _graph(self, cell: str, nodes: list[Node]) -> CellGraph:
        names = ["c_{k-2}", "c_{k-1}", *(str(i) for i in range(self.nodes)), "c_{k}"]
        edges = [(names[j], str(i), operation) for i, node in enumerate(nodes) for operation, j in node]
        return CellGraph(cell, tuple(names), (*edges, *((names[j], names[-1], "") for j in self._concat(nodes))))

    def _concat(self, nodes: list[Node]) -> range | list[int]:
        if self.concat == "all":
            return range(2, self.nodes + 2)
        read = {j for node in nodes for _, j in node}
        return [j for j in range(2, self.nodes + 2) if j not in read]
