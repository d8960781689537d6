"""The search network of ENAS's macro space, and the network of one architecture that is cut out of it."""

import operator
import re
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, Self

from torch import Tensor, nn

from lightning_nas.operations.mixed import MixedOperation
from lightning_nas.spaces.enas_layers import shared_norm
from lightning_nas.spaces.enas_macro_layers import OPERATIONS, MacroSkeleton, Stored, core, pointwise
from lightning_nas.spaces.enas_macro_wiring import Entries, SkipForm, Wiring, mixed_entries
from lightning_nas.spaces.mixture import Mixture


def search_operation(name: str, channels: int) -> nn.Sequential:
    """Build an operation of the search: 1x1 convolution, BatchNorm and ReLU, then the operation itself."""
    tail = [] if "pool" in name else [nn.ReLU()]
    entry = [pointwise(channels, channels), shared_norm(channels), nn.ReLU()]
    return nn.Sequential(*entry, *core(name, channels, shared_norm), *tail)


def weighted_sum(tensors: Sequence[Tensor], weights: Sequence[Tensor | None]) -> Tensor:
    """Return the sum of tensors times their weights; no weight is weight one."""
    terms = [x if weight is None else weight * x for x, weight in zip(tensors, weights, strict=True)]
    return reduce(operator.add, terms)


class AddedSkips(nn.Module):
    """A layer of the official form: the operation reads the layer before, what the skips read is added, BatchNorm."""

    def __init__(self, layer: int, operation: nn.Module, channels: int) -> None:
        super().__init__()
        self.layer = layer
        self.operation = operation
        self.norm = shared_norm(channels) if layer else nn.Identity()

    def forward(self, stored: Stored, entries: Entries, operation: tuple[Any, ...] = ()) -> Tensor:
        """Return the layer's output, of the shape of the stored ones.

        Args:
            stored: Outputs ``[N, C, H, W]``, by number.
            entries: What the skips read.
            operation: For a mixed operation its weights and what is active.
        """
        output = self.operation(stored[self.layer], *operation)
        added = weighted_sum([output, *(stored[number] for number in entries)], [None, *entries.values()])
        normed: Tensor = self.norm(added)
        return normed


class ConcatenatedSkips(nn.Module):
    """A layer of the paper's form: 1x1 convolution of what the skips read, side by side, BatchNorm, operation.

    The convolution is a sum of one for every output that is read: slices of one weight. The stem, which is read when no
    skip is on, is not convolved.
    """

    def __init__(self, layer: int, operation: nn.Module, channels: int, numbers: Sequence[int]) -> None:
        super().__init__()
        convolutions = {str(n - 1): nn.ModuleDict({"on": pointwise(channels, channels)}) for n in numbers if n}
        self.skips = nn.ModuleDict(convolutions)  # by layer
        self.norm = shared_norm(channels) if layer else nn.Identity()
        self.operation = operation

    def forward(self, stored: Stored, entries: Entries, operation: tuple[Any, ...] = ()) -> Tensor:
        """Return the layer's output; the arguments are those of ``AddedSkips``."""
        read = [self._convolved(number, stored[number]) for number in entries] or [stored[0]]
        output: Tensor = self.operation(self.norm(weighted_sum(read, list(entries.values()) or [None])), *operation)
        return output

    def _convolved(self, number: int, x: Tensor) -> Tensor:
        if number == 0:
            return x
        output: Tensor = self.skips.get_submodule(f"{number - 1}.on")(x)
        return output


def search_layer(form: SkipForm, layer: int, operation: nn.Module, channels: int, numbers: Sequence[int]) -> nn.Module:
    """Build a layer of the search whose skips can read the stored outputs ``numbers``."""
    if form == "official":
        return AddedSkips(layer, operation, channels)
    return ConcatenatedSkips(layer, operation, channels, numbers)


class EnasMacroSupernet(MacroSkeleton):
    """The search network. Build it with ``EnasMacroSpace.supernet``, which explains the arguments.

    Every layer holds all operations; only what the mixtures activate is computed, with what that depends on. Parameter
    names: ``layers.<layer>.operation.<name>``, ``reductions.<0 or 1>.on.<number>``, and in the paper's form
    ``layers.<layer>.skips.<layer>.on``.
    """

    def __init__(self, form: SkipForm, layers: int, **scale: Any) -> None:
        every: list[Entries] = [dict.fromkeys(range(k if form == "official" else k + 1)) for k in range(layers)]

        def layer(k: int, channels: int) -> nn.Module:
            operation = MixedOperation({name: search_operation(name, channels) for name in OPERATIONS})
            return search_layer(form, k, operation, channels, list(every[k]))

        super().__init__(form, Wiring.of(form, every), layer, shared_norm, growth=1, **scale)
        self.form = form
        self.depth = layers
        self.scale = scale

    def forward(self, images: Tensor, mixtures: Mapping[str, Mixture]) -> Tensor:
        """Return the logits ``[N, classes]`` of images ``[N, C, H, W]``."""
        operations, skips = mixtures["operations"], mixtures["skips"]
        entries = [mixed_entries(self.form, layer, skips) for layer in range(self.depth)]
        arguments = [(read, operations.row(layer)) for layer, read in enumerate(entries)]
        return self.logits(images, Wiring.of(self.form, entries), arguments)


class EnasMacroChild(MacroSkeleton):
    """The network of one architecture in the form of the search: what the supernet computes for it.

    Args:
        form: How skips are used.
        operations: The operation of every layer.
        entries: What the skips of every layer read.
        scale: Size of the network, as of the supernet.
    """

    def __init__(self, form: SkipForm, operations: Sequence[str], entries: Sequence[Entries], **scale: Any) -> None:
        def layer(k: int, channels: int) -> nn.Module:
            return search_layer(form, k, search_operation(operations[k], channels), channels, list(entries[k]))

        wiring = Wiring.of(form, entries)
        super().__init__(form, wiring, layer, shared_norm, growth=1, **scale)
        self.wiring = wiring
        self.arguments = [(read,) for read in entries]

    @classmethod
    def inherit(cls, operations: Sequence[str], entries: Sequence[Entries], supernet: EnasMacroSupernet) -> Self:
        """Cut the network out of a supernet, with copies of its weights."""
        network = cls(supernet.form, operations, entries, **supernet.scale)
        network.to(next(supernet.parameters()))  # its device and precision
        source = supernet.state_dict()
        network.load_state_dict({name: source[_name_in_supernet(name, operations)] for name in network.state_dict()})
        return network

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits ``[N, classes]`` of images ``[N, C, H, W]``."""
        return self.logits(images, self.wiring, self.arguments)


def _name_in_supernet(name: str, operations: Sequence[str]) -> str:
    return re.sub(r"^layers\.(\d+)\.operation\.", lambda found: f"{found[0]}{operations[int(found[1])]}.", name)
