"""The recurrent search space of ENAS (Pham, Guan, Zoph, Le, Dean 2018, arXiv 1802.03268, section 2.1)."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lightning_nas.architecture import Architecture, Decision, Value
from lightning_nas.checks import check_at_least
from lightning_nas.spaces.base import SearchSpace
from lightning_nas.spaces.decision_group import DecisionGroup
from lightning_nas.spaces.enas_recurrent_layers import (
    OPERATIONS,
    EnasRecurrentChild,
    EnasRecurrentSearch,
    Path,
    find_loose_ends,
)
from lightning_nas.spaces.graph import CellGraph
from lightning_nas.spaces.inputs import Inputs
from lightning_nas.spaces.language_model import LanguageModel, LanguageScale, inherit
from lightning_nas.spaces.mixture import Mixture
from lightning_nas.spaces.settings import Setting, space_name


class EnasRecurrentSpace(SearchSpace):
    """A recurrent cell of ``nodes`` nodes; each is an activation of one earlier node, with a highway connection.

    Node 0 reads the input and the cell's last output. The cell puts out the mean of its loose ends, the nodes that no
    node reads. The supernet has a matrix for every pair of node and input, as in the paper; in the official code every
    activation has one of its own.

    Args:
        nodes: Number of nodes.

    Raises:
        ValueError: If ``nodes`` is not positive.

    Example:
        >>> f"{EnasRecurrentSpace().size:.2g}"
        '6.7e+14'
        >>> space = EnasRecurrentSpace(nodes=4)
        >>> cell = space.from_string("0 0 1 1 1 0 0")
        >>> space.loose_ends(cell), space.to_string(cell)
        ((2, 3), '0 0 1 1 1 0 0')
    """

    settings: ClassVar[Mapping[str, Setting]] = {"nodes": 12}
    example = Inputs((torch.zeros(1, 1, dtype=torch.long),), {})  # one word
    reads_text = True

    def __init__(self, nodes: int = 12) -> None:
        check_at_least("nodes", nodes, 1)
        self.nodes = nodes

    @property
    def name(self) -> str:
        """``"enas_recurrent"``, followed by the settings that differ from the paper's."""
        return space_name("enas_recurrent", self.settings, {"nodes": self.nodes})

    @cached_property
    def decisions(self) -> tuple[Decision, ...]:
        """The operation of node 0, then input and operation of every other node."""
        others = (
            decision
            for node in range(1, self.nodes)
            for decision in (
                Decision(f"node{node}/input", tuple(range(node)), "input"),
                Decision(f"node{node}/operation", OPERATIONS, "operation"),
            )
        )
        return (Decision("node0/operation", OPERATIONS, "operation"), *others)

    @cached_property
    def groups(self) -> tuple[DecisionGroup, ...]:
        """One group a node, with one row; the candidates of all but node 0 are ``"<input>/<operation>"``."""
        return tuple(DecisionGroup(f"node{node}", ("path",), self._candidates(node)) for node in range(self.nodes))

    @staticmethod
    def _candidates(node: int) -> tuple[str, ...]:
        pairs = tuple(f"{source}/{operation}" for source in range(node) for operation in OPERATIONS)
        return pairs or OPERATIONS

    def from_string(self, text: str, provenance: Mapping[str, Any] | None = None) -> Architecture:
        """Read the notation of the official scripts: an operation, then input and operation of every other node.

        Args:
            text: Numbers, separated by spaces.
            provenance: Where it comes from.

        Raises:
            ValueError: If there are more or fewer numbers, something else, or numbers that are too large.
        """
        words = text.split()
        if len(words) != len(self.decisions):
            raise ValueError(f"Expected {len(self.decisions)} numbers for {self.name!r} but got {len(words)}: {text!r}")
        values: dict[str, Value] = {}
        for decision, word in zip(self.decisions, words, strict=True):
            if word not in {str(number) for number in range(len(decision.choices))}:
                raise ValueError(
                    f"Expected {decision.name!r} to be a number from 0 to {len(decision.choices) - 1} but got {word!r}"
                )
            values[decision.name] = decision.choices[int(word)]
        return Architecture(self.name, values, provenance or {})

    def to_string(self, architecture: Architecture) -> str:
        """Return an architecture in the notation of the official scripts."""
        self.validate(architecture)
        return " ".join(str(d.choices.index(architecture.values[d.name])) for d in self.decisions)

    def loose_ends(self, architecture: Architecture) -> tuple[int, ...]:
        """Return the nodes whose mean the cell puts out."""
        _, path = self._read(architecture)
        return find_loose_ends((source for source, _ in path), self.nodes)

    def _read(self, architecture: Architecture) -> tuple[str, Path]:
        """Return the operation of node 0, and input and operation of every other node."""
        self.validate(architecture)
        values = architecture.values
        others = ((int(values[f"node{i}/input"]), str(values[f"node{i}/operation"])) for i in range(1, self.nodes))
        return str(values["node0/operation"]), tuple(others)

    def build(  # type: ignore[override]  # the scale is spelled out
        self,
        architecture: Architecture,
        *,
        auxiliary: bool = False,
        weights_from: nn.Module | None = None,
        vocabulary: int = 10_000,
        hidden: int = 748,
        layers: int = 1,
        dropout: float = 0.76,
        dropouth: float = 0.25,
        dropoutx: float = 0.75,
        dropouti: float = 0.0,
        dropoute: float = 0.21,
    ) -> LanguageModel:
        """Build the language model; the defaults are those of the official final script for the Penn Treebank.

        The final model has no BatchNorm. With ``weights_from`` it is the form of the search, which normalises the
        cell's output by the batch.

        Args:
            architecture: A member of this space.
            auxiliary: Without effect: language models have no auxiliary classifier.
            weights_from: A supernet of this space; the network gets its scale, its weights and its BatchNorm.
            vocabulary: Number of words.
            hidden: Width of the word table, of the states and of the outputs.
            layers: Number of recurrent layers, each with the same cell.
            dropout: Rate for the outputs.
            dropouth: Rate for the states inside the cell.
            dropoutx: Rate for what a layer reads.
            dropouti: Rate for the embedded words, besides ``dropoutx``.
            dropoute: Rate at which whole words are dropped.
        """
        first, path = self._read(architecture)
        if weights_from is not None:
            scale = self._scale_of(weights_from)
            cells = [EnasRecurrentChild(scale.hidden, first, path, norm=True) for _ in range(scale.layers)]
            return inherit(LanguageModel(cells, scale, bias=False), weights_from)
        scale = LanguageScale(vocabulary, hidden, layers, dropout, dropouth, dropoutx, dropouti, dropoute)
        return LanguageModel([EnasRecurrentChild(hidden, first, path) for _ in range(layers)], scale, bias=False)

    def supernet(  # type: ignore[override]  # the scale is spelled out
        self,
        vocabulary: int = 10_000,
        hidden: int = 720,
        layers: int = 1,
        dropout: float = 0.75,
        dropouth: float = 0.25,
        dropoutx: float = 0.75,
        dropouti: float = 0.0,
        dropoute: float = 0.25,
    ) -> LanguageModel:
        """Build the search network; the defaults are those of the official search script.

        Args:
            vocabulary: Number of words.
            hidden: Width of the word table, of the states and of the outputs.
            layers: Number of recurrent layers, all on the same path.
            dropout: Rate for the outputs.
            dropouth: Rate for the states inside the cell.
            dropoutx: Rate for what a layer reads.
            dropouti: Rate for the embedded words, besides ``dropoutx``.
            dropoute: Rate at which whole words are dropped.
        """
        scale = LanguageScale(vocabulary, hidden, layers, dropout, dropouth, dropoutx, dropouti, dropoute)
        return LanguageModel([EnasRecurrentSearch(hidden, self.nodes) for _ in range(layers)], scale, bias=False)

    def _scale_of(self, supernet: nn.Module) -> LanguageScale:
        layers = list(supernet.layers) if isinstance(supernet, LanguageModel) else []
        if not isinstance(supernet, LanguageModel) or not isinstance(layers[0], EnasRecurrentSearch):
            raise TypeError(f"Expected `weights_from` to be a supernet of this space but got {type(supernet)}")
        if (nodes := layers[0].count) != self.nodes:
            raise ValueError(
                f"Expected `weights_from` to be a supernet of {self.name!r} but got one with {nodes} nodes"
            )
        return supernet.scale

    def check_mixable(self, supernet: nn.Module) -> None:
        """Raise a ``ValueError``: what the cell puts out follows from what is read, and a mixture reads all nodes."""
        raise ValueError(
            f"Expected a search that takes one path at a time (ENAS) but got one that mixes all candidates of "
            f"{self.name!r}: the cell puts out what no node reads, so a mixture of all is no mean of its architectures"
        )

    def discretize(self, weights: Mapping[str, Tensor]) -> Architecture:
        """Keep the strongest candidate of every node; ties go to the earlier input and operation."""
        values: dict[str, Value] = {}
        for node in range(self.nodes):
            table = weights[f"node{node}"].detach().cpu()
            if not torch.isfinite(table).all():
                raise ValueError("Expected finite mixture weights but got NaN or infinity")
            source, operation = divmod(int((table[0] == table.max()).nonzero()[0]), len(OPERATIONS))
            values |= {f"node{node}/input": source} if node else {}
            values[f"node{node}/operation"] = OPERATIONS[operation]
        return Architecture(self.name, values)

    def mixtures(self, architecture: Architecture) -> dict[str, Mixture]:
        """Return weight one for the input and operation of every node: one path."""
        first, path = self._read(architecture)
        return {f"node{node}": self._one_hot(node, pair) for node, pair in enumerate([(0, first), *path])}

    def _one_hot(self, node: int, pair: tuple[int, str]) -> Mixture:
        k = pair[0] * len(OPERATIONS) + OPERATIONS.index(pair[1])
        weights = nn.functional.one_hot(torch.tensor([k]), len(self._candidates(node))).float()
        return Mixture(weights, ((k,),))

    def graph(self, architecture: Architecture) -> tuple[CellGraph, ...]:
        """Return the graph of the cell."""
        first, path = self._read(architecture)
        names = ["x_{t}", "h_{t-1}", *(str(k) for k in range(self.nodes)), "h_{t}"]
        edges = [("x_{t}", "0", first), ("h_{t-1}", "0", first)]
        edges += [(str(source), str(node), operation) for node, (source, operation) in enumerate(path, 1)]
        edges += [(str(node), "h_{t}", "") for node in self.loose_ends(architecture)]
        return (CellGraph("recurrent", tuple(names), tuple(edges)),)
