"""The auxiliary classifier of the NASNet family."""

from typing import NamedTuple

from torch import Tensor, nn


class AuxiliaryLogits(NamedTuple):
    """What a network with an auxiliary classifier returns in training mode: two tensors ``[N, classes]``."""

    logits: Tensor
    auxiliary: Tensor


class AuxiliaryHead(nn.Sequential):
    """Pooling, 1x1 convolution to 128, 2x2 convolution to 768, linear layer.

    Args:
        inputs: Channels in.
        classes: Number of classes.
        imagenet: Pool with stride 2 instead of 3, and leave out the second BatchNorm: the paper's ImageNet networks
            were trained without it, and its published sizes count none.
    """

    def __init__(self, inputs: int, classes: int, *, imagenet: bool) -> None:
        last: list[nn.Module] = [] if imagenet else [nn.BatchNorm2d(768)]
        super().__init__(
            nn.ReLU(),
            nn.AvgPool2d(5, 2 if imagenet else 3, count_include_pad=False),
            nn.Conv2d(inputs, 128, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.Conv2d(128, 768, 2, bias=False),
            *last,
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(768, classes),
        )

        self.size = 7 if imagenet else 8

    def forward(self, features: Tensor) -> Tensor:
        """Map ``[N, inputs, 8, 8]`` (ImageNet: ``[N, inputs, 7, 7]``) to logits ``[N, classes]``."""
        if tuple(features.shape[-2:]) != (self.size, self.size):
            height, width = features.shape[-2:]
            raise ValueError(
                f"Expected features of {self.size}x{self.size} for the auxiliary classifier but got {height}x{width}; "
                "use images of the paper's size (CIFAR 32x32, ImageNet 224x224), or auxiliary=False"
            )
        logits: Tensor = super().forward(features)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return logits
