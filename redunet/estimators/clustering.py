"""Clusters of features that lie in subspaces, and how well they match classes."""

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import linear_sum_assignment
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster import SpectralClustering
from sklearn.metrics.cluster import contingency_matrix
from sklearn.preprocessing import normalize
from sklearn.utils.validation import validate_data

from redunet._checks import Array, as_labels


class SubspaceClustering(ClusterMixin, BaseEstimator):
    """Samples that explain each other linearly belong together.

    Every sample is regressed on all others with a ridge, in closed form and all at once: with
    D = (XXᵀ + λI)⁻¹ of samples of unit norm, C = −D diag(D)⁻¹ off the diagonal. The spectral
    clustering of ``|C| + |C|ᵀ`` gives the clusters. It takes m² memory and m³ operations.

    Parameters
    ----------
    n_clusters : int
    ridge : float
        λ: how little a sample is explained by samples that point elsewhere.
    random_state : int, RandomState instance or None
        Of the spectral clustering's k-means.

    Attributes
    ----------
    labels_ : numpy array (m,)
        Cluster of each sample.
    affinity_matrix_ : numpy array (m, m)
        ``|C| + |C|ᵀ``.

    References
    ----------
    Lu, Min, Zhao, Zhu, Huang, Yan. Robust and Efficient Subspace Segmentation via Least Squares
    Regression (ECCV 2012), for regression without the sample itself.
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
        """Find the clusters.

        Parameters
        ----------
        X : array-like of shape (m, n)
            Features.
        y : None
            Ignored, as in scikit-learn.
        """
        if not self.ridge > 0:
            raise ValueError(f"ridge must be positive, got {self.ridge}")
        checked = validate_data(self, X, ensure_min_samples=2, dtype=np.float64)
        samples: np.ndarray = normalize(checked)
        regularised = samples @ samples.T
        np.fill_diagonal(regularised, regularised.diagonal() + self.ridge)
        precision = cho_solve(cho_factor(regularised), np.eye(len(samples)))
        weights = np.abs(precision / precision.diagonal())
        np.fill_diagonal(weights, 0)
        self.affinity_matrix_ = weights + weights.T
        clustering = SpectralClustering(
            self.n_clusters, affinity="precomputed", random_state=self.random_state
        )
        self.labels_ = clustering.fit_predict(self.affinity_matrix_)
        return self


def clustering_accuracy(labels: Array, clusters: Array) -> float:
    """Share of samples in the right cluster, if every cluster stands for the best class for it.

    Parameters
    ----------
    labels, clusters : array-like of shape (m,)
        True classes, and the clusters found. No two clusters stand for the same class.

    Returns
    -------
    float
        By the Hungarian algorithm of :func:`scipy.optimize.linear_sum_assignment`.

    Examples
    --------
    >>> clustering_accuracy(["a", "a", "b", "b"], [1, 1, 0, 1])
    0.75
    """
    counts = contingency_matrix(as_labels(labels), as_labels(clusters))
    return float(counts[linear_sum_assignment(counts, maximize=True)].sum() / counts.sum())
