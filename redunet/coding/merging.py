"""Greedy merging of clusters: always the pair whose union shortens the code most.

Each cluster remembers the partner of its cheapest merge. If that partner is merged with another
cluster, the remembered cost stays a lower bound of the costs with the older clusters, because only
fewer of them are left. The cost with the new cluster is computed at once. A cluster therefore needs
another search only when its bound is the smallest number of all.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from redunet.coding.clusters import Clusters, Code, from_samples, union, union_costs
from redunet.rates.covariance import PrecisionError
from redunet.rates.partition import Partition
from redunet.rates.spectrum import scaled

# Largest number of inner products of rows that are in memory at one time.
BLOCK_ENTRIES = 2**20

# Number of clusters that are compared with all others at one time.
BLOCK_CLUSTERS = 64

# Largest C/ε² times the squared norm of a sample. Double precision has 16 digits.
LARGEST_RATIO = 1e12


class Merging(NamedTuple):
    """A complete sequence of merges of k clusters.

    Cluster ``k + t`` is the union that step t made, as in scipy's linkage matrices.
    """

    pairs: np.ndarray  # (k − 1, 2) the clusters that each step merged, the older one first
    costs: np.ndarray  # (k − 1,) changes of the coding length, in nats
    lengths: np.ndarray  # (k,) coding length before the first merge and after each merge

    @property
    def stop(self) -> int:
        """Number of merges before the first one that does not shorten the code."""
        return int(np.argmax(np.append(self.costs, 0) >= 0))

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
    Ma, Derksen, Hong, Wright (TPAMI 2007), Algorithm 1. It stops after :attr:`Merging.stop` merges.
    """
    code = Code(weights.to(V.device, torch.float64), V.shape[2], eps_sq, center)
    V = scaled(
        V.to(torch.promote_types(V.dtype, torch.float64)), code.weights.rsqrt()[:, None, None]
    )
    largest = float(torch.linalg.vector_norm(V, dim=2).max().square())
    if code.channels * largest > LARGEST_RATIO * eps_sq:
        least = code.channels * largest / LARGEST_RATIO
        raise PrecisionError(f"eps_sq must be at least {least:.3g} for these samples, got {eps_sq}")
    forest = _Forest(V, partition, code)
    k, m = partition.num_classes, len(partition)
    pairs, costs = np.zeros((k - 1, 2), dtype=int), np.zeros(k - 1)
    initial = forest.length + m * math.log(m)
    for step in tqdm(range(k - 1), desc="merges", disable=not progress):
        pairs[step], costs[step] = forest.merge_closest(k + step)
    return Merging(pairs, costs, initial + np.append(0, costs.cumsum()))


class _Pool:
    """Clusters with the same number of rows, in memory that grows."""

    def __init__(self, clusters: Clusters, ids: np.ndarray):
        self._clusters = clusters
        self._ids = ids
        self._size = len(ids)

    def __len__(self) -> int:
        return self._size

    @property
    def ids(self) -> np.ndarray:
        return self._ids[: self._size]

    @property
    def clusters(self) -> Clusters:
        return self._clusters.part(slice(self._size))

    def find(self, cluster: int) -> Clusters:
        """One of the clusters."""
        return self._clusters.part(self._place(cluster))

    def append(self, clusters: Clusters, ids: np.ndarray) -> None:
        """Add clusters. The memory doubles when it is full."""
        start, end = self._size, self._size + len(ids)
        while end > len(self._ids):
            self._ids = np.concatenate([self._ids, self._ids])
            doubled = (torch.cat([t, t], min(t.ndim - 1, 1)) for t in self._clusters)
            self._clusters = Clusters(*doubled)
        self._ids[start:end] = ids
        self._put(slice(start, end), clusters)
        self._size = end

    def pop(self, cluster: int) -> Clusters:
        """Take a cluster out. The last one takes its place."""
        place, last = self._place(cluster), self._place(int(self.ids[-1]))
        taken = Clusters(*(t.clone() for t in self._clusters.part(place)))
        self._put(place, self._clusters.part(last))
        self._ids[place] = self._ids[last]
        self._size -= 1
        return taken

    def _place(self, cluster: int) -> slice:
        place = int(np.flatnonzero(self.ids == cluster)[0])
        return slice(place, place + 1)

    def _put(self, places: slice, clusters: Clusters) -> None:
        for old, new in zip(self._clusters.part(places), clusters, strict=True):
            old.copy_(new)


