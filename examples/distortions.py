"""The random distortions with which the ReduNet paper learns without labels (JMLR 2022, D.2).

They follow the definitions of Torchvision, and distort all images of a batch at once. Every image
has random values of its own. Images are ``(m, 3, H, W)`` with values in [0, 1].
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

GREY = (0.2989, 0.587, 0.114)
TRIES = 10  # crops that are drawn until one fits into the image


class Distortions(NamedTuple):
    """Crops, flips, changes of colour and, if ``blur``, a blur of every second image."""

    brightness: float
    contrast: float
    saturation: float
    hue: float
    blur: bool = False

    def __call__(self, images: Tensor) -> Tensor:
        """Images with a distortion of each."""
        images = resized_crops(images)
        images = _sometimes(0.8, self.coloured, images)
        images = _sometimes(0.2, lambda some: grey(some).expand_as(some), images)
        return _sometimes(0.5, blurred, images) if self.blur else images

    def coloured(self, images: Tensor) -> Tensor:
        """Brightness, contrast, saturation and hue are changed in a random order."""
        count = len(images)
        order = torch.rand(count, 4).argsort(1)
        limits = (self.brightness, self.contrast, self.saturation, self.hue)
        amounts = (2 * torch.rand(count, 4) - 1) * torch.tensor(limits)
        changes = (brighter, contrasted, saturated, turned)
        for step in range(4):
            for number, change in enumerate(changes):
                rows = order[:, step] == number
                images[rows] = change(images[rows], amounts[rows, number])
        return images


def resized_crops(images: Tensor) -> Tensor:
    """Crops with 8 % to 100 % of the area, scaled to the size of the image; half are mirrored."""
    count = len(images)
    area = 0.08 + 0.92 * torch.rand(count, TRIES)
    ratio = torch.exp((2 * torch.rand(count, TRIES) - 1) * math.log(4 / 3))
    sides = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()], 2)  # width, height
    fits = sides.amax(2) <= 1
    first = fits.int().argmax(1)
    sides = torch.where(fits.any(1)[:, None], sides[torch.arange(count), first], 1.0)
    places = (2 * torch.rand(count, 2) - 1) * (1 - sides)
    sides[:, 0] *= torch.where(torch.rand(count) < 0.5, -1.0, 1.0)
    affine = torch.cat([torch.diag_embed(sides), places[:, :, None]], 2).to(images)
    grid = functional.affine_grid(affine, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def brighter(images: Tensor, amounts: Tensor) -> Tensor:
    """Values multiplied by 1 + amount."""
    return _mixed(images, torch.zeros_like(images), amounts)


def contrasted(images: Tensor, amounts: Tensor) -> Tensor:
    """Distances to the mean grey of the image multiplied by 1 + amount."""
    return _mixed(images, grey(images).mean((1, 2, 3), keepdim=True), amounts)


def saturated(images: Tensor, amounts: Tensor) -> Tensor:
    """Distances to the grey image multiplied by 1 + amount."""
    return _mixed(images, grey(images), amounts)


def turned(images: Tensor, amounts: Tensor) -> Tensor:
    """The hue turned by a fraction of a full turn, at the same saturation and value."""
    value, lowest = images.amax(1), images.amin(1)
    chroma = value - lowest
    red, green, blue = images.unbind(1)
    safe = torch.where(chroma > 0, chroma, 1)
    hue = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    hue = hue + 6 * amounts.to(images)[:, None, None]
    channels = []
    for shift in (5, 3, 1):
        k = (shift + hue) % 6
        channels.append(value - chroma * torch.minimum(k, 4 - k).clamp(0, 1))
    return torch.stack(channels, 1)


def blurred(images: Tensor, size: int = 9) -> Tensor:
    """A Gaussian blur of random width between 0.1 and 2 pixels."""
    count, channels, height, width = images.shape
    widths = (0.1 + 1.9 * torch.rand(count)).to(images)
    x = torch.arange(size, device=images.device) - size // 2
    kernels = torch.softmax(-(x**2) / (2 * widths[:, None] ** 2), 1)
    kernels = kernels.repeat_interleave(channels, 0)[:, None]
    pixels = functional.pad(images, [size // 2] * 4, mode="reflect")
    pixels = pixels.reshape(1, count * channels, *pixels.shape[2:])
    pixels = functional.conv2d(pixels, kernels[..., None], groups=count * channels)
    pixels = functional.conv2d(pixels, kernels[..., None, :], groups=count * channels)
    return pixels.reshape(count, channels, height, width)


def grey(images: Tensor) -> Tensor:
    """Grey values ``(m, 1, H, W)``."""
    return (images * torch.tensor(GREY).to(images)[:, None, None]).sum(1, keepdim=True)


def _mixed(images: Tensor, others: Tensor, amounts: Tensor) -> Tensor:
    factors = 1 + amounts.to(images)[:, None, None, None]
    return (factors * images + (1 - factors) * others).clamp(0, 1)


def _sometimes(probability: float, change: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Change each image with a probability."""
    rows = torch.rand(len(images)) < probability
    images = images.clone()
    if rows.any():
        images[rows] = change(images[rows])
    return images
