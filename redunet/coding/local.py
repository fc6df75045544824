"""Incremental coding lengths with the nearest neighbours of a sample alone.

For each sample x and class j, X_j is replaced by the samples of the class that are nearest to x.
Every pair of a sample and a class is then a small class of its own, with one new sample.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from redunet.coding import increment
from redunet.coding.decomposition import decompose
from redunet.coding.increment import CodeSettings, added_lengths, label_lengths
from redunet.rates.grouping import ClassBatch
from redunet.rates.partition import Partition
from redunet.rates.spectrum import HalfSpectrum, as_double, minus_origin, scaled, squared_norms


def local_increments(
    V_new: Tensor,
    V: Tensor,
    partition: Partition,
    spectrum: HalfSpectrum,
    eps_sq: float | Tensor,
    *,
    n_neighbors: int,
    center: bool = False,
    log_priors: Tensor | None = None,
    held_out: bool = False,
) -> Tensor:
    """L(N ∪ {x}) − L(N) − log(m_j/m) with the neighbours N of each sample x in class j, in nats.

    The distance is Euclidean. For signals it is the smallest one over all cyclic shifts, so that
    neighbours do not depend on shifts.

    Parameters
    ----------
    V_new : Tensor of shape (F, m', C)
        Half spectra of the samples.
    V : Tensor of shape (F, m, C)
        Half spectra of the samples of the classes.
    partition : Partition
        Their classes. No sample belongs to two classes.
    spectrum : HalfSpectrum
        The transform to half spectra.
    eps_sq : float or Tensor of shape (e,)
        ε², one or several values.
    n_neighbors : int
        Number of neighbours; a class with fewer samples has all of them as neighbours.
    center : bool
        Whether neighbours are coded about their mean.
    log_priors : Tensor of shape (k,), optional
        Logarithms of the probabilities of the classes, instead of the shares of the samples.
    held_out : bool
        Whether ``V_new`` is ``V``. Each sample is then left out in turn, so that it is not its own
        neighbour.

    Returns
    -------
    Tensor of shape (m', k) or (e, m', k), float64
        Infinite where a class has no samples.

    References
    ----------
    Wright et al., Classification via Minimum Incremental Coding Length (SIAM J. Imaging Sciences
    2009), local MICL.
    """
    eps_sq = torch.as_tensor(eps_sq, dtype=torch.float64, device=V.device)
    V, V_new = as_double(V), as_double(V_new)
    origin = V[0].mean(0) if center else None
    V, V_new = minus_origin(V, origin), minus_origin(V_new, origin)
    weights = spectrum.weights.to(V.device, torch.float64)
    code = CodeSettings(eps_sq.reshape(-1), weights, V.shape[2], origin)
    shape = len(code.eps_sq), V_new.shape[1], partition.num_classes
    table = torch.full(shape, torch.inf, dtype=torch.float64, device=V.device)
    for run in _runs(V_new.shape[1], V, partition, code, n_neighbors):
        queries = V_new[:, run]
        distances = squared_distances(queries, V, spectrum)
        if held_out:
            own = torch.arange(run.start, run.stop, device=V.device)
            distances[torch.arange(len(own), device=V.device), own] = torch.inf
        for batch in partition.class_batches:
            neighbors, mask = _nearest(distances, batch, n_neighbors)
            lengths = _lengths(queries, V, neighbors, mask, code, center)  # (e, q, g)
            table[:, run, batch.classes] = torch.where(mask.any(2), lengths, torch.inf)
    targets = partition.membership.argmax(1) if held_out else None
    table += label_lengths(partition.counts, log_priors, targets)
    return table if eps_sq.ndim else table[0]


def squared_distances(V_new: Tensor, V: Tensor, spectrum: HalfSpectrum) -> Tensor:
    """Squared distances of samples to the nearest cyclic shifts of others, ``(m', m)``, float64."""
    V_new, V = as_double(V_new), as_double(V)
    origin = V[0].mean(0)  # so that no large numbers are subtracted
    V_new, V = minus_origin(V_new, origin), minus_origin(V, origin)
    if not spectrum.shape:
        return torch.cdist(V_new, V)[0].square()
    products = (V_new.conj() @ V.mT).flatten(1).unsqueeze(2)  # (F, m'·m, 1)
    roots = spectrum.weights.to(V.real.dtype).rsqrt()[:, None, None]
    correlations = spectrum.inverse(scaled(products, roots)) * spectrum.size**0.5
    largest = correlations.flatten(1).amax(1).unflatten(0, (V_new.shape[1], V.shape[1]))
    return squared_norms(V_new, dim=0)[:, None] + squared_norms(V, dim=0) - 2 * largest


def _nearest(distances: Tensor, batch: ClassBatch, count: int) -> tuple[Tensor, Tensor]:
    """Positions of the nearest samples in each class, and which are none, ``(q, g, s)``."""
    of_classes = distances[:, batch.samples].masked_fill(~batch.mask, torch.inf)
    nearest = of_classes.topk(min(count, of_classes.shape[2]), largest=False)
    samples = batch.samples.expand(len(distances), -1, -1).gather(2, nearest.indices)
    return samples, nearest.values < torch.inf


def _lengths(
    queries: Tensor, V: Tensor, neighbors: Tensor, mask: Tensor, code: CodeSettings, center: bool
) -> Tensor:
    """Increments of samples with their neighbours, ``(e, q, g)``."""
    mask = mask.flatten(0, 1)  # (q·g, s)
    members = as_double(V[:, neighbors.flatten(0, 1)]) * mask.unsqueeze(2)
    parts = decompose(members, mask, centred=center)
    repeated = queries.repeat_interleave(neighbors.shape[1], 1).unsqueeze(2)  # (F, q·g, 1, C)
    lengths = added_lengths(parts, repeated, mask.sum(1).double(), code)
    return lengths[:, 0].unflatten(0, neighbors.shape[:2]).permute(2, 0, 1)


def _runs(
    count: int, V: Tensor, partition: Partition, code: CodeSettings, n_neighbors: int
) -> Iterator[slice]:
    """Runs of samples whose neighbours and distances fit into memory."""
    frequencies, m, channels = V.shape
    size = min(n_neighbors, int(partition.sizes.max()))
    rank = min(size, channels)
    pair = frequencies * (2 * size * channels + size**2 + rank * len(code.eps_sq))
    entries = partition.num_classes * pair + m * 3 * int(code.weights.sum())
    step = max(1, increment.BLOCK_ENTRIES // entries)
    return (slice(start, min(start + step, count)) for start in range(0, count, step))
