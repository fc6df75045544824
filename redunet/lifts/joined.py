"""Several lifts side by side."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from redunet._checks import check_count
from redunet.lifts.band import Band, resampled
from redunet.lifts.base import Lift
from redunet.lifts.blocks import in_blocks
from redunet.rates.spectrum import safe_sqrt


class JoinedLift(Lift):
    """The channels of several lifts, one after the other, as blocks of the same norm.

    Every lift gives one block of channels, or one for each of its bands. The features of a sample
    in a block have a squared norm of 1/B, with B the number of blocks. All blocks are brought to
    the widest grid, on which the additional frequencies of the narrower bands are zero.

    Parameters
    ----------
    lifts : iterable of nn.Module
        Each maps ``(m, C, *spatial)`` to ``(m, C', *spatial')``.
    bands : sequence of sequences of (int or None), optional
        For each lift the bands of its blocks, as in :class:`Band`; None stands for all frequencies.
        By default each lift gives one block with all frequencies.

    Raises
    ------
    ValueError
        If there are no lifts, there are not bands for each of them, or a grid that would have to be
        widened has an even length.
    """

    def __init__(
        self,
        lifts: Iterable[nn.Module],
        bands: Sequence[Sequence[int | None]] | None = None,
    ):
        super().__init__()
        self.lifts = nn.ModuleList(lifts)
        if not self.lifts:
            raise ValueError("lifts must contain at least one lift")
        self.bands = [
            [check_count(0, bands=band) for band in of_lift]
            for of_lift in bands or [[None]] * len(self.lifts)
        ]
        if len(self.bands) != len(self.lifts) or not all(self.bands):
            raise ValueError(
                f"bands must contain at least one band for each of {len(self.lifts)} lifts, got "
                f"{self.bands}"
            )

    def forward(self, X: Tensor) -> Tensor:
        """Map ``(m, C, *spatial)`` to ``(m, Σ C_b, *widest)``."""
        blocks = [
            features if band is None else Band(band)(features)
            for lift, bands in zip(self.lifts, self.bands, strict=True)
            for features in [in_blocks(lift, X, widest(bands))]
            for band in bands
        ]
        largest = [max(lengths) for lengths in zip(*(b.shape[2:] for b in blocks), strict=True)]
        for block in blocks:
            _check_grid(block.shape[2:], largest)
        share = len(blocks) ** -0.5
        return torch.cat([resampled(_of_unit_norm(block) * share, largest) for block in blocks], 1)


def widest(bands: Sequence[int | None]) -> Band | None:
    """The widest of some bands; None if one of them has all frequencies."""
    return None if None in bands else Band(max(band for band in bands if band is not None))


def _of_unit_norm(X: Tensor) -> Tensor:
    """Every sample scaled to unit norm; a sample of norm zero stays zero."""
    flat = X.flatten(1)
    largest = flat.detach().abs().amax(1, keepdim=True)
    flat = flat / torch.where(largest > 0, largest, 1)  # so that no square overflows
    length = safe_sqrt(flat.square().sum(1, keepdim=True))
    return (flat / torch.where(length > 0, length, 1)).view_as(X)


def _check_grid(shape: Sequence[int], largest: Sequence[int]) -> None:
    for length, places in zip(shape, largest, strict=True):
        if length < places and length % 2 == 0:
            raise ValueError(
                f"a lift gives {length} places along an axis where another gives {places}: keep an "
                "odd number of places, as a band does"
            )
