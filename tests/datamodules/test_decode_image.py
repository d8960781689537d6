from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_nas.datamodules.decode_image import decode_image, image_size_of


def save(path: Path, pixels: list[list[list[int]]] | np.ndarray, mode: str | None = None) -> Path:
    image = Image.fromarray(np.asarray(pixels, dtype=np.uint8))
    (image.convert(mode) if mode else image).save(path)
    return path


def gradient(height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 5, columns * 5, rows + columns], axis=2).astype(np.uint8)


def test_pixels(tmp_path: Path) -> None:
    pixels = gradient(4, 6)
    path = save(tmp_path / "a.png", pixels)
    image = decode_image(path, 3)
    assert image.dtype == torch.uint8
    assert np.array_equal(image.numpy(), pixels.transpose(2, 0, 1))
    assert image_size_of(path) == (4, 6)


def test_grey(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", gradient(4, 6))
    assert np.array_equal(decode_image(path, 1)[0].numpy(), np.asarray(Image.open(path).convert("L")))


@pytest.mark.parametrize("mode", ["L", "1", "RGBA", "P", "LA"])
def test_other_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    path = save(tmp_path / "a.png", gradient(4, 6), mode)
    with Image.open(path) as image:
        expected = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    assert np.array_equal(decode_image(path, 3).numpy(), expected)


def test_transparent_palette(tmp_path: Path) -> None:
    palette = Image.fromarray(gradient(4, 6)).convert("P")
    palette.save(tmp_path / "a.png", transparency=bytes(range(256)))
    assert decode_image(tmp_path / "a.png", 3).shape == (3, 4, 6)


@pytest.mark.parametrize(("height", "width"), [(8, 20), (20, 8), (8, 8), (5, 16), (9, 13)])
def test_shorter_side_is_resized_and_the_centre_kept(tmp_path: Path, height: int, width: int) -> None:
    path = save(tmp_path / "a.png", gradient(height, width))
    image = decode_image(path, 3, 8).float()
    assert image.shape == (3, 8, 8)
    # The gradient's mean over the square is the value at the centre of the file.
    assert abs(image[0].mean() - (height - 1) / 2 * 5) < 3
    assert abs(image[1].mean() - (width - 1) / 2 * 5) < 3


def test_no_image(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("hello")
    for read in (image_size_of, lambda file: decode_image(file, 3)):
        with pytest.raises(ValueError, match=f"Expected an image file but got {path} .*replace or remove it"):
            read(path)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_damaged_image(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a.{suffix}", np.random.default_rng(0).integers(256, size=(40, 40, 3)))
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(ValueError, match=f"Expected an image file but got {path}"):
        decode_image(path, 3)


def test_sixteen_bits(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.full((4, 4), 40000, dtype=np.uint16)).save(path)
    with pytest.raises(ValueError, match=f"Expected 8 bits a channel but got an image of mode 'I;16': {path}"):
        decode_image(path, 3)
