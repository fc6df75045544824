"""The random distortions of images, against their definitions."""

import colorsys
import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d

ROOT = Path(__file__).parents[1]


@pytest.fixture
def distortions(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "examples")
    torch.manual_seed(0)
    return importlib.import_module("distortions")


def images_of(count, *size):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, 3, *size, generator=generator, dtype=torch.float64)


def test_hue_is_turned_at_the_same_saturation_and_value(distortions):
    images = images_of(3, 4, 5)
    images[0, :, 0, 0] = 0.5  # grey has no hue
    images[0, :, 0, 1] = torch.tensor([1.0, 0.0, 0.0])
    amounts = torch.tensor([0.1, -0.4, 0.0], dtype=torch.float64)
    found = distortions.turned(images, amounts).permute(0, 2, 3, 1)
    for image, turned, amount in zip(images.permute(0, 2, 3, 1), found, amounts, strict=True):
        for pixel, other in zip(image.reshape(-1, 3), turned.reshape(-1, 3), strict=True):
            hue, saturation, value = colorsys.rgb_to_hsv(*pixel.tolist())
            expected = colorsys.hsv_to_rgb((hue + amount.item()) % 1, saturation, value)
            np.testing.assert_allclose(other, expected, atol=1e-12)


def test_brightness_contrast_and_saturation_move_away_from_a_reference(distortions):
    images, amounts = images_of(2, 4, 4), torch.tensor([-0.3, 0.4], dtype=torch.float64)
    grey = (images * torch.tensor([0.2989, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    references = {
        "brighter": torch.zeros_like(images),
        "contrasted": grey.mean((1, 2, 3), keepdim=True),
        "saturated": grey,
    }
    for name, reference in references.items():
        expected = reference + (1 + amounts[:, None, None, None]) * (images - reference)
        found = getattr(distortions, name)(images, amounts)
        torch.testing.assert_close(found, expected.clamp(0, 1), rtol=0, atol=1e-6)


def test_a_blur_is_a_gaussian_filter_of_nine_pixels(distortions, monkeypatch):
    images = images_of(2, 12, 11)
    monkeypatch.setattr(torch, "rand", lambda count: torch.tensor([0.2, 0.9]))
    found = distortions.blurred(images)
    for image, blurred, width in zip(images, found, (0.48, 1.81), strict=True):
        expected = image.numpy()
        for axis in (1, 2):
            expected = gaussian_filter1d(expected, width, axis, mode="mirror", radius=4)
        np.testing.assert_allclose(blurred, expected, atol=1e-6)


def test_crops_are_parts_of_the_image_and_half_are_mirrored(distortions):
    # The channels are the coordinates of a pixel, so a crop shows where it is from.
    side, count = 32, 400
    x = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    image = torch.stack([x.expand(side, side), x[:, None].expand(side, side)])
    crops = distortions.resized_crops(image.expand(count, -1, -1, -1))
    assert crops.shape == (count, 2, side, side)
    middle = slice(8, -8)  # away from the border, where pixels are repeated
    across = crops[:, 0, :, middle].diff(dim=2).mean((1, 2)) * side
    down = crops[:, 1, middle].diff(dim=1).mean((1, 2)) * side
    assert 160 < (across < 0).sum() < 240
    area, ratio = (across * down).abs(), (across / down).abs()
    assert area.min() > 0.079
    assert area.max() < 1 + 1e-6
    assert area.median() > 0.4
    assert ratio.min() > 0.74
    assert ratio.max() < 1.34
    assert crops.min() >= x[0] - 1e-9
    assert crops.max() <= x[-1] + 1e-9


@pytest.mark.parametrize("blur", [False, True])
def test_a_share_of_the_images_is_changed_in_each_way(distortions, monkeypatch, blur):
    monkeypatch.setattr(distortions, "resized_crops", lambda images: images)
    images = images_of(500, 10, 10).float()
    found = distortions.Distortions(0.4, 0.4, 0.4, 0.1, blur)(images)
    assert found.shape == images.shape
    assert 0 <= found.min() <= found.max() <= 1
    grey = (found - found.mean(1, keepdim=True)).abs().amax((1, 2, 3)) < 1e-6
    assert 60 < grey.sum() < 140  # 20 %
    same = (found == images).flatten(1).all(1)
    expected = 500 * 0.2 * 0.8 * (0.5 if blur else 1)
    assert abs(same.sum() - expected) < 35


def test_images_do_not_change_themselves(distortions):
    images = images_of(20, 10, 10).float()
    before = images.clone()
    distortions.Distortions(0.8, 0.8, 0.8, 0.2, blur=True)(images)
    assert torch.equal(images, before)
