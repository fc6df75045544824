"""Shifts and rotations of samples."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from redunet._checks import Array, as_samples, check_count


def all_shifts(X: Array, stride: int = 1) -> Tensor:
    """All cyclic shifts of samples along all their spatial axes.

    Parameters
    ----------
    X : array-like or Tensor of shape (m, C, *spatial)
    stride : int
        Step between shifts: they are multiples of ``stride``.

    Returns
    -------
    Tensor of shape (m, S, C, *spatial)
        S shifts of each sample; the first is the sample itself. ``flatten(0, 1)`` turns the shifts
        into samples, which have the labels ``labels.repeat_interleave(S)``.
    """
    stride = check_count(stride=stride)
    X = as_samples(X)
    axes = tuple(range(1, X.ndim - 1))  # the spatial axes of one sample (C, *spatial)
    grid = torch.cartesian_prod(*(torch.arange(0, n, stride) for n in X.shape[2:]))
    steps = grid.reshape(-1, len(axes)).tolist()
    return torch.stack([X.roll(step, [a + 1 for a in axes]) for step in steps], 1)


def rotations(images: Array, count: int) -> Tensor:
    """Images rotated counter-clockwise about their centre by multiples of 2π/count.

    Parameters
    ----------
    images : array-like or Tensor of shape (m, C, H, W)
    count : int
        Number of rotations. The first is by 0.

    Returns
    -------
    Tensor of shape (m, count, C, H, W)
        Bilinearly interpolated; zero outside of the original image.
    """
    count = check_count(count=count)
    images = as_samples(images, name="images")
    height, width = images.shape[2:]
    x = torch.arange(width).to(images) - (width - 1) / 2
    y = (height - 1) / 2 - torch.arange(height).to(images)[:, None]
    angles = [2 * math.pi * step / count for step in range(count)]
    turned = [
        (math.cos(angle) * x + math.sin(angle) * y, math.cos(angle) * y - math.sin(angle) * x)
        for angle in angles
    ]
    return torch.stack([at_points(images, *points) for points in turned], 1)


def at_points(images: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Images ``(m, C, H, W)`` at points ``(h, w)``, ``(m, C, h, w)``.

    Bilinearly interpolated; zero outside. Points are in pixels from the centre, and y points up.
    """
    height, width = images.shape[2:]
    # In coordinates of grid_sample, the centres of the outermost pixels are at ±1; y points down.
    grid = torch.stack([2 * x / max(1, width - 1), -2 * y / max(1, height - 1)], -1)
    grid = grid.expand(len(images), -1, -1, -1)
    return functional.grid_sample(images, grid, align_corners=True)
