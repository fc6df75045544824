"""Clusters as orthogonal rows, and what it costs to merge two of them.

A cluster of n samples contributes ℓ = L(X_j) − n log n to the length of a segmentation, which is
the sum of all ℓ plus m log m. The cost of a merge is ℓ of the union minus ℓ of both parts.

A cluster is stored as at most C orthogonal rows with the second moment M of its samples. With the
squared norms λ of the rows of two clusters a and b, and the inner products K of their rows,

    det(I + s(M_a + M_b)) = Π (1 + s λ_b) · det(I + s Λ_a − s² K (I + s Λ_b)⁻¹ K*),

where a is the cluster of fewer rows. One product gives K for many pairs of clusters.

If clusters are encoded about their means, M is the scatter about the mean. The scatter of the union
is M_a + M_b + d d*, where d = √(n_a n_b/(n_a + n_b)) (μ_a − μ_b) is one more row. The mean over all
places of a signal has only frequency 0.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from redunet.coding.length import centred
from redunet.rates.covariance import leading_directions
from redunet.rates.grouping import ClassBatch
from redunet.rates.spectrum import scaled


class Code(NamedTuple):
    """The code whose length is minimised."""

    weights: Tensor  # (F,) Parseval weights
    channels: int
    eps_sq: float
    center: bool

    def scales(self, counts: Tensor) -> Tensor:
        """C/(n ε²)."""
        return self.channels / (counts * self.eps_sq)

    def lengths(self, counts: Tensor, log_dets: Tensor, squared_means: Tensor) -> Tensor:
        """ℓ of clusters, from log determinants at all frequencies, ``(F, …)``."""
        weighted = torch.tensordot(self.weights, log_dets, 1)
        lengths = (counts + self.channels) / 2 * weighted - torch.xlogy(counts, counts)
        if not self.center:
            return lengths
        ratios = squared_means / (self.weights.sum() * self.eps_sq)
        return lengths + self.channels / 2 * torch.log1p(ratios)


class Clusters(NamedTuple):
    """Clusters with the same number r of rows. Rows that are zero count for nothing."""

    rows: Tensor  # (F, g, r, C), or (F, g, r + 1, C) with ``center``: the last row is the mean
    squares: Tensor  # (F, g, r) squared norms of the rows
    inner: Tensor  # (F, g, r) inner products of the rows with the mean; zero without ``center``
    counts: Tensor  # (g,) number of samples
    squared_means: Tensor  # (g,) zero without ``center``
    lengths: Tensor  # (g,) ℓ

    @classmethod
    def from_rows(
        cls, rows: Tensor, means: Tensor, counts: Tensor, rank: int, code: Code
    ) -> "Clusters":
        """Clusters from any rows ``(F, g, s, C)`` that give their scatter, and means ``(g, C)``."""
        squares, directions = leading_directions(rows, rank)
        missing = rank - squares.shape[2]
        rows = functional.pad(scaled(directions, squares.sqrt().unsqueeze(3)), (0, 0, 0, missing))
        squares = functional.pad(squares, (0, missing))
        inner, squared_means = torch.zeros_like(squares), torch.zeros_like(counts)
        if code.center:
            last = torch.zeros_like(rows[:, :, :1])
            last[0, :, 0] = means
            inner = (rows @ last.mH).squeeze(3).real
            squared_means = torch.linalg.vector_norm(means, dim=1).square()
            rows = torch.cat([rows, last], 2)
        log_dets = torch.log1p(code.scales(counts)[:, None] * squares).sum(2)
        lengths = code.lengths(counts, log_dets, squared_means)
        return cls(rows, squares, inner, counts, squared_means, lengths)

    @property
    def rank(self) -> int:
        """The number r of rows."""
        return self.squares.shape[2]

    def part(self, run: slice) -> "Clusters":
        """Some of the clusters."""
        return Clusters(*(t[:, run] if t.ndim > 1 else t[run] for t in self))


def union_costs(a: Clusters, b: Clusters, code: Code) -> Tensor:
    """Changes of the coding length by merging each cluster of a with each of b, ``(g, h)``."""
    if a.rank > b.rank:
        return union_costs(b, a, code).T
    counts = a.counts[:, None] + b.counts
    scales = code.scales(counts)[:, :, None]
    products = _products(a.rows, b.rows)
    if code.center:
        gram, products, squared_means = _with_difference(a, b, products)
    else:
        gram, squared_means = torch.diag_embed(a.squares).unsqueeze(2), torch.zeros_like(counts)
    grown = 1 + scales * b.squares[:, None]  # (F, g, h, r_b)
    scaled_products = scaled(products, (scales * grown.rsqrt()).unsqueeze(3))
    log_dets = grown.log().sum(3) + _log_dets(scaled(gram, scales[..., None]), scaled_products)
    return code.lengths(counts, log_dets, squared_means) - a.lengths[:, None] - b.lengths


def _products(a: Tensor, b: Tensor) -> Tensor:
    """Inner products of all rows of clusters, ``(F, g, h, r_a, r_b)``."""
    products = a.flatten(1, 2).conj() @ b.flatten(1, 2).mT
    return products.unflatten(2, b.shape[1:3]).unflatten(1, a.shape[1:3]).transpose(2, 3)


def _with_difference(a: Clusters, b: Clusters, products: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The rows of a with one more row, √(n_a n_b/(n_a + n_b)) times the difference of the means.

    Returns
    -------
    gram : Tensor (F, g, h, r_a + 1, r_a + 1)
        Inner products of these rows.
    products : Tensor (F, g, h, r_a + 1, r_b)
        Their inner products with the rows of b.
    squared_means : Tensor (g, h)
        Squared norms of the means of the unions.
    """
    n_a, n_b = a.counts[:, None], b.counts
    factor = (n_a * n_b / (n_a + n_b)).sqrt()
    between = products[0, ..., -1, -1].real  # of the means
    squares_a, squares_b = a.squared_means[:, None], b.squared_means
    difference = torch.zeros_like(products[..., -1, -1])
    difference[0] = factor.square() * (squares_a + squares_b - 2 * between).clamp_min(0)
    with_a = scaled(a.inner.unsqueeze(2) - products[..., :-1, -1], factor[..., None])
    with_b = scaled(products[..., -1, :-1] - b.inner.unsqueeze(1), factor[..., None])
    own = torch.diag_embed(a.squares).unsqueeze(2).expand(*with_a.shape, -1)
    top = torch.cat([own, with_a.unsqueeze(4)], 4)
    last = torch.cat([with_a.conj(), difference.unsqueeze(3)], 3)
    gram = torch.cat([top, last.unsqueeze(3)], 3)
    products = torch.cat([products[..., :-1, :-1], with_b.unsqueeze(3)], 3)
    squared_means = n_a.square() * squares_a + n_b.square() * squares_b + 2 * n_a * n_b * between
    return gram, products, squared_means / (n_a + n_b).square()