class _Forest:
    """All clusters that are left, each with the partner of its cheapest merge."""

    def __init__(self, V: Tensor, partition: Partition, code: Code):
        k = partition.num_classes
        self._code = code
        self._pools: dict[int, _Pool] = {}
        self._ranks = np.zeros(2 * k - 1, dtype=int)
        self._costs = np.full(2 * k - 1, np.inf)  # infinite for clusters that are gone
        self._partners = np.full(2 * k - 1, -1)
        self._exact = np.ones(2 * k - 1, dtype=bool)  # or else the cost is a lower bound
        self.length = 0.0
        for batch in partition.class_batches:
            clusters = from_samples(V, batch, code)
            self._add(clusters, batch.classes.cpu().numpy())
            self.length += float(clusters.lengths.sum())
        self._search_all()

    def merge_closest(self, new: int) -> tuple[list[int], float]:
        """Merge the cheapest pair, and give the union its number."""
        a = self._closest()
        b, cost = int(self._partners[a]), float(self._costs[a])
        joined = union(self._take(a), self._take(b), self._code)
        self._exact[(self._partners == a) | (self._partners == b)] = False
        self._add(joined, np.array([new]))
        self._search(new)
        return sorted((a, b)), cost

    def _closest(self) -> int:
        """A cluster of the cheapest pair. Bounds below its cost become exact."""
        while not self._exact[a := int(self._costs.argmin())]:
            self._costs[a] = np.inf
            self._search(a)
        return a

    def _add(self, clusters: Clusters, ids: np.ndarray) -> None:
        self._ranks[ids] = clusters.rank
        if clusters.rank in self._pools:
            self._pools[clusters.rank].append(clusters, ids)
        else:
            self._pools[clusters.rank] = _Pool(clusters, ids)

    def _take(self, cluster: int) -> Clusters:
        self._costs[cluster] = np.inf
        return self._pools[self._ranks[cluster]].pop(cluster)

    def _search(self, cluster: int) -> None:
        """Compute the costs of all merges of a cluster."""
        pool = self._pools[self._ranks[cluster]]
        own, ids = pool.find(cluster), np.array([cluster])
        for other in filter(len, self._pools.values()):
            costs = self._union_costs(own, other.clusters)
            costs[:, other.ids == cluster] = np.inf
            self._remember(ids, other.ids, costs)

    def _search_all(self) -> None:
        """Compute the costs of all merges, those within a pool once for each pair."""
        pools = list(self._pools.values())
        for i, pool in enumerate(pools):
            for other in pools[i:]:
                for start in range(0, len(pool), BLOCK_CLUSTERS):
                    run = slice(start, start + BLOCK_CLUSTERS)
                    rest = slice(start if other is pool else 0, None)
                    costs = self._union_costs(pool.clusters.part(run), other.clusters.part(rest))
                    if other is pool:
                        costs[np.tri(*costs.shape, dtype=np.bool_)] = np.inf
                    self._remember(pool.ids[run], other.ids[rest], costs)

    def _union_costs(self, a: Clusters, b: Clusters) -> np.ndarray:
        entries = a.rows[..., 0].numel() * b.rows.shape[2]
        step = max(1, BLOCK_ENTRIES // entries)
        parts = [
            union_costs(a, b.part(slice(start, start + step)), self._code)
            for start in range(0, len(b.counts), step)
        ]
        return torch.cat(parts, 1).cpu().numpy()

    def _remember(self, ids: np.ndarray, others: np.ndarray, costs: np.ndarray) -> None:
        """Compare the costs of pairs with the costs that both clusters remember."""
        for these, those, table in ((ids, others, costs), (others, ids, costs.T)):
            nearest = table.argmin(1)
            cheapest = table[np.arange(len(these)), nearest]
            better = cheapest <= self._costs[these]
            cheaper = these[better]
            self._costs[cheaper] = cheapest[better]
            self._partners[cheaper] = those[nearest[better]]
            self._exact[cheaper] = True
