"""Lifts by circular correlation with random kernels or with principal components."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from redunet._checks import Array, as_samples, check_count, check_counts, check_number
from redunet._keywords import suggests
from redunet.lifts.base import Lift
from redunet.rates.spectrum import moderate_scale


class CirculantLift(Lift):
    """Circular correlation with fixed kernels, followed by a threshold that makes it sparse.

    It commutes with cyclic shifts. Subclasses choose the kernels.

    Attributes
    ----------
    kernels : Tensor of shape (out_channels, in_channels, *kernel_size)
        A kernel is centred on the position of its response.
    """

    ndim: int
    kernels: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        ndim: int,
        threshold: Literal["relu"] | float,
    ):
        super().__init__()
        in_channels, out_channels, ndim = check_count(
            in_channels=in_channels, out_channels=out_channels, ndim=ndim
        )
        if ndim not in (1, 2, 3):
            raise ValueError(f"ndim must be 1, 2 or 3, got {ndim}")
        sizes = check_counts(kernel_size=kernel_size, repeat=ndim)
        if len(sizes) != ndim:
            raise ValueError(f"kernel_size must be one integer or {ndim}, got {kernel_size}")
        if not isinstance(threshold, str):
            threshold = check_number(threshold=threshold)
        if threshold != "relu" and (isinstance(threshold, str) or not threshold >= 0):
            raise ValueError(f"threshold must be 'relu' or a number t >= 0, got {threshold!r}")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.ndim, self.threshold = sizes, ndim, threshold
        self.register_buffer("kernels", torch.zeros(out_channels, in_channels, *sizes))

    def forward(self, X: Tensor) -> Tensor:
        """Lift ``(m, in_channels, *spatial)`` to ``(m, out_channels, *spatial)``."""
        self._check_fits(X)
        # functional.pad takes the padding before and after each axis, from the last axis on.
        padding = [p for size in reversed(self.kernel_size) for p in ((size - 1) // 2, size // 2)]
        convolve = (functional.conv1d, functional.conv2d, functional.conv3d)[self.ndim - 1]
        responses = convolve(functional.pad(X, padding, mode="circular"), self.kernels)
        if self.threshold == "relu":
            return responses.relu()
        return functional.softshrink(responses, self.threshold)

    def _check_fits(self, X: Tensor) -> None:
        self._check_shape(X)
        if any(n < size for n, size in zip(X.shape[2:], self.kernel_size, strict=True)):
            raise ValueError(
                f"kernels of {self.kernel_size} do not fit signals of {tuple(X.shape[2:])}"
            )


class RandomCirculantLift(CirculantLift):
    """Circular correlation with random Gaussian kernels, then a threshold that makes it sparse.

    It commutes with cyclic shifts. The added channels separate signals that would not be separable
    in few channels.

    Parameters
    ----------
    in_channels, out_channels : int
        Number of channels before and after the lift.
    kernel_size : int or sequence of int
        Lengths of the kernels along the spatial axes.
    ndim : {1, 2, 3}
        Number of spatial axes.
    seed : int
        Seed of the kernels. Their entries are independent and standard normal. The global random
        state of torch is neither used nor changed.
    threshold : "relu" or float
        "relu" for a ReLU, or a number t ≥ 0 for the soft threshold ``sign(x)·max(|x| − t, 0)``.

    Raises
    ------
    ValueError
        If a size or the threshold is out of range, or signals are shorter than the kernels.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Section 4.2, eqs. 36, 40 and 41.
    """

    @suggests
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        ndim: int,
        seed: int = 0,
        threshold: Literal["relu"] | float = "relu",
    ):
        super().__init__(in_channels, out_channels, kernel_size, ndim, threshold)
        self.seed = check_count(None, seed=seed)
        generator = torch.Generator().manual_seed(self.seed)
        shape = self.kernels.shape
        self.kernels.copy_(
            torch.randn(shape, generator=generator, device="cpu", dtype=torch.float64)
        )


class PCALift(CirculantLift):
    """Circular correlation with the principal components of the samples' patches.

    Call :meth:`fit` first. A component has the size of a patch in all channels. The components are
    orthonormal and sorted by descending eigenvalue.

    Parameters
    ----------
    in_channels, out_channels : int
        Number of channels before and after the lift.
    kernel_size : int or sequence of int
        Size of the patches along the spatial axes.
    ndim : {1, 2, 3}
        Number of spatial axes.
    threshold : "relu" or float
        "relu" for a ReLU, or a number t ≥ 0 for a soft threshold; 0 applies none.

    Raises
    ------
    ValueError
        If a size or the threshold is out of range, or ``out_channels`` exceeds the dimension of a
        patch without its mean.
    RuntimeError
        If the lift is used before it is fitted.

    References
    ----------
    Chan et al., PCANet: A Simple Deep Learning Baseline for Image Classification (IEEE TIP 2015),
    of which this is one stage; ReduNet (JMLR 2022), footnote 28.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        ndim: int,
        threshold: Literal["relu"] | float = "relu",
    ):
        super().__init__(in_channels, out_channels, kernel_size, ndim, threshold)
        dimensions = self.kernels[0].numel() - 1  # the mean of a patch is removed
        if self.out_channels > dimensions:
            raise ValueError(
                f"patches of {self.kernel_size} and {in_channels} channels have {dimensions} "
                f"dimensions without their mean, fewer than out_channels={out_channels}"
            )

    @torch.no_grad()
    def fit(self, X: Array) -> "PCALift":
        """Compute the principal components of all patches, each without its mean.

        Patches wrap around the borders, as the correlations do. Their second moment follows from
        the autocorrelation of the samples, so no patches are extracted.

        Parameters
        ----------
        X : array-like or Tensor of shape (m, in_channels, *spatial)
        """
        X = as_samples(X)
        self._check_fits(X)
        self.to(X.device, X.dtype)
        # Patches lose their mean, so the level of the samples does not matter, nor does their unit.
        X = X.double() - X.mean(dtype=torch.float64)
        moment = self._patch_moment(X / moderate_scale(X))
        moment = moment - moment.mean(0)
        moment = moment - moment.mean(1, keepdim=True)  # of patches without their means
        _, vectors = torch.linalg.eigh(moment)
        components = vectors.mT.flip(0)[: self.out_channels]
        largest = components.gather(1, components.abs().argmax(1, keepdim=True))
        self.kernels.copy_((components * largest.sign()).view_as(self.kernels))
        return self

    def forward(self, X: Tensor) -> Tensor:
        """Lift ``(m, in_channels, *spatial)`` to ``(m, out_channels, *spatial)``."""
        self._check_fitted(self.kernels)
        return super().forward(X)

    def _patch_moment(self, X: Tensor) -> Tensor:
        """Second moment of all patches, ``(n, n)`` with n = in_channels · size of a patch.

        The entry of place o in channel c and place o' in channel d is Σ_x X_c(x + o) X_d(x + o'),
        summed over samples: the correlation of the two channels at lag o' − o.
        """
        shape, axes = X.shape[2:], tuple(range(2, X.ndim))
        spectrum = torch.fft.fftn(X, dim=axes).flatten(2)  # (m, C, F)
        cross = torch.einsum("mcp,mdp->cdp", spectrum.conj(), spectrum)
        correlation = torch.fft.ifftn(cross.unflatten(2, shape), dim=axes).real  # (C, C, *shape)
        places = torch.cartesian_prod(*(torch.arange(n) for n in self.kernel_size))
        places = places.reshape(-1, self.ndim)  # (P, ndim)
        lags = (places - places[:, None]) % torch.tensor(shape)  # (P, P, ndim)
        moment = correlation[(..., *lags.to(X.device).unbind(-1))]  # (C, C, P, P)
        return moment.transpose(1, 2).flatten(2, 3).flatten(0, 1)
