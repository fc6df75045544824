"""Memberships of samples in classes: the diagonals of the matrices Πʲ of the papers."""

from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from redunet._checks import Array, as_tensor, quoted
from redunet._labels import as_labels
from redunet.rates.covariance import second_moment
from redunet.rates.grouping import Assignments, ClassBatch, assigned, class_batches


class Partition:
    """Memberships Π of ``m`` samples in ``k`` classes, hard or soft.

    Build it with :meth:`from_labels`. Labels come from the host, so samples are grouped there, and
    a device is not read.

    Attributes
    ----------
    classes : numpy array (k,)
        The labels, sorted; ``0 … k−1`` for soft memberships.
    is_soft : bool
        Whether memberships were given instead of labels.
    weights : Tensor of shape (m,) or None
        Weights of the samples, which their memberships sum to; None if all are 1.
    """

    def __init__(
        self,
        classes: np.ndarray,
        given: Tensor,
        on_host: Tensor | None = None,
        weights: Tensor | None = None,
    ):
        self.classes = classes
        self.is_soft = given.ndim == 2
        self._given = given  # Π (m, k), or the position of each sample's class (m,)
        self._on_host = given if on_host is None else on_host
        self.weights = weights

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
            return Partition(np.arange(soft.shape[1]) if classes is None else classes, soft)
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
        return Partition(names, on_host if device is None else on_host.to(device), on_host)

    def weighted(self, weights: Tensor) -> "Partition":
        """The memberships of every sample times its weight ``(m,)``, which is positive."""
        return Partition(self.classes, self.membership * weights[:, None], weights=weights)

    def batch(self, run: slice) -> "Partition":
        """The partition of some of the samples, with the same classes."""
        weights = None if self.weights is None else self.weights[run]
        return Partition(self.classes, self._given[run], self._on_host[run], weights)

    def __len__(self) -> int:
        """Number m of samples."""
        return len(self._given)

    @property
    def num_classes(self) -> int:
        """Number k of classes."""
        return len(self.classes)

    @property
    def membership(self) -> Tensor:
        """Π, with one row per sample, ``(m, k)``."""
        if self.is_soft:
            return self._given
        return functional.one_hot(self._given, self.num_classes).to(torch.float64)

    @cached_property
    def counts(self) -> Tensor:
        """tr Πʲ, the number of samples in each class, ``(k,)``, float64."""
        return self._given.sum(0) if self.is_soft else self.sizes.to(torch.float64)

    @cached_property
    def sizes(self) -> Tensor:
        """Number of samples with a membership above 0 in each class, ``(k,)``."""
        return self._grouped.sizes.to(self._given.device)

    @cached_property
    def _grouped(self) -> Assignments:
        if not self.is_soft:
            return assigned(*self._on_host.sort(stable=True), self.num_classes)
        classes, samples = self._given.T.nonzero(as_tuple=True)
        return assigned(classes, samples, self.num_classes, self._given[samples, classes])

    @cached_property
    def assignments(self) -> Assignments:
        """All pairs of a sample and a class that contains it, sorted by class."""
        own, device = self._grouped, self._given.device
        return own if self.is_soft else Assignments(*(t.to(device) for t in own[:4]))

    @cached_property
    def class_batches(self) -> list[ClassBatch]:
        """All classes that have samples, grouped by size."""
        return [batch.to(self._given.device) for batch in class_batches(self._grouped)]

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

    def sums(self, values: Tensor) -> Tensor:
        """Πᵀ values: sums over each class's samples, ``(m, …)`` to ``(k, …)``."""
        if self.is_soft:
            return self._given.T.to(values.dtype) @ values
        total = values.new_zeros(self.num_classes, *values.shape[1:])
        return total.index_add(0, self._given, values)

    def spread(self, values: Tensor) -> Tensor:
        """Π values: for each sample a weighted mean over the classes, ``(k, …)`` to ``(m, …)``."""
        if self.is_soft:
            return self._given.to(values.dtype) @ values
        return values.index_select(0, self._given)


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
