"""The rate reduction of every pair of classes."""

import torch
from torch import Tensor

from redunet._checks import Array, as_samples, check_positive
from redunet.rates.coding_rates import mean_rate, spectrum_of
from redunet.rates.covariance import RegularisedCovariance, check_factors
from redunet.rates.partition import Partition
from redunet.rates.spectrum import as_double, moderate_scale

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
    V, counts = as_double(spectrum(Z / scale)), partition.counts
    scales = V.shape[2] / (eps_sq / scale**2) / spectrum.weights.double()[:, None]
    # Classes of few samples are stacks of samples, others second moments.
    few = 2 * int(partition.sizes.max()) <= V.shape[2]
    parts = partition.stacked(V) if few else partition.moments(V)  # (F, k, s or C, C)

    def rates(parts: Tensor, counts: Tensor) -> Tensor:
        make = RegularisedCovariance.from_samples if few else RegularisedCovariance.from_moment
        covariance = make(parts, scales / counts)
        check_factors(covariance)
        return mean_rate(covariance.log_det(), spectrum)

    present = counts.nonzero()[:, 0]
    own = torch.zeros_like(counts)
    own = own.index_copy(0, present, rates(parts[:, present], counts[present]))
    pairs = present[torch.triu_indices(len(present), len(present), 1, device=V.device)]  # (2, P)
    matrix = torch.zeros_like(counts).diag()
    for i, j in pairs.split(max(1, ENTRIES // parts[:, 0].numel()), 1):
        both = torch.cat([parts[:, i], parts[:, j]], 2) if few else parts[:, i] + parts[:, j]
        total = counts[i] + counts[j]
        delta = rates(both, total) - (counts[i] * own[i] + counts[j] * own[j]) / total
        matrix = matrix.index_put((i, j), delta)
    return (matrix + matrix.T).to(Z.dtype)
