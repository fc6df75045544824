"""Log determinants and inverses of regularised covariances I + a Σ v v*.

A log determinant gives a coding rate, and an inverse gives an operator. Both are computed from the
covariance of the channels or from the Gram matrix of the samples, whichever is smaller.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from redunet.rates.spectrum import scaled

# A Cholesky factor is trusted if its smallest pivot is more than this many times the rounding error
# of its largest pivot. Log determinants then have a relative error of at most about 1e-3.
LEAST_PIVOT = 1000


class PrecisionError(ValueError):
    """A regularised second moment cannot be inverted in the precision of the samples."""


@dataclass(frozen=True)
class RegularisedCovariance:
    """Batches of I + a Σᵢ vᵢ vᵢ*, represented by a Cholesky factor.

    V has the columns vᵢ. Two identities allow the smaller of two matrices to be factorised:
    det(I + a VV*) = det(I + a V*V), and (I + a VV*)⁻¹ = I − a V (I + a V*V)⁻¹ V*. With fewer
    samples than channels, no C × C matrix is factorised.

    Attributes
    ----------
    factor : Tensor (…, d, d)
        Cholesky factor of I + a VV* (d = C), or of I + a V*V (d = s) if the samples are few.
    failures : Tensor (…) of int
        0 where the factor exists. Call :func:`check_factors` before you use the others.
    scale : Tensor (…)
        The factor a.
    conjugates : Tensor (…, s, C) or None
        The rows are the conjugates of vᵢ. They are stored only if V*V was factorised.
    """

    factor: Tensor
    failures: Tensor
    scale: Tensor
    conjugates: Tensor | None = None

    @classmethod
    def from_samples(cls, samples: Tensor, scale: Tensor) -> "RegularisedCovariance":
        """The covariance of samples ``(…, s, C)`` whose rows are vᵢ."""
        count, channels = samples.shape[-2:]
        if count > channels:
            return cls.from_moment(second_moment(samples), scale)
        # Both products need the conjugates, so they are written to memory once.
        conjugates = samples.conj().resolve_conj()
        gram = _regularised(conjugates @ samples.mT, scale)
        factor, failures = torch.linalg.cholesky_ex(gram)
        return cls(factor, failures, scale, conjugates)

    @classmethod
    def from_moment(cls, moment: Tensor, scale: Tensor) -> "RegularisedCovariance":
        """The covariance with the second moment Σᵢ vᵢ vᵢ*, ``(…, C, C)``."""
        factor, failures = torch.linalg.cholesky_ex(_regularised(moment, scale))
        return cls(factor, failures, scale)

    def log_det(self) -> Tensor:
        """Log determinant, real ``(…)``."""
        return _log_det_of(self.factor)

    def inverse(self) -> Tensor:
        """Inverse, Hermitian ``(…, C, C)``."""
        if self.conjugates is None:
            return _inverse_of(self.factor)
        half = self.inverse_factor()
        inverse = -(half.mH @ half)
        inverse.diagonal(dim1=-2, dim2=-1).add_(1)
        return inverse

    def solve(self, V: Tensor) -> Tensor:
        """The inverse applied to each row of ``(…, q, C)``."""
        if self.conjugates is None:
            return V @ _inverse_of(self.factor).mT
        factor = self.inverse_factor()
        return V - (V @ factor.mT) @ factor.conj()

    def inverse_factor(self) -> Tensor:
        """The matrix W ``(…, s, C)`` in the inverse I − W*W, by Woodbury's identity.

        Raises
        ------
        ValueError
            If the covariance stores no samples.
        """
        if self.conjugates is None:
            raise ValueError("a covariance without stored samples has no inverse factor")
        triangle = scaled(_inverted(self.factor), self.scale.sqrt()[..., None, None])
        return triangle @ self.conjugates


def check_factors(*covariances: RegularisedCovariance) -> None:
    """Raise PrecisionError unless all factors exist. The host waits once for all of them."""
    if bool(torch.cat([each.failures.flatten() for each in covariances]).any()):
        dtype = next(each.factor for each in covariances if bool(each.failures.any())).real.dtype
        raise PrecisionError(
            f"eps_sq is too small for {dtype}: a regularised second moment cannot be inverted; use "
            "a larger eps_sq, or samples in float64"
        )


def second_moment(samples: Tensor) -> Tensor:
    """Σᵢ vᵢ vᵢ* over the rows vᵢ of ``(…, s, C)``."""
    return samples.mT @ samples.conj()


def log_det(samples: Tensor, scale: Tensor) -> Tensor:
    """Log determinant of I + a Σ vᵢ vᵢ*, differentiable and finite for all finite samples.

    Parameters
    ----------
    samples : Tensor of shape (…, s, C)
        The rows are vᵢ.
    scale : Tensor of shape (…)
        The factor a.

    Returns
    -------
    Tensor of shape (…)
        Real log determinants. The relative error is below 1e-3, however the norms of the samples
        differ. If a matrix is too badly conditioned for the precision of the samples, its log
        determinant is computed from a QR decomposition of the samples in double precision, which
        takes longer. A rounding error of a long sample still counts: two samples of length 1e30
        that should be equal differ by more than all samples of length 1.
    """
    value, _ = _LogDet.apply(samples, scale)
    trusted = torch.isfinite(value)
    if bool(trusted.all()):
        return value
    exact = _log_det_by_qr(samples[~trusted], scale[~trusted]).to(value.dtype)
    log_dets = exact.new_zeros(value.shape).masked_scatter(~trusted, exact)
    if not bool(trusted.any()):
        return log_dets
    # Evaluate the trusted matrices again, so that no gradient flows through the other factors.
    value, _ = _LogDet.apply(samples[trusted], scale[trusted])
    return log_dets.masked_scatter(trusted, value)


def _log_det_by_qr(samples: Tensor, scale: Tensor) -> Tensor:
    """2 log |det R| of the decomposition QR of the rows √a vᵢ above I, because RᴴR = I + a V*V.

    Singular values have errors relative to the largest one. A QR decomposition has errors relative
    to each column, and relative to each row if long rows come first and have no zeros. Few samples
    are therefore columns. Many samples are rows, which a rotation frees of zeros.
    """
    dtype = torch.promote_types(samples.dtype, torch.float64)
    rows = scaled(samples.to(dtype), scale.to(dtype.to_real()).sqrt()[..., None, None])
    count, channels = rows.shape[-2:]
    size = min(count, channels)
    rows = rows.mT if count < channels else rows @ _rotation(channels).to(rows)
    identity = torch.eye(size, dtype=dtype, device=rows.device).expand(*rows.shape[:-2], -1, -1)
    rows = torch.cat([rows, identity], -2)
    if count >= channels:
        order = rows.detach().abs().amax(-1, keepdim=True).argsort(-2, descending=True)
        rows = rows.take_along_dim(order, -2)
    return 2 * torch.linalg.qr(rows).R.diagonal(dim1=-2, dim2=-1).abs().log().sum(-1)


def _rotation(size: int) -> Tensor:
    """A random orthogonal matrix, always the same."""
    generator = torch.Generator().manual_seed(0)
    entries = torch.randn(size, size, generator=generator, device="cpu", dtype=torch.float64)
    return torch.linalg.qr(entries).Q


class _LogDet(torch.autograd.Function):
    """The log determinant from a Cholesky factor of the smaller matrix; NaN where it is inaccurate.

    The gradient with respect to vᵢ is 2a (I + a VV*)⁻¹ vᵢ. It takes one inverse and one product,
    which costs less than differentiating the factorisation.
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
            if torch.is_grad_enabled():  # second derivatives are needed
                factor = torch.linalg.cholesky(_regularised_gram(samples, scale))
            inverse = _inverse_of(factor)
            on_channels = factor.shape[-1] == samples.shape[-1]
            shrunk = samples @ inverse.mT if on_channels else inverse.conj() @ samples
        samples_gradient = scaled(shrunk, (2 * gradient * scale)[..., None, None])
        scale_gradient = None
        if ctx.needs_input_grad[1]:
            scale_gradient = gradient * (samples.conj() * shrunk).real.sum((-2, -1))
        return samples_gradient, scale_gradient


