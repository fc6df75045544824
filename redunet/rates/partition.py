"""Memberships of samples in classes: the diagonals of the matrices Πʲ of the papers."""

from abc import ABC, abstractmethod
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from redunet._checks import Array, as_tensor, quoted
from redunet._labels import as_labels
from redunet.rates.covariance import second_moment
from redunet.rates.grouping import Assignments, ClassBatch, assignments_of, class_batches, ranked


class Partition(ABC):
    """Memberships Π of ``m`` samples in ``k`` classes, hard or soft.

    Build it with :meth:`from_labels`.

    Attributes
    ----------
    classes : numpy array (k,)
        The labels, sorted; ``0 … k−1`` for soft memberships.
    is_soft : bool
        Whether memberships were given instead of labels.
    weights : Tensor of shape (m,) or None
        Weights of the samples, which their memberships sum to; None if all are 1.
    """

    is_soft: ClassVar[bool]
    weights: Tensor | None = None

    def __init__(self, classes: np.ndarray):
        self.classes = classes

    @staticmethod
    def from_labels(
        labels: Array,
        num_samples: int,
        *,
        device: torch.device | str | None = None,
        classes: np.ndarray | None = None,
        partial: bool = False,
        empty: bool = False,
    ) -> "Partition":
        """A partition from labels or soft memberships.

        Parameters
        ----------
        labels : array-like or Tensor
            Integers or strings ``(m,)``, or soft memberships ``(m, k)`` whose rows sum to 1.
            Gradients flow back to memberships that are a tensor.
        num_samples : int
            The expected number m of samples.
        device : torch.device or str, optional
            Device of the samples.
        classes : numpy array, optional
            The sorted labels of another partition, which define the classes and their order. Some
            of the classes may then have no samples.
        partial : bool
            Whether the samples are only a batch of a larger set. A single class is then allowed,
            and classes may have no samples.
        empty : bool
            Whether classes of soft memberships may have no samples. They add nothing to rates.

        Raises
        ------
        ValueError
            If the number of labels is wrong, there are fewer than two classes, labels are not
            among ``classes``, a class has no samples, or memberships are negative or do not sum to
            one.
        """
        original = labels
        labels = as_labels(labels, num_samples, classes=classes, memberships=True)
        if labels.ndim == 2:
            _check_memberships(labels, classes, partial=partial, empty=empty or partial)
            soft = as_tensor(original, device=device).to(torch.float64)
            return _SoftPartition(np.arange(soft.shape[1]) if classes is None else classes, soft)
        names, positions = np.unique(labels, return_inverse=True)
        if classes is not None:
            unknown = np.setdiff1d(names, classes)
            if len(unknown):
                raise ValueError(f"labels {quoted(unknown)} are not among {quoted(classes)}")
            positions = np.searchsorted(classes, labels)
            names = classes
        if len(names) < 2 and not partial:
            raise ValueError(f"at least two classes are needed, got 1 class: {names.tolist()}")
        on_host = as_tensor(positions, device="cpu")
        return _HardPartition(names, on_host, on_host if device is None else on_host.to(device))

    @staticmethod
    def from_membership(membership: Tensor, classes: np.ndarray) -> "Partition":
        """A partition from memberships ``(m, k)`` in these classes, which are not checked."""
        return _SoftPartition(classes, membership)

    def weighted(self, weights: Tensor) -> "Partition":
        """The memberships of every sample times its weight ``(m,)``, which is positive."""
        return _SoftPartition(self.classes, self.membership * weights[:, None], weights)

    @abstractmethod
    def __len__(self) -> int:
        """Number m of samples."""

    @property
    def num_classes(self) -> int:
        """Number k of classes."""
        return len(self.classes)

    @property
    @abstractmethod
    def counts(self) -> Tensor:
        """tr Πʲ, the number of samples in each class, ``(k,)``, float64."""

    @property
    @abstractmethod
    def sizes(self) -> Tensor:
        """Number of samples with a membership above 0 in each class, ``(k,)``."""

    @property
    @abstractmethod
    def membership(self) -> Tensor:
        """Π, with one row per sample, ``(m, k)``."""

    @property
    @abstractmethod
    def assignments(self) -> Assignments:
        """All pairs of a sample and a class that contains it, sorted by class."""

    @cached_property
    def class_batches(self) -> list[ClassBatch]:
        """All classes that have samples, grouped by size."""
        return class_batches(self.assignments, self.num_classes)

    def moments(self, V: Tensor) -> Tensor:
        """Second moments V(p) Πʲ V(p)* of all classes, ``(F, m, C)`` to ``(F, k, C, C)``."""
        moments = V.new_zeros(len(V), self.num_classes, V.shape[2], V.shape[2])
        for batch in self.class_batches:
            moments = moments.index_copy(1, batch.classes, second_moment(batch.gather(V)))
        return moments

    def stacked(self, V: Tensor) -> Tensor:
        """The samples of each class, times the roots of their memberships, and zeros as padding.

        ``(F, m, C)`` to ``(F, k, s, C)`` with the size s of the largest class.
        """
        own, largest = self.assignments, int(self.sizes.max())
        stacked = V.new_zeros(len(V), self.num_classes * largest, V.shape[2])
        places = own.classes * largest + own.ranks
        return stacked.index_copy(1, places, own.gather(V)).unflatten(1, (-1, largest))

    @abstractmethod
    def sums(self, values: Tensor) -> Tensor:
        """Πᵀ values: sums over each class's samples, ``(m, …)`` to ``(k, …)``."""

    @abstractmethod
    def spread(self, values: Tensor) -> Tensor:
        """Π values: for each sample a weighted mean over the classes, ``(k, …)`` to ``(m, …)``."""

    @abstractmethod
    def batch(self, run: slice) -> "Partition":
        """The partition of some of the samples, with the same classes."""


