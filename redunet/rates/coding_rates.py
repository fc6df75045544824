"""Coding rates: the number of nats that encode samples, all together or class by class."""

from typing import NamedTuple

from torch import Tensor

from redunet._checks import Array, as_samples, check_positive
from redunet._keywords import suggests
from redunet.rates.covariance import log_det
from redunet.rates.partition import Partition
from redunet.rates.spectrum import HalfSpectrum, moderate_scale


class RateReduction(NamedTuple):
    """The rate reduction and its two parts, as scalar tensors: delta = expansion − compression."""

    delta: Tensor
    expansion: Tensor
    compression: Tensor


@suggests
def coding_rate(Z: Array, eps_sq: float) -> Tensor:
    """Coding rate of all samples together, in nats.

    R = 1/(2F) Σ_p log det(I + α V(p) V(p)*) with α = C/(m ε²). V is the unitary DFT of Z over its
    spatial axes, and F is the number of frequencies. For vectors, F = 1 and V = Zᵀ.

    Parameters
    ----------
    Z : array-like or Tensor of shape (m, n), (m, C, T), (m, C, H, W), …
        The axes are samples, channels, and any number of spatial axes.
    eps_sq : float
        ε², the squared precision of the code.

    Returns
    -------
    Tensor
        A scalar that is differentiable with respect to ``Z``.

    Raises
    ------
    ValueError
        If ``Z`` is not finite, or ``eps_sq`` is not positive.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), eq. 7; Appendix B.3 for signals.
    """
    eps_sq = check_positive(eps_sq=eps_sq)
    Z = as_samples(Z, name="Z")
    scale, spectrum = moderate_scale(Z), spectrum_of(Z)
    return expansion_rate(spectrum(Z / scale), spectrum, eps_sq / scale**2)


@suggests
def rate_reduction(Z: Array, labels: Array, eps_sq: float) -> RateReduction:
    """Coding rate of all samples together minus the coding rate of the separate classes.

    ΔR = R − R_c. R is the :func:`coding_rate`, and
    R_c = Σ_j γ_j/(2F) Σ_p log det(I + α_j V(p) Πʲ V(p)*), α_j = C/(tr(Πʲ) ε²), γ_j = tr(Πʲ)/m.

    Parameters
    ----------
    Z : array-like or Tensor of shape (m, n), (m, C, T), (m, C, H, W), …
        The axes are samples, channels, and any number of spatial axes.
    labels : array-like or Tensor of shape (m,) or (m, k)
        Integers or strings, or soft memberships whose rows sum to 1. A class without members adds
        nothing to R_c.
    eps_sq : float
        ε², the squared precision of the code.

    Returns
    -------
    RateReduction
        Three scalars that are differentiable with respect to ``Z``.

    Raises
    ------
    ValueError
        If ``Z`` is not finite, ``eps_sq`` is not positive, or the labels are invalid.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), eqs. 9–11; Appendix B.3 for signals.
    """
    eps_sq = check_positive(eps_sq=eps_sq)
    Z = as_samples(Z, name="Z")
    partition = Partition.from_labels(labels, len(Z), device=Z.device, empty=True)
    scale, spectrum = moderate_scale(Z), spectrum_of(Z)
    return spectral_rate_reduction(spectrum(Z / scale), spectrum, partition, eps_sq / scale**2)


def spectral_rate_reduction(
    V: Tensor, spectrum: HalfSpectrum, partition: Partition, eps_sq: float
) -> RateReduction:
    """:func:`rate_reduction` of samples that are given as a half spectrum ``(F, m, C)``."""
    expansion = expansion_rate(V, spectrum, eps_sq)
    compression = compression_rate(V, spectrum, partition, eps_sq)
    return RateReduction(expansion - compression, expansion, compression)


def expansion_rate(V: Tensor, spectrum: HalfSpectrum, eps_sq: float) -> Tensor:
    """R of the half spectrum ``(F, m, C)``."""
    _, m, C = V.shape
    weights = spectrum.weights.to(V.real.dtype)
    return mean_rate(log_det(V, C / (m * eps_sq) / weights), spectrum)


def compression_rate(
    V: Tensor, spectrum: HalfSpectrum, partition: Partition, eps_sq: float
) -> Tensor:
    """R_c of the half spectrum ``(F, m, C)``, from batches of classes of similar size."""
    _, m, C = V.shape
    weights = spectrum.weights.to(V.real.dtype)[:, None]  # (F, 1)
    counts = partition.counts.to(weights.dtype)
    total = V.real.new_zeros(())
    for batch in partition.class_batches:
        count = counts[batch.classes]  # (g,)
        log_dets = log_det(batch.gather(V), C / (count * eps_sq) / weights)
        total = total + (count / m * mean_rate(log_dets, spectrum)).sum()
    return total


def mean_rate(log_dets: Tensor, spectrum: HalfSpectrum) -> Tensor:
    """1/(2F) Σ_p log det(p) over the full spectrum.

    Parameters
    ----------
    log_dets : Tensor of shape (F,) or (F, k)
        At each frequency of the half spectrum.
    spectrum : HalfSpectrum

    Returns
    -------
    Tensor, scalar or of shape (k,)
    """
    weights = spectrum.weights.to(log_dets.dtype).view(-1, *[1] * (log_dets.ndim - 1))
    # No matrix product, which autocast would turn into half precision.
    return (weights * log_dets).sum(0) / (2 * spectrum.size)


def spectrum_of(Z: Tensor) -> HalfSpectrum:
    """The transform of samples ``(m, C, *spatial)`` to half spectra."""
    return HalfSpectrum(Z.shape[2:]).to(Z.device)
