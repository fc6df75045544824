"""A lift that brings the channels of samples to a common scale."""

from typing import Self

import torch
from torch import Tensor

from redunet._checks import Array, as_samples, check_count, check_flag
from redunet.lifts.base import Lift


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
        channels = X.transpose(0, 1).flatten(1).double()
        scale = channels.std(1, correction=0)
        mean = channels.mean(1)
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
        return torch.cat([X, torch.ones_like(X[:, :1])], 1) if self.constant else X
