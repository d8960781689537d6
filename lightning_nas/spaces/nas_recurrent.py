"""The recurrent search space of Zoph & Le (2017, arXiv 1611.01578, section 3.4)."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import nn

from lightning_nas.architecture import Architecture, Decision, Value
from lightning_nas.operations.recurrent import ACTIVATIONS
from lightning_nas.spaces.graph import CellGraph
from lightning_nas.spaces.inputs import Inputs
from lightning_nas.spaces.language_model import LanguageModel, LanguageScale
from lightning_nas.spaces.nas_recurrent_layer import COMBINATIONS, NasRecurrentLayer, TreeCell, TreeNode
from lightning_nas.spaces.settings import Setting, space_name
from lightning_nas.spaces.unshared_space import UnsharedSpace

INJECT = "inject"
INDICES = ("memory", "injected")


class NasRecurrentSpace(UnsharedSpace):
    """A recurrent cell that is a binary tree: leaves read the input and the hidden state, inner nodes two nodes each.

    Every node adds or multiplies its two inputs and applies an activation. One node, before its activation, is the new
    memory; into another one the last memory enters. The last node is the hidden state.

    Args:
        base: Number of leaves, a power of two.

    Raises:
        ValueError: If ``base`` is not a power of two above one.

    Example:
        >>> f"{NasRecurrentSpace().size:.2g}"
        '6.3e+16'
        >>> space = NasRecurrentSpace(base=2)
        >>> text = "add tanh, elem_mult relu, elem_mult sigmoid, add relu, 1 0"
        >>> space.to_string(space.from_string(text)) == text
        True
    """

    settings: ClassVar[Mapping[str, Setting]] = {"base": 8}
    example = Inputs((torch.zeros(1, 1, dtype=torch.long),), {})  # one word
    reads_text = True

    def __init__(self, base: int = 8) -> None:
        if base < 2 or base & (base - 1):
            raise ValueError(f"Expected `base` to be a power of two above 1 but got {base}.")
        self.base = base

    @property
    def name(self) -> str:
        """``"nas_recurrent"``, followed by the settings that differ from the paper's."""
        return space_name("nas_recurrent", self.settings, {"base": self.base})

    @cached_property
    def decisions(self) -> tuple[Decision, ...]:
        """In the order of the paper's tokens.

        Combination and activation of every node, those of the injection, the node of the memory (``"memory"``, cell
        index 1), and the node that the last memory enters (``"injected"``, cell index 2).
        """
        return tuple(self._decisions())

    def _decisions(self) -> Iterator[Decision]:
        for place in self._places:
            yield Decision(f"{place}/combine", tuple(COMBINATIONS), "operation")
            yield Decision(f"{place}/activation", tuple(ACTIVATIONS), "operation")
        for index in INDICES:
            yield Decision(index, tuple(range(self._nodes)), "number")

    @property
    def _nodes(self) -> int:
        return 2 * self.base - 1

    @property
    def _places(self) -> tuple[str, ...]:
        return (*(f"node{i}" for i in range(self._nodes)), INJECT)

    def from_string(self, text: str, provenance: Mapping[str, Any] | None = None) -> Architecture:
        """Read combination and activation of every node and of the injection, then the two indices.

        Line breaks, spaces and commas mean the same.

        Args:
            text: As ``"add tanh, elem_mult relu, elem_mult sigmoid, add relu, 1 0"``.
            provenance: Where it comes from.

        Raises:
            ValueError: If the text is something else; the message says where.
        """
        words = text.replace(",", " ").split()
        if len(words) != len(self.decisions):
            raise ValueError(f"Expected {len(self.decisions)} words for {self.name!r} but got {len(words)}")
        values: dict[str, Value] = {}
        for decision, word in zip(self.decisions, words, strict=True):
            by_text = {str(choice): choice for choice in decision.choices}
            if word not in by_text:
                raise ValueError(f"Expected {decision.name!r} to be one of {', '.join(by_text)} but got {word!r}")
            values[decision.name] = by_text[word]
        return Architecture(self.name, values, provenance or {})

    def to_string(self, architecture: Architecture) -> str:
        """Return an architecture as ``from_string`` reads it."""
        self.validate(architecture)
        words = [str(architecture.values[decision.name]) for decision in self.decisions]
        return ", ".join(" ".join(words[k : k + 2]) for k in range(0, len(words), 2))

    def cell(self, architecture: Architecture) -> TreeCell:
        """Return the cell of an architecture."""
        self.validate(architecture)
        values = architecture.values
        *nodes, inject = (
            TreeNode(str(values[f"{place}/combine"]), str(values[f"{place}/activation"])) for place in self._places
        )
        return TreeCell(tuple(nodes), inject, int(values["memory"]), int(values["injected"]))

    def build(  # type: ignore[override]  # the scale is spelled out
        self,
        architecture: Architecture,
        *,
        auxiliary: bool = False,
        weights_from: nn.Module | None = None,
        vocabulary: int = 10_000,
        hidden: int = 740,
        layers: int = 2,
        dropout: float = 0.5,
        dropouth: float = 0.25,
        dropoutx: float = 0.5,
        dropouti: float = 0.0,
        dropoute: float = 0.2,
        tied: bool = True,
    ) -> LanguageModel:
        """Build the language model, of the paper's 25 million parameters by default.

        The paper names the kinds of dropout and not the rates; the defaults are 0.5 around the layers, as in the medium
        model that it starts from, and moderate ones inside.

        Args:
            architecture: A member of this space.
            auxiliary: Without effect: language models have no auxiliary classifier.
            weights_from: Nothing: there is no supernet.
            vocabulary: Number of words.
            hidden: Width of the word table, of the states and of the outputs.
            layers: Number of recurrent layers, each with the same cell.
            dropout: Rate for the outputs.
            dropouth: Rate for the states inside the cell.
            dropoutx: Rate for what a layer reads.
            dropouti: Rate for the embedded words, besides ``dropoutx``.
            dropoute: Rate at which whole words are dropped.
            tied: Whether the word table is the decoder's weight, too ("shared embeddings").
        """
        if weights_from is not None:
            self._has_no_supernet()
        cell = self.cell(architecture)
        scale = LanguageScale(vocabulary, hidden, layers, dropout, dropouth, dropoutx, dropouti, dropoute)
        return LanguageModel([NasRecurrentLayer(hidden, cell) for _ in range(layers)], scale, tied=tied, bias=False)

    def graph(self, architecture: Architecture) -> tuple[CellGraph, ...]:
        """Return the graph of the cell: what a node does stands on the edges to it.

        Where the last memory enters, the node's value has a node of its own, ``"<node>'"``.
        """
        cell = self.cell(architecture)
        nodes, edges = ["x_{t}", "h_{t-1}", "c_{t-1}"], []
        value = {i: f"{i}'" if i == cell.injected else str(i) for i in range(self._nodes)}
        for i, node in enumerate(cell.nodes):
            left = 2 * (i - self.base)
            sources = (value[left], value[left + 1]) if i >= self.base else ("x_{t}", "h_{t-1}")
            nodes.append(str(i))
            edges += [(source, str(i), f"{node.combine} {node.activation}") for source in sources]
            if i == cell.injected:
                nodes.append(value[i])
                what = f"{cell.inject.combine} {cell.inject.activation}"
                edges += [(str(i), value[i], what), ("c_{t-1}", value[i], what)]
        edges += [(str(cell.memory), "c_{t}", "before activation"), (value[self._nodes - 1], "h_{t}", "")]
        return (CellGraph("recurrent", (*nodes, "c_{t}", "h_{t}"), tuple(edges)),)
