"""Samples grouped by class, padded to batches of classes of similar size."""

from typing import NamedTuple

import torch
from torch import Tensor

from redunet.rates.spectrum import safe_sqrt, scaled


class Assignments(NamedTuple):
    """All pairs of a sample and a class that contains it, sorted by class."""

    classes: Tensor  # positions of the classes, ascending
    samples: Tensor  # positions of the samples
    ranks: Tensor  # 0, 1, … within each class
    sizes: Tensor  # (k,) number of samples in each class
    weights: Tensor | None = None  # memberships Π; None if all are 1

    def gather(self, V: Tensor) -> Tensor:
        """The samples of all pairs from ``(F, m, C)``, times the square roots of their weights.

        The second moment of the result for class j is V Πʲ V*.
        """
        members = V.index_select(1, self.samples)
        if self.weights is None:
            return members
        return scaled(members, self.weights.to(V.real.dtype).sqrt()[:, None])


class ClassBatch(NamedTuple):
    """A batch of classes of similar size, padded to the size of the largest."""

    classes: Tensor  # (g,) positions of the classes
    samples: Tensor  # (g, s) positions of each class's samples; padding repeats a sample
    weights: Tensor | None  # (g, s) memberships Π; 0 on padding; None if all are 1

    def to(self, device: torch.device) -> "ClassBatch":
        """The batch on a device."""
        weights = None if self.weights is None else self.weights.to(device)
        return ClassBatch(self.classes.to(device), self.samples.to(device), weights)

    @property
    def mask(self) -> Tensor:
        """True for samples, False for padding, ``(g, s)``."""
        if self.weights is None:
            return torch.ones_like(self.samples, dtype=torch.bool)
        return self.weights > 0

    def gather(self, V: Tensor) -> Tensor:
        """Samples ``(F, m, C)`` class by class, times the square roots of their weights.

        The second moments of the result ``(F, g, s, C)`` are V Πʲ V*.
        """
        # The gradient of index_select is summed row by row, that of indexing entry by entry.
        members = V.index_select(1, self.samples.flatten()).unflatten(1, self.samples.shape)
        if self.weights is None:
            return members
        return scaled(members, safe_sqrt(self.weights.to(V.real.dtype))[:, :, None])


def assigned(
    classes: Tensor, samples: Tensor, num_classes: int, weights: Tensor | None = None
) -> Assignments:
    """Assignments from pairs of a class and a sample that are sorted by class."""
    sizes = torch.bincount(classes, minlength=num_classes)
    starts = sizes.cumsum(0) - sizes
    ranks = torch.arange(len(classes), device=classes.device) - starts[classes]
    return Assignments(classes, samples, ranks, sizes, weights)


def class_batches(assignments: Assignments) -> list[ClassBatch]:
    """Classes that have samples, grouped by size: those with 2^(i−1) < size ≤ 2^i are together."""
    sizes = assignments.sizes
    starts = sizes.cumsum(0) - sizes
    octaves = torch.where(sizes > 0, sizes.clamp_min(1).double().log2().ceil(), -1)
    batches = []
    for octave in octaves.unique().tolist():
        if octave < 0:
            continue
        classes = (octaves == octave).nonzero()[:, 0]
        place = torch.arange(int(sizes[classes].max()), device=sizes.device)
        mask = place < sizes[classes, None]
        position = torch.where(mask, starts[classes, None] + place, 0)
        weights = None if assignments.weights is None else assignments.weights[position] * mask
        if weights is None and not bool(mask.all()):
            weights = mask.to(torch.float64)
        batches.append(ClassBatch(classes, assignments.samples[position], weights))
    return batches
