"""The rate reduction of every pair of classes."""

from collections.abc import Iterator

import torch
from torch import Tensor

from redunet._checks import Array, as_samples, check_positive
from redunet.rates.coding_rates import mean_rate, spectrum_of
from redunet.rates.covariance import RegularisedCovariance, check_factors, log_det, second_moment
from redunet.rates.grouping import Assignments, ClassBatch, class_batches
from redunet.rates.partition import Partition
from redunet.rates.spectrum import HalfSpectrum, moderate_scale

# Pairs are treated in chunks whose matrices have about this many entries.
ENTRIES = 2**24


def pairwise_rate_reduction(Z: Array, labels: Array, eps_sq: float) -> Tensor:
    """Rate reduction of each pair of classes, without the other classes, in nats.

    ΔR_ij = R(Zⁱ ∪ Zʲ) − (m_i R(Zⁱ) + m_j R(Zʲ)) / (m_i + m_j). It measures how far two classes are
    apart: it is 0 if both have the same second moments, and grows as their subspaces become
    orthogonal.

    Parameters
    ----------
    Z : array-like or Tensor of shape (m, n), (m, C, T), (m, C, H, W), …
        Features. If there are spatial axes, the rates are shift-invariant.
    labels : array-like or Tensor of shape (m,) or (m, k)
        Integers or strings, or soft memberships whose rows sum to 1.
    eps_sq : float
        ε², the squared precision of the code.

    Returns
    -------
    Tensor of shape (k, k)
        Symmetric, with zeros on the diagonal and for classes without members; classes are sorted.
        It is differentiable with respect to ``Z``.

    Raises
    ------
    ValueError
        If ``Z`` is not finite, ``eps_sq`` is not positive, or the labels are invalid.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Section 2.3, "Relation to contractive or contrastive
    learning", where both classes have the same size.

    Examples
    --------
    >>> import torch
    >>> from redunet.rates import pairwise_rate_reduction
    >>> Z = torch.eye(2)[[0, 1, 1]].repeat(4, 1)  # the classes 1 and 2 share a direction
    >>> pairwise_rate_reduction(Z, torch.arange(12) % 3, eps_sq=0.5).round(decimals=3).abs()
    tensor([[0.0000, 0.2940, 0.2940],
            [0.2940, 0.0000, 0.0000],
            [0.2940, 0.0000, 0.0000]])
    """
    eps_sq = check_positive(eps_sq=eps_sq)
    Z = as_samples(Z, name="Z")
    partition = Partition.from_labels(labels, len(Z), device=Z.device, empty=True)
    scale, spectrum = moderate_scale(Z), spectrum_of(Z)
    Z, eps_sq = Z / scale, eps_sq / scale**2
    V, k = spectrum(Z), partition.num_classes
    counts = partition.counts.to(V.real.dtype)
    own = torch.cat([_rates(V, spectrum, b, counts, eps_sq) for b in partition.class_batches])
    present = torch.cat([batch.classes for batch in partition.class_batches])
    own = own.new_zeros(k).index_copy(0, present, own)
    size = len(present)
    pairs = present.sort().values[torch.triu_indices(size, size, 1, device=V.device)]  # (2, P)
    first = counts[pairs[0]] / counts[pairs].sum(0)
    delta = _union_rates(V, spectrum, partition, pairs, eps_sq)
    delta = delta - first * own[pairs[0]] - (1 - first) * own[pairs[1]]
    upper = V.real.new_zeros(k, k).index_put((pairs[0], pairs[1]), delta)
    return upper + upper.T


def _rates(
    V: Tensor, spectrum: HalfSpectrum, batch: ClassBatch, counts: Tensor, eps_sq: float
) -> Tensor:
    """R of each class of a batch, ``(g,)``, from its samples."""
    scales = _scales(V, spectrum, counts[batch.classes], eps_sq)
    return mean_rate(log_det(batch.gather(V), scales), spectrum)


def _union_rates(
    V: Tensor, spectrum: HalfSpectrum, partition: Partition, pairs: Tensor, eps_sq: float
) -> Tensor:
    """R of the union of each pair of classes ``(2, P)``, on the smaller side, ``(P,)``."""
    counts = partition.counts.to(V.real.dtype)[pairs].sum(0)
    few = partition.sizes[pairs].sum(0) <= V.shape[2]
    positions, rates = [], []
    chosen = few.nonzero()[:, 0]
    for batch in class_batches(_samples_of(partition, pairs[:, chosen]), len(chosen)):
        for chunk in _chunks(batch, V):
            positions.append(chosen[chunk.classes])
            rates.append(_rates(V, spectrum, chunk, counts[chosen], eps_sq))
    chosen = (~few).nonzero()[:, 0]
    if len(chosen):
        positions.append(chosen)
        moments = _moments(V, partition)
        per_chunk = max(1, ENTRIES // moments[:, 0].numel())
        for chunk in chosen.split(per_chunk):
            scales = _scales(V, spectrum, counts[chunk], eps_sq).to(torch.float64)
            union = moments[:, pairs[0, chunk]] + moments[:, pairs[1, chunk]]
            covariance = RegularisedCovariance.from_moment(union, scales)
            check_factors(covariance)
            rates.append(mean_rate(covariance.log_det().to(V.real.dtype), spectrum))
    return torch.cat(rates)[torch.cat(positions).argsort()]


def _scales(V: Tensor, spectrum: HalfSpectrum, counts: Tensor, eps_sq: float) -> Tensor:
    """C/(m_j ε²), divided by the Parseval weights, ``(F, g)``."""
    weights = spectrum.weights.to(V.real.dtype)[:, None]
    return V.shape[2] / (counts * eps_sq) / weights


def _samples_of(partition: Partition, pairs: Tensor) -> Assignments:
    """The samples of both classes of each pair; the pairs take the place of the classes."""
    own = partition.assignments
    sizes = partition.sizes
    starts = (sizes.cumsum(0) - sizes)[pairs].T.flatten()  # (2P,), pair by pair
    lengths = sizes[pairs].T.flatten()
    part = torch.arange(len(lengths), device=lengths.device).repeat_interleave(lengths)
    place = torch.arange(len(part), device=part.device)
    rows = (starts - lengths.cumsum(0) + lengths)[part] + place
    owner = part // 2
    ranks = place - (lengths.cumsum(0) - lengths)[2 * owner]
    weights = None if own.weights is None else own.weights[rows]
    return Assignments(owner, own.samples[rows], ranks, weights)


def _chunks(batch: ClassBatch, V: Tensor) -> Iterator[ClassBatch]:
    """Parts of a batch whose gathered samples have a bounded size."""
    frequencies, _, channels = V.shape
    step = max(1, ENTRIES // (frequencies * channels * batch.samples.shape[1]))
    for start in range(0, len(batch.classes), step):
        run = slice(start, start + step)
        weights = None if batch.weights is None else batch.weights[run]
        yield ClassBatch(batch.classes[run], batch.samples[run], weights)


def _moments(V: Tensor, partition: Partition) -> Tensor:
    """V(p) Πʲ V(p)* of every class, in double precision, ``(F, k, C, C)``."""
    V = V.to(torch.promote_types(V.dtype, torch.float64))
    batches = partition.class_batches
    moments = torch.cat([second_moment(batch.gather(V)) for batch in batches], 1)
    classes = torch.cat([batch.classes for batch in batches])
    shape = len(moments), partition.num_classes, *moments.shape[2:]
    return moments.new_zeros(shape).index_copy(1, classes, moments)
