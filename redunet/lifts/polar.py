"""Images on a polar grid, on which a rotation is a cyclic shift."""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from redunet._checks import Array, as_samples, check_count, check_number, plain
from redunet.datasets.transformations import at_points


def polar_samples(images: Array, radii: int | Sequence[float], angles: int) -> Tensor:
    """Sample images on circles about their centre: each radius becomes a channel.

    Rotation of an image by n · 2π/Γ shifts its samples cyclically by n places, up to the error of
    the interpolation.

    Parameters
    ----------
    images : array-like or Tensor of shape (m, C, H, W)
    radii : int or sequence of float
        Radii in pixels. An integer R stands for the radii 0, 1, …, R − 1.
    angles : int
        Number Γ of samples on each circle, counter-clockwise from the positive x axis.

    Returns
    -------
    Tensor of shape (m, C·R, Γ)
        Bilinearly interpolated; zero outside of the image.

    Raises
    ------
    ValueError
        If the images do not have four axes, or the grid has no points.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Section 5.2 and Figure 22.
    """
    images = as_samples(images, name="images")
    if images.ndim != 4:
        raise ValueError(f"images must have shape (m, C, H, W), got {tuple(images.shape)}")
    angles, radii = check_count(angles=angles), plain(radii)
    if not isinstance(radii, Iterable):
        radii = range(check_count(radii=radii))
    lengths = [check_number(radii=radius) for radius in radii]
    radius = torch.tensor(lengths, dtype=torch.float64).to(images)[:, None]
    angle = torch.arange(angles).to(images) * (2 * math.pi / angles)
    sampled = at_points(images, radius * angle.cos(), radius * angle.sin())
    return sampled.flatten(1, 2)  # (m, C, R, Γ) to (m, C·R, Γ)
