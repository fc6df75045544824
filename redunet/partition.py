"""How samples divide into classes: the papers' diagonal matrices Πʲ, without the zeros."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.utils.multiclass import check_classification_targets
from torch import Tensor

from redunet.checks import as_tensor
from redunet.spectrum import scaled


class Group(NamedTuple):
    """Classes of similar size, padded to the largest of them, to be handled in one batch."""

    classes: Tensor  # (g,) positions of the classes
    samples: Tensor  # (g, s) positions of each class's samples; padding repeats any sample
    weights: Tensor  # (g, s) memberships Π; 0 on padding

    def members(self, V: Tensor) -> Tensor:
        """Samples ``(F, m, C)`` class by class, ``(F, g, s, C)``, times the roots of their weights.

        Their second moments are V Πʲ V*.
        """
        roots = self.weights.to(V.real.dtype).sqrt()
        return scaled(V[:, self.samples], roots[:, :, None])

    def split(self, size: int) -> Iterator["Group"]:
        """The same classes with about ``size`` samples at a time."""
        step = max(1, size // len(self.classes))
        for start in range(0, self.samples.shape[1], step):
            part = slice(start, start + step)
            yield Group(self.classes, self.samples[:, part], self.weights[:, part])


class Partition:
    """Memberships Π of ``m`` samples in ``k`` classes, hard or soft.

    Build it with :meth:`from_labels`.

    Attributes
    ----------
    classes : numpy array (k,)
        The labels, sorted; ``0 … k−1`` for soft memberships.
    counts : Tensor (k,)
        tr Πʲ, the number of samples in each class, float64.
    membership : Tensor (m, k)
        Π with one row a sample.
    groups : list of Group
        All classes that have samples, sorted into batches by size, so that no class is padded to
        more than twice its own size: as many groups as the sizes have octaves, not as classes.
    """

    def __init__(self, classes: np.ndarray, codes: Tensor | None, soft: Tensor | None):
        self.classes = classes
        self._codes = codes  # (m,) position of each sample's class, or None if soft
        self._soft = soft  # (m, k), or None if hard

    @classmethod
    def from_labels(
        cls,
        labels: Any,
        num_samples: int,
        *,
        device: torch.device | str | None = None,
        classes: np.ndarray | None = None,
    ) -> "Partition":
        """Canonicalise labels.

        Parameters
        ----------
        labels : array-like or Tensor
            ``(m,)`` integers or strings, or soft memberships ``(m, k)`` whose rows sum to 1.
        num_samples : int
            m, to check against.
        device : torch.device or str, optional
            Where the samples are.
        classes : numpy array, optional
            The sorted labels of another partition whose order of classes to follow; classes may
            then lack samples.

        Raises
        ------
        ValueError
            For labels of the wrong length, fewer than two classes, labels outside ``classes``,
            a class without samples, memberships that are negative or do not sum to one.
        """
        labels = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
        if labels.ndim not in (1, 2) or len(labels) != num_samples:
            raise ValueError(
                f"labels must have shape ({num_samples},), or ({num_samples}, k) for soft "
                f"memberships: got {labels.shape} for {num_samples} samples"
            )
        if labels.ndim == 2:
            return cls._from_memberships(labels, device, classes)
        check_classification_targets(labels)
        found, codes = np.unique(labels, return_inverse=True)
        if classes is not None:
            unknown = np.setdiff1d(found, classes)
            if len(unknown):
                raise ValueError(f"labels {unknown.tolist()} are not among {classes.tolist()}")
            codes = np.searchsorted(classes, labels)
            found = classes
        if len(found) < 2:
            raise ValueError(f"at least two classes are needed, got 1 class: {found.tolist()}")
        return cls(found, as_tensor(codes, device=device), None)

    @classmethod
    def _from_memberships(
        cls, soft: np.ndarray, device: Any, classes: np.ndarray | None
    ) -> "Partition":
        num_classes = soft.shape[1]
        if num_classes < 2:
            raise ValueError(f"at least two classes are needed, got memberships in {num_classes}")
        if classes is not None and len(classes) != num_classes:
            raise ValueError(f"expected memberships in {len(classes)} classes, got {num_classes}")
        soft = soft.astype(np.float64)
        if not (soft >= 0).all():  # also catches NaN
            raise ValueError(
                f"memberships must not be negative: {(~(soft >= 0)).sum()} are, "
                f"the least is {soft.min()}"
            )
        sums = soft.sum(1)
        wrong = ~np.isclose(sums, 1, rtol=0, atol=1e-4)
        if wrong.any():
            first = int(wrong.argmax())
            raise ValueError(
                f"memberships must sum to one over the classes: {wrong.sum()} of {len(soft)} "
                f"samples' do not, the first is sample {first} with {sums[first]:.6g}"
            )
        empty = np.flatnonzero(soft.sum(0) == 0)
        if len(empty) and classes is None:
            raise ValueError(f"every class needs samples: classes {empty.tolist()} have none")
        return cls(
            np.arange(num_classes) if classes is None else classes,
            None,
            as_tensor(soft, device=device),
        )

    def __len__(self) -> int:
        """Number m of samples."""
        return len(self._codes if self._soft is None else self._soft)

    @property
    def num_classes(self) -> int:
        """Number k of classes."""
        return len(self.classes)

    @property
    def is_soft(self) -> bool:
        """Whether memberships were given instead of labels."""
        return self._soft is not None

    @cached_property
    def counts(self) -> Tensor:
        """tr Πʲ of every class, ``(k,)``."""
        if self._soft is not None:
            return self._soft.sum(0)
        return torch.bincount(self._codes, minlength=self.num_classes).to(torch.float64)

    @property
    def membership(self) -> Tensor:
        """Π with one row a sample, ``(m, k)``."""
        if self._soft is not None:
            return self._soft
        return torch.nn.functional.one_hot(self._codes, self.num_classes).to(torch.float64)

    @cached_property
    def groups(self) -> list[Group]:
        """All classes that have samples, in batches of similar size."""
        if self._soft is None:
            member_of, samples = self._codes.sort(stable=True)
            weights = torch.ones_like(samples, dtype=torch.float64)
        else:
            member_of, samples = self._soft.T.nonzero(as_tuple=True)
            weights = self._soft[samples, member_of]
        sizes = torch.bincount(member_of, minlength=self.num_classes)
        starts = sizes.cumsum(0) - sizes
        return [self._group(c, sizes, starts, samples, weights) for c in _octaves(sizes)]

    @staticmethod
    def _group(
        classes: Tensor, sizes: Tensor, starts: Tensor, samples: Tensor, weights: Tensor
    ) -> Group:
        place = torch.arange(int(sizes[classes].max()), device=sizes.device)
        inside = place < sizes[classes, None]
        position = torch.where(inside, starts[classes, None] + place, 0)
        return Group(classes, samples[position], weights[position] * inside)


def _octaves(sizes: Tensor) -> list[Tensor]:
    """Positions of the non-empty classes, split where sizes double: sizes in (2^(i−1), 2^i]."""
    octave = torch.where(sizes > 0, sizes, 1).to(torch.float64).log2().ceil().long()
    octave = torch.where(sizes > 0, octave, -1)
    return [(octave == o).nonzero()[:, 0] for o in octave.unique().tolist() if o >= 0]
