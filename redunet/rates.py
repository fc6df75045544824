"""Coding rates: how many nats the samples take, together and class by class."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from redunet.checks import as_samples, check_positive
from redunet.partition import Partition
from redunet.spectrum import HalfSpectrum, scaled


class RateReduction(NamedTuple):
    """The rate reduction and its two parts, scalar tensors: delta = expansion − compression."""

    delta: Tensor
    expansion: Tensor
    compression: Tensor


def coding_rate(Z: Any, eps_sq: float) -> Tensor:
    """Coding rate of all samples together, in nats.

    R = 1/(2F) Σ_p log det(I + α V(p) V(p)*) with α = C/(m ε²), V the unitary DFT of Z over its
    spatial axes and F the number of frequencies (for vectors F = 1 and V = Zᵀ).

    Parameters
    ----------
    Z : array-like or Tensor of shape (m, n), (m, C, T), (m, C, H, W), …
        Samples first, then channels, then any number of spatial axes.
    eps_sq : float
        ε², the squared precision of the code.

    Returns
    -------
    Tensor
        A scalar, differentiable in ``Z``.

    Raises
    ------
    ValueError
        If ``Z`` is not finite, or ``eps_sq`` not positive.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), eq. 7; Appendix B.3 for signals.
    """
    check_positive(eps_sq=eps_sq)
    Z = as_samples(Z, name="Z")
    spectrum = _spectrum_of(Z)
    return _expansion(spectrum(Z), spectrum, eps_sq)


def rate_reduction(Z: Any, labels: Any, eps_sq: float) -> RateReduction:
    """Coding rate of all samples together, less that of the classes apart.

    ΔR = R − R_c with R as in :func:`coding_rate` and
    R_c = Σ_j γ_j/(2F) Σ_p log det(I + α_j V(p) Πʲ V(p)*), α_j = C/(tr(Πʲ) ε²), γ_j = tr(Πʲ)/m.

    Parameters
    ----------
    Z : array-like or Tensor of shape (m, n), (m, C, T), (m, C, H, W), …
        Samples first, then channels, then any number of spatial axes.
    labels : array-like or Tensor of shape (m,) or (m, k)
        Integers or strings, or soft memberships whose rows sum to 1.
    eps_sq : float
        ε², the squared precision of the code.

    Returns
    -------
    RateReduction
        Three scalars, differentiable in ``Z``.

    Raises
    ------
    ValueError
        If ``Z`` is not finite, ``eps_sq`` not positive, or the labels are not usable.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), eqs. 9–11; Appendix B.3 for signals.
    """
    check_positive(eps_sq=eps_sq)
    Z = as_samples(Z, name="Z")
    partition = Partition.from_labels(labels, len(Z), device=Z.device)
    spectrum = _spectrum_of(Z)
    return spectral_rate_reduction(spectrum(Z), spectrum, partition, eps_sq)


def spectral_rate_reduction(
    V: Tensor, spectrum: HalfSpectrum, partition: Partition, eps_sq: float
) -> RateReduction:
    """:func:`rate_reduction` of samples whose half spectrum ``(F, m, C)`` is at hand."""
    expansion = _expansion(V, spectrum, eps_sq)
    compression = _compression(V, spectrum, partition, eps_sq)
    return RateReduction(expansion - compression, expansion, compression)


def log_det(factor: Tensor) -> Tensor:
    """Log det of Hermitian matrices from their Cholesky factors, ``(…, d, d)`` to real ``(…)``."""
    return 2 * factor.diagonal(dim1=-2, dim2=-1).real.log().sum(-1)


def _spectrum_of(Z: Tensor) -> HalfSpectrum:
    return HalfSpectrum(Z.shape[2:]).to(Z.device)


def _expansion(V: Tensor, spectrum: HalfSpectrum, eps_sq: float) -> Tensor:
    """R of the half spectrum ``(F, m, C)``."""
    _, m, C = V.shape
    weights = spectrum.weights.to(V.real.dtype)
    log_dets = _log_det_covariance(V, C / (m * eps_sq) / weights)
    return (weights * log_dets).sum() / (2 * spectrum.size)


def _compression(V: Tensor, spectrum: HalfSpectrum, partition: Partition, eps_sq: float) -> Tensor:
    """R_c of the half spectrum ``(F, m, C)``, one batch for each group of similar classes."""
    _, m, C = V.shape
    weights = spectrum.weights.to(V.real.dtype)[:, None]  # (F, 1)
    counts = partition.counts.to(weights.dtype)
    total = V.real.new_zeros(())
    for group in partition.groups:
        count = counts[group.classes]  # (g,)
        members = scaled(V[:, group.samples], group.weights.to(weights.dtype).sqrt()[:, :, None])
        log_dets = _log_det_covariance(members, C / (count * eps_sq) / weights)  # (F, g)
        total = total + (count / m * weights * log_dets).sum()
    return total / (2 * spectrum.size)


def _log_det_covariance(V: Tensor, scale: Tensor) -> Tensor:
    """Return log det(I + scale Σᵢ vᵢ vᵢ*) over the rows vᵢ of ``(…, s, C)``, on the smaller side.

    det(I + a VV*) = det(I + a V*V): a class of few samples costs a small determinant.
    """
    samples, channels = V.shape[-2:]
    gram = V.conj() @ V.mT if samples < channels else V.mT @ V.conj()
    identity = torch.eye(min(samples, channels), dtype=V.dtype, device=V.device)
    return log_det(torch.linalg.cholesky(identity + scale[..., None, None] * gram))
