"""The convolutional search space of Zoph & Le (2017, arXiv 1611.01578)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar, Literal

from torch import nn

from lightning_nas.architecture import Architecture, Decision, Value
from lightning_nas.checks import check_at_least, check_choice
from lightning_nas.spaces.graph import CellGraph
from lightning_nas.spaces.nas_conv_layer import IMAGE, NasConvLayer
from lightning_nas.spaces.nas_conv_network import NasConvNetwork
from lightning_nas.spaces.nas_conv_wiring import AcrossPools, NasConvWiring, Padding, thirds
from lightning_nas.spaces.settings import Setting, space_name
from lightning_nas.spaces.unshared_space import UnsharedSpace

Variant = Literal["v1", "v2", "v3"]
LAYERS: dict[Variant, int] = {"v1": 15, "v2": 20, "v3": 13}
FILTERS: dict[Variant, tuple[int, ...]] = {
    "v1": (24, 36, 48, 64),
    "v2": (24, 36, 48, 64),
    "v3": (6, 12, 24, 36),
}
KERNELS = (1, 3, 5, 7)
STRIDES = (1, 2, 3)
BLOCK = 3  # convolutions of a layer of v3


class NasConvSpace(UnsharedSpace):
    """Whole networks, layer by layer: which layers before it a layer reads, its filters' height, width and number.

    A layer reads what its skips say, concatenated, and the image if they say nothing: only a skip makes it read the
    layer before it. What no layer reads goes to the classifier. So every choice of the skips is a network.

    The variants are those of the paper's table on CIFAR-10 (section 4.1):

    - ``"v1"``: 15 layers of stride 1, no pooling.
    - ``"v2"``: 20 layers, whose strides are searched, too. Where sizes differ, maps are padded with zeros.
    - ``"v3"``: 13 layers, each of which is a block of three densely connected convolutions (39 in all); fixed max
      poolings after a third and two thirds of them.

    Args:
        variant: The variant.
        layers: Number of layers; the default is the variant's.
        skips: Whether skips are searched; if not, every layer reads the one before it.
        kernels: Heights and widths of the filters, odd numbers.
        filters: Numbers of filters; the default is the variant's.

    Raises:
        ValueError: If an argument has another value.

    Example:
        >>> space = NasConvSpace(layers=3)
        >>> architecture = space.from_string("3 3 24 |, 5 5 36 | 1, 1 7 48 | 0 0")
        >>> architecture.space, [layer.reads for layer in space.plan(architecture)]  # -1 is the image
        ('nas_conv?layers=3', [(-1,), (0,), (-1,)])
        >>> space.graph(architecture)[0].edges[1]
        ('0', '1', '5x5 36')
    """

    settings: ClassVar[Mapping[str, Setting]] = {
        "variant": "v1",
        "layers": LAYERS["v1"],
        "skips": True,
        "kernels": tuple(map(str, KERNELS)),
        "filters": tuple(map(str, FILTERS["v1"])),
    }

    def __init__(
        self,
        variant: Variant = "v1",
        layers: int | None = None,
        skips: bool = True,
        kernels: Sequence[int | str] = KERNELS,
        filters: Sequence[int | str] | None = None,
    ) -> None:
        check_choice("variant", variant, list(LAYERS))
        check_at_least("layers", layers, 1)
        self.variant = variant
        self.layers = LAYERS[variant] if layers is None else layers
        self.skips = skips
        self.kernels = _whole_numbers("kernels", kernels)
        if not all(kernel % 2 for kernel in self.kernels):
            raise ValueError(f"Expected `kernels` to be odd but got {self.kernels}")
        self.filters = _whole_numbers("filters", FILTERS[variant] if filters is None else filters)

    @property
    def name(self) -> str:
        """``"nas_conv"``, followed by the settings that differ from the paper's: ``"nas_conv?variant=v2"``."""
        defaults = {
            **self.settings,
            "layers": LAYERS[self.variant],
            "filters": tuple(map(str, FILTERS[self.variant])),
        }
        own: dict[str, Setting] = {"variant": self.variant, "layers": self.layers, "skips": self.skips}
        texts = {"kernels": tuple(map(str, self.kernels)), "filters": tuple(map(str, self.filters))}
        return space_name("nas_conv", defaults, {**own, **texts})

    @cached_property
    def decisions(self) -> tuple[Decision, ...]:
        """Per layer a skip for each layer before it, then height, width, (strides,) and number of its filters."""
        return tuple(decision for layer in range(self.layers) for decision in self._decisions_of(layer))

    def _decisions_of(self, layer: int) -> Iterator[Decision]:
        for j in range(layer if self.skips else 0):
            yield Decision(f"layer{layer}/skip{j}", (False, True), "flag")
        for name, choices in self._numbers.items():
            yield Decision(f"layer{layer}/{name}", choices, "number")

    @property
    def _numbers(self) -> dict[str, tuple[int, ...]]:
        """The choices of the numbers that are searched in every layer, by name."""
        strides = {"stride_height": STRIDES, "stride_width": STRIDES} if self.variant == "v2" else {}
        return {"height": self.kernels, "width": self.kernels, **strides, "filters": self.filters}

    def from_string(self, text: str, provenance: Mapping[str, Any] | None = None) -> Architecture:
        """Read per layer height, width, (strides,) and number of filters, then its skips as 0 or 1.

        Line breaks, spaces, commas and ``|`` mean the same.

        Args:
            text: Whole numbers.
            provenance: Where the architecture comes from.

        Raises:
            ValueError: If the text is something else; the message says where.
        """
        words = text.replace("|", " ").replace(",", " ").split()
        ordered = [decision for layer in range(self.layers) for decision in self._written(layer)]
        if len(words) != len(ordered):
            raise ValueError(f"Expected {len(ordered)} numbers for {self.layers} layers but got {len(words)}")
        read = {d.name: _choice(d, word) for d, word in zip(ordered, words, strict=True)}
        return Architecture(self.name, {d.name: read[d.name] for d in self.decisions}, provenance or {})

    def to_string(self, architecture: Architecture) -> str:
        """Return an architecture as ``from_string`` reads it, a line per layer: ``"5 5 36 | 1"``."""
        self.validate(architecture)
        lines = []
        for layer in range(self.layers):
            parts: dict[bool, list[str]] = {False: [], True: []}  # by whether they are skips
            for decision in self._written(layer):
                parts[decision.kind == "flag"].append(str(int(architecture.values[decision.name])))
            lines.append(" ".join([*parts[False], *(["|"] if self.skips else []), *parts[True]]))
        return "\n".join(lines)

    def _written(self, layer: int) -> list[Decision]:
        """Return the decisions of a layer in the order in which they are written: skips last."""
        return sorted(self._decisions_of(layer), key=lambda decision: decision.kind == "flag")

    def build(  # type: ignore[override]  # the scale is spelled out
        self,
        architecture: Architecture,
        *,
        auxiliary: bool = False,
        weights_from: nn.Module | None = None,
        more_filters: int = 0,
        classes: int = 10,
        in_channels: int = 3,
        pad: Padding = "bottom_right",
        across_pools: AcrossPools = "pool",
    ) -> nn.Module:
        """Build the network: convolutions with BatchNorm and ReLU, global average pooling, a linear layer.

        The paper leaves open where zeros are padded, how its pooled networks read outputs from before a pooling, and
        how blocks are wired; ``pad`` and ``across_pools`` are the options where there is more than one reading.

        Args:
            architecture: A member of this space.
            auxiliary: Without effect: these networks have no auxiliary classifier.
            weights_from: Nothing: there is no supernet.
            more_filters: Added to the number of filters of every convolution; 40 in the paper's largest network.
            classes: Number of classes.
            in_channels: Channels of the images.
            pad: Where maps are padded with zeros to the size of the largest that is read with them.
            across_pools: What a pooling of variant v3 does. ``"pool"``: everything that is still read, the image and
                what the classifier reads included, so that all maps have one size. ``"pad"``: it pools the layer
                before it alone, and all sizes meet by padding, which undoes the pooling where an older output is read.
        """
        if weights_from is not None:
            self._has_no_supernet()
        check_at_least("more_filters", more_filters, 0)
        return NasConvNetwork(
            [replace(layer, filters=layer.filters + more_filters) for layer in self.plan(architecture)],
            convolutions=BLOCK if self.variant == "v3" else 1,
            pools=self._pools,
            pad=pad,
            across_pools=across_pools,
            classes=classes,
            in_channels=in_channels,
        )

    def plan(self, architecture: Architecture) -> tuple[NasConvLayer, ...]:
        """Return the layers of an architecture."""
        self.validate(architecture)
        return tuple(self._layer(layer, architecture.values) for layer in range(self.layers))

    def _layer(self, layer: int, values: Mapping[str, Value]) -> NasConvLayer:
        numbers = {name: int(values[f"layer{layer}/{name}"]) for name in self._numbers}
        if self.skips:
            reads = tuple(j for j in range(layer) if values[f"layer{layer}/skip{j}"]) or (IMAGE,)
        else:
            reads = (layer - 1 if layer else IMAGE,)
        stride = (numbers.get("stride_height", 1), numbers.get("stride_width", 1))
        return NasConvLayer((numbers["height"], numbers["width"]), stride, numbers["filters"], reads)

    @property
    def _pools(self) -> tuple[int, ...]:
        return thirds(self.layers) if self.variant == "v3" else ()

    def graph(self, architecture: Architecture) -> tuple[CellGraph, ...]:
        """Return one graph of all layers.

        A layer's filters stand on the edge to it. Outputs that are read together, or pooled first, meet in a node of
        their own.
        """
        layers = self.plan(architecture)
        wiring = NasConvWiring(tuple(layer.reads for layer in layers), self._pools)
        nodes, edges = ["image"], []
        for k, layer in enumerate(layers):
            read = [(_node(source), _pooled(wiring.pools_between(source, k))) for source in layer.reads]
            start = read[0][0]
            if len(read) > 1 or read[0][1]:
                start = f"in {k}"
                nodes.append(start)
                edges += [(source, start, pooled) for source, pooled in read]
            nodes.append(str(k))
            edges.append((start, str(k), layer.text))
        edges += [(str(k), "head", _pooled(wiring.pools_between(k, self.layers))) for k in wiring.unread]
        return (CellGraph("network", (*nodes, "head"), tuple(edges)),)


def _node(number: int) -> str:
    return "image" if number == IMAGE else str(number)


def _pooled(times: int) -> str:
    return " ".join(["max_pool_2x2"] * times)


def _choice(decision: Decision, word: str) -> Value:
    """Return the choice that a number stands for."""
    for choice in decision.choices:
        if str(int(choice)) == word:
            return choice
    numbers = ", ".join(str(int(choice)) for choice in decision.choices)
    raise ValueError(f"Expected {decision.name!r} to be one of {numbers} but got {word!r}")


def _whole_numbers(name: str, values: Sequence[int | str]) -> tuple[int, ...]:
    """Return the numbers, which are text in the name of a space."""
    numbers = tuple(int(value) if str(value).isdecimal() else 0 for value in values)
    if not numbers or min(numbers) < 1 or len(set(numbers)) < len(numbers):
        raise ValueError(f"Expected `{name}` to be distinct whole numbers of at least 1 but got {tuple(values)}")
    return numbers
