"""Greedy merging of clusters: always the pair whose union shortens the code most.

The costs of all pairs are in memory. A merge changes only those with the union.

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

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from redunet._tables import bar_options
from redunet.coding.length import Code, centred
from redunet.rates.covariance import PrecisionError
from redunet.rates.decomposition import leading_directions
from redunet.rates.grouping import ClassBatch
from redunet.rates.partition import Partition
from redunet.rates.spectrum import scaled

# Largest number of inner products of rows that are in memory at one time.
BLOCK_ENTRIES = 2**20

# Number of clusters that are compared with all others at one time.
BLOCK_CLUSTERS = 64

# Largest C/ε² times the squared norm of a sample. Double precision has 16 digits.
LARGEST_RATIO = 1e12


class Clusters(NamedTuple):
    """Clusters with the same number r of rows. Rows that are zero count for nothing."""

    rows: Tensor  # (F, g, r, C), or (F, g, r + 1, C) if centred: the last row is the mean
    squares: Tensor  # (F, g, r) squared norms of the rows
    inner: Tensor  # (F, g, r) inner products of the rows with the mean; zero if not centred
    counts: Tensor  # (g,) number of samples
    squared_means: Tensor  # (g,) zero if not centred
    lengths: Tensor  # (g,) ℓ
    places: Tensor  # (g,) on the host: where the costs of merging them stand

    @classmethod
    def from_rows(
        cls, rows: Tensor, means: Tensor | None, counts: Tensor, places: Tensor, code: Code
    ) -> "Clusters":
        """Clusters from any rows ``(F, g, s, C)`` that give their scatter, and means ``(g, C)``.

        The number of rows becomes C, or a power of two that is at least the number of samples, so
        that many clusters have the same number.
        """
        rank = min(1 << (int(counts.max()) - 1).bit_length(), code.channels)
        squares, directions = leading_directions(rows, rank)
        missing = rank - squares.shape[2]
        rows = functional.pad(scaled(directions, squares.sqrt().unsqueeze(3)), (0, 0, 0, missing))
        squares = functional.pad(squares, (0, missing))
        inner, squared_means = torch.zeros_like(squares), torch.zeros_like(counts)
        if means is not None:
            last = torch.zeros_like(rows[:, :, :1])
            last[0, :, 0] = means
            inner = (rows @ last.mH).squeeze(3).real
            squared_means = torch.linalg.vector_norm(means, dim=1).square()
            rows = torch.cat([rows, last], 2)
        log_dets = torch.log1p(code.scales(counts)[:, None] * squares).sum(2)
        lengths = lengths_of(code, counts, log_dets, squared_means)
        return cls(rows, squares, inner, counts, squared_means, lengths, places)

    @property
    def rank(self) -> int:
        """The number r of rows."""
        return self.squares.shape[2]

    @property
    def is_centred(self) -> bool:
        """Whether clusters are encoded about their means."""
        return self.rows.shape[2] > self.rank

    def part(self, run: slice) -> "Clusters":
        """Some of the clusters."""
        return Clusters(*(t[:, run] if t.ndim > 1 else t[run] for t in self))

    def joined(self, others: "Clusters") -> "Clusters":
        """These clusters and others with the same number of rows."""
        pairs = zip(self, others, strict=True)
        return Clusters(*(torch.cat(pair, min(pair[0].ndim - 1, 1)) for pair in pairs))

    def split(self, position: int) -> tuple["Clusters", "Clusters"]:
        """A cluster, and the others. The last one takes its position in memory."""
        own, last = slice(position, position + 1), slice(len(self.counts) - 1, None)
        taken = Clusters(*(t.clone() for t in self.part(own)))
        for memory, values in zip(self.part(own), self.part(last), strict=True):
            memory.copy_(values)
        return taken, self.part(slice(-1))


def lengths_of(code: Code, counts: Tensor, log_dets: Tensor, squared_means: Tensor) -> Tensor:
    """ℓ of clusters, from log determinants at all frequencies, ``(F, …)``."""
    of_samples = code.of_samples(counts, torch.tensordot(code.weights, log_dets, 1))
    return of_samples + code.of_means(squared_means) - torch.xlogy(counts, counts)


def union_costs(a: Clusters, b: Clusters, code: Code) -> Tensor:
    """Changes of the coding length by merging each cluster of a with each of b, ``(g, h)``."""
    if a.rank > b.rank:
        return union_costs(b, a, code).T
    counts = a.counts[:, None] + b.counts
    scales = code.scales(counts)[:, :, None]
    products = _products(a.rows, b.rows)
    if a.is_centred:
        gram, products, squared_means = _with_difference(a, b, products)
    else:
        gram, squared_means = torch.diag_embed(a.squares).unsqueeze(2), torch.zeros_like(counts)
    grown = 1 + scales * b.squares[:, None]  # (F, g, h, r_b)
    scaled_products = scaled(products, (scales * grown.rsqrt()).unsqueeze(3))
    log_dets = grown.log().sum(3) + _log_dets(scaled(gram, scales[..., None]), scaled_products)
    return lengths_of(code, counts, log_dets, squared_means) - a.lengths[:, None] - b.lengths


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


def from_samples(V: Tensor, batch: ClassBatch, code: Code, *, center: bool) -> Clusters:
    """Clusters of samples ``(F, m, C)``, in the order of the classes of the batch."""
    members = batch.gather(V)
    counts, means = batch.mask.sum(1).to(torch.float64), None
    if center:
        members, means = centred(members, batch, counts)
    return Clusters.from_rows(members, means, counts, batch.classes.cpu(), code)


def union(a: Clusters, b: Clusters, code: Code) -> Clusters:
    """One cluster from two, in the place of the first."""
    counts = a.counts + b.counts
    means, rows = None, [a.rows, b.rows]
    if a.is_centred:
        mean_a, mean_b = a.rows[0, :, -1], b.rows[0, :, -1]
        difference = torch.zeros_like(a.rows[:, :, :1])
        difference[0, :, 0] = scaled(mean_a - mean_b, (a.counts * b.counts / counts).sqrt())
        rows = [a.rows[:, :, :-1], b.rows[:, :, :-1], difference]
        means = scaled(mean_a, a.counts / counts) + scaled(mean_b, b.counts / counts)
    return Clusters.from_rows(torch.cat(rows, 2), means, counts, a.places, code)


class Merging(NamedTuple):
    """A complete sequence of merges of k clusters.

    Cluster ``k + t`` is the union that step t made, as in scipy's linkage matrices.
    """

    pairs: np.ndarray  # (k − 1, 2) the clusters that each step merged, the older one first
    costs: np.ndarray  # (k − 1,) changes of the coding length, in nats
    lengths: np.ndarray  # (k,) coding length before the first merge and after each merge

    @property
    def shortest(self) -> int:
        """Number of merges after which the code is the shortest."""
        return int(self.lengths.argmin())

    def labels(self, num_merges: int) -> np.ndarray:
        """The cluster of each initial cluster after the first merges: 0, 1, …, ``(k,)``."""
        k = len(self.lengths)
        parents = np.arange(k + num_merges)
        for step in range(num_merges):
            parents[self.pairs[step]] = k + step
        for cluster in range(k + num_merges - 1, -1, -1):
            parents[cluster] = parents[parents[cluster]]
        return np.unique(parents[:k], return_inverse=True)[1]


def merge(
    V: Tensor,
    partition: Partition,
    weights: Tensor,
    eps_sq: float,
    *,
    center: bool = False,
    progress: bool = False,
) -> Merging:
    """Merge clusters until one is left, always the pair whose union shortens the code most.

    The costs of all pairs take 8 k² bytes of host memory for k clusters.

    Parameters
    ----------
    V : Tensor of shape (F, m, C)
        Half spectrum of the samples. All computations are in double precision.
    partition : Partition
        The initial clusters, for example one for each sample.
    weights : Tensor of shape (F,)
        Parseval weights of the half spectrum.
    eps_sq : float
        ε², the squared error of the code.
    center : bool
        Whether clusters are encoded about their means; see :func:`redunet.coding.coding_length`.
    progress : bool
        Show a progress bar on standard error.

    Raises
    ------
    PrecisionError
        If ε² is below 1e-12 of C times the largest squared norm.

    References
    ----------
    Ma, Derksen, Hong, Wright (TPAMI 2007), Algorithm 1. It stops at the first merge that lengthens
    the code.
    """
    code = Code(eps_sq, V.shape[2], weights.to(V.device, torch.float64))
    V = scaled(
        V.to(torch.promote_types(V.dtype, torch.float64)), code.weights.rsqrt()[:, None, None]
    )
    largest = float(torch.linalg.vector_norm(V, dim=2).max().square())
    if code.channels * largest > LARGEST_RATIO * eps_sq:
        least = code.channels * largest / LARGEST_RATIO
        raise PrecisionError(f"eps_sq must be at least {least:.3g} for these samples, got {eps_sq}")
    forest = _Forest(V, partition, code, center=center)
    k, m = partition.num_classes, len(partition)
    pairs, costs, names = np.zeros((k - 1, 2), dtype=int), np.zeros(k - 1), np.arange(k)
    initial = forest.length + m * math.log(m)
    for step in tqdm(range(k - 1), desc="merges", **bar_options(progress)):
        pair, costs[step] = forest.merge_closest()
        pairs[step] = sorted(names[pair])
        names[pair[0]] = k + step
    return Merging(pairs, costs, initial + np.append(0, costs.cumsum()))


class _Forest:
    """All clusters that are left, and the costs of merging any two of them, by their places."""

    def __init__(self, V: Tensor, partition: Partition, code: Code, *, center: bool):
        k = partition.num_classes
        self._code = code
        self._clusters: dict[int, Clusters] = {}  # by their numbers of rows
        self._costs = np.full((k, k), np.inf)  # infinite for clusters that are gone
        self.length = 0.0
        for batch in partition.class_batches:
            clusters = from_samples(V, batch, code, center=center)
            self._add(clusters)
            self.length += float(clusters.lengths.sum())
            for start in range(0, len(batch.classes), BLOCK_CLUSTERS):
                self._compare(clusters.part(slice(start, start + BLOCK_CLUSTERS)))
        self._partners = self._costs.argmin(1)

    def merge_closest(self) -> tuple[list[int], float]:
        """Merge the cheapest pair. The union takes the place of the first of the two."""
        everywhere = np.arange(len(self._costs))
        a = int(self._costs[everywhere, self._partners].argmin())
        b = int(self._partners[a])
        cost = float(self._costs[a, b])
        joined = union(self._take(a), self._take(b), self._code)
        self._costs[[a, b]] = self._costs[:, [a, b]] = np.inf
        self._compare(joined)
        self._add(joined)
        stale = np.isin(self._partners, (a, b))
        stale[[a, b]] = True
        self._partners[stale] = self._costs[stale].argmin(1)
        cheaper = self._costs[a] < self._costs[everywhere, self._partners]
        self._partners[cheaper] = a
        return [a, b], cost

    def _compare(self, some: Clusters) -> None:
        """Compute the costs of merging some clusters with all others that were added."""
        for others in self._clusters.values():
            step = max(1, BLOCK_ENTRIES // (some.rows[..., 0].numel() * others.rows.shape[2]))
            for start in range(0, len(others.counts), step):
                part = others.part(slice(start, start + step))
                costs = union_costs(some, part, self._code).cpu().numpy()
                rows, columns = some.places.numpy(), part.places.numpy()
                self._costs[np.ix_(rows, columns)] = costs
                self._costs[np.ix_(columns, rows)] = costs.T
        self._costs[some.places, some.places] = np.inf

    def _add(self, clusters: Clusters) -> None:
        known = self._clusters.get(clusters.rank)
        self._clusters[clusters.rank] = clusters if known is None else known.joined(clusters)

    def _take(self, place: int) -> Clusters:
        for rank, clusters in self._clusters.items():
            for position in (clusters.places == place).nonzero().flatten().tolist():
                taken, self._clusters[rank] = clusters.split(position)
                return taken
        raise KeyError(place)
