"""Exact leave-one-out residuals, for many precisions at once.

The relative residual of a sample v in class j is r_j(v) = ‖(I + α_j M_j)⁻¹ v‖. It is γ_j ‖Cʲ v‖
divided by α. With the eigenvectors u_i and eigenvalues λ_i of M_j at a frequency of Parseval weight
w, and with s_i = 1/(1 + α_j λ_i/w), it is

    r_j(v)² = ‖v‖² + Σ_i (s_i² − 1) |u_i* v|²,

summed over the frequencies. Only s_i depends on ε². One decomposition thus serves every ε².

A sample of class j is itself part of M_j. Taking it out at the same a = α_j/w gives, by the formula
of Sherman and Morrison, (I + a (M − vv*))⁻¹ v = (I + aM)⁻¹ v / (1 − a q) with q = v* (I + aM)⁻¹ v.
At every frequency the residual without the sample is thus the residual with it, divided by 1 − a q.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from redunet.rates.covariance import second_moment
from redunet.rates.grouping import ClassBatch
from redunet.rates.partition import Partition
from redunet.rates.spectrum import as_double, squared_moduli, total

# Number of entries of a block of frequencies that are in memory at one time.
BLOCK_ENTRIES = 2**24


class Decomposition(NamedTuple):
    """The eigendecompositions of the second moments of some classes at some frequencies."""

    values: Tensor  # (F, g, r) λ_i, float64
    directions: Tensor  # (F, g, C, r) conjugates of u_i in columns, as precise as the samples
    own: Tensor  # (F, g, s, r) |u_i* v|² of the samples of the class, float64
    shares: Tensor | None  # (F, g, s, r) the same divided by λ_i; None if they do not sum to 1


def held_out_residuals(
    V: Tensor,
    partition: Partition,
    weights: Tensor,
    eps_sq: Tensor,
    *,
    moments: Tensor | None = None,
    counts: Tensor | None = None,
) -> Tensor:
    """Squared relative residuals. In its own class, a sample has its residual without itself.

    Each class is decomposed on the side of its samples or of the channels, whichever is smaller, in
    double precision. No inverse is computed, so no ε² is too small.

    Parameters
    ----------
    V : Tensor of shape (F, m, C)
        Half spectra of the samples, of unit norm.
    partition : Partition
        Their classes. No sample belongs to two classes.
    weights : Tensor of shape (F,)
        Parseval weights of the frequencies.
    eps_sq : Tensor of shape (e,)
        The values of ε².
    moments : Tensor of shape (F, k, C, C), optional
        Second moments of the classes in a larger set that contains these samples; by default those
        of the samples.
    counts : Tensor of shape (k,), optional
        Number of samples in each class of the larger set.

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
            if moments is None and samples.shape[1] <= channels:
                parts = _of_samples(V[block], batch)
            else:
                of_classes = None if moments is None else moments[block, classes]
                parts = _of_moments(V[block], batch, of_classes)
            scales = a[:, classes].T[:, None] / weights[block].double().view(-1, 1, 1, 1)
            shrinkage = 1 / (1 + scales * parts.values.unsqueeze(-1))  # s_i, (F_b, g, r, e)
            others = _of_others(V[block], parts, shrinkage).permute(2, 1, 0)  # (e, m, g)
            own = _of_members(parts, scales, shrinkage).to(others.dtype)  # (g, s, e)
            places = torch.arange(len(classes), device=V.device)[:, None].expand_as(samples)
            others[:, samples[mask], places[mask]] = own[mask].T
            squares[:, :, classes] += others
    squares[:, :, partition.sizes == 0] = 1  # a class without samples explains nothing
    return squares


def _of_others(V: Tensor, parts: Decomposition, shrinkage: Tensor) -> Tensor:
    """Squared residuals as if no sample were in the classes, ``(g, m, e)``."""
    squares = shrinkage.square().to(V.real.dtype)
    norms = squared_moduli(V).sum(2, keepdim=True)

    def residuals(number: int) -> Tensor:
        """Those of the classes at one frequency, which hold all entries of V at this frequency."""
        projections = squared_moduli(V[number] @ parts.directions[number])  # (g, m, r)
        found = projections @ squares[number]
        if parts.shares is not None:  # the eigenvectors do not span the space
            found += (norms[number] - projections.sum(2, keepdim=True)).clamp_min(0)
        return found

    return total(residuals(number) for number in range(len(V)))


def _of_members(parts: Decomposition, a: Tensor, shrinkage: Tensor) -> Tensor:
    """Squared residuals of samples in their own classes without themselves, ``(g, s, e)``."""
    residuals = parts.own @ shrinkage.square()
    if parts.shares is None:
        remaining = 1 - a * (parts.own @ shrinkage)  # 1 − a q
    else:  # 1 − a λ_i s_i = s_i, and shares sum to 1: no difference of close numbers
        remaining = parts.shares @ shrinkage
    return (residuals / remaining.clamp_min(torch.finfo(remaining.dtype).eps).square()).sum(0)


def _of_samples(V: Tensor, batch: ClassBatch) -> Decomposition:
    """Decompositions on the side of the samples."""
    members = as_double(batch.gather(V))  # (F, g, s, C)
    values, vectors = torch.linalg.eigh(members @ members.mH)
    noise = values[..., -1:] * torch.finfo(values.dtype).eps * members.shape[2]
    values = torch.where(values > noise, values, 0)
    roots = torch.where(values > 0, values, torch.inf).rsqrt()
    directions = members.mH @ (vectors * roots.unsqueeze(-2))
    shares = squared_moduli(vectors)
    return Decomposition(values, directions.to(V.dtype), shares * values.unsqueeze(-2), shares)


def _of_moments(V: Tensor, batch: ClassBatch, moments: Tensor | None) -> Decomposition:
    """Decompositions on the side of the channels."""
    members = as_double(batch.gather(V))
    values, vectors = torch.linalg.eigh(second_moment(members) if moments is None else moments)
    directions = vectors.conj()
    own = squared_moduli(members @ directions)
    return Decomposition(values.clamp_min(0), directions.to(V.dtype), own, None)
