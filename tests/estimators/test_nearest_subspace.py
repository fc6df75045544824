import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.utils.estimator_checks import parametrize_with_checks

from redunet import NearestSubspaceClassifier
from redunet.datasets import all_shifts
from tests.samples import samples

LABELS = np.array([0] * 4 + [1] * 9 + [2] * 20)  # on both sides of ten features


def brute_force_distances(Z, labels, new, r):
    """Squared distances to the span of each class's first right singular vectors."""
    distances = []
    for label in np.unique(labels):
        vt = np.linalg.svd(Z[labels == label], full_matrices=False)[2][:r]
        distances.append(((new - new @ vt.T @ vt) ** 2).sum(1))
    return np.stack(distances, 1)


@pytest.mark.parametrize("r", [1, 3, 10])
def test_distances_are_those_of_singular_vectors(r):
    Z, new = samples(33, 10), samples(5, 10, seed=1)
    classifier = NearestSubspaceClassifier(r).fit(Z, LABELS)
    expected = brute_force_distances(Z.numpy(), LABELS, new.numpy(), r)
    np.testing.assert_allclose(classifier.decision_function(new), -expected, atol=1e-10)
    np.testing.assert_array_equal(classifier.predict(new), expected.argmin(1))


@pytest.mark.parametrize("r", [1, 2])
def test_centred_distances_are_those_of_principal_component_analysis(r):
    Z, new = (samples(33, 10) + 3).numpy(), (samples(5, 10, seed=1) + 3).numpy()
    classifier = NearestSubspaceClassifier(r, center=True).fit(Z, LABELS)
    expected = []
    for label in range(3):
        pca = PCA(r).fit(Z[label == LABELS])
        expected.append(((new - pca.inverse_transform(pca.transform(new))) ** 2).sum(1))
    np.testing.assert_allclose(
        classifier.decision_function(new), -np.stack(expected, 1), atol=1e-10
    )


@pytest.mark.parametrize("shape", [(3, 5), (3, 4), (3, 3, 4)])
@pytest.mark.parametrize("center", [False, True])
def test_a_subspace_per_frequency_is_the_subspace_of_all_shifts(shape, center):
    # Two samples a class: all their shifts span two dimensions at each frequency (one less at
    # frequency 0 where the mean is subtracted).
    Z, labels = samples(6, *shape), np.repeat([0, 1, 2], 2)
    new = samples(4, *shape, seed=1)
    shifts = all_shifts(Z)
    F = shifts.shape[1]
    invariant = NearestSubspaceClassifier(2, center=center, shift_invariant=True).fit(Z, labels)
    plain = NearestSubspaceClassifier(2 * F - center, center=center)
    plain.fit(shifts.flatten(0, 1), np.repeat(labels, F))
    np.testing.assert_allclose(
        invariant.decision_function(new), plain.decision_function(new), atol=1e-10
    )


@pytest.mark.parametrize("center", [False, True])
def test_shift_invariant_decisions_do_not_change_under_shifts(center):
    Z, new = samples(33, 2, 4, 5), samples(3, 2, 4, 5, seed=1)
    classifier = NearestSubspaceClassifier(1, center=center, shift_invariant=True).fit(Z, LABELS)
    shifted = all_shifts(new)
    np.testing.assert_allclose(
        classifier.decision_function(shifted.flatten(0, 1)),
        np.repeat(classifier.decision_function(new), shifted.shape[1], axis=0),
        atol=1e-12,
    )


def test_classes_of_lower_rank_than_components():
    Z = samples(6, 1) * samples(1, 5, seed=1)
    classifier = NearestSubspaceClassifier(4).fit(torch.cat([Z, samples(6, 5)]), [0] * 6 + [1] * 6)
    assert (classifier.predict(Z) == 0).all()


def test_labels_may_be_strings():
    Z = torch.tensor([[1.0, 0.0], [2.0, 0.1], [0.0, 1.0], [0.1, 2.0]])
    classifier = NearestSubspaceClassifier(1).fit(Z, ["x", "x", "y", "y"])
    assert classifier.predict([[3.0, 0.0], [0.0, 3.0]]).tolist() == ["x", "y"]
    assert classifier.score(Z, ["x", "x", "y", "y"]) == 1


def test_two_classes_have_one_decision():
    Z, labels = samples(12, 3), [0, 1] * 6
    classifier = NearestSubspaceClassifier(1).fit(Z, labels)
    decision = classifier.decision_function(Z)
    assert decision.shape == (12,)
    np.testing.assert_array_equal(classifier.predict(Z), (decision > 0).astype(int))


def test_errors_say_what_was_expected():
    Z, labels = samples(6, 3, 4), [0, 1] * 3
    with pytest.raises(ValueError, match="n_components must be at least 1, got 0"):
        NearestSubspaceClassifier(0).fit(Z, labels)
    with pytest.raises(ValueError, match="should be a 1d array"):
        NearestSubspaceClassifier().fit(Z, np.full((6, 2), 0.5))
    classifier = NearestSubspaceClassifier(shift_invariant=True).fit(Z, labels)
    with pytest.raises(ValueError, match=r"expected samples of shape \(3, 4\)"):
        classifier.predict(samples(2, 3, 5))


def test_runs_where_the_samples_are(device):
    Z = samples(33, 2, 4)
    classifier = NearestSubspaceClassifier(1, shift_invariant=True).fit(Z.to(device), LABELS)
    assert isinstance(classifier.components_, np.ndarray)
    here = NearestSubspaceClassifier(1, shift_invariant=True).fit(Z, LABELS)
    np.testing.assert_allclose(classifier.decision_function(Z), here.decision_function(Z))


@parametrize_with_checks([NearestSubspaceClassifier(1, center=True)])
def test_follows_scikit_learns_conventions(estimator, check):
    check(estimator)
