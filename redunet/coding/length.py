"""The coding length of samples, all together or segment by segment."""

from typing import NamedTuple

import torch
from torch import Tensor

from redunet._checks import Array, as_samples, check_positive
from redunet.rates.coding_rates import spectrum_of
from redunet.rates.covariance import log_det
from redunet.rates.grouping import ClassBatch
from redunet.rates.partition import Partition
from redunet.rates.spectrum import HalfSpectrum, moderate_scale, safe_sqrt, scaled


class Code(NamedTuple):
    """A code for samples of C channels with the squared error ε².

    Their length is (n + C)/2 Σ_p log det(I + C/(nε²) M(p)), with the second moments M of n samples.
    If samples are coded about their mean μ, that of μ is added.
    """

    eps_sq: float | Tensor  # one value, or several (e,)
    channels: int
    weights: Tensor  # (F,) Parseval weights; they sum to the number of all frequencies

    def scales(self, counts: Tensor) -> Tensor:
        """C/(nε²) for n samples."""
        return self.channels / (counts * self.eps_sq)

    def of_samples(self, counts: Tensor, sums: Tensor) -> Tensor:
        """Lengths from sums of log determinants over all frequencies."""
        return (counts + self.channels) / 2 * sums

    def of_means(self, squares: Tensor) -> Tensor:
        """Lengths C/2 log(1 + ‖μ‖²/(Fε²)) of means with these squared norms."""
        return self.channels / 2 * torch.log1p(squares / (self.weights.sum() * self.eps_sq))

    def over_frequencies(self, values: Tensor, block: slice = slice(None)) -> Tensor:
        """The sum of ``(F, …)`` over frequencies, each times its weight."""
        weights = self.weights[block].view(-1, *[1] * (values.ndim - 1))
        return (weights * values).sum(0)


def coding_length(
    X: Array,
    eps_sq: float,
    labels: Array | None = None,
    *,
    center: bool = False,
) -> Tensor:
    """Coding length in nats of samples, all together or segment by segment.

    For vectors, L(X) = (m + D)/2 · log det(I + D/(m ε²) X Xᵀ). This is the length of a code for m
    samples of dimension D with a mean squared error of at most ε²: m/2 · log det(…) for the
    samples, and D/2 · log det(…) for the subspace that the code uses.

    For signals with C channels, L(X) = (m + C)/2 · Σ_p log det(I + C/(m ε²) V(p) V(p)*). V is the
    unitary DFT of X over its spatial axes, and p runs over all F frequencies. This is the length up
    to cyclic shifts: it does not change if any sample is shifted. It equals 1/F of the length of
    all cyclic shifts of all samples, as vectors of dimension D = C F at the squared error F ε², so
    that ε² is the squared error at each of the F places.

    With labels, it is the length of the segmentation, Lᶜ(X) = Σ_j L(X_j) − Σ_j m_j log(m_j/m),
    where X_j has the m_j samples of segment j. The last term is the length of the labels.

    Parameters
    ----------
    X : array-like or Tensor of shape (m, D), (m, C, T), (m, C, H, W), …
        The axes are samples, channels, and any number of spatial axes.
    eps_sq : float
        ε², the squared error of the code.
    labels : array-like or Tensor of shape (m,) or (m, k), optional
        Integers or strings, or soft memberships Π whose rows sum to 1. With soft memberships,
        m_j = tr Πʲ, and V Πʲ V* takes the place of V V*.
    center : bool
        Whether to encode the samples of each segment minus their mean μ, and the mean separately,
        in D/2 · log(1 + ‖μ‖²/ε²) nats. For signals, μ is the mean over samples and places, which
        takes C/2 · log(1 + ‖μ‖²/ε²) nats.

    Returns
    -------
    Tensor
        A scalar that is differentiable with respect to ``X`` and to soft memberships.

    Raises
    ------
    ValueError
        If ``X`` is not finite, ``eps_sq`` is not positive, or the labels are invalid.

    References
    ----------
    Ma, Derksen, Hong, Wright. Segmentation of Multivariate Mixed Data via Lossy Data Coding and
    Compression (TPAMI 2007): the coding length function, also with a mean, and the length of a
    segmentation. Chan et al., ReduNet (JMLR 2022), eq. 9 and Appendix B.3: soft memberships and
    the spectrum.

    Examples
    --------
    >>> X = [[3.0, 0.0], [0.0, 3.0]]
    >>> round(coding_length(X, 1.0).item(), 4)  # 4/2 · log det(10 I)
    9.2103
    """
    eps_sq = check_positive(eps_sq=eps_sq)
    X = as_samples(X)
    scale, spectrum = moderate_scale(X), spectrum_of(X)
    X, eps_sq = X / scale, eps_sq / scale**2
    single = torch.zeros(len(X), dtype=torch.long)
    partition = Partition.from_labels(
        single if labels is None else labels, len(X), device=X.device, partial=True
    )
    counts, origin = partition.counts, None
    if center:  # so that no large numbers are subtracted
        level = X.detach().double().transpose(0, 1).flatten(1).mean(1).to(X.dtype)
        X = X - level.view(-1, *[1] * (X.ndim - 2))
        origin = level * spectrum.size**0.5  # of the unitary transform
    length = segment_lengths(spectrum(X), spectrum, partition, eps_sq, origin=origin).sum()
    label_length = torch.special.xlogy(counts, counts / len(X)).sum()
    return length - label_length.to(length.dtype)


def segment_lengths(
    V: Tensor,
    spectrum: HalfSpectrum,
    partition: Partition,
    eps_sq: float,
    *,
    origin: Tensor | None = None,
) -> Tensor:
    """L(X_j) of each segment in nats, from the half spectrum ``(F, m, C)``.

    With an origin ``(C,)``, which was subtracted from the samples at frequency 0, segments are
    encoded about their means.

    Returns
    -------
    Tensor of shape (k,)
        Zero for a segment without samples.
    """
    code = Code(eps_sq, V.shape[2], spectrum.weights.to(V.real.dtype))
    counts = partition.counts.to(V.real.dtype)
    lengths = V.real.new_zeros(partition.num_classes)
    for batch in partition.class_batches:
        count = counts[batch.classes]  # (g,)
        members, of_means = batch.gather(V), torch.zeros_like(count)
        if origin is not None:
            members, means = centred(members, batch, count)
            of_means = code.of_means(torch.linalg.vector_norm(means + origin, dim=1).square())
        log_dets = log_det(members, code.scales(count) / code.weights[:, None])
        of_samples = code.of_samples(count, code.over_frequencies(log_dets))
        lengths = lengths.index_add(0, batch.classes, of_samples + of_means)
    return lengths


def centred(members: Tensor, batch: ClassBatch, count: Tensor) -> tuple[Tensor, Tensor]:
    """Members √π v minus √π times the mean of their segment, and the means at frequency 0.

    A mean over all places has only frequency 0, which comes first.
    """
    if batch.weights is None:
        roots = torch.ones_like(batch.samples, dtype=count.dtype)
    else:
        roots = safe_sqrt(batch.weights.to(count.dtype))
    means = scaled(scaled(members[0], roots.unsqueeze(2)).sum(1), 1 / count.unsqueeze(1))
    shifts = scaled(means.unsqueeze(1).expand_as(members[0]), roots.unsqueeze(2))
    return torch.cat([(members[0] - shifts).unsqueeze(0), members[1:]]), means
