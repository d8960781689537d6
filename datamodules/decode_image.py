"""From an image file to a uint8 tensor. Pillow is imported when a file is read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image


@contextmanager
def _opened(path: Path) -> Iterator["Image"]:
    from PIL import Image

    try:
        with Image.open(path) as image:
            yield image
    except (OSError, SyntaxError) as error:  # Pillow raises SyntaxError for some broken PNG files
        raise ValueError(f"Expected an image file but got {path} ({error}); replace or remove it.") from error


def image_size_of(path: Path) -> tuple[int, int]:
    """Return height and width of an image file in pixels; only its header is read.

    Raises:
        ValueError: If the file is not an image.
    """
    with _opened(path) as image:
        return image.height, image.width


def _to_channels(image: "Image", channels: int, path: Path) -> "Image":
    if image.mode.startswith(("I", "F")):
        raise ValueError(
            f"Expected 8 bits a channel but got an image of mode {image.mode!r}: {path}; convert it first."
        )
    if "transparency" in image.info:
        image = image.convert("RGBA")  # Pillow warns when a transparent palette goes to RGB directly
    return image.convert("L" if channels == 1 else "RGB")


def _resize_and_crop(image: "Image", size: int) -> "Image":
    from PIL.Image import Resampling

    scale = size / min(image.width, image.height)
    width, height = (max(size, round(length * scale)) for length in image.size)
    left, top = (width - size) // 2, (height - size) // 2
    return image.resize((width, height), Resampling.BILINEAR).crop((left, top, left + size, top + size))


def decode_image(path: Path, channels: int, image_size: int | None = None) -> Tensor:
    """Read an image file.

    Args:
        path: The file, in any format that Pillow knows.
        channels: 3 converts to RGB, 1 to greyscale.
        image_size: The shorter side is resized to so many pixels and a square is cut from the centre; None keeps the
            size of the file.

    Returns:
        uint8 [channels, H, W].

    Raises:
        ValueError: If the file is not an image, or holds more than 8 bits a channel.
    """
    with _opened(path) as image:
        image.load()
        picture = _to_channels(image, channels, path)
    if image_size is not None:
        picture = _resize_and_crop(picture, image_size)
    pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    return pixels.view(picture.height, picture.width, channels).permute(2, 0, 1).contiguous()
