"""A lift that keeps a band of low frequencies."""

from collections.abc import Sequence

import torch
from torch import Tensor

from redunet._checks import check_count
from redunet.lifts.base import Lift


class Band(Lift):
    """The frequencies from −P to P along every spatial axis, on a grid of 2P + 1 places.

    The unitary Fourier coefficients at these frequencies do not change. A cyclic shift of the
    samples by any whole number of places multiplies each of them by a phase, so residuals and
    memberships are exactly invariant. On the small grid the shift is one by a fraction of a place.

    A band costs less work and is often more accurate than all frequencies, because it ignores
    fine detail. An axis of at most 2P + 1 places does not change.

    Parameters
    ----------
    frequencies : int
        The largest frequency P, at least 0. The band of 0 is the mean times the square root of the
        number of places.

    Raises
    ------
    ValueError
        If ``frequencies`` is negative.
    """

    def __init__(self, frequencies: int):
        super().__init__()
        self.frequencies: int = check_count(0, frequencies=frequencies)

    def forward(self, X: Tensor) -> Tensor:
        """Map ``(m, C, *spatial)`` to ``(m, C, 2P + 1, …, 2P + 1)``."""
        places = 2 * self.frequencies + 1
        return resampled(X, [min(length, places) for length in X.shape[2:]])


def resampled(X: Tensor, shape: Sequence[int]) -> Tensor:
    """Signals ``(m, C, *spatial)`` with the same Fourier coefficients on another grid.

    The last axis comes first, because it lies densely in memory. The others are then shorter.
    """
    for axis in reversed(range(2, X.ndim)):
        length, places = X.shape[axis], shape[axis - 2]
        if length != places:
            matrix = resampling(length, places, X.device).to(X.dtype)
            X = (X.transpose(axis, -1) @ matrix.mT).transpose(axis, -1)
    return X


def resampling(length: int, places: int, device: torch.device | None = None) -> Tensor:
    """The real matrix ``(places, length)`` that keeps the Fourier coefficients both grids have.

    The smaller number of places must be odd. Coefficients are those of the unitary transform.
    """
    shared = (min(length, places) - 1) // 2
    times, source, frequencies = (
        torch.arange(start, stop, dtype=torch.float64, device=device)
        for start, stop in ((0, places), (0, length), (1, shared + 1))
    )
    times = times[:, None] / places - source / length
    waves = 1 + 2 * torch.cos(2 * torch.pi * frequencies[:, None, None] * times).sum(0)
    return waves / (length * places) ** 0.5
