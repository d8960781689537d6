"""The micro search space of ENAS (Pham, Guan, Zoph, Le, Dean 2018, arXiv 1802.03268)."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lightning_nas.architecture import Architecture, Decision, Value
from lightning_nas.checks import check_at_least, check_choice, check_fraction, check_scale
from lightning_nas.spaces.base import SearchSpace
from lightning_nas.spaces.decision_group import DecisionGroup
from lightning_nas.spaces.enas_micro_network import EnasMicroNetwork, Pair, find_loose_ends
from lightning_nas.spaces.enas_micro_supernet import (
    CellMembers,
    EnasMicroChild,
    EnasMicroSupernet,
    MicroScale,
    Reduction,
)
from lightning_nas.spaces.genotype import CELLS
from lightning_nas.spaces.graph import CellGraph
from lightning_nas.spaces.mixture import Mixture
from lightning_nas.spaces.settings import Setting, space_name

OPERATIONS = ("sep_conv_3x3", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3", "skip_connect")


class EnasMicroSpace(SearchSpace):
    """Normal and reduction cells of ``nodes`` nodes; each node sums two operations on two earlier states, or on one.

    States are numbered as in the authors' code: 0 is the output of the cell before last, 1 of the last cell, nodes are
    2 and up. A cell puts out its loose ends: all states that no node reads, be they inputs.

    The supernet has weights of their own for every (cell, node, slot, input, operation), where a slot is the first or
    the second place of a node. So it tells apart two architectures that differ in the order of a node's two pairs only.
    Their final networks are the same, and so is their canonical form: give the supernet what was sampled.

    Args:
        nodes: Computed nodes of a cell.

    Raises:
        ValueError: If ``nodes`` is not positive.

    Example:
        >>> f"{EnasMicroSpace().size:.3g}"
        '2.56e+25'
        >>> space = EnasMicroSpace(nodes=2)
        >>> space.to_string(space.from_string("1 1 1 4 2 2 0 0", "0 0 0 0 0 0 0 0"))
        ('1 1 1 4 2 2 0 0', '0 0 0 0 0 0 0 0')
    """

    settings: ClassVar[Mapping[str, Setting]] = {"nodes": 5}

    def __init__(self, nodes: int = 5) -> None:
        check_at_least("nodes", nodes, 1)
        self.nodes = nodes

    @property
    def name(self) -> str:
        """``"enas_micro"``, followed by the settings that differ from the paper's."""
        return space_name("enas_micro", self.settings, {"nodes": self.nodes})

    @cached_property
    def decisions(self) -> tuple[Decision, ...]:
        """Per cell and node, in the order in which ENAS samples: both inputs, both operations."""
        return tuple(
            decision
            for cell in CELLS
            for i in self._numbers
            for decision in (
                *(Decision(f"{cell}/node{i}/input{k}", tuple(range(i)), "input") for k in range(2)),
                *(Decision(f"{cell}/node{i}/operation{k}", OPERATIONS, "operation") for k in range(2)),
            )
        )

    @cached_property
    def groups(self) -> tuple[DecisionGroup, ...]:
        """One group a cell and node; its rows are the two slots, its candidates ``"<input>/<operation>"``."""
        return tuple(
            DecisionGroup(f"{cell}/node{i}", ("slot0", "slot1"), self._candidates(i))
            for cell in CELLS
            for i in self._numbers
        )

    @property
    def _numbers(self) -> range:
        return range(2, self.nodes + 2)

    @staticmethod
    def _candidates(node: int) -> tuple[str, ...]:
        return tuple(f"{source}/{operation}" for source in range(node) for operation in OPERATIONS)

    def _pairs(self, architecture: Architecture, cell: str) -> tuple[Pair, ...]:
        """Return input and operation of every slot, two a node."""
        values, places = architecture.values, [(f"{cell}/node{i}", k) for i in self._numbers for k in range(2)]
        return tuple((int(values[f"{at}/input{k}"]), str(values[f"{at}/operation{k}"])) for at, k in places)

    def _architecture(self, cells: Mapping[str, tuple[Pair, ...]], provenance: Mapping[str, Any]) -> Architecture:
        values: dict[str, Value] = {}
        for cell, pairs in cells.items():
            for index, (source, operation) in enumerate(pairs):
                node, k = divmod(index, 2)
                values[f"{cell}/node{node + 2}/input{k}"] = source
                values[f"{cell}/node{node + 2}/operation{k}"] = operation
        return Architecture(self.name, values, provenance)

    def canonical(self, architecture: Architecture) -> Architecture:
        """Return the architecture with the two pairs of every node in rising order, by input, then operation."""
        self.validate(architecture)
        return self._architecture({cell: self._sorted(self._pairs(architecture, cell)) for cell in CELLS}, {})

    @staticmethod
    def _sorted(pairs: tuple[Pair, ...]) -> tuple[Pair, ...]:
        def order(pair: Pair) -> tuple[int, int]:
            return pair[0], OPERATIONS.index(pair[1])

        return tuple(pair for k in range(0, len(pairs), 2) for pair in sorted(pairs[k : k + 2], key=order))

    def from_string(self, normal: str, reduce: str, provenance: Mapping[str, Any] | None = None) -> Architecture:
        """Read the notation of the authors' scripts: input, operation, input, operation for every node.

        Args:
            normal: The normal cell, numbers separated by spaces.
            reduce: The reduction cell.
            provenance: Where it comes from.

        Raises:
            ValueError: If there are more or fewer numbers, something else, or numbers that are too large.
        """
        cells = {cell: self._read(cell, text) for cell, text in zip(CELLS, (normal, reduce), strict=True)}
        return self._architecture(cells, provenance or {})

    def _read(self, cell: str, text: str) -> tuple[Pair, ...]:
        words = text.split()
        if len(words) != 4 * self.nodes:
            raise ValueError(f"Expected {4 * self.nodes} numbers for the {cell} cell but got {len(words)}: {text!r}")
        numbers = []
        for index, word in enumerate(words):
            node = index // 4 + 2
            what, limit = ("operation", len(OPERATIONS)) if index % 2 else ("input", node)
            if word not in {str(number) for number in range(limit)}:
                raise ValueError(f"Expected an {what} from 0 to {limit - 1} for {cell}/node{node} but got {word!r}")
            numbers.append(int(word))
        return tuple((a, OPERATIONS[b]) for a, b in zip(numbers[::2], numbers[1::2], strict=True))

    def to_string(self, architecture: Architecture) -> tuple[str, str]:
        """Return the normal and the reduction cell in the notation of the authors' scripts."""
        self.validate(architecture)
        normal, reduce = (
            " ".join(f"{source} {OPERATIONS.index(operation)}" for source, operation in self._pairs(architecture, cell))
            for cell in CELLS
        )
        return normal, reduce

    def loose_ends(self, architecture: Architecture) -> dict[str, tuple[int, ...]]:
        """Return, for each cell, the states that it puts out."""
        self.validate(architecture)
        return {cell: find_loose_ends(self._pairs(architecture, cell)) for cell in CELLS}

    def build(  # type: ignore[override]  # the scale is spelled out
        self,
        architecture: Architecture,
        *,
        auxiliary: bool = False,
        weights_from: nn.Module | None = None,
        channels: int = 36,
        layers: int = 15,
        classes: int = 10,
        in_channels: int = 3,
        dropout: float = 0.2,
    ) -> nn.Module:
        """Build the final network, or one path of a supernet; the defaults are those of the authors' script.

        The paper's network of 4.6 million parameters has 18 normal cells. With ``weights_from``, it is the form of the
        search: cells end in a 1x1 convolution, and every BatchNorm uses the statistics of the batch. The final network
        puts out all loose ends side by side, its reduction cells halve on their edges, and paths are dropped.

        Args:
            architecture: A member of this space.
            auxiliary: Attach the auxiliary classifier behind the cell after the second reduction; for images of 32x32.
            weights_from: A supernet of this space; the network gets its scale and its weights.
            channels: Channels of the first cells.
            layers: Number of normal cells; two reduction cells are added.
            classes: Number of classes.
            in_channels: Channels of the images.
            dropout: Share of the features that the classifier's dropout sets to zero.
        """
        self.validate(architecture)
        if isinstance(weights_from, EnasMicroSupernet):
            return self._child(architecture, weights_from)
        if weights_from is not None:
            raise TypeError(f"Expected `weights_from` to be a supernet of this space but got {type(weights_from)}")
        check_scale(channels=channels, layers=layers, classes=classes, in_channels=in_channels)
        check_fraction("dropout", dropout, zero_allowed=True)
        # sorted, so that equal seeds make equal networks of what is the same architecture
        pairs = {cell: self._sorted(self._pairs(architecture, cell)) for cell in CELLS}
        return EnasMicroNetwork(pairs, channels, layers, classes, in_channels, dropout, auxiliary=auxiliary)

    def _child(self, architecture: Architecture, supernet: EnasMicroSupernet) -> EnasMicroChild:
        if supernet.nodes != self.nodes:
            raise ValueError(
                f"Expected `weights_from` to be a supernet of {self.name!r} but got one with {supernet.nodes} nodes"
            )
        members = {}
        for cell in CELLS:
            pairs = self._pairs(architecture, cell)
            slots = tuple((f"{source}/{operation}",) for source, operation in pairs)
            members[cell] = CellMembers(slots, find_loose_ends(pairs))
        return EnasMicroChild.inherit(members, supernet)

    def supernet(  # type: ignore[override]  # the scale is spelled out
        self,
        channels: int = 20,
        layers: int = 6,
        classes: int = 10,
        in_channels: int = 3,
        dropout: float = 0.1,
        reduction: Reduction = "factorized",
    ) -> nn.Module:
        """Build the search network; the defaults are those of the authors' script.

        Args:
            channels: Channels of the first cells.
            layers: Number of normal cells; two reduction cells are added.
            classes: Number of classes.
            in_channels: Channels of the images.
            dropout: Share of the features that the classifier's dropout sets to zero.
            reduction: How reduction cells halve. ``"factorized"``, as in the authors' code: a factorised reduction
                comes before the cell, and both inputs of the cell are made of the last cell's output. ``"stride"``, as
                in the paper and in the final network: the operations on the two inputs have stride 2.
        """
        check_scale(channels=channels, layers=layers, classes=classes, in_channels=in_channels)
        check_fraction("dropout", dropout, zero_allowed=True)
        check_choice("reduction", reduction, ("factorized", "stride"))
        slots = tuple(self._candidates(i) for i in self._numbers for _ in range(2))
        members = dict.fromkeys(CELLS, CellMembers(slots, tuple(range(self.nodes + 2))))
        return EnasMicroSupernet(members, MicroScale(channels, layers, classes, in_channels, dropout, reduction))

    def check_mixable(self, supernet: nn.Module) -> None:
        """Raise a ``ValueError``: what a cell puts out follows from which inputs are read, and a mixture reads all."""
        raise ValueError(
            f"Expected a search that takes one path at a time (ENAS) but got one that mixes all candidates of "
            f"{self.name!r}: a cell puts out what no node reads, so a mixture of all is no mean of its architectures"
        )

    def discretize(self, weights: Mapping[str, Tensor]) -> Architecture:
        """Keep the strongest (input, operation) of every slot; ties go to the earlier input and operation."""
        cells = {cell: tuple(pair for i in self._numbers for pair in self._best(weights, cell, i)) for cell in CELLS}
        return self._architecture(cells, {})

    @staticmethod
    def _best(weights: Mapping[str, Tensor], cell: str, node: int) -> list[Pair]:
        table = weights[f"{cell}/node{node}"].detach().cpu()
        if not torch.isfinite(table).all():
            raise ValueError("Expected finite mixture weights but got NaN or infinity")
        best = [int((row == row.max()).nonzero()[0]) for row in table]
        return [(k // len(OPERATIONS), OPERATIONS[k % len(OPERATIONS)]) for k in best]

    def mixtures(self, architecture: Architecture) -> dict[str, Mixture]:
        """Return weight one for the (input, operation) of every slot: one path."""
        self.validate(architecture)
        return {
            f"{cell}/node{i}": self._mixture(i, self._pairs(architecture, cell)[2 * i - 4 : 2 * i - 2])
            for cell in CELLS
            for i in self._numbers
        }

    @staticmethod
    def _mixture(node: int, pairs: tuple[Pair, ...]) -> Mixture:
        chosen = [source * len(OPERATIONS) + OPERATIONS.index(operation) for source, operation in pairs]
        weights = nn.functional.one_hot(torch.tensor(chosen), node * len(OPERATIONS)).float()
        return Mixture(weights, tuple((k,) for k in chosen))

    def graph(self, architecture: Architecture) -> tuple[CellGraph, ...]:
        """Return the graphs of the normal and the reduction cell."""
        self.validate(architecture)
        return tuple(self._graph(cell, self._pairs(architecture, cell)) for cell in CELLS)

    def _graph(self, cell: str, pairs: tuple[Pair, ...]) -> CellGraph:
        names = ["c_{k-2}", "c_{k-1}", *(str(i) for i in self._numbers), "c_{k}"]
        edges = [(names[source], names[k // 2 + 2], operation) for k, (source, operation) in enumerate(pairs)]
        return CellGraph(cell, tuple(names), (*edges, *((names[j], names[-1], "") for j in find_loose_ends(pairs))))
