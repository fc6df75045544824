"""Coding rates: how many nats the samples take, together and class by class."""

from typing import NamedTuple

from torch import Tensor

from redunet._checks import Array, as_samples, check_positive
from redunet.rates.covariance import log_det
from redunet.rates.partition import Partition
from redunet.rates.spectrum import HalfSpectrum


class RateReduction(NamedTuple):
    """The rate reduction and its two parts, scalar tensors: delta = expansion − compression."""

    delta: Tensor
    expansion: Tensor
    compression: Tensor


def coding_rate(Z: Array, eps_sq: float) -> Tensor:
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
    spectrum = spectrum_of(Z)
    return expansion_rate(spectrum(Z), spectrum, eps_sq)


def rate_reduction(Z: Array, labels: Array, eps_sq: float) -> RateReduction:
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
    spectrum = spectrum_of(Z)
    return spectral_rate_reduction(spectrum(Z), spectrum, partition, eps_sq)


def spectral_rate_reduction(
    V: Tensor, spectrum: HalfSpectrum, partition: Partition, eps_sq: float
) -> RateReduction:
    """:func:`rate_reduction` of samples whose half spectrum ``(F, m, C)`` is at hand."""
    expansion = expansion_rate(V, spectrum, eps_sq)
    compression = compression_rate(V, spectrum, partition, eps_sq)
    return RateReduction(expansion - compression, expansion, compression)


def expansion_rate(V: Tensor, spectrum: HalfSpectrum, eps_sq: float) -> Tensor:
    """R of the half spectrum ``(F, m, C)``."""
    _, m, C = V.shape
    weights = spectrum.weights.to(V.real.dtype)
    log_dets = log_det(V, C / (m * eps_sq) / weights)
    return (weights * log_dets).sum() / (2 * spectrum.size)


def compression_rate(
    V: Tensor, spectrum: HalfSpectrum, partition: Partition, eps_sq: float
) -> Tensor:
    """R_c of the half spectrum ``(F, m, C)``, one batch for each group of similar classes."""
    _, m, C = V.shape
    weights = spectrum.weights.to(V.real.dtype)[:, None]  # (F, 1)
    counts = partition.counts.to(weights.dtype)
    total = V.real.new_zeros(())
    for batch in partition.class_batches:
        count = counts[batch.classes]  # (g,)
        log_dets = log_det(batch.gather(V), C / (count * eps_sq) / weights)
        total = total + (count / m * weights * log_dets).sum()
    return total / (2 * spectrum.size)


def spectrum_of(Z: Tensor) -> HalfSpectrum:
    """The spectrum that samples ``(m, C, *spatial)`` have."""
    return HalfSpectrum(Z.shape[2:]).to(Z.device)
