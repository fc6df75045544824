"""The features of all samples between two layers, in batches, in memory or in files."""

import ctypes
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from redunet.layers import DatasetInfo, OperatorKind, ReduLayer, SecondMoments
from redunet.layers.layer import extrapolate
from redunet.rates import Partition
from redunet.rates.spectrum import project_to_sphere

# What begins a pass over batches of points, ``(F, m, C)``.
Points: TypeAlias = Callable[[], Iterable[Tensor]]


class FeatureStore:
    """Half spectra ``(F, m, C)`` of all samples, in batches.

    Parameters
    ----------
    device : torch.device
        Device of the batches that are read.
    home : torch.device or Path
        Storage of the batches: a device, or a folder with one file for each batch.
    """

    _numbers = itertools.count()

    def __init__(self, device: torch.device, home: torch.device | Path):
        self.device = device
        self.home = home
        self.sizes: list[int] = []  # number of samples in each batch
        self._batches: list[Tensor | Path] = []

    def append(self, V: Tensor) -> None:
        """Add a batch."""
        self.sizes.append(V.shape[1])
        if isinstance(self.home, Path):
            file = self.home / f"features-{next(self._numbers):08d}.npy"
            write_array(file, V)
            return_freed_memory()
            self._batches.append(file)
        else:
            self._batches.append(V.to(self.home))

    def __iter__(self) -> Iterator[Tensor]:
        """All batches, on the device."""
        for stored in self._batches:
            if isinstance(stored, Path):
                return_freed_memory()
                stored = read_array(stored)
            yield stored.to(self.device)

    def discard(self, number: int) -> None:
        """Free the memory, or the file, of a batch."""
        stored = self._batches[number]
        if isinstance(stored, Path):
            stored.unlink(missing_ok=True)
        self._batches[number] = torch.empty(0)

    def clear(self) -> None:
        """Free all batches."""
        for number in range(len(self.sizes)):
            self.discard(number)


class LabelledFeatures:
    """Features and classes of samples, batch by batch.

    Parameters
    ----------
    features : FeatureStore
        Features of all samples, of unit norm per sample.
    partition : Partition
        The classes of all samples.
    info : DatasetInfo
        Their sizes and counts.
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
    true_membership : bool
        Whether layers move the samples by these classes, and not by their estimates.
    keeps_previous : bool
        Whether the features before a layer stay, for momentum.
    """

    def __init__(
        self,
        features: FeatureStore,
        partition: Partition,
        info: DatasetInfo,
        known: Tensor | None = None,
        digests: tuple[str, str] = ("", ""),
    ):
        self.info = info
        self.known = known
        self.digests = digests
        self.current = features
        self.previous: FeatureStore | None = None
        self.true_membership = self.keeps_previous = False
        self._set_partition(partition)

    def _set_partition(self, partition: Partition) -> None:
        sizes = self.current.sizes
        runs = [slice(end - size, end) for size, end in zip(sizes, np.cumsum(sizes), strict=True)]
        self.partition = partition
        self.partitions = [partition.batch(run) for run in runs]

    def assign(self, membership: Tensor) -> None:
        """Give the samples other memberships ``(m, k)``."""
        self._set_partition(Partition(self.partition.classes, membership))
        self.info = self.info.with_partition(self.partition)

    def points(self, momentum: float = 0.0) -> Iterator[Tensor]:
        """Batches of the points that a layer is applied to: features, or points ahead of them."""
        if not momentum or self.previous is None:
            return iter(self.current)
        pairs = zip(self.current, self.previous, strict=True)
        return (extrapolate(V, previous, momentum) for V, previous in pairs)

    def moments(
        self, kind: OperatorKind, points: Points | None = None, layers: Sequence[ReduLayer] = ()
    ) -> SecondMoments:
        """Second moments of points with the samples' classes, as a kind of operators needs them.

        Parameters
        ----------
        kind : OperatorKind
        points : callable, optional
            Begins a pass over the batches of the points, by default those of the features.
        layers : sequence of ReduLayer
            The layers that the samples have passed.
        """
        previous = layers[-1].operators if layers else None
        following: SecondMoments | None = kind.moments(self.info, previous)
        while following is not None:
            moments = following
            if not isinstance(moments, SecondMoments):
                raise TypeError(f"{kind}.moments must return SecondMoments, got {moments!r}")
            batches = self.current if points is None else points()
            for V, partition in zip(batches, self.partitions, strict=True):
                moments.add(V, partition)
            moments.finish()
            following = moments.next_pass()
        return moments

    def apply(self, layer: ReduLayer) -> FeatureStore:
        """Features after a layer. Those before it are freed, unless they are kept."""
        pairs = zip(self.points(layer.momentum), self.partitions, strict=True)
        moved = (layer(V, self._membership(partition)) for V, partition in pairs)
        return self._stored(moved, frees=[] if self.keeps_previous else [self.current])

    def directions(self, layer: ReduLayer) -> FeatureStore:
        """The directions d in which a layer moves the features, ``(F, m, C)`` for each batch."""
        pairs = zip(self.current, self.partitions, strict=True)
        return self._stored(layer.increment(V, self._membership(part)) for V, part in pairs)

    def moved(self, directions: FeatureStore, eta: float) -> Iterator[Tensor]:
        """Batches of P_S[v + ηd]."""
        pairs = zip(self.current, directions, strict=True)
        return (project_to_sphere(torch.add(V, d, alpha=eta), inplace=True) for V, d in pairs)

    def move(self, directions: FeatureStore, eta: float) -> FeatureStore:
        """Features P_S[v + ηd]. Directions, and the features before, are freed batch by batch."""
        return self._stored(self.moved(directions, eta), frees=[directions, self.current])

    def advance(self, moved: FeatureStore) -> None:
        """Make ``moved`` the current features."""
        if self.previous is not None:
            self.previous.clear()
        self.previous = self.current if self.keeps_previous else None
        self.current = moved

    def _stored(
        self, batches: Iterable[Tensor], frees: Sequence[FeatureStore] = ()
    ) -> FeatureStore:
        """Batches where the features are stored. The same batches of other stores are freed."""
        stored = FeatureStore(self.current.device, self.current.home)
        for number, V in enumerate(batches):
            stored.append(V)
            for store in frees:
                store.discard(number)
        return stored

    def _membership(self, partition: Partition) -> Tensor | None:
        """What replaces the estimated memberships of the samples of a batch."""
        if not self.true_membership:
            return None
        weights = partition.weights
        return partition.membership if weights is None else partition.membership / weights[:, None]


def write_array(file: Path, V: Tensor) -> None:
    """Write a tensor in NumPy's format."""
    np.save(file, V.detach().resolve_conj().cpu().numpy(), allow_pickle=False)


def read_array(file: Path) -> Tensor:
    """Read a tensor that :func:`write_array` wrote."""
    return torch.from_numpy(np.load(file, allow_pickle=False))


def return_freed_memory() -> None:
    """Ask the C library to return freed memory to the system.

    Blocks of many megabytes are allocated and freed with every batch. In the heap of glibc they
    leave gaps that are too small for later blocks, so the process would grow without limit. Other C
    libraries do not have this function and do not need it.
    """
    trim = getattr(_libc, "malloc_trim", None)
    if trim is not None:
        trim(0)


_libc = ctypes.CDLL(None) if os.name == "posix" else None
