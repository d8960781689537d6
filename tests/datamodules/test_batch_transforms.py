import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from lightning_nas.datamodules import batch_transforms as transforms
from lightning_nas.seeding import make_generator


def make_images(count: int = 9, channels: int = 3, height: int = 7, width: int = 5) -> Tensor:
    shape = (count, channels, height, width)
    return torch.randint(1, 256, shape, generator=make_generator(1), dtype=torch.uint8)


def test_normalise_numbers() -> None:
    images = torch.tensor([0, 255, 51], dtype=torch.uint8).view(1, 3, 1, 1)
    result = transforms.normalise(images, (0.5, 0.25, 0.1), (0.5, 0.25, 0.2))
    assert result.dtype == torch.float32
    assert torch.allclose(result.flatten(), torch.tensor([-1.0, 3.0, 0.5]))
    assert torch.equal(transforms.normalise(images / 255, (0.5, 0.25, 0.1), (0.5, 0.25, 0.2)), result)


def test_crop_is_the_slow_crop() -> None:
    images, padding = make_images(), 2
    result = transforms.random_crop(images, padding, make_generator(0))
    rows, columns = torch.randint(5, (2, len(images)), generator=make_generator(0)).tolist()
    assert result.shape == images.shape
    assert result.dtype == torch.uint8
    for image, moved, row, column in zip(images, result, rows, columns, strict=True):
        for y in range(7):
            for x in range(5):
                from_y, from_x = y + row - padding, x + column - padding
                inside = 0 <= from_y < 7 and 0 <= from_x < 5
                assert moved[:, y, x].tolist() == (image[:, from_y, from_x].tolist() if inside else [0, 0, 0])


def test_crop_reaches_all_offsets() -> None:
    image = torch.zeros(1, 1, 5, 5, dtype=torch.uint8)
    image[..., 2, 2] = 1
    moved = transforms.random_crop(image.expand(500, -1, -1, -1), 1, make_generator(0))
    places = moved.nonzero()[:, 2:].tolist()
    assert {tuple(place) for place in places} == {(y, x) for y in (1, 2, 3) for x in (1, 2, 3)}


def test_no_padding_no_crop() -> None:
    images = make_images()
    assert transforms.random_crop(images, 0, make_generator(0)) is images


def test_flip_is_the_slow_flip() -> None:
    images = make_images(200)
    result = transforms.random_flip(images, make_generator(0))
    mirrored = (torch.rand(200, generator=make_generator(0)) < 0.5).tolist()
    assert 70 < sum(mirrored) < 130
    for image, moved, flip in zip(images, result, mirrored, strict=True):
        assert moved.tolist() == (image.flip(2) if flip else image).tolist()


@pytest.mark.parametrize("size", [1, 2, 3, 4, 20])
def test_cutout_is_the_slow_cutout(size: int) -> None:
    images = make_images().float()
    result = transforms.cutout(images, size, make_generator(0))
    generator = make_generator(0)
    rows = torch.randint(7, (len(images),), generator=generator).tolist()
    columns = torch.randint(5, (len(images),), generator=generator).tolist()
    for image, cut, row, column in zip(images, result, rows, columns, strict=True):
        expected = image.clone()
        top, left = row - size // 2, column - size // 2
        expected[:, max(top, 0) : max(top + size, 0), max(left, 0) : max(left + size, 0)] = 0
        assert torch.equal(cut, expected)


def test_cutout_of_an_even_size_has_the_published_box() -> None:
    # c - size / 2 included, c + size / 2 excluded: 4 x 4 pixels where nothing is clipped.
    holes = transforms.cutout(torch.ones(300, 1, 9, 9), 4, make_generator(0)) == 0
    assert holes.sum((1, 2, 3)).max() == 16
    assert holes.sum((1, 2, 3)).min() == 4


def test_no_cutout() -> None:
    images = make_images()
    assert transforms.cutout(images, 0, make_generator(0)) is images


def test_boxes_fit_and_follow_the_distribution() -> None:
    boxes = transforms.random_boxes(4000, 32, 40, make_generator(0))
    top, left, height, width = boxes.unbind(1)
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + height <= 32).all()
    assert (left + width <= 40).all()
    share = height * width / (32 * 40)
    assert 0.07 < share.min() < 0.1
    assert share.max() > 0.95
    aspect = (width / height).log()
    assert abs(aspect.mean()) < 0.03
    assert aspect.abs().max() < math.log(4 / 3) + 0.15  # rounding to pixels adds a little
    assert {0, 10} <= set(top.tolist())


@pytest.mark.parametrize(
    ("height", "width", "box"), [(4, 40, [0, 17, 4, 5]), (40, 4, [17, 0, 5, 4]), (6, 6, [0, 0, 6, 6])]
)
def test_boxes_that_never_fit_are_central(height: int, width: int, box: list[int]) -> None:
    boxes = transforms.random_boxes(3, height, width, make_generator(0), scale=(2.0, 2.0))
    assert boxes.tolist() == [box] * 3


@pytest.mark.parametrize("size", [(7, 5), (4, 4), (11, 13)])
def test_crop_and_resize_is_the_slow_one(size: tuple[int, int]) -> None:
    images = make_images(40) / 255
    boxes = transforms.random_boxes(40, 7, 5, make_generator(0))
    result = transforms.crop_and_resize(images, boxes, size)
    for image, resized, (top, left, height, width) in zip(images, result, boxes.tolist(), strict=True):
        cut = image[None, :, top : top + height, left : left + width]
        expected = interpolate(cut, size, mode="bilinear", align_corners=False)[0]
        assert torch.allclose(resized, expected, atol=1e-5)


def test_random_resized_crop_of_uint8() -> None:
    images = make_images(6)
    result = transforms.random_resized_crop(images, (8, 8), make_generator(0))
    boxes = transforms.random_boxes(6, 7, 5, make_generator(0))
    assert torch.equal(result, transforms.crop_and_resize(images / 255, boxes, (8, 8)))
    assert result.min() >= 0
    assert result.max() <= 1
