"""Clustering of features that lie in subspaces, and its accuracy."""

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import linear_sum_assignment
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster import SpectralClustering
from sklearn.metrics.cluster import contingency_matrix
from sklearn.preprocessing import normalize
from sklearn.utils.validation import validate_data

from redunet._checks import Array, check_count, check_positive, plain
from redunet._labels import as_labels
from redunet.estimators.validation import on_host


class SubspaceClustering(ClusterMixin, BaseEstimator):
    """Clustering of samples that lie in subspaces, by linear regression of samples on each other.

    Every sample is scaled to unit norm, and regressed on all other samples with a ridge penalty.
    The coefficients have a closed form for all samples at once: with D = (XXᵀ + λI)⁻¹ they are
    C = −D diag(D)⁻¹ off the diagonal. Spectral clustering with the affinity ``|C| + |C|ᵀ`` gives
    the clusters. This takes O(m²) memory and O(m³) operations.

    The ReduNet paper (JMLR 2022, Appendix D.6) regresses with an elastic net instead (EnSC). That
    takes far longer, and is more accurate on digits; ``benchmarks.paper_tables`` compares both.

    Parameters
    ----------
    n_clusters : int
        Number of clusters.
    ridge : float
        Penalty λ. A larger penalty reduces the contribution of samples in other directions.
    random_state : int, RandomState instance or None
        Random state of the k-means in the spectral clustering.

    Attributes
    ----------
    labels_ : numpy array (m,)
        Cluster of each sample.
    affinity_matrix_ : numpy array (m, m)
        ``|C| + |C|ᵀ``.

    References
    ----------
    Lu, Min, Zhao, Zhu, Huang, Yan. Robust and Efficient Subspace Segmentation via Least Squares
    Regression (ECCV 2012): the variant in which no sample is regressed on itself.
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        ridge: float = 0.1,
        random_state: int | np.random.RandomState | None = None,
    ):
        self.n_clusters = n_clusters
        self.ridge = ridge
        self.random_state = random_state

    def fit(self, X: Array, y: None = None) -> "SubspaceClustering":
        """Compute the clusters.

        Parameters
        ----------
        X : array-like of shape (m, n)
            Features.
        y : None
            Ignored, as in scikit-learn.
        """
        n_clusters, ridge = (
            check_count(n_clusters=self.n_clusters),
            check_positive(ridge=self.ridge),
        )
        checked = validate_data(self, on_host(X), ensure_min_samples=2, dtype=np.float64)
        largest = np.abs(checked).max(1, keepdims=True)
        samples: np.ndarray = normalize(checked / np.where(largest > 0, largest, 1))
        regularised = samples @ samples.T
        np.fill_diagonal(regularised, regularised.diagonal() + ridge)
        precision = cho_solve(cho_factor(regularised), np.eye(len(samples)))
        weights = np.abs(precision / precision.diagonal())
        np.fill_diagonal(weights, 0)
        self.affinity_matrix_ = weights + weights.T
        clustering = SpectralClustering(
            n_clusters, affinity="precomputed", random_state=plain(self.random_state)
        )
        self.labels_ = clustering.fit_predict(self.affinity_matrix_)
        return self


def clustering_accuracy(labels: Array, clusters: Array) -> float:
    """Share of samples in the right cluster, for the best assignment of clusters to classes.

    Parameters
    ----------
    labels, clusters : array-like of shape (m,)
        True classes, and clusters. No two clusters are assigned to the same class.

    Returns
    -------
    float
        The largest share, which :func:`scipy.optimize.linear_sum_assignment` computes.

    Examples
    --------
    >>> clustering_accuracy(["a", "a", "b", "b"], [1, 1, 0, 1])
    0.75
    """
    counts = contingency_matrix(as_labels(labels), as_labels(clusters))
    return float(counts[linear_sum_assignment(counts, maximize=True)].sum() / counts.sum())
