"""What comes before the first cell."""

from torch import Tensor, nn


def conv_norm(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    """3x3 convolution and BatchNorm."""
    return [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)]


class CifarStem(nn.Sequential):
    """One convolution that keeps the image size; its output is both inputs of the first cell.

    Args:
        in_channels: Channels of the images.
        channels: Channels out.
    """

    halvings = 0

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__(*conv_norm(in_channels, channels, 1))
        self.in_channels = in_channels
        self.channels = channels

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``[N, in_channels, H, W]`` to two tensors ``[N, channels, H, W]``."""
        features: Tensor = super().forward(images)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return features, features


class ImageNetStem(nn.Module):
    """Three strided convolutions: the first cell reads the image at a quarter and at an eighth of its size.

    Args:
        in_channels: Channels of the images.
        channels: Channels out.
    """

    halvings = 3

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.channels = channels
        self.stem0 = nn.Sequential(
            *conv_norm(in_channels, channels // 2, 2), nn.ReLU(), *conv_norm(channels // 2, channels, 2)
        )
        self.stem1 = nn.Sequential(nn.ReLU(), *conv_norm(channels, channels, 2))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``[N, in_channels, H, W]`` to ``[N, channels, H / 4, W / 4]`` and ``[N, channels, H / 8, W / 8]``."""
        first = self.stem0(images)
        return first, self.stem1(first)
