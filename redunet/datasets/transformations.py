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
    rotated = []
    for step in range(count):
        angle = 2 * math.pi * step / count
        cos, sin = math.cos(angle), math.sin(angle)
        # The affine map takes each target pixel to its source; coordinates run over [−1, 1].
        aspect = max(1, height - 1) / max(1, width - 1)
        affine = torch.tensor([[cos, -sin * aspect, 0], [sin / aspect, cos, 0]], dtype=images.dtype)
        grid = functional.affine_grid(
            affine.to(images.device).expand(len(images), 2, 3),
            list(images.shape),
            align_corners=True,
        )
        rotated.append(functional.grid_sample(images, grid, align_corners=True))
    return torch.stack(rotated, 1)
