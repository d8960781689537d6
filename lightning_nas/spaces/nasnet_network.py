"""The networks of NASNet, AmoebaNet and PNAS cells, for CIFAR and for ImageNet."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lightning_nas.checks import check_fraction, check_scale
from lightning_nas.operations.drop_path import DropPath
from lightning_nas.operations.norm import Norm
from lightning_nas.spaces.auxiliary import AuxiliaryLogits
from lightning_nas.spaces.cell_plan import check_images
from lightning_nas.spaces.nasnet_plan import (
    Kind,
    Layout,
    NasnetCellPlan,
    arrange_cells,
    needed_cells,
    plan_nasnet_cells,
)
from lightning_nas.spaces.nasnet_wiring import OUTSIDE, NasnetWiring


@dataclass(frozen=True)
class NasnetScale:
    """Size of a network; ``NasnetSpace.build`` explains the values.

    Raises:
        ValueError: If one of them is not a positive whole number.
    """

    channels: int
    cells_per_stage: int
    classes: int
    in_channels: int
    stem_channels: int
    imagenet: bool
    layout: Layout

    def __post_init__(self) -> None:
        check_scale(**{name: value for name, value in vars(self).items() if name not in ("imagenet", "layout")})

    def stem(self, norm: Norm) -> nn.Module:
        """Return the 3x3 convolution before the cells; for ImageNet it has stride 2 and no padding."""
        stride, padding = (2, 0) if self.imagenet else (1, 1)
        conv = nn.Conv2d(self.in_channels, self.stem_channels, 3, stride, padding, bias=False)
        return nn.Sequential(conv, norm(self.stem_channels))

    def size(self, image_size: int, plans: Sequence[NasnetCellPlan]) -> int:
        """Return height and width of what the last of the planned cells puts out."""
        size = (image_size - 1) // 2 if self.imagenet else image_size
        for plan in plans:
            size = -(-size // plan.stride)
        return size


class NasnetCell(nn.Module):
    """A cell as derived. ``edges.<2 * block + k>`` is a block's k-th operation."""

    def __init__(self, plan: NasnetCellPlan, wiring: NasnetWiring, drop_path: DropPath, norm: Norm) -> None:
        super().__init__()
        self.preprocess0, self.preprocess1 = plan.preprocessing(wiring, norm)
        self.pairs = tuple(pair for block in wiring.blocks for pair in block)
        self.outputs = wiring.outputs
        self.edges = nn.ModuleList(plan.operation(source, name, norm) for source, name in self.pairs)
        self.alignments = nn.ModuleDict({str(j): plan.alignment(j, norm) for j in self.outputs if j < OUTSIDE})
        self.drop_path = drop_path

    def forward(self, before_last: Tensor, last: Tensor) -> Tensor:
        """Return the concatenated outputs, ``[N, len(outputs) * channels, H, W]``."""
        states = [self.preprocess0(before_last), self.preprocess1(last)]
        for k in range(0, len(self.pairs), 2):
            states.append(self._edge(k, states) + self._edge(k + 1, states))
        return torch.cat([self.alignments[str(j)](states[j]) if j < OUTSIDE else states[j] for j in self.outputs], 1)

    def _edge(self, k: int, states: list[Tensor]) -> Tensor:
        source, operation = self.pairs[k]
        output: Tensor = self.edges[k](states[source])
        # with stride 2 or other channels it is no identity, but as in the published code never dropped either
        return output if operation == "identity" else self.drop_path(output)


class SkippedCell(nn.Module):
    """Stands where the cell is not needed: what it returns is not read."""

    def forward(self, before_last: Tensor, last: Tensor) -> Tensor:
        """Return the last cell's output."""
        return last


