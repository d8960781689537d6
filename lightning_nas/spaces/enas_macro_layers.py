"""What the search network and the final networks of ENAS's macro space have in common.

Layer orders are those of the official code (melodyguan/enas, ``src/cifar10/general_child.py``). No convolution and no
classifier has a bias.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from torch import Tensor, nn

from lightning_nas.checks import check_fraction, check_scale
from lightning_nas.operations.convolution import build_operation
from lightning_nas.operations.factorized_reduce import FactorizedReduce
from lightning_nas.operations.norm import Norm
from lightning_nas.spaces.cell_plan import check_images
from lightning_nas.spaces.enas_layers import Classifier, he_init
from lightning_nas.spaces.enas_macro_wiring import SkipForm, Wiring, boundaries

OPERATIONS = ("conv_3x3", "sep_conv_3x3", "conv_5x5", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3")

Stored = dict[int, Tensor]


def pointwise(inputs: int, outputs: int) -> nn.Conv2d:
    """1x1 convolution."""
    return nn.Conv2d(inputs, outputs, 1, bias=False)


def core(name: str, channels: int, norm: Norm, *, separable: bool = True) -> list[nn.Module]:
    """Return what an operation does between its 1x1 convolution and its last ReLU.

    Args:
        name: One of ``OPERATIONS``.
        channels: Channels in and out.
        norm: Makes the normalisation for a number of channels.
        separable: Whether ``sep_conv`` is a depthwise and a 1x1 convolution, or plain like ``conv``.
    """
    if "pool" in name:
        return [build_operation(name, channels)]
    kernel = int(name[-1])
    separates = separable and name.startswith("sep")
    groups = channels if separates else 1
    convolution = nn.Conv2d(channels, channels, kernel, 1, kernel // 2, groups=groups, bias=False)
    return [convolution, *([pointwise(channels, channels)] if separates else []), norm(channels)]


class StoredReductions(nn.Module):
    """A reduction of its own for every stored output.

    ``always.<number>`` is read whatever is chosen: the layer's own output, in the official form. ``on.<number>`` is
    read only where a skip is on (or, the stem in the paper's form, where none is).
    """

    def __init__(self, numbers: tuple[int, ...], always: int | None, make: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.on = nn.ModuleDict({str(number): make() for number in numbers if number != always})
        self.always = nn.ModuleDict({str(number): make() for number in numbers if number == always})

    def forward(self, stored: Stored, numbers: tuple[int, ...]) -> Stored:
        """Return the halved outputs of these numbers."""
        return {number: self._reduction(str(number))(stored[number]) for number in numbers}

    def _reduction(self, number: str) -> nn.Module:
        return self.on[number] if number in self.on else self.always[number]


class MacroSkeleton(nn.Module):
    """Stem, layers, reductions of all stored outputs after a third and two thirds of the layers, classifier.

    Parameter names: ``layers.<layer>``, ``reductions.<0 or 1>``. What no output depends on is left out.
    """

    def __init__(
        self,
        form: SkipForm,
        wiring: Wiring,
        make_layer: Callable[[int, int], nn.Module],
        norm: Norm,
        *,
        channels: int,
        growth: int,
        classes: int,
        in_channels: int,
        dropout: float,
    ) -> None:
        super().__init__()
        check_scale(channels=channels, classes=classes, in_channels=in_channels)
        check_fraction("dropout", dropout, zero_allowed=True)
        self.in_channels = in_channels
        widths = [channels, growth * channels, growth**2 * channels]
        self.stem = nn.Sequential(nn.Conv2d(in_channels, channels, 3, padding=1, bias=False), norm(channels))
        ends = boundaries(len(wiring.reads))
        self.layers = nn.ModuleDict({str(k): make_layer(k, widths[sum(k > e for e in ends)]) for k in wiring.layers})
        self.reductions = nn.ModuleList(
            StoredReductions(
                wiring.reduced[end],
                end + 1 if form == "official" else None,
                partial(FactorizedReduce, widths[stage], widths[stage + 1], norm, relu=False),
            )
            for stage, end in enumerate(ends)
        )
        self.classifier = Classifier(widths[-1], classes, dropout)
        he_init(self)  # as the official code does for all its layers

    def logits(self, images: Tensor, wiring: Wiring, arguments: Sequence[tuple[object, ...]] = ()) -> Tensor:
        """Return the logits ``[N, classes]`` of images ``[N, C, H, W]``.

        Args:
            images: The images.
            wiring: What is needed.
            arguments: For each layer what it takes besides the stored outputs.
        """
        *_, last = self.features(images, wiring, arguments)
        logits: Tensor = self.classifier(last)
        return logits

    def features(
        self, images: Tensor, wiring: Wiring, arguments: Sequence[tuple[object, ...]] = ()
    ) -> Iterator[Tensor]:
        """Yield the output of every layer that is needed."""
        check_images(images, self.in_channels, 4)
        stored: Stored = {0: self.stem(images)}
        reductions = dict(zip(wiring.reduced, self.reductions, strict=True))
        for layer in range(len(wiring.reads)):
            if layer in wiring.layers:
                stored[layer + 1] = self.layers[str(layer)](stored, *(arguments[layer] if arguments else ()))
                yield stored[layer + 1]
            if layer in wiring.reduced:
                stored = reductions[layer](stored, wiring.reduced[layer])
