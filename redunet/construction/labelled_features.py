"""Features of labelled samples between two layers, and their reading from a source."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from redunet._checks import Array, check_sample_shape
from redunet._processes import Processes
from redunet._warnings import warn
from redunet.construction.feature_store import FeatureStore
from redunet.construction.known_labels import known_labels, known_membership
from redunet.construction.sources import Source
from redunet.files.identity import Digest, digest_of
from redunet.layers.layer import ReduLayer, extrapolate
from redunet.rates import Partition
from redunet.rates.spectrum import norms, project_to_sphere


@dataclass(frozen=True)
class Extrapolated:
    """Batches of q = v + β (v − v_previous), which can be iterated over any number of times."""

    current: FeatureStore
    previous: FeatureStore
    momentum: float

    def __iter__(self) -> Iterator[Tensor]:
        """Batches ``(F, m, C)``."""
        pairs = zip(self.current, self.previous, strict=True)
        return (extrapolate(V, previous, self.momentum) for V, previous in pairs)


@dataclass(frozen=True)
class Moved:
    """Batches of P_S[v + ηd], which can be iterated over any number of times."""

    current: FeatureStore
    directions: FeatureStore
    eta: float

    def __iter__(self) -> Iterator[Tensor]:
        """Batches ``(F, m, C)``."""
        pairs = zip(self.current, self.directions, strict=True)
        return (project_to_sphere(torch.add(V, d, alpha=self.eta), inplace=True) for V, d in pairs)


class LabelledFeatures:
    """Features and classes of samples, batch by batch.

    Parameters
    ----------
    features : FeatureStore
        Features of all samples, of unit norm per sample.
    partition : Partition
        The classes of all samples.
    sizes : list of int
        Number of samples in each batch.
    known : Tensor of shape (m,), optional
        False for samples whose class is not known; by default all classes are known.
    digests : tuple of two str, optional
        Digests of the samples and of their labels, for a checkpoint.

    Attributes
    ----------
    current : FeatureStore
        Features after the last layer.
    previous : FeatureStore or None
        Features one layer earlier. They are stored only if there is momentum.
    partitions : list of Partition
        The classes of the samples of each batch.
    """

    def __init__(
        self,
        features: FeatureStore,
        partition: Partition,
        sizes: list[int],
        known: Tensor | None = None,
        digests: tuple[str, str] = ("", ""),
    ):
        self.sizes = sizes
        self.known = known
        self.digests = digests
        self.current = features
        self.previous: FeatureStore | None = None
        self.assign(partition)

    def assign(self, partition: Partition) -> None:
        """Change the classes of the samples."""
        ends = np.cumsum(self.sizes)
        runs = [slice(end - size, end) for size, end in zip(self.sizes, ends, strict=True)]
        self.partition = partition
        self.partitions = [partition.batch(run) for run in runs]

    def memberships(self) -> FeatureStore:
        """Memberships ``(m_b, k)`` of the samples of each batch."""
        store = FeatureStore(self.current.device, self.current.device)
        for partition in self.partitions:
            store.append(partition.membership)
        return store

    def points(self, momentum: float) -> Iterable[Tensor]:
        """Batches of the points that a layer is applied to: features, or points ahead of them."""
        if not momentum or self.previous is None:
            return self.current
        return Extrapolated(self.current, self.previous, momentum)

    def apply(self, layer: ReduLayer, *, true_membership: bool, keep: bool) -> FeatureStore:
        """Features after a layer.

        The features before it are freed batch by batch, unless ``keep`` is true.
        """
        moved = FeatureStore(self.current.device, self.current.home)
        for number, V in enumerate(self.points(layer.momentum)):
            membership = self.partitions[number].membership if true_membership else None
            moved.append(layer(V, membership))
            if not keep:
                self.current.discard(number)
        return moved

    def directions(self, layer: ReduLayer, *, true_membership: bool) -> FeatureStore:
        """The directions d in which a layer moves the features, ``(F, m, C)`` for each batch."""
        directions = FeatureStore(self.current.device, self.current.home)
        for V, partition in zip(self.current, self.partitions, strict=True):
            membership = partition.membership if true_membership else None
            directions.append(layer.increment(V, membership))
        return directions

    def along(self, directions: FeatureStore, eta: float) -> Moved:
        """Features after a step η in given directions. They are computed when they are needed."""
        return Moved(self.current, directions, eta)

    def move(self, directions: FeatureStore, eta: float) -> FeatureStore:
        """Features after a step η in given directions.

        The features before it and the directions are freed batch by batch.
        """
        moved = FeatureStore(self.current.device, self.current.home)
        for number, V in enumerate(self.along(directions, eta)):
            moved.append(V)
            directions.discard(number)
            self.current.discard(number)
        return moved

    def advance(self, moved: FeatureStore, *, keep: bool) -> None:
        """Make ``moved`` the current features; ``keep`` the old ones as the previous features."""
        if self.previous is not None:
            self.previous.clear()
        self.previous = self.current if keep else None
        self.current = moved


def collect(
    source: Source,
    encode: Callable[[Tensor], Tensor],
    *,
    sample_shape: tuple[int, ...],
    dtype: torch.dtype,
    batch_size: int,
    folder: Path | None,
    processes: Processes,
    classes: np.ndarray | None = None,
    digested: bool = False,
) -> LabelledFeatures:
    """Read all samples, encode them as features of unit norm, and determine their classes.

    Parameters
    ----------
    source : Source
    encode : callable
        Function from samples ``(m, *sample_shape)`` to half spectra ``(F, m, C)``.
    sample_shape : tuple of int
        Required shape of every sample.
    dtype : torch.dtype
        Precision of the samples.
    batch_size : int
        Largest number of samples in a batch.
    folder : Path or None
        Folder for the features; None to store them where the source does.
    processes : Processes
    classes : numpy array, optional
        The sorted labels; by default those of the samples of all processes.
    digested : bool
        Compute the digests of samples and labels.
    """
    device = source.example.device
    features = FeatureStore(device, folder or source.home)
    sizes, zeros, digest = [], 0, Digest()
    for X in source.batches(batch_size):
        check_sample_shape(X, sample_shape)
        if digested:
            digest.add(X)
        V = encode(X.to(dtype))
        zeros += int((norms(V) == 0).sum())
        sizes.append(V.shape[1])
        features.append(V)
    if zeros:
        warn(f"{zeros} of {sum(sizes)} samples have zero norm and stay zero")
    known = known_labels(source.labels)
    if all(processes.all_gather_object(bool(known.all()))):
        if classes is None and processes.size > 1:
            classes = common_classes(source.labels, known, processes)
        partition = Partition.from_labels(source.labels, sum(sizes), device=device, classes=classes)
        digests = (str(digest), _digest_of(partition)) if digested else ("", "")
        return LabelledFeatures(features, partition, sizes, digests=digests)
    if len(known) != sum(sizes):
        raise ValueError(f"labels must have shape ({sum(sizes)},), got ({len(known)},)")
    if classes is None:
        classes = common_classes(source.labels, known, processes)
    membership = known_membership(np.asarray(source.labels), known, classes)
    partition = Partition.from_membership(torch.from_numpy(membership).to(device), classes)
    digests = (str(digest), _digest_of(partition)) if digested else ("", "")
    known_samples = torch.from_numpy(known).to(device)
    return LabelledFeatures(features, partition, sizes, known_samples, digests)


def _digest_of(partition: Partition) -> str:
    classes, samples, _, weights = partition.assignments
    return digest_of(classes, samples, *([] if weights is None else [weights]))


def common_classes(labels: Array, known: np.ndarray, processes: Processes) -> np.ndarray:
    """The known classes of the samples of all processes.

    Raises
    ------
    ValueError
        If some labels are missing, and fewer than two classes are known.
    """
    labels = np.asarray(labels)
    if labels.ndim == 2:
        return np.arange(labels.shape[1])
    parts = processes.all_gather_object(np.unique(labels[known]))
    classes = np.unique(np.concatenate(parts))
    if len(classes) < 2:
        raise ValueError(
            f"at least two classes need labelled samples, got those of {len(classes)}: "
            f"{classes.tolist()}; if no label is known, pass num_classes"
        )
    return classes