class NasnetAuxiliaryHead(nn.Sequential):
    """Pooling, 1x1 convolution to 128, convolution to 768 that takes in the whole map, linear layer.

    Args:
        inputs: Channels in.
        size: Height and width of what comes in.
        classes: Number of classes.
        norm: Makes the normalisation for a number of channels.

    Raises:
        ValueError: If ``size`` is below 5.
    """

    def __init__(self, inputs: int, size: int, classes: int, norm: Norm) -> None:
        if size < 5:
            raise ValueError(
                f"Expected features of 5x5 at least for the auxiliary classifier but got {size}x{size}; "
                "use a larger `image_size`, or auxiliary=False"
            )
        super().__init__(
            nn.ReLU(),
            nn.AvgPool2d(5, 3),
            nn.Conv2d(inputs, 128, 1, bias=False),
            norm(128),
            nn.ReLU(),
            nn.Conv2d(128, 768, (size - 5) // 3 + 1, bias=False),
            norm(768),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(768, classes),
        )
        self.size = size

    def forward(self, features: Tensor) -> Tensor:
        """Map ``[N, inputs, size, size]`` to logits ``[N, classes]``."""
        height, width = features.shape[-2:]
        if (height, width) != (self.size, self.size):
            raise ValueError(
                f"Expected features of {self.size}x{self.size} for the auxiliary classifier but got {height}x{width}; "
                "give the network scale={'image_size': ...} of the images, or auxiliary=False"
            )
        logits: Tensor = super().forward(features)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return logits


class NasnetNetwork(nn.Module):
    """The network of a pair of cells. Build it with ``NasnetSpace.build``, which explains the arguments.

    Args:
        wirings: The two cells.
        scale: Size of the network.
        norm: Makes the normalisation for a number of channels.
        dropout: Share of the features that the classifier's dropout sets to zero.
        image_size: Height and width of the images that the auxiliary classifier is made for; ``None`` for none.
    """

    def __init__(
        self,
        wirings: Mapping[Kind, NasnetWiring],
        scale: NasnetScale,
        norm: Norm,
        *,
        dropout: float,
        image_size: int | None,
    ) -> None:
        super().__init__()
        check_fraction("dropout", dropout, zero_allowed=True)
        self.in_channels = scale.in_channels
        widths: dict[Kind, int] = {kind: len(wiring.outputs) for kind, wiring in wirings.items()}
        cells = list(arrange_cells(scale.channels, scale.cells_per_stage, scale.layout, stem_cells=scale.imagenet))
        plans = plan_nasnet_cells(scale.stem_channels, cells, widths)
        needed = needed_cells(plans, wirings)
        self.stem = scale.stem(norm)
        # a path is dropped the more often the deeper it lies: in the last cell as often as the training asks for
        self.cells = nn.ModuleList(
            NasnetCell(plan, wirings[plan.kind], DropPath(scale=(index + 1) / len(plans)), norm)
            if index in needed
            else SkippedCell()
            for index, plan in enumerate(plans)
        )
        outputs = [plan.channels * widths[plan.kind] for plan in plans]
        end = max(index for index, plan in enumerate(plans) if plan.channels == 2 * scale.channels)
        self.auxiliary_after = max(index for index in needed if index <= end)
        size = None if image_size is None else scale.size(image_size, plans[: self.auxiliary_after + 1])
        inputs = outputs[self.auxiliary_after]
        self.auxiliary = None if size is None else NasnetAuxiliaryHead(inputs, size, scale.classes, norm)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(outputs[-1], scale.classes)

    def forward(self, images: Tensor) -> Tensor | AuxiliaryLogits:
        """Return the logits ``[N, classes]`` of images ``[N, C, H, W]``; in training mode the auxiliary ones too."""
        features = list(self.features(images))
        logits: Tensor = self.classifier(self.dropout(features[-1].relu().mean((2, 3))))
        if self.auxiliary is not None and self.training:
            return AuxiliaryLogits(logits, self.auxiliary(features[self.auxiliary_after]))
        return logits

    def features(self, images: Tensor) -> Iterator[Tensor]:
        """Yield the output of every cell."""
        check_images(images, self.in_channels, 1)
        before_last = last = self.stem(images)
        for cell in self.cells:
            before_last, last = last, cell(before_last, last)
            yield last
