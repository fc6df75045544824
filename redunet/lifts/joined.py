"""Several lifts side by side."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from redunet.lifts.band import resampling
from redunet.lifts.base import Lift
from redunet.lifts.blocks import in_blocks


class JoinedLift(Lift):
    """The channels of several lifts, one after the other. Each lift has the same share of the norm.

    For every sample, the features of each lift are scaled to a squared norm of 1/B, with B the
    number of lifts. Lifts may keep bands of different widths: all of them are brought to the widest
    grid, on which the additional frequencies of the narrower bands are zero.

    Parameters
    ----------
    lifts : iterable of nn.Module
        Each maps ``(m, C, *spatial)`` to ``(m, C_b, *spatial_b)``. Grids of different lengths must
        be odd, except for the widest.

    Raises
    ------
    ValueError
        If there are no lifts, or a grid that would have to change is even.
    """

    def __init__(self, lifts: Iterable[nn.Module]):
        super().__init__()
        self.lifts = nn.ModuleList(lifts)
        if not self.lifts:
            raise ValueError("lifts must contain at least one lift")

    def forward(self, X: Tensor) -> Tensor:
        """Map ``(m, C, *spatial)`` to ``(m, Σ C_b, *widest)``."""
        parts = [in_blocks(lift, X) for lift in self.lifts]
        widest = tuple(map(max, zip(*(part.shape[2:] for part in parts), strict=True)))
        share = len(parts) ** -0.5
        return torch.cat([_on_grid(_of_unit_norm(part), widest) * share for part in parts], 1)


def _of_unit_norm(X: Tensor) -> Tensor:
    """Every sample scaled to unit norm; a sample of norm zero stays zero."""
    flat = X.flatten(1)
    largest = flat.abs().amax(1, keepdim=True)
    flat = flat / torch.where(largest > 0, largest, 1)  # so that no square overflows
    length = flat.square().sum(1, keepdim=True).sqrt()
    return (flat / torch.where(length > 0, length, 1)).view_as(X)


def _on_grid(X: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Samples with the same Fourier coefficients on a wider grid."""
    for axis, places in enumerate(shape, 2):
        length = X.shape[axis]
        if length == places:
            continue
        if length % 2 == 0:
            raise ValueError(
                f"a lift gives {length} places along an axis where another gives {places}: keep an "
                "odd number of places, as Band does"
            )
        matrix = resampling(length, places).to(X.device, X.dtype)
        X = (X.transpose(axis, -1) @ matrix.mT).transpose(axis, -1)
    return X
