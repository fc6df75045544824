"""Labels of which some are missing, and the samples whose label is known."""

import unicodedata
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from redunet._checks import Array, as_tensor
from redunet._labels import as_array, as_labels
from redunet._warnings import warn
from redunet.construction.sources import Data, Source
from redunet.rates import Partition

# A warning names at most this many pairs of classes.
SHOWN = 3


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


def weighted_memberships(
    X: Array | Data, labels: Array | None, sample_weight: Array, unknown: int | str | None
) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Samples of known class and positive weight, their weighted memberships, and the classes.

    Parameters
    ----------
    X : array-like of shape (m, *sample_shape)
    labels : array-like of shape (m,) or (m, k)
    sample_weight : array-like of shape (m,)
    unknown : int or str, optional
        The label of samples whose class is not known.

    Returns
    -------
    X : Tensor of shape (n, *sample_shape)
    memberships : numpy array (n, k)
        Memberships times weights of mean 1.
    classes : numpy array (k,)
        The labels, sorted.

    Raises
    ------
    ValueError
        If ``X`` is not an array, or weights or labels do not fit.
    """
    if isinstance(X, Dataset | DataLoader) or labels is None:
        raise ValueError("sample_weight is for arrays: pass X and labels as arrays or tensors")
    X, weights = as_tensor(X), as_array(sample_weight).astype(float)
    if weights.shape != (len(X),) or not (weights >= 0).all() or not 0 < weights.sum() < np.inf:
        raise ValueError(
            f"sample_weight must be {len(X)} finite numbers of at least 0 that are not all 0, one "
            f"for each sample, got shape {weights.shape}"
        )
    labels = as_labels(labels, len(X), unknown=unknown, partial=True, memberships=True)
    used = known_labels(labels) & (weights > 0)
    partition = Partition.from_labels(np.asarray(labels)[used], int(used.sum()))
    weights = weights[used] / weights[used].mean()  # so that their sum is a number of samples
    memberships = partition.membership.cpu().numpy() * weights[:, None]
    return X[torch.from_numpy(used).to(X.device)], memberships, partition.classes


def warn_of_similar(classes: np.ndarray) -> None:
    """Warn of classes whose names differ only in case, in spaces or in characters without width."""
    if classes.dtype.kind != "U":
        return
    alike: dict[str, list[str]] = {}
    for name in classes.tolist():
        alike.setdefault(_without_look(name), []).append(name)
    pairs = [" and ".join(map(repr, names)) for names in alike.values() if len(names) > 1]
    if pairs:
        more = f" and {len(pairs) - SHOWN} more" * (len(pairs) > SHOWN)
        warn(
            "names of different classes differ only in case or in spaces: "
            f"{', '.join(pairs[:SHOWN])}{more}; if they are one class, pass labels of one "
            "spelling, for example [label.strip().lower() for label in labels]"
        )


def _without_look(name: str) -> str:
    """A name in small letters, without outer and double spaces and without invisible characters."""
    visible = (c for c in name if unicodedata.category(c) != "Cf")
    return " ".join("".join(visible).lower().split())


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