def _log_dets(gram: Tensor, products: Tensor) -> Tensor:
    """log det(I + G − K K*), real ``(…)``, where the matrix is at least the identity."""
    size = products.shape[-2]
    if size == 1:
        squares = torch.linalg.vector_norm(products, dim=-1).square()
        return torch.log1p((gram[..., 0].real - squares).clamp_min(0)).squeeze(-1)
    matrix = gram - products @ products.mH
    matrix.diagonal(dim1=-2, dim2=-1).add_(1)
    if size == 2:
        first, last = matrix[..., 0, 0].real, matrix[..., 1, 1].real
        off = matrix[..., 0, 1].abs().square()
        return first.log() + (last - off / first).log()
    return 2 * torch.linalg.cholesky(matrix).diagonal(dim1=-2, dim2=-1).real.log().sum(-1)


def from_samples(V: Tensor, batch: ClassBatch, code: Code) -> Clusters:
    """Clusters of samples ``(F, m, C)``, in the order of the classes of the batch."""
    members = batch.gather(V)
    counts = batch.mask.sum(1).to(torch.float64)
    means = members.new_zeros(len(counts), code.channels)
    if code.center:
        members, means = centred(members, batch, counts)
    rank = padded_rank(members.shape[2], code.channels)
    return Clusters.from_rows(members, means, counts, rank, code)


def union(a: Clusters, b: Clusters, code: Code) -> Clusters:
    """One cluster from two."""
    counts = a.counts + b.counts
    means, rows = a.rows.new_zeros(1, code.channels), [a.rows, b.rows]
    if code.center:
        mean_a, mean_b = a.rows[0, :, -1], b.rows[0, :, -1]
        difference = torch.zeros_like(a.rows[:, :, :1])
        difference[0, :, 0] = scaled(mean_a - mean_b, (a.counts * b.counts / counts).sqrt())
        rows = [a.rows[:, :, :-1], b.rows[:, :, :-1], difference]
        means = scaled(mean_a, a.counts / counts) + scaled(mean_b, b.counts / counts)
    rank = padded_rank(int(counts), code.channels)
    return Clusters.from_rows(torch.cat(rows, 2), means, counts, rank, code)


def padded_rank(count: int, channels: int) -> int:
    """Number of rows of a cluster: a power of two that is at least its size, or C."""
    return min(1 << (count - 1).bit_length(), channels)
