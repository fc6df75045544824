"""I + a Σ v v*: its log determinant is a rate, its inverse an operator. On the smaller side."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from redunet.rates.spectrum import scaled

# Above this size a library's inverse is faster than that of the triangle and a product.
LARGEST_PRODUCT = 256

# A Cholesky factor is trusted if its smallest pivot is this many times the rounding error of its
# largest one: log determinants are then right to about 1e-3.
LEAST_PIVOT = 1000


@dataclass(frozen=True)
class RegularisedCovariance:
    """Batches of I + a Σᵢ vᵢ vᵢ*, as the Cholesky factor of the smaller of two matrices.

    det(I + a VV*) = det(I + a V*V), and (I + a VV*)⁻¹ = I − a V (I + a V*V)⁻¹ V*: with fewer
    samples than channels nothing of the size of the channels needs to be factorised.

    Attributes
    ----------
    factor : Tensor (…, d, d)
        Of I + a VV* (d = C), or of I + a V*V (d = s) if ``samples`` are kept.
    scale : Tensor (…)
        a.
    samples : Tensor (…, s, C) or None
        Rows are samples.
    """

    factor: Tensor
    scale: Tensor
    samples: Tensor | None = None

    @classmethod
    def from_samples(cls, samples: Tensor, scale: Tensor) -> "RegularisedCovariance":
        """From rows vᵢ of ``(…, s, C)``."""
        count, channels = samples.shape[-2:]
        if count > channels:
            return cls.from_moment(second_moment(samples), scale)
        gram = samples.conj() @ samples.mT
        return cls(_regularised_factor(gram, scale), scale, samples)

    @classmethod
    def from_moment(cls, moment: Tensor, scale: Tensor) -> "RegularisedCovariance":
        """From the second moment Σᵢ vᵢ vᵢ*, ``(…, C, C)``."""
        return cls(_regularised_factor(moment, scale), scale)

    def log_det(self) -> Tensor:
        """Log determinant, real ``(…)``."""
        return _log_det_of(self.factor)

    def inverse(self) -> Tensor:
        """Inverse, Hermitian ``(…, C, C)``."""
        if self.samples is None:
            return _inverse_of(self.factor)
        half = self.inverse_factor()
        inverse = -(half.mH @ half)
        inverse.diagonal(dim1=-2, dim2=-1).add_(1)
        return inverse

    def inverse_factor(self) -> Tensor:
        """W of the inverse I − W*W, ``(…, s, C)``, if samples are kept: Woodbury's identity."""
        if self.samples is None:
            raise ValueError("a covariance that keeps no samples has no such factor")
        triangle = scaled(_inverted(self.factor), self.scale.sqrt()[..., None, None])
        return triangle @ self.samples.conj()


def second_moment(samples: Tensor) -> Tensor:
    """Σᵢ vᵢ vᵢ* over the rows vᵢ of ``(…, s, C)``."""
    return samples.mT @ samples.conj()


def log_det(samples: Tensor, scale: Tensor) -> Tensor:
    """Log determinant of I + a Σ vᵢ vᵢ*, differentiable and finite for all finite samples.

    Parameters
    ----------
    samples : Tensor of shape (…, s, C)
        Rows vᵢ.
    scale : Tensor of shape (…)
        a.

    Returns
    -------
    Tensor of shape (…)
        Real, with a relative error below 1e-3 for samples of any length. Matrices that are too
        badly conditioned for the precision of the samples are evaluated from the singular values
        of the samples in double precision, which takes longer.
    """
    value, _ = _LogDet.apply(samples, scale)
    trusted = torch.isfinite(value)
    if bool(trusted.all()):
        return value
    exact = _log_det_by_singular_values(samples[~trusted], scale[~trusted]).to(value.dtype)
    log_dets = exact.new_zeros(value.shape).masked_scatter(~trusted, exact)
    if not bool(trusted.any()):
        return log_dets
    # A second evaluation, so that no gradient flows through the factors that are not trusted.
    value, _ = _LogDet.apply(samples[trusted], scale[trusted])
    return log_dets.masked_scatter(trusted, value)


