"""A random subset of labelled samples that are read batch by batch."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from redunet._checks import check_sample_shape
from redunet._processes import Processes
from redunet.construction.sources import Source


class Subset(NamedTuple):
    """Some of the samples of a source, and the classes of all of them."""

    X: Tensor  # (m', *sample_shape)
    labels: np.ndarray  # (m',)
    classes: np.ndarray  # (k,) sorted labels of all samples
    counts: np.ndarray  # (k,) number of all samples in each class

    @property
    def total(self) -> int:
        """Number of all samples."""
        return int(self.counts.sum())

    @property
    def is_whole(self) -> bool:
        """Whether all samples are in the subset."""
        return len(self.X) == self.total


def draw(source: Source, most: int, batch_size: int, seed: int, processes: Processes) -> Subset:
    """At most ``most`` random samples of all processes, in one pass over the source.

    Every sample gets a random number, and those with the smallest numbers are kept. If all samples
    are kept, they stay in order.
    """
    random = np.random.default_rng([seed, processes.rank])
    X, keys, kept = source.example[:0], np.empty(0), np.empty(0, int)
    start = 0
    for batch in source.batches(batch_size):
        check_sample_shape(batch, tuple(source.example.shape[1:]))
        X = torch.cat([X, batch])
        keys = np.concatenate([keys, random.random(len(batch))])
        kept = np.concatenate([kept, np.arange(start, start + len(batch))])
        start += len(batch)
        X, keys, kept = _smallest(most, X, keys, kept)
    labels = source.labels
    if labels.ndim != 1 or len(labels) != start:
        raise ValueError(
            f"a search needs one label for each of {start} samples, got labels of shape "
            f"{labels.shape}; for soft memberships choose lift and eps_sq yourself"
        )
    drawn = labels[kept]
    if processes.size > 1:
        parts = processes.all_gather_object((X.cpu(), keys, drawn, labels))
        samples, numbers, some, everything = zip(*parts, strict=True)
        X = torch.cat(samples).to(X.device)
        X, _, kept = _smallest(most, X, np.concatenate(numbers), np.arange(len(X)))
        drawn, labels = np.concatenate(some)[kept], np.concatenate(everything)
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        raise ValueError(f"at least two classes are needed, got 1 class: {classes.tolist()}")
    return Subset(X, drawn, classes, counts)


def _smallest(
    most: int, X: Tensor, keys: np.ndarray, kept: np.ndarray
) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """The samples with the smallest keys, in the same order as before."""
    if len(keys) <= most:
        return X, keys, kept
    chosen = np.sort(np.argpartition(keys, most)[:most])
    return X[torch.from_numpy(chosen).to(X.device)], keys[chosen], kept[chosen]
