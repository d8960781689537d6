"""Changes of colour for whole batches [N, C, H, W] of float images in [0, 1], with one factor for each image."""

import torch
from torch import Tensor

# Weights of red, green and blue in what the eye sees as brightness (ITU-R BT.601), as Pillow and torchvision use them.
_LUMA = (0.2989, 0.587, 0.114)


def _grey(images: Tensor) -> Tensor:
    if images.shape[1] == 1:
        return images
    weights = torch.tensor(_LUMA, dtype=images.dtype, device=images.device).view(1, 3, 1, 1)
    return (images * weights).sum(1, keepdim=True)


def _mix(images: Tensor, other: Tensor | float, factors: Tensor) -> Tensor:
    share = factors.to(images).view(-1, 1, 1, 1)
    return (share * images + (1 - share) * other).clamp(0, 1)


def adjust_brightness(images: Tensor, factors: Tensor) -> Tensor:
    """Multiply each image by its factor [N]; 1 changes nothing."""
    return _mix(images, 0.0, factors)


def adjust_contrast(images: Tensor, factors: Tensor) -> Tensor:
    """Scale the distance from the image's mean grey by a factor [N]; 1 changes nothing."""
    return _mix(images, _grey(images).mean((1, 2, 3), keepdim=True), factors)


def adjust_saturation(images: Tensor, factors: Tensor) -> Tensor:
    """Scale the distance from the grey image by a factor [N]; 1 changes nothing."""
    return _mix(images, _grey(images), factors)


def _hue(images: Tensor, high: Tensor, chroma: Tensor) -> Tensor:
    """Return the hue [N, 1, H, W] in sixths of a turn, 0 where there is no colour."""
    red, green, blue = (images[:, channel : channel + 1] for channel in range(3))
    divisor = torch.where(chroma == 0, 1, chroma)
    from_blue = 4 + (red - green) / divisor
    from_green = torch.where(high == green, 2 + (blue - red) / divisor, from_blue)
    return torch.where(high == red, (green - blue) / divisor, from_green)


def adjust_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue of RGB images.

    Args:
        images: [N, 3, H, W].
        turns: [N], in whole turns of the colour circle; 0 changes nothing.
    """
    high = images.amax(1, keepdim=True)
    chroma = high - images.amin(1, keepdim=True)
    hue = _hue(images, high, chroma) + 6 * turns.to(images).view(-1, 1, 1, 1)
    # Each channel is the value less a trapezoid wave of the hue; red, green and blue are a third of a turn apart.
    phase = (hue + torch.tensor([5.0, 3.0, 1.0]).to(images).view(1, 3, 1, 1)) % 6
    wave = torch.minimum(phase, 4 - phase).clamp(0, 1)
    return (high - chroma * wave).clamp(0, 1)


def _factors(count: int, strength: float, generator: torch.Generator) -> Tensor:
    low = max(0.0, 1 - strength)
    return low + (1 + strength - low) * torch.rand(count, generator=generator)


def color_jitter(
    images: Tensor, brightness: float, contrast: float, saturation: float, hue: float, generator: torch.Generator
) -> Tensor:
    """Change brightness, contrast, saturation and hue of each image at random, in one random order for the batch.

    Args:
        images: [N, C, H, W]. Saturation and hue are left alone when there is one channel.
        brightness: Factors are uniform in [1 - brightness, 1 + brightness], and not negative.
        contrast: The same for the contrast.
        saturation: The same for the saturation.
        hue: Turns are uniform in [-hue, hue], of at most half a turn.
        generator: Source of the factors and the order.
    """
    count = len(images)
    steps = [
        (adjust_brightness, _factors(count, brightness, generator)),
        (adjust_contrast, _factors(count, contrast, generator)),
        (adjust_saturation, _factors(count, saturation, generator)),
        (adjust_hue, hue * (2 * torch.rand(count, generator=generator) - 1)),
    ]
    if images.shape[1] == 1:
        steps = steps[:2]
    for place in torch.randperm(len(steps), generator=generator).tolist():
        adjust, amounts = steps[place]
        images = adjust(images, amounts)
    return images
