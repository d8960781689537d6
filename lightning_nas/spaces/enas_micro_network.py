"""The network that ENAS trains from scratch: the micro space's cells as derived."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from lightning_nas.operations.convolution import relu_conv_norm
from lightning_nas.operations.drop_path import DropPath
from lightning_nas.spaces.auxiliary import AuxiliaryLogits
from lightning_nas.spaces.cell_plan import check_images
from lightning_nas.spaces.enas_layers import Classifier, he_init
from lightning_nas.spaces.enas_micro_plan import MicroCellPlan, micro_reductions, plan_micro_cells

Pair = tuple[int, str]  # the state that is read, and the operation on it


def find_loose_ends(pairs: Sequence[Pair]) -> tuple[int, ...]:
    """Return the states that no node reads, the inputs 0 and 1 among them; ``pairs`` are two a node."""
    read = {source for source, _ in pairs}
    return tuple(j for j in range(len(pairs) // 2 + 2) if j not in read)


class MicroAuxiliaryHead(nn.Sequential):
    """Pooling, 1x1 convolution to 128, 2x2 convolution to 768 that keeps the size, pooling, linear layer.

    Args:
        inputs: Channels in.
        classes: Number of classes.
    """

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__(
            nn.ReLU(),
            nn.AvgPool2d(5, 3),
            nn.Conv2d(inputs, 128, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.ZeroPad2d((0, 1, 0, 1)),
            nn.Conv2d(128, 768, 2, bias=False),
            nn.BatchNorm2d(768),
            nn.ReLU(),
            Classifier(768, classes, 0.0),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map ``[N, inputs, 8, 8]`` to logits ``[N, classes]``."""
        height, width = features.shape[-2:]
        if (height, width) != (8, 8):
            raise ValueError(
                f"Expected features of 8x8 for the auxiliary classifier but got {height}x{width}; "
                "use images of the paper's size, 32x32, or auxiliary=False"
            )
        logits: Tensor = super().forward(features)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return logits


class DerivedCell(nn.Module):
    """A cell as derived. ``edges.<2 * node + k>`` is a node's k-th operation, the first computed node being 0."""

    def __init__(self, plan: MicroCellPlan, pairs: Sequence[Pair], drop_path: DropPath) -> None:
        super().__init__()
        self.calibrate0, self.calibrate1 = plan.calibration(nn.BatchNorm2d)
        self.base = relu_conv_norm(plan.channels, plan.channels)
        self.pairs = tuple(pairs)
        self.loose_ends = find_loose_ends(pairs)
        self.edges = nn.ModuleList(plan.operation(j, name, nn.BatchNorm2d) for j, name in pairs)
        self.halvings = plan.halvings(self.loose_ends, nn.BatchNorm2d)
        self.drop_path = drop_path

    def forward(self, before_last: Tensor, last: Tensor) -> Tensor:
        """Return the concatenated loose ends, ``[N, len(loose_ends) * channels, H, W]``."""
        states = [self.calibrate0(before_last), self.base(self.calibrate1(last))]
        for k in range(0, len(self.pairs), 2):
            states.append(self._edge(k, states) + self._edge(k + 1, states))
        return torch.cat([self.halvings(j, states[j]) for j in self.loose_ends], 1)

    def _edge(self, k: int, states: Sequence[Tensor]) -> Tensor:
        source, operation = self.pairs[k]
        output: Tensor = self.edges[k](states[source])
        # with stride 2 the skip connection is no identity, but it is never dropped either
        return output if operation == "skip_connect" else self.drop_path(output)


class EnasMicroNetwork(nn.Module):
    """The network of a pair of cells. Build it with ``EnasMicroSpace.build``, which explains the arguments."""

    def __init__(
        self,
        pairs: Mapping[str, Sequence[Pair]],
        channels: int,
        layers: int,
        classes: int,
        in_channels: int,
        dropout: float,
        *,
        auxiliary: bool,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        widths = {kind: len(find_loose_ends(cell)) for kind, cell in pairs.items()}
        plans = list(plan_micro_cells(channels, layers, widths))
        outputs = [plan.channels * widths[plan.kind] for plan in plans]
        stem = nn.Conv2d(in_channels, 3 * channels, 3, padding=1, bias=False)
        self.stem = nn.Sequential(stem, nn.BatchNorm2d(3 * channels))
        # a path is dropped the more often the deeper it lies: in the last cell as often as the training asks for
        self.cells = nn.ModuleList(
            DerivedCell(plan, pairs[plan.kind], DropPath(scale=(index + 1) / len(plans)))
            for index, plan in enumerate(plans)
        )
        self.auxiliary_after = micro_reductions(layers)[1] + 1
        self.auxiliary = MicroAuxiliaryHead(outputs[self.auxiliary_after], classes) if auxiliary else None
        self.classifier = Classifier(outputs[-1], classes, dropout)
        he_init(self)

    def forward(self, images: Tensor) -> Tensor | AuxiliaryLogits:
        """Return the logits ``[N, classes]`` of images ``[N, C, H, W]``; in training mode the auxiliary ones too."""
        features = list(self.features(images))
        logits: Tensor = self.classifier(features[-1].relu())
        if self.auxiliary is not None and self.training:
            return AuxiliaryLogits(logits, self.auxiliary(features[self.auxiliary_after]))
        return logits

    def features(self, images: Tensor) -> Iterator[Tensor]:
        """Yield the output of every cell."""
        check_images(images, self.in_channels, 4)
        before_last = last = self.stem(images)
        for cell in self.cells:
            before_last, last = last, cell(before_last, last)
            yield last
