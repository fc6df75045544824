"""Labels of which some are missing, and the samples whose label is known."""

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from redunet.construction.sources import Source


def known_labels(labels: np.ndarray) -> np.ndarray:
    """True for samples whose class is known, ``(m,)``: those whose labels are not masked.

    Soft memberships ``(m, k)`` are all known.
    """
    return np.ones(len(labels), bool) if labels.ndim == 2 else ~np.ma.getmaskarray(labels)


def known_membership(labels: np.ndarray, known: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Memberships ``(m, k)``: one class for samples whose class is known, none for the others."""
    membership = np.zeros((len(labels), len(classes)))
    membership[known, np.searchsorted(classes, labels[known])] = 1
    return membership


class KnownSamples:
    """The samples of a source whose class is known."""

    def __init__(self, source: Source):
        self._source = source
        self.example = source.example
        self.home = source.home

    def batches(self, batch_size: int) -> Iterator[Tensor]:
        """Batches of at most ``batch_size`` samples."""
        return (X for X, _ in self.labelled_batches(batch_size))

    def labelled_batches(self, batch_size: int) -> Iterator[tuple[Tensor, np.ndarray]]:
        """Batches of at most ``batch_size`` samples with their labels."""
        for X, labels in self._source.labelled_batches(batch_size):
            known = known_labels(labels)
            yield X[known], np.asarray(labels)[known]

    @property
    def labels(self) -> np.ndarray:
        """Labels of the samples that have been read."""
        labels = self._source.labels
        return np.asarray(labels)[known_labels(labels)]
