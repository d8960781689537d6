"""The final networks of ENAS's macro space."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lightning_nas.operations.convolution import relu_conv_norm
from lightning_nas.spaces.enas_macro_layers import MacroSkeleton, Stored, core
from lightning_nas.spaces.enas_macro_wiring import Entries, SkipForm, Wiring


def final_operation(name: str, channels: int, *, separable: bool) -> nn.Sequential:
    """Build an operation of a final network: ReLU, 1x1 convolution, BatchNorm, ReLU, then the operation itself."""
    entry = relu_conv_norm(channels, channels)
    return nn.Sequential(*entry, nn.ReLU(), *core(name, channels, nn.BatchNorm2d, separable=separable))


class FinalLayer(nn.Module):
    """An operation, and a 1x1 convolution of concatenated outputs: after it in the official form, else before it."""

    def __init__(self, form: SkipForm, layer: int, operation: nn.Module, channels: int, numbers: Sequence[int]) -> None:
        super().__init__()
        self.layer = layer
        self.concatenates_after = form == "official"
        self.numbers = tuple(numbers)
        self.operation = operation
        convolves = layer if self.concatenates_after else any(numbers)
        width = (len(numbers) + self.concatenates_after) * channels
        self.skip = relu_conv_norm(width, channels) if convolves else nn.Identity()

    def forward(self, stored: Stored) -> Tensor:
        """Return the layer's output, of the shape of the stored ones.

        Args:
            stored: Outputs ``[N, C, H, W]``, by number.
        """
        selected = [stored[number] for number in self.numbers]
        if self.concatenates_after:
            output: Tensor = self.skip(torch.cat([*selected, self.operation(stored[self.layer])], 1))
        else:
            output = self.operation(self.skip(torch.cat(selected or [stored[0]], 1)))
        return output


class EnasMacroNetwork(MacroSkeleton):
    """The final network of an architecture. Build it with ``EnasMacroSpace.build``, which explains the arguments.

    Channels double where height and width are halved.
    """

    def __init__(
        self,
        form: SkipForm,
        operations: Sequence[str],
        entries: Sequence[Entries],
        *,
        separable: bool,
        **scale: Any,
    ) -> None:
        def layer(k: int, channels: int) -> nn.Module:
            operation = final_operation(operations[k], channels, separable=separable)
            return FinalLayer(form, k, operation, channels, list(entries[k]))

        wiring = Wiring.of(form, entries)
        super().__init__(form, wiring, layer, nn.BatchNorm2d, growth=2, **scale)
        self.wiring = wiring

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits ``[N, classes]`` of images ``[N, C, H, W]``."""
        return self.logits(images, self.wiring)
