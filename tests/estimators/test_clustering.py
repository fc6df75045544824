import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.metrics import normalized_mutual_info_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from redunet.estimators.clustering import SubspaceClustering, clustering_accuracy


@parametrize_with_checks([SubspaceClustering(3, random_state=0)])
def test_scikit_learn_agrees(estimator, check):
    check(estimator)


def subspaces(noise=0.0):
    """Samples of three subspaces of two dimensions in five, which so cannot be orthogonal."""
    rng = np.random.default_rng(0)
    bases = rng.standard_normal((3, 2, 5))
    X = (rng.standard_normal((3, 40, 2)) @ bases).reshape(120, 5)
    return X + noise * rng.standard_normal(X.shape), np.repeat(range(3), 40)


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_subspaces_are_found(noise):
    X, labels = subspaces(noise)
    clusters = SubspaceClustering(3, ridge=0.01, random_state=0).fit_predict(X)
    assert normalized_mutual_info_score(labels, clusters) > 0.9


def test_affinity_is_the_regression_on_all_others():
    X, _ = subspaces()
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    expected = np.zeros((120, 120))
    for i in range(120):
        others = np.delete(np.arange(120), i)
        expected[others, i] = Ridge(0.1, fit_intercept=False).fit(X[others].T, X[i]).coef_
    expected = np.abs(expected)
    affinity = SubspaceClustering(3, random_state=0).fit(X).affinity_matrix_
    np.testing.assert_allclose(affinity, expected + expected.T, rtol=1e-7, atol=1e-10)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_accuracy_is_the_best_over_all_assignments(pairs):
    labels, clusters = np.array(pairs).T
    best = max(
        np.mean(np.array(names)[clusters] == labels) for names in itertools.permutations(range(4))
    )
    np.testing.assert_allclose(clustering_accuracy(labels, clusters), best)


def test_a_ridge_must_be_positive():
    with pytest.raises(ValueError, match="ridge must be a positive number, got 0"):
        SubspaceClustering(3, ridge=0).fit(np.eye(5))
