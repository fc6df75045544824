"""A random subset of labelled samples that are read batch by batch."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from redunet._checks import check_sample_shape
from redunet._labels import Label
from redunet._processes import Processes
from redunet.construction.sources import Source, known_labels
from redunet.rates import Partition
from redunet.search.calibration import Judge

# Weights of classes, as in scikit-learn.
ClassWeight: TypeAlias = Literal["balanced"] | Mapping[Label, float]

# Samples with their labels, weights and random numbers.
Drawn: TypeAlias = tuple[Tensor, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Subset:
    """Some of the samples of a source, and the classes of all of them.

    ``everything`` reads all samples of this process with their classes again, in batches of a size.
    """

    X: Tensor  # (m', *sample_shape)
    partition: Partition  # of these samples; memberships are their weights
    sizes: np.ndarray  # (k,) number of all samples in each class
    counts: np.ndarray  # (k,) sum of their weights
    processes: Processes  # that share all samples
    everything: Callable[[int | None], Iterator[tuple[Tensor, Partition]]]

    @property
    def is_whole(self) -> bool:
        """Whether all samples are in the subset."""
        return len(self.X) == self.sizes.sum()

    @cached_property
    def judge(self) -> Judge:
        """What judges tables of the samples."""
        membership, sizes = self.partition.membership, torch.from_numpy(self.sizes)
        return Judge(membership.argmax(1), sizes.to(self.X.device), membership.sum(1))


def batches(source: Source, size: int) -> Iterator[tuple[Tensor, np.ndarray, np.ndarray]]:
    """Samples whose class is known, with their labels and weights."""
    start = 0
    for X, labels in source.batches(size):
        check_sample_shape(X, tuple(source.example.shape[1:]))
        stop, known = start + len(X), known_labels(labels)
        weights = np.ones(len(X)) if source.weights is None else source.weights[start:stop]
        yield X[torch.from_numpy(known).to(X.device)], np.asarray(labels)[known], weights[known]
        start = stop


def draw(
    source: Source,
    most: int,
    batch_size: int | None,
    seed: int,
    processes: Processes,
    class_weight: ClassWeight | None = None,
    *,
    memberships: bool = False,
) -> Subset:
    """At most ``most`` random samples of all processes, in one pass over the source.

    Every sample gets a random number, and those with the smallest numbers are kept. If all samples
    are kept, they stay in order. Where soft memberships are allowed, sizes and counts are those of
    the classes of the largest memberships, and all classes have the same weight.
    """
    batch_size = batch_size or max(64, 2**24 // source.example.numel())
    random = np.random.default_rng([seed, processes.rank])
    drawn: list[Drawn] = []
    everyone: list[tuple[np.ndarray, np.ndarray]] = []
    for X, labels, weights in batches(source, batch_size):
        if labels.ndim > 1 and not memberships:
            raise ValueError(
                f"a search needs one label for each sample, got labels of shape {labels.shape}; "
                "for soft memberships choose lift and eps_sq yourself"
            )
        everyone.append((labels, weights))
        drawn = [_smallest(most, [*drawn, (X, labels, weights, random.random(len(X)))])]
    home = source.example.device
    if processes.size > 1:
        X, labels, weights, keys = drawn[0]
        drawn = processes.all_gather_object((X.cpu(), labels, weights, keys))
        everyone = [part for parts in processes.all_gather_object(everyone) for part in parts]
    X, labels, weights, _ = _smallest(most, drawn)
    all_labels, all_weights = (np.concatenate(column) for column in zip(*everyone, strict=True))
    if all_labels.ndim > 1:
        classes, places = np.arange(all_labels.shape[1]), all_labels.argmax(1)
    else:
        classes, places = np.unique(all_labels, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            f"at least two classes are needed, got {len(classes)} class(es) with labelled samples: "
            f"{classes.tolist()}"
        )
    sizes, counts = (np.bincount(places, w, len(classes)) for w in (None, all_weights))
    factors = _class_weights(class_weight, classes, counts)
    is_weighted = class_weight is not None or bool((all_weights != 1).any())

    def partition_of(labels: np.ndarray, weights: np.ndarray) -> Partition:
        """The classes of samples. Memberships are the weights of samples times those of classes."""
        partition = Partition.from_labels(
            labels, len(labels), device=home, classes=classes, partial=True
        )
        if labels.ndim == 1:
            weights = weights * factors[np.searchsorted(classes, labels)]
        return partition.weighted(torch.from_numpy(weights).to(home)) if is_weighted else partition

    def everything(size: int | None) -> Iterator[tuple[Tensor, Partition]]:
        for X, labels, weights in batches(source, size or batch_size):
            yield X.to(source.example), partition_of(labels, weights)

    partition = partition_of(labels, weights)
    return Subset(X.to(home), partition, sizes, counts * factors, processes, everything)


def _smallest(most: int, parts: Sequence[Drawn]) -> Drawn:
    """The samples of some batches that have the smallest random numbers, in the same order."""
    samples, *columns = zip(*parts, strict=True)
    X, (labels, weights, keys) = torch.cat(samples), map(np.concatenate, columns)
    if len(X) <= most:
        return X, labels, weights, keys
    chosen = np.sort(np.argpartition(keys, most)[:most])
    X = X[torch.from_numpy(chosen).to(X.device)]
    return X, labels[chosen], weights[chosen], keys[chosen]


def _class_weights(
    class_weight: ClassWeight | None, classes: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """The weight of each class, of which ``counts`` are the sums of the weights of samples."""
    if isinstance(class_weight, str) and class_weight == "balanced":
        return counts.sum() / (len(classes) * counts)
    from sklearn.utils.class_weight import compute_class_weight

    weights = compute_class_weight(class_weight, classes=classes, y=classes)
    if not (np.isfinite(weights) & (weights > 0)).all():
        raise ValueError(f"weights of classes must be positive, got {class_weight!r}")
    return weights
