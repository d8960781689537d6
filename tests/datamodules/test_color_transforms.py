from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision.transforms import functional  # type: ignore[import-untyped]  # torchvision ships no types

from lightning_nas.datamodules import color_transforms as transforms
from lightning_nas.seeding import make_generator


def make_images(channels: int = 3) -> Tensor:
    images = torch.rand((6, channels, 5, 4), generator=make_generator(0))
    images[0] = 0.3  # grey: no hue
    images[1, :, 0] = 0
    return images


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_as_torchvision(name: str, channels: int) -> None:
    images, factors = make_images(channels), torch.tensor([0.0, 0.5, 0.8, 1.0, 1.3, 2.0])
    adjust: Callable[[Tensor, Tensor], Tensor] = getattr(transforms, f"adjust_{name}")
    reference = getattr(functional, f"adjust_{name}")
    expected = torch.stack([reference(image, f.item()) for image, f in zip(images, factors, strict=True)])
    # torchvision's weights of the three colours have four digits, and the third differs by 1e-4 from 1 - the others.
    assert torch.allclose(adjust(images, factors), expected, atol=1e-3)


def test_hue_as_torchvision() -> None:
    images, turns = make_images(), torch.tensor([0.2, -0.5, -0.13, 0.0, 0.31, 0.5])
    expected = torch.stack([functional.adjust_hue(image, t.item()) for image, t in zip(images, turns, strict=True)])
    assert torch.allclose(transforms.adjust_hue(images, turns), expected, atol=1e-5)


def test_neutral_amounts_change_nothing() -> None:
    images = make_images()
    result = transforms.color_jitter(images, 0, 0, 0, 0, make_generator(0))
    assert torch.allclose(result, images, atol=1e-6)


def test_jitter_is_drawn_for_each_image() -> None:
    images = torch.full((400, 3, 2, 2), 0.5)
    images[:, 0] = 0.6
    result = transforms.color_jitter(images, 0.4, 0, 0, 0, make_generator(0))
    factors = (result / images)[:, 0, 0, 0]
    assert torch.allclose(result, images * factors.view(-1, 1, 1, 1), atol=1e-6)
    assert 0.6 <= factors.min() < 0.62
    assert 1.38 < factors.max() <= 1.4
    assert torch.equal(result, transforms.color_jitter(images, 0.4, 0, 0, 0, make_generator(0)))


def test_hue_range() -> None:
    red = torch.zeros(300, 3, 1, 1)
    red[:, 0] = 1
    result = transforms.color_jitter(red, 0, 0, 0, 1 / 6, make_generator(0)).flatten(1)
    # A sixth of a turn from red is yellow one way and magenta the other: red itself stays at full strength.
    assert torch.allclose(result[:, 0], torch.ones(300))
    assert result[:, 1].max() > 0.95
    assert result[:, 2].max() > 0.95
    assert torch.minimum(result[:, 1], result[:, 2]).max() < 1e-6


def test_one_channel_has_no_colour() -> None:
    images = make_images(1)
    result = transforms.color_jitter(images, 0.4, 0.4, 0.4, 0.2, make_generator(0))
    assert result.shape == images.shape
    assert not torch.allclose(result, images)
