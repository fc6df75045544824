"""Labels of which some are missing, and the samples whose label is known."""

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from torch import Tensor

from redunet._checks import Array, as_labels, plain
from redunet.construction.sources import Source

# The label of samples whose class is not known.
Label: TypeAlias = int | str


def known_labels(labels: Array, unknown: Label | None) -> np.ndarray:
    """True for samples whose class is known, ``(m,)``.

    Parameters
    ----------
    labels : array-like of shape (m,) or (m, k)
        Masked entries of a masked array are not known. Soft memberships are all known.
    unknown : int or str, optional
        The label of samples whose class is not known.
    """
    values = as_labels(labels)
    known = np.ones(len(values), bool)
    if values.ndim == 1:
        if isinstance(labels, np.ma.MaskedArray):
            known &= ~np.ma.getmaskarray(labels)
        if unknown is not None:
            known &= values != plain(unknown)
    return known


def known_membership(labels: np.ndarray, known: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Memberships ``(m, k)``: one class for samples whose class is known, none for the others."""
    membership = np.zeros((len(labels), len(classes)))
    membership[known, np.searchsorted(classes, labels[known])] = 1
    return membership


class KnownSamples:
    """The samples of a source whose class is known.

    Parameters
    ----------
    source : Source
    unknown : int or str, optional
        The label of the other samples.
    """

    def __init__(self, source: Source, unknown: Label | None):
        self._source = source
        self._unknown = unknown
        self.example = source.example
        self.home = source.home

    def batches(self, batch_size: int) -> Iterator[Tensor]:
        """Batches of at most ``batch_size`` samples."""
        return (X for X, _ in self.labelled_batches(batch_size))

    def labelled_batches(self, batch_size: int) -> Iterator[tuple[Tensor, np.ndarray]]:
        """Batches of at most ``batch_size`` samples with their labels."""
        for X, labels in self._source.labelled_batches(batch_size):
            known = known_labels(labels, self._unknown)
            yield X[known], as_labels(labels)[known]

    @property
    def labels(self) -> np.ndarray:
        """Labels of the samples that have been read."""
        labels = self._source.labels
        return as_labels(labels)[known_labels(labels, self._unknown)]
