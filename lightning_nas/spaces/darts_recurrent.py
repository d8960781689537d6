"""The recurrent search space of DARTS (Liu, Simonyan, Yang 2018, arXiv 1806.09055, section 3.1.2)."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lightning_nas.architecture import Architecture, Decision, Value
from lightning_nas.checks import check_at_least
from lightning_nas.operations.recurrent import ACTIVATIONS
from lightning_nas.spaces.base import SearchSpace
from lightning_nas.spaces.darts_recurrent_layers import GROUP, PRIMITIVES, DartsRecurrentLayer, MixedRecurrentLayer
from lightning_nas.spaces.decision_group import DecisionGroup
from lightning_nas.spaces.graph import CellGraph
from lightning_nas.spaces.inputs import Inputs
from lightning_nas.spaces.language_model import LanguageModel, LanguageScale, inherit
from lightning_nas.spaces.mixture import Mixture
from lightning_nas.spaces.settings import Setting, space_name

Pair = tuple[str, int]  # activation and input of a node


class DartsRecurrentSpace(SearchSpace):
    """A recurrent cell of ``nodes`` nodes; each is one activation of one earlier state, with a highway connection.

    State 0 is made of the input and of the cell's last output, by tanh; state ``i + 1`` is node ``i``. The cell puts
    out the mean of its nodes. The supernet mixes all activations of all earlier states; ``"none"`` is a candidate there
    and never part of an architecture.

    Args:
        nodes: Number of nodes.

    Raises:
        ValueError: If ``nodes`` is not positive.

    Example:
        >>> DartsRecurrentSpace().size
        2642411520
        >>> space = DartsRecurrentSpace(nodes=2)
        >>> cell = space.from_genotype([("tanh", 0), ("sigmoid", 1)])
        >>> space.build(cell, vocabulary=10, hidden=4)(torch.tensor([[1], [2], [3]])).logits.shape
        torch.Size([3, 1, 10])
    """

    settings: ClassVar[Mapping[str, Setting]] = {"nodes": 8}
    example = Inputs((torch.zeros(1, 1, dtype=torch.long),), {})  # one word
    reads_text = True

    def __init__(self, nodes: int = 8) -> None:
        check_at_least("nodes", nodes, 1)
        self.nodes = nodes

    @property
    def name(self) -> str:
        """``"darts_recurrent"``, followed by the settings that differ from the paper's."""
        return space_name("darts_recurrent", self.settings, {"nodes": self.nodes})

    @cached_property
    def decisions(self) -> tuple[Decision, ...]:
        """Per node: input, operation."""
        return tuple(
            decision
            for node in range(self.nodes)
            for decision in (
                Decision(f"node{node}/input", tuple(range(node + 1)), "input"),
                Decision(f"node{node}/operation", tuple(ACTIVATIONS), "operation"),
            )
        )

    @cached_property
    def groups(self) -> tuple[DecisionGroup, ...]:
        """One group; a row is an edge, numbered node by node."""
        rows = tuple(f"node{node}/input{j}" for node in range(self.nodes) for j in range(node + 1))
        return (DecisionGroup(GROUP, rows, PRIMITIVES),)

    def from_genotype(self, pairs: Sequence[Pair], provenance: Mapping[str, Any] | None = None) -> Architecture:
        """Make an architecture from the field's notation: an ``(operation, input)`` pair a node.

        Raises:
            ValueError: If there are more or fewer pairs, or something in them is not of this space.
        """
        if len(pairs) != self.nodes:
            raise ValueError(f"Expected {self.nodes} pairs for {self.name!r} but got {len(pairs)}")
        architecture = self._architecture(pairs, provenance or {})
        self.validate(architecture)
        return architecture

    def genotype(self, architecture: Architecture) -> list[Pair]:
        """Return the architecture in the field's notation."""
        self.validate(architecture)
        values = architecture.values
        return [(str(values[f"node{i}/operation"]), int(values[f"node{i}/input"])) for i in range(self.nodes)]

    def _architecture(self, pairs: Sequence[Pair], provenance: Mapping[str, Any]) -> Architecture:
        values: dict[str, Value] = {}
        for node, (operation, source) in enumerate(pairs):
            values |= {f"node{node}/input": source, f"node{node}/operation": operation}
        return Architecture(self.name, values, provenance)

    def build(  # type: ignore[override]  # the scale is spelled out
        self,
        architecture: Architecture,
        *,
        auxiliary: bool = False,
        weights_from: nn.Module | None = None,
        vocabulary: int = 10_000,
        hidden: int = 850,
        layers: int = 1,
        dropout: float = 0.75,
        dropouth: float = 0.25,
        dropoutx: float = 0.75,
        dropouti: float = 0.2,
        dropoute: float = 0.1,
    ) -> LanguageModel:
        """Build the language model; the defaults are those of the authors' code for the Penn Treebank.

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
            dropouti: Rate for the embedded words.
            dropoute: Rate at which whole words are dropped.
        """
        pairs = self.genotype(architecture)
        if weights_from is not None:
            scale = self._scale_of(weights_from)
            norm = any(name.endswith("running_mean") for name, _ in weights_from.named_buffers())
            cells = [DartsRecurrentLayer(scale.hidden, pairs, norm=norm) for _ in range(scale.layers)]
            return inherit(LanguageModel(cells, scale), weights_from)
        scale = LanguageScale(vocabulary, hidden, layers, dropout, dropouth, dropoutx, dropouti, dropoute)
        return LanguageModel([DartsRecurrentLayer(hidden, pairs) for _ in range(layers)], scale)

    def supernet(  # type: ignore[override]  # the scale is spelled out
        self,
        vocabulary: int = 10_000,
        hidden: int = 300,
        layers: int = 1,
        dropout: float = 0.75,
        dropouth: float = 0.25,
        dropoutx: float = 0.75,
        dropouti: float = 0.2,
        dropoute: float = 0.0,
        norm: bool = True,
    ) -> LanguageModel:
        """Build the search network; the defaults are those of the authors' code.

        Args:
            vocabulary: Number of words.
            hidden: Width of the word table, of the states and of the outputs.
            layers: Number of recurrent layers, all with the same mixture.
            dropout: Rate for the outputs.
            dropouth: Rate for the states inside the cell.
            dropoutx: Rate for what a layer reads.
            dropouti: Rate for the embedded words.
            dropoute: Rate at which whole words are dropped.
            norm: Whether one BatchNorm normalises all states; its running statistics are a blend of all of them.
        """
        scale = LanguageScale(vocabulary, hidden, layers, dropout, dropouth, dropoutx, dropouti, dropoute)
        return LanguageModel([MixedRecurrentLayer(hidden, self.nodes, norm=norm) for _ in range(layers)], scale)

    def _scale_of(self, supernet: nn.Module) -> LanguageScale:
        layers = list(supernet.layers) if isinstance(supernet, LanguageModel) else []
        if not isinstance(supernet, LanguageModel) or not isinstance(layers[0], MixedRecurrentLayer):
            raise TypeError(f"Expected `weights_from` to be a supernet of this space but got {type(supernet)}")
        if (nodes := len(layers[0].nodes)) != self.nodes:
            raise ValueError(
                f"Expected `weights_from` to be a supernet of {self.name!r} but got one with {nodes} nodes"
            )
        return supernet.scale

    def discretize(self, weights: Mapping[str, Tensor]) -> Architecture:
        """Keep the strongest input of every node with its strongest operation besides ``"none"``.

        Ties go to the earlier input and the earlier operation.

        Args:
            weights: ``"cell"``: probabilities ``[edges, operations]``, ``"none"`` included.
        """
        table = weights[GROUP].detach().cpu()
        if not torch.isfinite(table).all():
            raise ValueError("Expected finite mixture weights but got NaN or infinity")
        pairs = []
        for rows in torch.split(table[:, 1:], list(range(1, self.nodes + 1))):
            best = int((rows == rows.max()).flatten().nonzero()[0])  # ties: the earlier input, then operation
            source, k = divmod(best, len(ACTIVATIONS))
            pairs.append((tuple(ACTIVATIONS)[k], source))
        return self._architecture(pairs, {})

    def mixtures(self, architecture: Architecture) -> dict[str, Mixture]:
        """Return weight one for the architecture's operations; an edge that it does not use has nothing active."""
        weights = torch.zeros(self.nodes * (self.nodes + 1) // 2, len(PRIMITIVES))
        for node, (operation, source) in enumerate(self.genotype(architecture)):
            weights[node * (node + 1) // 2 + source, PRIMITIVES.index(operation)] = 1
        return {GROUP: Mixture(weights, tuple(tuple(row.nonzero().flatten().tolist()) for row in weights))}

    def graph(self, architecture: Architecture) -> tuple[CellGraph, ...]:
        """Return the graph of the cell; node 0 of the drawing is state 0, as in the paper's."""
        names = ["x_{t}", "h_{t-1}", *(str(k) for k in range(self.nodes + 1)), "h_{t}"]
        edges = [("x_{t}", "0", ""), ("h_{t-1}", "0", "")]
        for node, (operation, source) in enumerate(self.genotype(architecture)):
            edges.append((str(source), str(node + 1), operation))
        edges += [(str(node + 1), "h_{t}", "") for node in range(self.nodes)]
        return (CellGraph("recurrent", tuple(names), tuple(edges)),)
