"""A random subset of labelled samples that are read batch by batch."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from redunet._checks import check_sample_shape
from redunet._processes import Processes
from redunet.construction.sources import Source


class Subset(NamedTuple):
    """Some of the samples of a source, and the labels of all of them."""

    X: Tensor  # (m', *sample_shape)
    labels: np.ndarray  # (m',)
    classes: np.ndarray  # (k,) sorted labels of all samples
    counts: np.ndarray  # (k,) number of all samples in each class
    total: int  # number of all samples


def draw(
    source: Source,
    most: int,
    batch_size: int,
    seed: int,
    processes: Processes,
    *,
    soft: bool = False,
) -> Subset:
    """At most ``most`` random samples of all processes, in one pass over the source.

    Every sample gets a random number, and those with the smallest numbers are kept. If all samples
    are kept, they stay in order. With ``soft``, labels may also be memberships ``(m, k)``.
    """
    random = np.random.default_rng([seed, processes.rank])
    X, keys = source.example[:0], np.empty(0)
    kept = np.empty(0, int)  # positions of the samples in X
    start = 0
    for batch in source.batches(batch_size):
        check_sample_shape(batch, tuple(source.example.shape[1:]))
        X = torch.cat([X, batch])
        keys = np.concatenate([keys, random.random(len(batch))])
        kept = np.concatenate([kept, np.arange(start, start + len(batch))])
        start += len(batch)
        X, keys, kept = _smallest(most, X, keys, kept)
    labels = _checked(source.labels, start, soft)
    if processes.size == 1:
        return Subset(X, labels[kept], *_counted(labels), start)
    parts = processes.all_gather_object((X.cpu(), keys, labels[kept], labels))
    samples, numbers, drawn, everything = zip(*parts, strict=True)
    X = torch.cat(samples).to(X.device)
    X, _, kept = _smallest(most, X, np.concatenate(numbers), np.arange(len(X)))
    labels = np.concatenate(everything)
    return Subset(X, np.concatenate(drawn)[kept], *_counted(labels), len(labels))


def _smallest(
    most: int, X: Tensor, keys: np.ndarray, kept: np.ndarray
) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """The samples with the smallest keys, in the same order as before."""
    if len(keys) <= most:
        return X, keys, kept
    chosen = np.sort(np.argpartition(keys, most)[:most])
    return X[torch.from_numpy(chosen).to(X.device)], keys[chosen], kept[chosen]


def _counted(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The classes, and the number of samples in each of them."""
    if labels.ndim == 2:
        return np.arange(labels.shape[1]), labels.sum(0)
    return np.unique(labels, return_counts=True)


def _checked(labels: np.ndarray, num_samples: int, soft: bool) -> np.ndarray:
    if labels.ndim not in ((1, 2) if soft else (1,)) or len(labels) != num_samples:
        raise ValueError(
            f"a search needs one label for each of {num_samples} samples, got labels of shape "
            f"{labels.shape}; for soft memberships choose lift and eps_sq yourself"
        )
    return labels
