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

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from redunet.layers.operators.base import block_entries
from redunet.rates.covariance import second_moment
from redunet.rates.partition import ClassBatch, Partition


class ClassSpectra(NamedTuple):
    """The eigendecompositions of the second moments of some classes at every frequency."""

    batch: ClassBatch
    values: Tensor  # (F, g, r) λ_i, float64
    directions: Tensor  # (F, g, C, r) conjugates of u_i in columns, as precise as the samples
    own: Tensor  # (F, g, s, r) |u_i* v|² of the samples of the class, float64
    shares: Tensor | None  # (F, g, s, r) the same divided by λ_i; None if they do not sum to 1


class LeaveOneOut:
    """Squared relative residuals of samples in all classes, for several ε² at once.

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
    moments : Tensor of shape (F, k, C, C), optional
        Second moments of the classes in a larger set that contains these samples; by default those
        of the samples.
    counts : Tensor of shape (k,), optional
        Number of samples in each class of the larger set.
    """

    def __init__(
        self,
        V: Tensor,
        partition: Partition,
        weights: Tensor,
        *,
        moments: Tensor | None = None,
        counts: Tensor | None = None,
    ):
        self._V = V
        self._partition = partition
        self._weights = weights.double()
        self._counts = partition.counts if counts is None else counts
        self._spectra = [
            _of_samples(V, batch)
            if moments is None and batch.samples.shape[1] <= V.shape[2]
            else _of_moments(V, batch, moments)
            for batch in partition.class_batches
        ]

    def squared_residuals(self, eps_sq: Tensor) -> Tensor:
        """Squared residuals. In its own class, a sample has its residual without itself.

        Parameters
        ----------
        eps_sq : Tensor of shape (e,)

        Returns
        -------
        Tensor of shape (e, m, k)
        """
        m, k = len(self._partition), self._partition.num_classes
        table = self._V.real.new_ones(len(eps_sq), m, k)  # a class without samples explains nothing
        for spectra in self._spectra:
            classes, samples = spectra.batch.classes, spectra.batch.samples
            a = self._scales(classes, eps_sq)  # (F, g, 1, e)
            shrinkage = 1 / (1 + a * spectra.values.unsqueeze(-1))  # (F, g, r, e)
            table[:, :, classes] = self._of_others(spectra, shrinkage).permute(2, 1, 0)
            own = _of_members(spectra, a, shrinkage).to(table.dtype)  # (g, s, e)
            mask = spectra.batch.mask
            table[:, samples[mask], classes[:, None].expand_as(samples)[mask]] = own[mask].T
        return table

    def _scales(self, classes: Tensor, eps_sq: Tensor) -> Tensor:
        """α_j/w, ``(F, g, 1, e)``."""
        alphas = self._V.shape[2] / (self._counts[classes][:, None, None] * eps_sq.double())
        return alphas / self._weights.view(-1, 1, 1, 1)

    def _of_others(self, spectra: ClassSpectra, shrinkage: Tensor) -> Tensor:
        """Squared residuals as if no sample were in the classes, ``(g, m, e)``."""
        squares = shrinkage.square().to(self._V.real.dtype)
        parts = [
            torch.einsum("fmgr,fgre->gme", projections, squares[block]) + rest.sum(0).T[..., None]
            for block, projections, rest in self._projections(spectra.directions)
        ]
        return torch.stack(parts).sum(0)

    def _projections(self, directions: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """|u_i* v|² ``(F_b, m, g, r)`` and ‖v‖² outside of all u_i ``(F_b, m, g)``, by blocks."""
        frequencies, classes, channels, rank = directions.shape
        step = max(1, block_entries(self._V) // (len(self._partition) * classes * rank))
        for start in range(0, frequencies, step):
            block = slice(start, start + step)
            V = self._V[block]
            projections = _squares(V @ directions[block].transpose(1, 2).flatten(2))
            projections = projections.unflatten(2, (classes, rank))
            rest = torch.zeros_like(projections[..., 0])
            if rank < channels:
                rest = (_squares(V).sum(2, keepdim=True) - projections.sum(3)).clamp_min(0)
            yield block, projections, rest


def _of_members(spectra: ClassSpectra, a: Tensor, shrinkage: Tensor) -> Tensor:
    """Squared residuals of samples in their own classes without themselves, ``(g, s, e)``."""
    residuals = spectra.own @ shrinkage.square()
    if spectra.shares is None:
        remaining = 1 - a * (spectra.own @ shrinkage)  # 1 − a q
    else:  # 1 − a λ_i s_i = s_i, and shares sum to 1: no difference of close numbers
        remaining = spectra.shares @ shrinkage
    return (residuals / remaining.clamp_min(torch.finfo(remaining.dtype).eps).square()).sum(0)


def _of_samples(V: Tensor, batch: ClassBatch) -> ClassSpectra:
    """Decompositions on the side of the samples."""
    members = as_double(batch.gather(V))  # (F, g, s, C)
    values, vectors = torch.linalg.eigh(members @ members.mH)
    noise = values[..., -1:] * torch.finfo(values.dtype).eps * members.shape[2]
    values = torch.where(values > noise, values, 0)
    roots = torch.where(values > 0, values, torch.inf).rsqrt()
    directions = members.mH @ (vectors * roots.unsqueeze(-2))
    shares = _squares(vectors)
    return ClassSpectra(
        batch, values, directions.to(V.dtype), shares * values.unsqueeze(-2), shares
    )


def _of_moments(V: Tensor, batch: ClassBatch, moments: Tensor | None) -> ClassSpectra:
    """Decompositions on the side of the channels."""
    members = as_double(batch.gather(V))
    of_classes = second_moment(members) if moments is None else moments[:, batch.classes]
    values, vectors = torch.linalg.eigh(of_classes)
    directions = vectors.conj()
    own = _squares(members @ directions)
    return ClassSpectra(batch, values.clamp_min(0), directions.to(V.dtype), own, None)


def as_double(V: Tensor) -> Tensor:
    """V in double precision."""
    return V.to(torch.complex128 if V.is_complex() else torch.float64)


def _squares(t: Tensor) -> Tensor:
    """|t|², real."""
    return t.real.square() + t.imag.square() if t.is_complex() else t.square()


def moments_of_classes(V: Tensor, partition: Partition) -> Tensor:
    """Second moments ``(F, k, C, C)`` of the classes in a batch, in double precision."""
    frequencies, _, channels = V.shape
    dtype = torch.complex128 if V.is_complex() else torch.float64
    moments = torch.zeros(
        frequencies, partition.num_classes, channels, channels, dtype=dtype, device=V.device
    )
    for batch in partition.class_batches:
        moments.index_add_(1, batch.classes, second_moment(as_double(batch.gather(V))))
    return moments