def leading_directions(samples: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Leading eigenvalues and eigenvectors of the second moments of batches of samples.

    Parameters
    ----------
    samples : Tensor of shape (…, s, C)
        Rows are samples.
    count : int
        How many directions.

    Returns
    -------
    eigenvalues : Tensor of shape (…, r), r = min(count, s, C)
        Largest first; zero where the samples have lower rank.
    directions : Tensor of shape (…, r, C)
        Orthonormal rows; zero where the eigenvalue is.
    """
    s, channels = samples.shape[-2:]
    count = min(count, s, channels)
    gram = samples.conj() @ samples.mT if s < channels else samples.mT @ samples.conj()
    values, vectors = torch.linalg.eigh(gram)
    values, vectors = values[..., -count:].flip(-1), vectors[..., -count:].flip(-1)
    directions = vectors.mT
    if s < channels:
        lengths = values.clamp_min(torch.finfo(values.dtype).tiny).sqrt()
        directions = vectors.mT @ samples / lengths[..., None]
    # Eigenvalues of a Gram matrix are exact to eps times the largest.
    noise = values[..., :1] * torch.finfo(values.dtype).eps * max(s, channels)
    found = values > noise
    return torch.where(found, values, 0), torch.where(found[..., None], directions, 0)


def _log_det_by_singular_values(samples: Tensor, scale: Tensor) -> Tensor:
    dtype = torch.promote_types(samples.dtype, torch.float64)
    singular_values = torch.linalg.svdvals(samples.to(dtype))
    return torch.log1p(scale[..., None] * singular_values.square()).sum(-1)


class _LogDet(torch.autograd.Function):
    """The log determinant by a Cholesky factor of the smaller side; NaN where it is not accurate.

    Its gradient with respect to vᵢ, 2a (I + a VV*)⁻¹ vᵢ, takes one inverse of that factor and one
    product, which is less than to differentiate the factorisation.
    """

    @staticmethod
    def forward(samples: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(samples.device.type, enabled=False):
            factor, info = torch.linalg.cholesky_ex(_regularised_gram(samples, scale))
        trusted = (info == 0) & _is_well_conditioned(factor)
        return torch.where(trusted, _log_det_of(factor), torch.nan), factor

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor]
    ) -> None:
        _, factor = output
        ctx.mark_non_differentiable(factor)
        ctx.save_for_backward(*inputs, factor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, Tensor | None]:
        samples, scale, factor = ctx.saved_tensors
        with torch.autocast(samples.device.type, enabled=False):
            if torch.is_grad_enabled():  # somebody wants second derivatives
                factor = torch.linalg.cholesky(_regularised_gram(samples, scale))
            inverse = _inverse_of(factor)
            on_channels = factor.shape[-1] == samples.shape[-1]
            shrunk = samples @ inverse.mT if on_channels else inverse.conj() @ samples
        of_samples = scaled(shrunk, (2 * gradient * scale)[..., None, None])
        of_scale = None
        if ctx.needs_input_grad[1]:
            of_scale = gradient * (samples.conj() * shrunk).real.sum((-2, -1))
        return of_samples, of_scale


def _regularised_gram(samples: Tensor, scale: Tensor) -> Tensor:
    """I + a VV* if there are at least as many samples as channels, or else I + a V*V."""
    count, channels = samples.shape[-2:]
    gram = second_moment(samples) if count >= channels else samples.conj() @ samples.mT
    return _regularised(gram, scale)


def _regularised(gram: Tensor, scale: Tensor) -> Tensor:
    regularised = scaled(gram, scale[..., None, None])
    regularised.diagonal(dim1=-2, dim2=-1).add_(1)
    return regularised


def _regularised_factor(gram: Tensor, scale: Tensor) -> Tensor:
    factor, info = torch.linalg.cholesky_ex(_regularised(gram, scale))
    if bool(info.any()):
        raise ValueError(
            f"eps_sq is too fine for {gram.real.dtype}: a second moment cannot be inverted; take a "
            "larger eps_sq, or samples in float64"
        )
    return factor


def _is_well_conditioned(factor: Tensor) -> Tensor:
    """Whether the smallest pivot stands well above the rounding errors of the largest one.

    Each pivot has an absolute error of a few eps times the largest pivot.
    """
    pivots = factor.diagonal(dim1=-2, dim2=-1).real.square()
    rounding = torch.finfo(pivots.dtype).eps * pivots.amax(-1)
    return pivots.amin(-1) > LEAST_PIVOT * rounding


def _log_det_of(factor: Tensor) -> Tensor:
    return 2 * factor.diagonal(dim1=-2, dim2=-1).real.log().sum(-1)


def _inverse_of(factor: Tensor) -> Tensor:
    """Inverse of the matrix that has this Cholesky factor."""
    if factor.shape[-1] > LARGEST_PRODUCT:
        # Its columns lie in memory one by one; products want rows, which are conjugates here.
        return torch.cholesky_inverse(factor).mT.contiguous().conj_physical()
    half = _inverted(factor)
    return half.mH @ half


def _inverted(factor: Tensor) -> Tensor:
    identity = torch.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device)
    return torch.linalg.solve_triangular(factor, identity, upper=False)
