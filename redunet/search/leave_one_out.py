"""Exact leave-one-out residuals, for many precisions at once.

The relative residual of a sample v in class j is r_j(v) = ‖(I + α_j M_j)⁻¹ v‖. It is γ_j ‖Cʲ v‖
divided by α. With the eigenvectors u_i and eigenvalues λ_i of M_j at a frequency of Parseval weight
w, and with s_i = 1/(1 + α_j λ_i/w), it is

    r_j(v)² = ‖v‖² + Σ_i (s_i² − 1) |u_i* v|²,

summed over the frequencies. Only s_i depends on ε². One decomposition thus serves every ε².

A sample of class j is itself part of M_j. Taking it out at the same a = α_j/w gives, by the formula
of Sherman and Morrison, (I + a (M − vv*))⁻¹ v = (I + aM)⁻¹ v / (1 − a q) with q = v* (I + aM)⁻¹ v.
At every frequency the residual without the sample is thus the residual with it, divided by 1 − a q.
A sample of weight π is left out with its whole weight: M loses π vv*, and the divisor is 1 − a π q.
"""

import torch
from torch import Tensor

from redunet.rates.decomposition import Decomposition, decompose, remaining, shrinkage
from redunet.rates.partition import Partition
from redunet.rates.spectrum import as_double, squared_moduli, total

# Number of entries of a block of frequencies that are in memory at one time.
BLOCK_ENTRIES = 2**24


def held_out_residuals(
    V: Tensor,
    partition: Partition,
    weights: Tensor,
    eps_sq: Tensor,
    *,
    moments: Tensor | None = None,
    counts: Tensor | None = None,
) -> Tensor:
    """Relative residuals. In its own class, a sample has its residual without itself.

    Decompositions are those of :func:`redunet.rates.decomposition.decompose`, in double precision.
    No inverse is computed, so no ε² is too small.

    Parameters
    ----------
    V : Tensor of shape (F, m, C)
        Half spectra of the samples, of unit norm.
    partition : Partition
        Their classes. No sample belongs to two classes. Memberships are weights of samples.
    weights : Tensor of shape (F,)
        Parseval weights of the frequencies.
    eps_sq : Tensor of shape (e,)
        The values of ε².
    moments : Tensor of shape (F, k, C, C), optional
        Second moments of the classes in a larger set that contains these samples; by default those
        of the samples.
    counts : Tensor of shape (k,), optional
        Number of samples, or the sum of their weights, in each class of the larger set.

    Returns
    -------
    Tensor of shape (e, m, k)
    """
    (frequencies, m, channels), k = V.shape, partition.num_classes
    counts = partition.counts if counts is None else counts
    a = channels / (counts * eps_sq.double()[:, None])  # α_j, (e, k)
    squares = torch.zeros(len(eps_sq), m, k, dtype=V.real.dtype, device=V.device)
    step = max(1, BLOCK_ENTRIES // (channels * max(m, k * min(m, channels))))
    for start in range(0, frequencies, step):
        block = slice(start, start + step)
        for batch in partition.class_batches:
            classes, samples, mask = batch.classes, batch.samples, batch.mask
            members = as_double(batch.gather(V[block]))
            of_classes = None if moments is None else moments[block, classes]
            parts = decompose(members, with_shares=True, moment=of_classes)
            scales = a[:, classes].T / weights[block].double()[:, None, None]  # (F_b, g, e)
            shrunk = shrinkage(parts, scales)  # s_i, (F_b, g, r, e)
            others = _of_others(V[block], parts, shrunk).permute(2, 1, 0)  # (e, m, g)
            left = remaining(parts, shrunk)  # 1 − a q
            assert parts.shares is not None
            own = (parts.shares * parts.values.unsqueeze(-2)) @ shrunk.square()
            least = torch.finfo(left.dtype).eps
            own = (own / left.clamp_min(least).square()).sum(0).to(others.dtype)  # (g, s, e)
            if batch.weights is not None:  # members are samples times the roots of their weights
                own /= torch.where(mask, batch.weights, 1)[..., None]
            places = torch.arange(len(classes), device=V.device)[:, None].expand_as(samples)
            others[:, samples[mask], places[mask]] = own[mask].T
            squares[:, :, classes] += others
    squares[:, :, partition.sizes == 0] = 1  # a class without samples explains nothing
    return squares.clamp_min(0).sqrt()


def _of_others(V: Tensor, parts: Decomposition, shrunk: Tensor) -> Tensor:
    """Squared residuals as if no sample were in the classes, ``(g, m, e)``."""
    squares, directions = shrunk.square().to(V.real.dtype), parts.directions.to(V.dtype)
    norms = squared_moduli(V).sum(2, keepdim=True)

    def residuals(number: int) -> Tensor:
        """Those of the classes at one frequency, which hold all entries of V at this frequency."""
        projections = squared_moduli(V[number] @ directions[number])  # (g, m, r)
        found = projections @ squares[number]
        if not parts.spans:
            found += (norms[number] - projections.sum(2, keepdim=True)).clamp_min(0)
        return found

    return total(residuals(number) for number in range(len(V)))
