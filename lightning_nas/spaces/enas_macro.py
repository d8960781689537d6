"""The macro search space of ENAS (Pham et al. 2018, arXiv 1802.03268)."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lightning_nas.architecture import Architecture, Decision, Value
from lightning_nas.checks import check_at_least, check_choice
from lightning_nas.spaces.base import SearchSpace
from lightning_nas.spaces.decision_group import DecisionGroup
from lightning_nas.spaces.enas_macro_layers import OPERATIONS
from lightning_nas.spaces.enas_macro_network import EnasMacroNetwork
from lightning_nas.spaces.enas_macro_supernet import EnasMacroChild, EnasMacroSupernet
from lightning_nas.spaces.enas_macro_wiring import OFF, ON, SKIP_FORMS, Entries, SkipForm, Wiring, fixed_entries
from lightning_nas.spaces.graph import CellGraph
from lightning_nas.spaces.mixture import Mixture
from lightning_nas.spaces.settings import Setting, space_name


class EnasMacroSpace(SearchSpace):
    """Whole networks, layer by layer: one of six operations, and for each layer before a skip that is on or off.

    The paper and its code read the skips differently:

    - ``"official"``: the operation of a layer reads the layer before it. Skip ``j`` adds the ``j``-th output, counted
      from the stem: the stem itself for ``j = 0``, else layer ``j - 1``.
    - ``"paper"``: the operation reads the layers whose skips are on, concatenated and convolved to one width; skip
      ``j`` is layer ``j``. If none is on it reads the stem. The last layer is the output, so a layer may be read by
      none.

    Height and width are halved after a third and two thirds of the layers, by a reduction of its own for each output.

    Args:
        layers: Number of layers, 3 at least.
        skips: How skips are read.

    Raises:
        ValueError: If an argument has another value.

    Example:
        >>> space = EnasMacroSpace(layers=3)
        >>> architecture = space.from_string("0  3 0  5 1 0")
        >>> [name for name, value in architecture.values.items() if value is True]
        ['layer2/skip0']
        >>> space.graph(architecture)[0].edges[-2:]
        (('stem', '2', ''), ('2', 'head', ''))
    """

    settings: ClassVar[Mapping[str, Setting]] = {"layers": 12, "skips": "official"}

    def __init__(self, layers: int = 12, skips: SkipForm = "official") -> None:
        check_at_least("layers", layers, 3)
        check_choice("skips", skips, SKIP_FORMS)
        self.layers = layers
        self.skips = skips

    @property
    def name(self) -> str:
        """``"enas_macro"``, followed by the settings that differ from the paper's search."""
        return space_name("enas_macro", self.settings, {"layers": self.layers, "skips": self.skips})

    @cached_property
    def decisions(self) -> tuple[Decision, ...]:
        """Per layer its operation, then a skip for each layer before it."""
        return tuple(
            decision
            for layer in range(self.layers)
            for decision in (
                Decision(f"layer{layer}/operation", OPERATIONS, "operation"),
                *(Decision(f"layer{layer}/skip{j}", (False, True), "flag") for j in range(layer)),
            )
        )

    @cached_property
    def groups(self) -> tuple[DecisionGroup, ...]:
        """``"operations"``, with a row per layer, and ``"skips"``, with a row per skip."""
        names = {kind: tuple(d.name for d in self.decisions if d.kind == kind) for kind in ("operation", "flag")}
        return (
            DecisionGroup("operations", names["operation"], OPERATIONS),
            DecisionGroup("skips", names["flag"], ("off", "on")),
        )

    def canonical(self, architecture: Architecture) -> Architecture:
        """Return the architecture with the first operation and no skips in every layer that no output depends on.

        In the official form there is no such layer, and no two architectures compute the same. In the paper's form they
        can also differ in the numbers of layers that do not depend on each other; that is not looked for.
        """
        needed = Wiring.of(self.skips, self._entries(architecture)).layers
        first = {d.name: d.choices[0] for d in self.decisions if self._layer_of(d) not in needed}
        return Architecture(self.name, {**architecture.values, **first})

    def from_string(self, text: str, provenance: Mapping[str, Any] | None = None) -> Architecture:
        """Read the notation of the official scripts: per layer the number of its operation, then its skips as 0 or 1.

        Line breaks and spaces mean the same.

        Args:
            text: Whole numbers.
            provenance: Where the architecture comes from.

        Raises:
            ValueError: If the text is something else; the message says where.
        """
        words = text.split()
        if len(words) != len(self.decisions):
            raise ValueError(f"Expected {len(self.decisions)} numbers for {self.layers} layers but got {len(words)}")
        values: dict[str, Value] = {}
        for decision, word in zip(self.decisions, words, strict=True):
            numbers = [str(number) for number in range(len(decision.choices))]
            if word not in numbers:
                raise ValueError(f"Expected {decision.name!r} to be one of {', '.join(numbers)} but got {word!r}")
            values[decision.name] = decision.choices[int(word)]
        return Architecture(self.name, values, provenance or {})

    def to_string(self, architecture: Architecture) -> str:
        """Return the architecture in the notation of the official scripts, a line per layer."""
        skips = [[int(j in on) for j in range(layer)] for layer, on in enumerate(self._on(architecture))]
        numbers = [OPERATIONS.index(operation) for operation in self._operations(architecture)]
        return "\n".join(" ".join(map(str, [k, *row])) for k, row in zip(numbers, skips, strict=True))

    def build(  # type: ignore[override]  # the scale is spelled out
        self,
        architecture: Architecture,
        *,
        auxiliary: bool = False,
        weights_from: nn.Module | None = None,
        channels: int = 96,
        classes: int = 10,
        in_channels: int = 3,
        dropout: float = 0.5,
        separable: bool = True,
    ) -> nn.Module:
        """Build the final network; the defaults are those of the official script, which has 24 layers.

        It differs from the search network, in the official code as here: ReLU comes first, outputs are concatenated and
        convolved instead of added, and channels double at the reductions. A pooling, which the official code forgot,
        follows ReLU, 1x1 convolution, BatchNorm and ReLU.

        Args:
            architecture: A member of this space.
            auxiliary: Without effect: the macro networks have no auxiliary classifier.
            weights_from: A supernet of this space: the network gets its form, its scale and its weights, and normalises
                every batch by itself, as the supernet does.
            channels: Channels of the first third of the layers.
            classes: Number of classes.
            in_channels: Channels of the images.
            dropout: Probability of dropping a feature before the classifier.
            separable: Whether the separable convolutions are separable; in the official code they are not.
        """
        operations, entries = self._operations(architecture), self._entries(architecture)
        if isinstance(weights_from, EnasMacroSupernet):
            self._check_supernet(weights_from)
            return EnasMacroChild.inherit(operations, entries, weights_from)
        if weights_from is not None:
            raise TypeError(f"Expected `weights_from` to be a supernet of this space but got {type(weights_from)}")
        return EnasMacroNetwork(
            self.skips,
            operations,
            entries,
            separable=separable,
            channels=channels,
            classes=classes,
            in_channels=in_channels,
            dropout=dropout,
        )

    def supernet(  # type: ignore[override]  # the scale is spelled out
        self, channels: int = 36, classes: int = 10, in_channels: int = 3, dropout: float = 0.1
    ) -> nn.Module:
        """Build the search network; the defaults are those of the official script. BatchNorm keeps no statistics.

        Args:
            channels: Channels of all layers.
            classes: Number of classes.
            in_channels: Channels of the images.
            dropout: Probability of dropping a feature before the classifier.
        """
        return EnasMacroSupernet(
            self.skips, self.layers, channels=channels, classes=classes, in_channels=in_channels, dropout=dropout
        )

    def _check_supernet(self, supernet: EnasMacroSupernet) -> None:
        given = EnasMacroSpace(supernet.depth, supernet.form).name
        if given != self.name:
            raise ValueError(f"Expected `weights_from` to be a supernet of {self.name!r} but got one of {given!r}")

    def discretize(self, weights: Mapping[str, Tensor]) -> Architecture:
        """Keep the strongest operation of every layer, and the skips whose "on" is stronger than "off".

        Ties go to the earlier operation, and to "off".
        """
        best: dict[str, Value] = {}
        choices = {decision.name: decision.choices for decision in self.decisions}
        for group in self.groups:
            table = weights[group.name].detach().cpu()
            if not torch.isfinite(table).all():
                raise ValueError("Expected finite mixture weights but got NaN or infinity")
            chosen = [int((row == row.max()).nonzero()[0]) for row in table]
            best |= {name: choices[name][k] for name, k in zip(group.rows, chosen, strict=True)}
        return Architecture(self.name, {name: best[name] for name in choices})

    def mixtures(self, architecture: Architecture) -> dict[str, Mixture]:
        """Return weight one for the operation of every layer, and for every skip as it is."""
        operations = [OPERATIONS.index(operation) for operation in self._operations(architecture)]
        on = self._on(architecture)
        skips = [ON if j in on[layer] else OFF for layer in range(self.layers) for j in range(layer)]
        return {"operations": _one_hot(operations, len(OPERATIONS)), "skips": _one_hot(skips, 2)}

    def graph(self, architecture: Architecture) -> tuple[CellGraph, ...]:
        """Return one graph of all layers on which the output depends.

        What goes through a layer's operation has its name on the edge. In the paper's form several outputs that are
        read together meet in a node of their own.
        """
        operations, entries = self._operations(architecture), self._entries(architecture)
        nodes, edges = ["stem"], []
        for layer in Wiring.of(self.skips, entries).layers:
            read = [_node(number) for number in entries[layer]]
            source = _node(layer)
            if self.skips == "paper" and len(read) > 1:
                source = f"in {layer}"
                nodes.append(source)
                edges += [(number, source, "") for number in read]
            elif self.skips == "paper":
                source = (read or ["stem"])[0]
            nodes.append(str(layer))
            edges.append((source, str(layer), operations[layer]))
            edges += [(number, str(layer), "") for number in read] if self.skips == "official" else []
        edges.append((nodes[-1], "head", ""))
        return (CellGraph("network", (*nodes, "head"), tuple(edges)),)

    def _operations(self, architecture: Architecture) -> list[str]:
        self.validate(architecture)
        return [str(architecture.values[f"layer{layer}/operation"]) for layer in range(self.layers)]

    def _on(self, architecture: Architecture) -> list[list[int]]:
        self.validate(architecture)
        values = architecture.values
        return [[j for j in range(layer) if values[f"layer{layer}/skip{j}"]] for layer in range(self.layers)]

    def _entries(self, architecture: Architecture) -> list[Entries]:
        return [fixed_entries(self.skips, layer, on) for layer, on in enumerate(self._on(architecture))]

    @staticmethod
    def _layer_of(decision: Decision) -> int:
        return int(decision.name.partition("/")[0].removeprefix("layer"))


def _node(number: int) -> str:
    return str(number - 1) if number else "stem"


def _one_hot(chosen: Sequence[int], candidates: int) -> Mixture:
    weights = nn.functional.one_hot(torch.tensor(chosen), candidates).float()
    return Mixture(weights, tuple((k,) for k in chosen))
