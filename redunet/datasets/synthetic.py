"""Simulated data."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from redunet._checks import check_count, check_positive


def gaussians(
    means: Sequence[Sequence[float]] | Tensor | None = None,
    *,
    ndim: int = 3,
    per_class: int = 500,
    sigma: float = 0.1,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """Mixture of Gaussians, projected onto the unit sphere.

    Parameters
    ----------
    means : array-like of shape (k, ndim), optional
        Centres of the classes; by default ``ndim`` centres that are 60 degrees from each other.
    ndim : int
        Dimension n of the space: 2 for the circle S¹, 3 for the sphere S².
    per_class : int
        Number of samples of each class.
    sigma : float
        Standard deviation of every coordinate before the projection.
    seed : int

    Returns
    -------
    X : Tensor of shape (k·per_class, n), float32
        Samples of unit norm, sorted by class.
    labels : Tensor of shape (k·per_class,), int64

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Section 5.2 and Figure 15.
    """
    ndim, per_class = check_count(ndim=ndim, per_class=per_class)
    sigma, seed = check_positive(sigma=sigma), check_count(None, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.device("cpu"):  # where a seed gives the same numbers everywhere
        if means is None:
            # The centres e_j + t·1 with 2t + nt² = 1 have cosines of 1/2.
            means = functional.normalize(torch.eye(ndim) + (math.sqrt(1 + ndim) - 1) / ndim)
        means = torch.as_tensor(means, dtype=torch.float32)
        k, n = means.shape
        X = means[:, None] + sigma * torch.randn(k, per_class, n, generator=generator)
        labels = torch.arange(k).repeat_interleave(per_class)
    return functional.normalize(X.flatten(0, 1)), labels


def sinusoids(
    num_classes: int = 3,
    *,
    per_class: int = 100,
    length: int = 64,
    channels: int = 3,
    noise: float = 0.1,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """Multi-channel sinusoids at random times, with a frequency and phase lags for each class.

    The signal of a class is the sum of a sinusoid and its second harmonic. Both have a lag of their
    own in every channel. A sample is this signal, shifted cyclically by a random time, plus white
    noise.

    Parameters
    ----------
    num_classes : int
        Number of classes. Class j has j + 1 periods in the signal.
    per_class, length, channels : int
        Number of samples of each class, length T of the signals, and number C of channels.
    noise : float
        Standard deviation of the noise.
    seed : int

    Returns
    -------
    X : Tensor of shape (num_classes·per_class, channels, length), float32
    labels : Tensor of shape (num_classes·per_class,), int64
    """
    num_classes, per_class, length, channels = check_count(
        num_classes=num_classes, per_class=per_class, length=length, channels=channels
    )
    seed = check_count(None, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.device("cpu"):
        labels = torch.arange(num_classes).repeat_interleave(per_class)
        lags = 2 * math.pi * torch.rand(num_classes, channels, 2, generator=generator)
        starts = torch.randint(length, (len(labels), 1, 1), generator=generator)
        periods = (labels + 1)[:, None, None]
        phase = 2 * math.pi * periods * (torch.arange(length) + starts) / length  # (m, 1, T)
        lag = lags[labels]  # (m, C, 2)
        X = (phase + lag[:, :, :1]).sin() + 0.5 * (2 * phase + lag[:, :, 1:]).sin()
        return X + noise * torch.randn(X.shape, generator=generator), labels
