"""A lift that brings the channels of samples to a common scale."""

from typing import Self

import torch
from torch import Tensor

from redunet._checks import Array, as_samples, check_count, check_flag, is_traced
from redunet._warnings import warn
from redunet.lifts.base import Lift
from redunet.rates.spectrum import moderate_scale

# The first samples have another unit if they vary by this factor more or less than those of the
# fit. Channels of fewer values say nothing.
FACTOR = 50
FEWEST_VALUES = 8
EXAMPLES = 64


class Standardize(Lift):
    """Channels of zero mean and unit variance over the training samples and all places.

    Call :meth:`fit` first. A channel that does not vary is only centred.

    Parameters
    ----------
    in_channels : int
        Number of channels of the samples.
    constant : bool
        Whether to add a channel that is 1 everywhere. Without it, a network would ignore the norms
        of vectors.

    Raises
    ------
    ValueError
        If samples have another number of channels.
    RuntimeError
        If the lift is used before it is fitted.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, in_channels: int, *, constant: bool = False):
        super().__init__()
        self.in_channels = in_channels = check_count(in_channels=in_channels)
        self.constant = check_flag(constant=constant)
        self.register_buffer("mean", torch.zeros(in_channels))
        self.register_buffer("scale", torch.zeros(in_channels))

    @torch.no_grad()
    def fit(self, X: Array) -> Self:
        """Determine means and standard deviations.

        Parameters
        ----------
        X : array-like or Tensor of shape (m, in_channels, *spatial)
            Training samples.
        """
        X = as_samples(X)
        self._check_shape(X)
        self.to(X.device, X.dtype)
        unit = moderate_scale(X)
        channels = X.transpose(0, 1).flatten(1).double() / unit
        scale, mean = channels.std(1, correction=0) * unit, channels.mean(1) * unit
        rounding = 10 * torch.finfo(X.dtype).eps * mean.abs()
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(scale > rounding, scale, 1))
        return self

    def forward(self, X: Tensor) -> Tensor:
        """Standardise ``(m, in_channels, *spatial)``; the constant comes last."""
        self._check_shape(X)
        self._check_fitted(self.scale)
        shape = (-1, *[1] * (X.ndim - 2))
        X = (X - self.mean.view(shape)) / self.scale.view(shape)
        if X.device.type == "cpu" and not is_traced():  # a GPU would make the host wait
            _warn_of_other_units(X)
        return torch.cat([X, torch.ones_like(X[:, :1])], 1) if self.constant else X


def _warn_of_other_units(X: Tensor) -> None:
    """Warn if standardised channels vary far less, or far more, than by 1, in the median."""
    channels = X[:EXAMPLES].detach().transpose(0, 1).flatten(1)
    if channels.shape[1] < FEWEST_VALUES:
        return
    spreads = channels.std(1)
    spread = spreads[spreads > 0].median()  # NaN if there are none
    if spread < 1 / FACTOR or spread > FACTOR:
        warn(
            f"the samples vary {FACTOR} times {'less' if spread < 1 else 'more'} than those of the "
            "construction: give all samples the same unit. If some are integers from 0 to 255 and "
            "others numbers from 0 to 1, divide the integers by 255"
        )
