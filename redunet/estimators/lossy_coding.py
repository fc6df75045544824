"""Clustering by lossy coding, which finds the number of clusters."""

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.isotonic import isotonic_regression
from torch import Tensor

from redunet._checks import (
    Array,
    check_flag,
    check_positive,
)
from redunet._labels import as_labels
from redunet.coding.increment import CodedClasses
from redunet.coding.merging import Merging, merge
from redunet.estimators.validation import SpectralMixin, validated
from redunet.rates.partition import Partition
from redunet.rates.spectrum import minus_origin, norms

# The default ε², as a share of the mean squared norm of the samples at each place.
DEFAULT_SHARE = 0.01

# Largest number of samples that are merged one by one.
MOST_SINGLE = 5000


class LossyCodingClustering(SpectralMixin, ClusterMixin, BaseEstimator):
    """Clusters that make the code of all samples short; their number follows from the data.

    The length of a segmentation is the sum of the coding lengths of its segments, plus the length
    of the labels; see :func:`redunet.coding.coding_length`. The algorithm begins with each sample
    alone, and always merges the two clusters whose union shortens the code most. The clusters are
    those of the shortest code on the way. They may be subspaces or Gaussians of different
    dimensions, and outliers form a cluster of their own or remain alone.

    From single samples, the number of operations grows with m², and so does memory, by 8 m² bytes.
    A set of 5000 samples of 50 dimensions takes about half a minute on one processor core. The time
    also grows with the cube of the dimension D, or of the number of samples in a cluster if that is
    smaller. Reduce hundreds of dimensions first, for example by principal components.

    Parameters
    ----------
    eps_sq : float, optional
        ε², the squared error of the code for each sample (for each place of it with
        ``shift_invariant``). By default it is 0.01 of the mean squared norm of the samples, or of
        their total variance with ``center``. It should be at least the squared norm of the noise. A
        larger ε² gives fewer clusters.
    center : bool
        Whether to encode each cluster about its mean, and these means about that of all samples.
        Clusters then do not depend on the origin. If false, they are subspaces through the origin.
    shift_invariant : bool
        If false, samples are flattened. If true, samples are ``(m, C, *spatial)``, and cyclic
        shifts of single samples do not change the clusters.
    initial : array-like of shape (m,), optional
        Labels of the groups to begin with, for example by k-means. By default each sample is alone,
        up to 5000 samples. For larger sets, clusters of some samples can be the beginning:
        ``first = LossyCodingClustering(eps_sq).fit(X[::10])``, and ``initial=first.predict(X)``.
    progress : bool
        Show a progress bar on standard error.

    Attributes
    ----------
    labels_ : numpy array (m,)
        Cluster of each sample. Cluster 0 is the largest.
    n_clusters_ : int
        Number of clusters.
    eps_sq_ : float
        The ε² that was taken.
    coding_length_ : float
        Length of the segmentation in nats, the smallest of ``lengths_``.
    lengths_ : numpy array (k,)
        Coding length in nats, before the first merge and after each merge of k initial clusters.
    initial_labels_ : numpy array (m,)
        Initial cluster of each sample, 0 … k − 1.
    linkage_ : numpy array (k − 1, 4)
        All merges in the format of :func:`scipy.cluster.hierarchy.linkage`. The leaves are the
        initial clusters. The height of a merge is its cost in nats minus the cost of the first
        merge. Where costs fall from one merge to the next, they are replaced by their isotonic
        regression, so that heights do not fall.
    threshold_ : float
        The height where merges begin to lengthen the code.

    References
    ----------
    Ma, Derksen, Hong, Wright. Segmentation of Multivariate Mixed Data via Lossy Data Coding and
    Compression (TPAMI 2007), Algorithm 1. It stops at the first merge that does not shorten the
    code. Here merging continues, because a later segmentation may be shorter.

    Examples
    --------
    Samples on two lines, and their signs do not matter:

    >>> X = [[1, 1], [2, 2], [-3, -3], [-4, -4], [1, -1], [2, -2], [-3, 3]]
    >>> LossyCodingClustering().fit_predict(X)
    array([0, 0, 0, 0, 1, 1, 1])
    """

    def __init__(
        self,
        eps_sq: float | None = None,
        *,
        center: bool = False,
        shift_invariant: bool = False,
        initial: ArrayLike | None = None,
        progress: bool = False,
    ):
        self.eps_sq = eps_sq
        self.center = center
        self.shift_invariant = shift_invariant
        self.initial = initial
        self.progress = progress

    @torch.no_grad()
    def fit(self, X: Array, y: None = None) -> "LossyCodingClustering":
        """Compute the clusters.

        Parameters
        ----------
        X : array-like or Tensor of shape (m, D) or (m, C, *spatial)
        y : None
            Ignored, as in scikit-learn.

        Raises
        ------
        ValueError
            If ``X`` is not finite, ``eps_sq`` is not positive or too small for double precision, or
            ``initial`` is invalid.
        """
        check_positive(eps_sq=self.eps_sq)
        check_flag(center=self.center)
        V = self._fit_spectra(validated(self, X, reset=True, ensure_min_samples=2))
        self._origin = None
        if self.center:  # where samples lie does not matter, but large numbers have fewer digits
            self._origin = V[0].mean(0)
            V = minus_origin(V, self._origin)
        default = DEFAULT_SHARE * float(norms(V).square().mean()) / self._spectrum.size or 1.0
        self.eps_sq_ = default if self.eps_sq is None else float(self.eps_sq)
        groups = np.unique(self._initial_groups(V), return_inverse=True)[1]
        merging = merge(*self._segments(V, groups), center=self.center, progress=self.progress)
        clusters = merging.labels(merging.shortest)[groups]
        sizes = np.bincount(clusters)
        places = np.argsort(np.argsort(-sizes, kind="stable"))
        self.initial_labels_, self.labels_, self.n_clusters_ = groups, places[clusters], len(sizes)
        self.lengths_, self.coding_length_ = merging.lengths, float(merging.lengths.min())
        self.linkage_, self.threshold_ = linkage(merging)
        self._coded = CodedClasses.from_samples(
            *self._segments(V, self.labels_), center=self.center
        )
        return self

    @torch.no_grad()
    def predict(self, X: Array) -> np.ndarray:
        """The cluster of each sample that makes its incremental coding length smallest, ``(m,)``.

        The clusters of the samples themselves, ``labels_``, may differ: merging compares whole
        clusters. See :class:`redunet.MICLClassifier` for the incremental coding length.
        """
        V = minus_origin(self._new_spectra(X), self._origin)
        return self._coded.increments(V).argmin(1).cpu().numpy()

    def _segments(self, V: Tensor, labels: np.ndarray) -> tuple[Tensor, Partition, Tensor, float]:
        """Samples with these labels as they are coded."""
        partition = Partition.from_labels(labels, len(labels), device=V.device, partial=True)
        return V, partition, self._spectrum.weights, self.eps_sq_

    def _initial_groups(self, V: Tensor) -> np.ndarray:
        """Labels of the initial clusters, ``(m,)``."""
        m = V.shape[1]
        if self.initial is None:
            if m > MOST_SINGLE:
                raise ValueError(
                    f"{m} samples are too many to merge one by one: begin with the clusters of "
                    "some, initial=LossyCodingClustering(eps_sq).fit(X[::10]).predict(X), or with "
                    "those of k-means"
                )
            return np.arange(m)
        try:
            return as_labels(self.initial, m)
        except (TypeError, ValueError) as error:
            raise type(error)(
                f"initial: {error}; pass labels, such as KMeans(50).fit_predict(X)"
            ) from error


def linkage(merging: Merging) -> tuple[np.ndarray, float]:
    """All merges in the format of scipy's linkage matrices, and the height of a merge of no cost.

    The coding length after all merges, as a function of their number, has a greatest convex
    minorant. Its slopes are the isotonic regression of the costs. Both have the same minimum, so
    that exactly the merges before the minimum have a height below that of a merge of no cost.
    """
    k = len(merging.lengths)
    if k == 1:
        return np.zeros((0, 4)), 0.0
    slopes = isotonic_regression(merging.costs)
    counts = np.ones(2 * k - 1)
    for step, pair in enumerate(merging.pairs):
        counts[k + step] = counts[pair].sum()
    heights = slopes - slopes[0]
    return np.column_stack([merging.pairs, heights, counts[k:]]), float(max(0.0, -slopes[0]))