class _HardPartition(Partition):
    """Every sample belongs to one class.

    Labels come from the host, so samples are grouped there, and a device is not read.
    """

    is_soft = False

    def __init__(self, classes: np.ndarray, on_host: Tensor, positions: Tensor):
        super().__init__(classes)
        self._on_host = on_host
        self._positions = positions  # (m,) position of each sample's class

    def __len__(self) -> int:
        return len(self._positions)

    @cached_property
    def counts(self) -> Tensor:
        return self.sizes.to(torch.float64)

    @cached_property
    def sizes(self) -> Tensor:
        sizes = torch.bincount(self._on_host, minlength=self.num_classes)
        return sizes.to(self._positions.device)

    @property
    def membership(self) -> Tensor:
        return torch.nn.functional.one_hot(self._positions, self.num_classes).to(torch.float64)

    @cached_property
    def assignments(self) -> Assignments:
        classes, samples, ranks, _ = self._host_assignments
        device = self._positions.device
        return Assignments(classes.to(device), samples.to(device), ranks.to(device), None)

    @cached_property
    def class_batches(self) -> list[ClassBatch]:
        batches = class_batches(self._host_assignments, self.num_classes)
        return [batch.to(self._positions.device) for batch in batches]

    @cached_property
    def _host_assignments(self) -> Assignments:
        return assignments_of(self._on_host, self.num_classes)

    def sums(self, values: Tensor) -> Tensor:
        total = values.new_zeros(self.num_classes, *values.shape[1:])
        return total.index_add(0, self._positions, values)

    def spread(self, values: Tensor) -> Tensor:
        return values.index_select(0, self._positions)

    def batch(self, run: slice) -> "_HardPartition":
        return _HardPartition(self.classes, self._on_host[run], self._positions[run])


class _SoftPartition(Partition):
    """A sample may belong to several classes."""

    is_soft = True

    def __init__(self, classes: np.ndarray, membership: Tensor, weights: Tensor | None = None):
        super().__init__(classes)
        self._membership = membership  # (m, k)
        self.weights = weights

    def __len__(self) -> int:
        return len(self._membership)

    @cached_property
    def counts(self) -> Tensor:
        return self._membership.sum(0)

    @cached_property
    def sizes(self) -> Tensor:
        return (self._membership > 0).sum(0)

    @property
    def membership(self) -> Tensor:
        return self._membership

    @cached_property
    def assignments(self) -> Assignments:
        classes, samples = self._membership.T.nonzero(as_tuple=True)
        weights = self._membership[samples, classes]
        return ranked(classes, samples, weights, self.num_classes)

    def sums(self, values: Tensor) -> Tensor:
        return self._membership.T.to(values.dtype) @ values

    def spread(self, values: Tensor) -> Tensor:
        return self._membership.to(values.dtype) @ values

    def batch(self, run: slice) -> "_SoftPartition":
        weights = None if self.weights is None else self.weights[run]
        return _SoftPartition(self.classes, self._membership[run], weights)


def _check_memberships(
    soft: np.ndarray, classes: np.ndarray | None, *, partial: bool, empty: bool
) -> None:
    num_classes = soft.shape[1]
    if num_classes < 2 and not partial:
        hint = "; pass labels.ravel() if these are labels" if num_classes == 1 else ""
        raise ValueError(f"at least two classes are needed, got memberships in {num_classes}{hint}")
    if classes is not None and len(classes) != num_classes:
        raise ValueError(f"expected memberships in {len(classes)} classes, got {num_classes}")
    if not (soft >= 0).all():  # also catches NaN
        raise ValueError(
            f"memberships must be at least 0: {(~(soft >= 0)).sum()} are not, "
            f"the smallest is {soft.min()}"
        )
    sums = soft.sum(1, dtype=np.float64)
    wrong = ~np.isclose(sums, 1, rtol=0, atol=1e-4)
    if wrong.any():
        first = int(wrong.argmax())
        raise ValueError(
            f"the memberships of a sample must sum to one: those of {wrong.sum()} of {len(soft)} "
            f"samples do not, the first is sample {first} with a sum of {sums[first]:.6g}"
        )
    missing = np.flatnonzero(soft.sum(0) == 0)
    if len(missing) and classes is None and not empty:
        raise ValueError(f"every class needs samples: classes {quoted(missing)} have none")
