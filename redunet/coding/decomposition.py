"""Eigendecompositions of the scatter of classes, and what a sample adds to their log determinants.

At a frequency of Parseval weight w, a class of n samples v_i with the scatter M = Σ v_i v_i* and
its eigenvectors u_i and eigenvalues λ_i has log det(I + sM) = Σ_i log(1 + s λ_i), for any s. One
more sample x adds log(1 + s q) to it, where

    q = x* (I + sM)⁻¹ x = ‖x‖² + Σ_i (1/(1 + s λ_i) − 1) |u_i* x|².

A sample v of the class takes −log(1 − s q) away. With its share h_i = |u_i* v|²/λ_i of each
eigenvalue, no close numbers are subtracted:

    1 − s q = (1 − Σ_i h_i) + Σ_i h_i/(1 + s λ_i).

If the scatter is about the mean μ of the class, one more sample x adds n/(n+1) (x − μ)(x − μ)* to
it. Without a sample v it loses n/(n−1) (v − μ)(v − μ)*, so that 1 − s n/(n−1) q is n/(n−1) times
(1 − 1/n − Σ h_i) + Σ h_i/(1 + s λ_i).

Only s depends on ε². One decomposition for each class and frequency therefore serves every ε².
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from redunet.rates.covariance import second_moment
from redunet.rates.spectrum import squared_moduli


class Shares(NamedTuple):
    """The parts that the samples of some classes have in the eigenvalues of their own class."""

    of_values: Tensor  # (F, g, s, r) h_i = |u_i* v|²/λ_i
    rest: Tensor | None  # (F, g, s) 1 − Σ h_i, minus 1/n if centred; None if it is zero

    @classmethod
    def joined(cls, blocks: "Sequence[Shares]") -> "Shares":
        """The shares at all frequencies from blocks of them."""
        rest = [block.rest for block in blocks if block.rest is not None]
        of_values = torch.cat([block.of_values for block in blocks])
        return cls(of_values, torch.cat(rest) if rest else None)

    def frequencies(self, block: slice) -> "Shares":
        """The shares at some of the frequencies."""
        return Shares(self.of_values[block], None if self.rest is None else self.rest[block])


class Decomposition(NamedTuple):
    """The scatter of some classes at some frequencies. All tensors have double precision."""

    values: Tensor  # (F, g, r) λ_i
    directions: Tensor  # (F, g, C, r) conjugates of u_i in columns; zero where λ_i is zero
    spans: bool  # whether the eigenvectors span the space
    means: Tensor | None  # (g, C) at frequency 0; None if the scatter is about zero
    shares: Shares | None

    @classmethod
    def joined(cls, blocks: "Sequence[Decomposition]") -> "Decomposition":
        """The decomposition of all frequencies from blocks of them. The first has frequency 0."""
        shares = [block.shares for block in blocks if block.shares is not None]
        return cls(
            torch.cat([block.values for block in blocks]),
            torch.cat([block.directions for block in blocks]),
            blocks[0].spans,
            blocks[0].means,
            Shares.joined(shares) if shares else None,
        )

    def frequencies(self, block: slice) -> "Decomposition":
        """The decomposition at some of the frequencies, which contain frequency 0 or not."""
        shares = None if self.shares is None else self.shares.frequencies(block)
        means = self.means if block.start == 0 else None
        return Decomposition(self.values[block], self.directions[block], self.spans, means, shares)


def decompose(
    members: Tensor, mask: Tensor, *, centred: bool, with_shares: bool = False
) -> Decomposition:
    """Decompose the scatter of classes, on the side of the samples or channels, the smaller one.

    Parameters
    ----------
    members : Tensor of shape (F, g, s, C)
        The samples of each class in double precision, zero on padding.
    mask : Tensor of shape (g, s)
        True for samples, False for padding.
    centred : bool
        Whether the scatter at the first of the frequencies is about the mean.
    with_shares : bool
        Whether to compute the shares of the samples.
    """
    means = None
    if centred:
        counts = mask.sum(1, keepdim=True).clamp_min(1)
        means = members[0].sum(1) / counts
        deviations = (members[0] - means.unsqueeze(1)) * mask.unsqueeze(2)
        members = torch.cat([deviations[None], members[1:]])
    decomposed = _of_samples if members.shape[2] <= members.shape[3] else _of_channels
    values, directions, shares = decomposed(members, mask, centred, with_shares)
    return Decomposition(values, directions, decomposed is _of_channels, means, shares)


def _of_samples(
    members: Tensor, mask: Tensor, centred: bool, with_shares: bool
) -> tuple[Tensor, Tensor, Shares | None]:
    """Eigenvalues, directions and shares from the Gram matrices of the samples."""
    gram = members @ members.mH
    if centred:
        # The constant vector has the eigenvalue zero. It gets the largest one, and is taken out.
        size = torch.linalg.matrix_norm(gram[0])
        constant = mask.to(gram.dtype) / mask.sum(1, keepdim=True).clamp_min(1).sqrt()
        size = torch.where(size > 0, 2 * size, 1).to(gram.dtype)
        gram[0] += size[:, None, None] * constant.unsqueeze(2) * constant.unsqueeze(1)
    values, vectors = torch.linalg.eigh(gram)
    noise = values[..., -1:] * torch.finfo(values.dtype).eps * members.shape[2]
    if centred:
        values[0, :, -1], vectors[0, :, :, -1] = 0, 0
    values = torch.where(values > noise, values, 0)
    roots = torch.where(values > 0, values, torch.inf).rsqrt()
    directions = members.mH @ (vectors * roots.unsqueeze(-2))
    return values, directions, Shares(squared_moduli(vectors), None) if with_shares else None


def _of_channels(
    members: Tensor, mask: Tensor, centred: bool, with_shares: bool
) -> tuple[Tensor, Tensor, Shares | None]:
    """Eigenvalues, directions and shares from the second moments of the channels."""
    values, vectors = torch.linalg.eigh(second_moment(members))
    directions = vectors.conj()
    values = values.clamp_min(0)
    if not with_shares:
        return values, directions, None
    noise = values[..., -1:] * torch.finfo(values.dtype).eps * members.shape[2]
    inverses = torch.where(values > noise, values, torch.inf).reciprocal()
    shares = squared_moduli(members @ directions) * inverses.unsqueeze(-2)
    rest = 1 - shares.sum(-1)
    if centred:
        rest[0] -= 1 / mask.sum(1, keepdim=True).clamp_min(1)
    return values, directions, Shares(shares, rest.clamp_min(0))


def log_dets(parts: Decomposition, scales: Tensor) -> Tensor:
    """log det(I + s M) at every frequency, with the factors s ``(F, g, e)``, ``(F, g, e)``."""
    return torch.log1p(parts.values.unsqueeze(-1) * scales.unsqueeze(-2)).sum(-2)


def added(parts: Decomposition, queries: Tensor, counts: Tensor, scales: Tensor) -> Tensor:
    """What one more sample adds to log det(I + s M).

    Parameters
    ----------
    parts : Decomposition
    queries : Tensor of shape (F, 1 or g, q, C)
        The samples; with g, each class has samples of its own.
    counts : Tensor of shape (g,)
        Number n of samples in each class.
    scales : Tensor of shape (F, g, e)
        The factors s.

    Returns
    -------
    Tensor of shape (F, g, q, e)
    """
    queries = queries.expand(-1, len(counts), -1, -1)
    if parts.means is not None:
        deviations = queries[0] - parts.means.unsqueeze(1)
        deviations = deviations * (counts / (counts + 1)).sqrt()[:, None, None]
        queries = torch.cat([deviations[None], queries[1:]])
    projections = squared_moduli(queries @ parts.directions)  # (F, g, q, r)
    quadratic = projections @ _shrinkage(parts, scales)
    if not parts.spans:
        norms = squared_moduli(queries).sum(-1)
        quadratic += (norms - projections.sum(-1)).clamp_min(0).unsqueeze(-1)
    return torch.log1p(scales.unsqueeze(-2) * quadratic)


def removed(parts: Decomposition, counts: Tensor, scales: Tensor) -> Tensor:
    """What log det(I + s M) loses without each of the samples of the class.

    Parameters
    ----------
    parts : Decomposition
        With shares.
    counts : Tensor of shape (g,)
        Number n of samples in each class.
    scales : Tensor of shape (F, g, e)
        The factors s.

    Returns
    -------
    Tensor of shape (F, g, s, e)
    """
    assert parts.shares is not None
    remaining = parts.shares.of_values @ _shrinkage(parts, scales)
    if parts.shares.rest is not None:
        remaining += parts.shares.rest.unsqueeze(-1)
    if parts.means is not None:
        remaining[0] *= (counts / (counts - 1).clamp_min(1))[:, None, None]
    return -remaining.clamp(torch.finfo(remaining.dtype).tiny, 1).log()


def _shrinkage(parts: Decomposition, scales: Tensor) -> Tensor:
    """1/(1 + s λ_i), ``(F, g, r, e)``."""
    return 1 / (1 + parts.values.unsqueeze(-1) * scales.unsqueeze(-2))
