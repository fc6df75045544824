"""I + a Σ v v*: its log determinant is a rate, its inverse an operator. On the smaller side."""

from dataclasses import dataclass

import torch
from torch import Tensor

from redunet.spectrum import scaled

# Above this size a library's inverse is faster than that of the triangle and a product.
LARGEST_PRODUCT = 256


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
        return 2 * self.factor.diagonal(dim1=-2, dim2=-1).real.log().sum(-1)

    def inverse(self) -> Tensor:
        """Inverse, Hermitian ``(…, C, C)``."""
        if self.samples is not None:
            half = self.inverse_factor()
            inverse = -(half.mH @ half)
            inverse.diagonal(dim1=-2, dim2=-1).add_(1)
            return inverse
        if self.factor.shape[-1] > LARGEST_PRODUCT:
            # Its columns lie in memory one by one; products want rows, which are conjugates here.
            return torch.cholesky_inverse(self.factor).mT.contiguous().conj_physical_()
        half = self._inverted_factor()
        return half.mH @ half

    def inverse_factor(self) -> Tensor:
        """W of the inverse I − W*W, ``(…, s, C)``, if samples are kept: Woodbury's identity."""
        triangle = scaled(self._inverted_factor(), self.scale.sqrt()[..., None, None])
        return triangle @ self.samples.conj()

    def _inverted_factor(self) -> Tensor:
        identity = torch.eye(
            self.factor.shape[-1], dtype=self.factor.dtype, device=self.factor.device
        )
        return torch.linalg.solve_triangular(self.factor, identity, upper=False)


def second_moment(samples: Tensor) -> Tensor:
    """Σᵢ vᵢ vᵢ* over the rows vᵢ of ``(…, s, C)``."""
    return samples.mT @ samples.conj()


def _regularised_factor(gram: Tensor, scale: Tensor) -> Tensor:
    regularised = scaled(gram, scale[..., None, None])
    regularised.diagonal(dim1=-2, dim2=-1).add_(1)
    factor, info = torch.linalg.cholesky_ex(regularised)
    if bool(info.any()):
        raise ValueError(
            f"eps_sq is too fine for {gram.real.dtype}: a second moment cannot be inverted; take a "
            "larger eps_sq, or samples in float64"
        )
    return factor