def _regularised_gram(samples: Tensor, scale: Tensor) -> Tensor:
    """I + a VV* if there are at least as many samples as channels, otherwise I + a V*V."""
    count, channels = samples.shape[-2:]
    gram = second_moment(samples) if count >= channels else samples.conj() @ samples.mT
    return _regularised(gram, scale)


def _regularised(gram: Tensor, scale: Tensor) -> Tensor:
    regularised = scaled(gram, scale[..., None, None])
    regularised.diagonal(dim1=-2, dim2=-1).add_(1)
    return regularised


def _is_well_conditioned(factor: Tensor) -> Tensor:
    """Whether the smallest pivot is well above the rounding error of the largest pivot.

    Each pivot has an absolute error of a few eps times the largest pivot.
    """
    pivots = factor.diagonal(dim1=-2, dim2=-1).real.square()
    rounding = torch.finfo(pivots.dtype).eps * pivots.amax(-1)
    return pivots.amin(-1) > LEAST_PIVOT * rounding


def _log_det_of(factor: Tensor) -> Tensor:
    return 2 * factor.diagonal(dim1=-2, dim2=-1).real.log().sum(-1)


def _inverse_of(factor: Tensor) -> Tensor:
    """Inverse of the matrix that has this Cholesky factor."""
    if factor.is_cuda:  # takes cholesky_inverse of one matrix at a time
        half = _inverted(factor)
        return half.mH @ half
    # The result is stored by columns, and products are faster with rows. These are the columns of
    # the inverse of the conjugate, because the matrix is Hermitian.
    return torch.cholesky_inverse(factor.conj()).mT.contiguous()


def _inverted(factor: Tensor) -> Tensor:
    identity = torch.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device)
    return torch.linalg.solve_triangular(factor, identity, upper=False)
