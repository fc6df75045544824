"""Eigendecompositions of second moments, and what they say of samples that come or go.

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

Only s depends on ε². One decomposition for each class and frequency therefore serves every ε². It
is computed on the side of the samples or of the channels, whichever is smaller.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from redunet.rates.covariance import second_moment
from redunet.rates.spectrum import squared_moduli


class Decomposition(NamedTuple):
    """Second moments, such as those of some classes at some frequencies, with batch axes (F, g).

    The shares are those that the samples of each class have in the eigenvalues of their own class.
    """

    values: Tensor  # (…, r) λ_i, ascending
    directions: Tensor  # (…, C, r) conjugates of u_i in columns; zero beyond the rank unless spans
    spans: bool  # whether the eigenvectors span the space
    means: Tensor | None = None  # (g, C) at frequency 0; None if the moment is about zero
    shares: Tensor | None = None  # (…, s, r) h_i = |u_i* v|²/λ_i
    rest: Tensor | None = None  # (…, s) 1 − Σ h_i, minus 1/n if centred; None if it is zero

    @staticmethod
    def joined(blocks: "Sequence[Decomposition]") -> "Decomposition":
        """The decomposition of all frequencies from blocks of them. The first has frequency 0."""
        shares = [block.shares for block in blocks if block.shares is not None]
        rest = [block.rest for block in blocks if block.rest is not None]
        return blocks[0]._replace(
            values=torch.cat([block.values for block in blocks]),
            directions=torch.cat([block.directions for block in blocks]),
            shares=torch.cat(shares) if shares else None,
            rest=torch.cat(rest) if rest else None,
        )

    def at(self, where: slice | tuple[int, int]) -> "Decomposition":
        """The decomposition at some frequencies, or that of one class without batch axes."""
        means = self.means if isinstance(where, slice) and where.start == 0 else None
        shares, rest = (None if t is None else t[where] for t in (self.shares, self.rest))
        return Decomposition(
            self.values[where], self.directions[where], self.spans, means, shares, rest
        )


def decompose(
    members: Tensor,
    mask: Tensor | None = None,
    *,
    centred: bool = False,
    constant: Tensor | None = None,
    with_shares: bool = False,
    moment: Tensor | None = None,
) -> Decomposition:
    """Decompose second moments, on the side of the samples or of the channels, the smaller one.

    Parameters
    ----------
    members : Tensor of shape (F, g, s, C)
        The samples of each class, zero on padding. Without ``centred``, there may be any number of
        axes before those of samples and channels.
    mask : Tensor of shape (g, s), optional
        True for samples, False for padding; needed if ``centred``.
    centred : bool
        Whether the moment at the first of the frequencies is about the mean.
    constant : Tensor of shape (g, s), optional
        The vector that members at the first frequency are orthogonal to if they are centred
        already: the roots of their weights, divided by that of the sum of all weights.
    with_shares : bool
        Whether to compute the shares of the samples.
    moment : Tensor of shape (F, g, C, C), optional
        Second moments of larger sets that contain the samples; by default those of the samples.
    """
    means = None
    if centred:
        assert mask is not None
        counts = mask.sum(1, keepdim=True).clamp_min(1)
        means = members[0].sum(1) / counts
        deviations = (members[0] - means.unsqueeze(1)) * mask.unsqueeze(2)
        members = torch.cat([deviations[None], members[1:]])
        ones = mask.to(members.real.dtype)
        constant = (ones / ones.sum(1, keepdim=True).clamp_min(1).sqrt()).to(members.dtype)
    if moment is None and members.shape[-2] <= members.shape[-1]:
        values, directions, shares = _of_samples(members, constant)
        return Decomposition(values, directions, False, means, shares if with_shares else None)
    moment = second_moment(members) if moment is None else moment
    values, vectors = torch.linalg.eigh(moment)
    values, directions = _without_noise(values, max(members.shape[-2:])), vectors.conj()
    if not with_shares:
        return Decomposition(values, directions, True, means)
    inverses = torch.where(values > 0, values, torch.inf).reciprocal()
    shares = squared_moduli(members @ directions) * inverses.unsqueeze(-2)
    rest = 1 - shares.sum(-1)
    if constant is not None:
        rest[0] -= squared_moduli(constant)
    return Decomposition(values, directions, True, means, shares, rest.clamp_min(0))


def _of_samples(members: Tensor, constant: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Eigenvalues, directions and shares from the Gram matrices of the samples.

    If members are centred, ``constant`` ``(g, s)`` is a unit vector in the null space at frequency
    0. It gets the largest eigenvalue, and is taken out.
    """
    gram = members @ members.mH
    if constant is not None:
        size = torch.linalg.matrix_norm(gram[0])
        size = torch.where(size > 0, 2 * size, 1).to(gram.dtype)
        gram[0] += size[:, None, None] * constant.unsqueeze(2) * constant.unsqueeze(1)
    values, vectors = torch.linalg.eigh(gram)
    largest = values[..., -1:].clone()
    if constant is not None:
        values[0, :, -1], vectors[0, :, :, -1] = 0, 0
    values = _without_noise(values, max(members.shape[-2:]), largest)
    roots = torch.where(values > 0, values, torch.inf).rsqrt()
    directions = members.mH @ (vectors * roots.unsqueeze(-2))
    return values, directions, squared_moduli(vectors)


def _without_noise(values: Tensor, size: int, largest: Tensor | None = None) -> Tensor:
    """Eigenvalues, zero up to their rounding error relative to the largest one."""
    largest = values[..., -1:] if largest is None else largest
    noise = largest * torch.finfo(values.dtype).eps * size
    return torch.where(values > noise, values, 0)


def leading_directions(samples: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Leading eigenvalues and eigenvectors of the second moments of batches of samples.

    Parameters
    ----------
    samples : Tensor of shape (…, s, C)
        Each row is a sample.
    count : int
        Largest number of directions.

    Returns
    -------
    eigenvalues : Tensor of shape (…, r), r = min(count, s, C)
        In descending order; zero beyond the rank of the samples.
    directions : Tensor of shape (…, r, C)
        Orthonormal rows; a row is zero if its eigenvalue is zero.
    """
    parts = decompose(samples)
    values = parts.values[..., -count:].flip(-1)
    directions = parts.directions[..., -count:].flip(-1).mH
    return values, torch.where(values[..., None] > 0, directions, 0)


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
    quadratic = projections @ shrinkage(parts, scales)
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
    left = remaining(parts, shrinkage(parts, scales))
    if parts.means is not None:
        left[0] *= (counts / (counts - 1).clamp_min(1))[:, None, None]
    return -left.clamp(torch.finfo(left.dtype).tiny, 1).log()


def remaining(parts: Decomposition, shrunk: Tensor) -> Tensor:
    """1 − s q of each sample, from 1/(1 + s λ_i) ``(…, r, e)``, ``(…, s, e)``."""
    assert parts.shares is not None
    left = parts.shares @ shrunk
    return left if parts.rest is None else left + parts.rest.unsqueeze(-1)


def shrinkage(parts: Decomposition, scales: Tensor) -> Tensor:
    """1/(1 + s λ_i) with the factors s ``(…, e)``, ``(…, r, e)``."""
    return 1 / (1 + parts.values.unsqueeze(-1) * scales.unsqueeze(-2))
