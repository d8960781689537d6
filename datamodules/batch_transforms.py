"""Augmentations of whole batches [N, C, H, W], with one random choice for each image and no loop over images.

Random numbers are drawn on the CPU and moved to the images' device, so that every device sees the same pixels.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, pad


def to_float(images: Tensor) -> Tensor:
    """Convert uint8 images to float32 in [0, 1]; float images are returned as they are."""
    return images if images.is_floating_point() else images.float() / 255


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Subtract the mean of each channel and divide by its standard deviation.

    Args:
        images: [N, C, H, W], uint8 or float in [0, 1].
        mean: C numbers, for pixels in [0, 1].
        std: C numbers.
    """
    images = to_float(images)
    centre, width = (torch.tensor(v, dtype=images.dtype, device=images.device).view(-1, 1, 1) for v in (mean, std))
    return (images - centre) / width


def random_crop(images: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    """Pad with zeros on all sides and cut the original size at a random place.

    Args:
        images: [N, C, H, W] of any type.
        padding: Pixels on each side; 0 returns the images unchanged.
        generator: Source of the offsets: one row, then one column, for each image.
    """
    if padding == 0:
        return images
    count, _, height, width = images.shape
    rows, columns = torch.randint(2 * padding + 1, (2, count), generator=generator).to(images.device)
    # [N, C, 2 padding + 1, 2 padding + 1, H, W]: all possible crops as a view, of which one is copied for each image.
    crops = pad(images, [padding] * 4).unfold(2, height, 1).unfold(3, width, 1)
    return crops[torch.arange(count, device=images.device), :, rows, columns]


def random_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each image left to right with probability one half.

    Args:
        images: [N, C, H, W] of any type.
        generator: Source of one uniform number for each image; below one half means mirrored.
    """
    mirrored = (torch.rand(len(images), generator=generator) < 0.5).to(images.device)
    return torch.where(mirrored.view(-1, 1, 1, 1), images.flip(-1), images)


def _span(length: int, size: int, centres: Tensor) -> Tensor:
    places = torch.arange(length, device=centres.device)
    start = (centres - size // 2).unsqueeze(1)
    return (places >= start) & (places < start + size)


def cutout(images: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Set a square of each image to zero (DeVries and Taylor, 2017); apply it after normalisation.

    The centre is uniform over the image, so that squares near the border are clipped there.

    Args:
        images: [N, C, H, W], float.
        size: Side of the square in pixels; 0 returns the images unchanged.
        generator: Source of the centres: all rows, then all columns.
    """
    if size == 0:
        return images
    count, _, height, width = images.shape
    rows = torch.randint(height, (count,), generator=generator).to(images.device)
    columns = torch.randint(width, (count,), generator=generator).to(images.device)
    hole = _span(height, size, rows).unsqueeze(2) & _span(width, size, columns).unsqueeze(1)
    return images.masked_fill(hole.unsqueeze(1), 0)


def _uniform(low: float, high: float, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator)


def _central_box(height: int, width: int, ratio: tuple[float, float]) -> tuple[int, int]:
    """Return height and width of the largest box whose width / height lies within ``ratio``."""
    if width / height < ratio[0]:
        return round(width / ratio[0]), width
    if width / height > ratio[1]:
        return height, round(height * ratio[1])
    return height, width


def random_boxes(
    count: int,
    height: int,
    width: int,
    generator: torch.Generator,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Tensor:
    """Draw the boxes of "Inception" cropping: area uniform, logarithm of the aspect uniform.

    The first of ten tries that fits is taken, else the largest central box.

    Args:
        count: How many boxes.
        height: Height of the images in pixels.
        width: Width of the images in pixels.
        generator: Source of the random numbers.
        scale: Lowest and highest area, as a share of the image's.
        ratio: Lowest and highest width / height.

    Returns:
        int64 [count, 4]: top, left, height, width in pixels.
    """
    area = height * width * _uniform(*scale, (10, count), generator)
    aspect = _uniform(math.log(ratio[0]), math.log(ratio[1]), (10, count), generator).exp()
    heights, widths = (area / aspect).sqrt().round().long(), (area * aspect).sqrt().round().long()
    fits = (heights >= 1) & (heights <= height) & (widths >= 1) & (widths <= width)
    first = fits.int().argmax(0, keepdim=True)
    found = fits.any(0)
    spare_height, spare_width = _central_box(height, width, ratio)
    h = torch.where(found, heights.gather(0, first)[0], spare_height)
    w = torch.where(found, widths.gather(0, first)[0], spare_width)
    places = torch.rand((2, count), generator=generator)
    top = torch.where(found, places[0] * (height - h + 1), (height - h) // 2).long()
    left = torch.where(found, places[1] * (width - w + 1), (width - w) // 2).long()
    return torch.stack([top, left, h, w], dim=1)


def crop_and_resize(images: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut a box from each image and resize it bilinearly, without smoothing when it shrinks.

    Args:
        images: [N, C, H, W], float.
        boxes: int64 [N, 4]: top, left, height, width in pixels.
        size: Height and width of the result.
    """
    shape = torch.tensor(images.shape[2:], dtype=images.dtype)
    start, extent = boxes[:, :2].to(images.dtype), boxes[:, 2:].to(images.dtype)
    # Coordinates run from -1 to 1 over the whole image, x (columns) before y (rows).
    scale, shift = (extent / shape).flip(1), ((2 * start + extent) / shape - 1).flip(1)
    theta = torch.cat([torch.diag_embed(scale), shift.unsqueeze(2)], dim=2).to(images.device)
    grid = affine_grid(theta, [*images.shape[:2], *size], align_corners=False)
    # Pixels outside the box must not shine in: no sample beyond the centres of its outermost pixels.
    low, high = ((2 * start + 1) / shape - 1).flip(1), ((2 * (start + extent) - 1) / shape - 1).flip(1)
    grid = grid.clamp(low.view(-1, 1, 1, 2).to(images.device), high.view(-1, 1, 1, 2).to(images.device))
    return grid_sample(images, grid, padding_mode="border", align_corners=False)


def random_resized_crop(images: Tensor, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Cut a random box of 8 to 100 % of the area from each image and resize it.

    Args:
        images: [N, C, H, W], uint8 or float in [0, 1].
        size: Height and width of the result.
        generator: Source of the boxes.
    """
    height, width = images.shape[2:]
    return crop_and_resize(to_float(images), random_boxes(len(images), height, width, generator), size)
