import doctest

import numpy as np
import pytest
import torch
from scipy.cluster.hierarchy import fcluster, is_monotonic, is_valid_linkage
from sklearn.metrics import adjusted_rand_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from redunet.coding import coding_length
from redunet.coding.merging import Merging
from redunet.estimators import lossy_coding
from redunet.estimators.lossy_coding import LossyCodingClustering, linkage
from tests.samples import samples


def subspaces(outliers=20, noise=0.01, seed=0):
    """Samples of subspaces of one, two and three dimensions in six, and outliers."""
    rng = np.random.default_rng(seed)
    parts = [rng.uniform(-1, 1, (50, d)) @ rng.standard_normal((d, 6)) for d in (1, 2, 3)]
    X = np.concatenate([*parts, rng.uniform(-3, 3, (outliers, 6))])
    return X + noise * rng.standard_normal(X.shape), np.repeat(range(4), [50, 50, 50, outliers])


def pulses(m=60, noise=0.1, seed=0):
    """Pulses of three forms, each at a random place."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=m)
    t = np.linspace(0, 1, 8)
    forms = np.zeros((3, 1, 20))
    forms[:, 0, :8] = [t, np.sin(2 * np.pi * t), np.sin(4 * np.pi * t)]
    X = np.stack([np.roll(forms[j], rng.integers(20), 1) for j in labels])
    return X + noise * rng.standard_normal(X.shape), labels


def test_subspaces_of_different_dimensions_and_outliers_are_found():
    X, labels = subspaces()
    clustering = LossyCodingClustering().fit(X)
    assert clustering.n_clusters_ == 4
    assert adjusted_rand_score(labels, clustering.labels_) > 0.97


def test_the_coding_length_is_that_of_the_labels():
    X, _ = subspaces()
    for center in (False, True):
        clustering = LossyCodingClustering(0.1, center=center).fit(X)
        assert clustering.eps_sq_ == 0.1
        moved = X - X.mean(0) if center else X  # about the mean of all samples
        expected = coding_length(moved, 0.1, clustering.labels_, center=center)
        np.testing.assert_allclose(clustering.coding_length_, expected, rtol=1e-10)
        assert clustering.coding_length_ == clustering.lengths_.min()
        np.testing.assert_allclose(
            clustering.lengths_[-1], coding_length(moved, 0.1, center=center), rtol=1e-10
        )


def test_gaussians_are_found_about_their_means():
    X = samples(90, 3) * 0.1
    X += torch.eye(3, dtype=torch.float64).repeat_interleave(30, 0) + 2
    clustering = LossyCodingClustering(center=True).fit(X)
    assert adjusted_rand_score(np.repeat(range(3), 30), clustering.labels_) == 1
    assert clustering.predict(torch.eye(3) + 2).tolist() == clustering.labels_[::30].tolist()


def test_clusters_up_to_shifts():
    X, labels = pulses()
    clustering = LossyCodingClustering(0.02, shift_invariant=True).fit(X)
    assert adjusted_rand_score(labels, clustering.labels_) > 0.9
    shifted = np.stack([np.roll(x, i, 1) for i, x in enumerate(X)])
    again = LossyCodingClustering(0.02, shift_invariant=True).fit(shifted)
    np.testing.assert_array_equal(again.labels_, clustering.labels_)
    np.testing.assert_array_equal(clustering.predict(shifted), clustering.predict(X))
    new, new_labels = pulses(seed=1)
    assert adjusted_rand_score(new_labels, clustering.predict(new)) > 0.9


def test_signals_are_flattened_by_default():
    X = samples(20, 2, 3)
    clusters = LossyCodingClustering(0.5).fit_predict(X)
    np.testing.assert_array_equal(clusters, LossyCodingClustering(0.5).fit_predict(X.flatten(1)))


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("shift_invariant", [False, True])
def test_predictions_have_the_smallest_incremental_length(center, shift_invariant):
    X, new = pulses(30)[0], pulses(4, seed=1)[0]
    options = {"center": center, "shift_invariant": shift_invariant}
    clustering = LossyCodingClustering(0.1, **options).fit(X)
    flat, new_flat = (Z if shift_invariant else Z.reshape(len(Z), -1) for Z in (X, new))

    def increment(cluster, x):
        own = flat[clustering.labels_ == cluster]
        lengths = [coding_length(Z, 0.1, center=center) for Z in (own, np.vstack([own, x[None]]))]
        return float(lengths[1] - lengths[0]) - np.log(len(own) / len(X))

    table = [[increment(j, x) for j in range(clustering.n_clusters_)] for x in new_flat]
    np.testing.assert_array_equal(clustering.predict(new), np.argmin(table, 1))


def test_clusters_are_sorted_by_size():
    clustering = LossyCodingClustering(0.1).fit(subspaces()[0])
    sizes = np.bincount(clustering.labels_)
    assert len(sizes) == clustering.n_clusters_
    assert (np.diff(sizes) <= 0).all()


@pytest.mark.parametrize("options", [{}, {"center": True}])
def test_the_linkage_gives_the_clusters_below_the_threshold(options):
    clustering = LossyCodingClustering(**options).fit(subspaces(outliers=60)[0])
    Z = clustering.linkage_
    assert is_valid_linkage(Z, throw=True)
    assert is_monotonic(Z)
    assert Z[0, 2] == 0
    below = clustering.threshold_ * (1 - 1e-9)
    cut = fcluster(Z, below, "distance")[clustering.initial_labels_]
    assert adjusted_rand_score(clustering.labels_, cut) == 1
    assert len(Z) == len(clustering.lengths_) - 1 == clustering.initial_labels_.max()


def test_heights_are_costs_where_these_do_not_fall():
    costs = np.array([-9.0, -7, -8, -1, 2, 1, 6])
    pairs = np.array([[0, 1], [2, 8], [3, 9], [4, 10], [5, 11], [6, 12], [7, 13]])
    lengths = 50 + np.append(0, costs.cumsum())
    Z, threshold = linkage(Merging(pairs, costs, lengths))
    assert threshold == 9
    np.testing.assert_allclose(Z[:, 2], [0, 1.5, 1.5, 8, 10.5, 10.5, 15])
    np.testing.assert_array_equal(Z[:, 3], range(2, 9))
    np.testing.assert_array_equal(Z[:, :2], pairs)


def test_merging_may_begin_with_groups():
    X, labels = subspaces()
    groups = np.array([f"group {label}" for label in 10 * labels + np.arange(len(X)) % 5])
    clustering = LossyCodingClustering(initial=groups).fit(X)
    assert len(clustering.lengths_) == 20
    assert adjusted_rand_score(labels, clustering.labels_) == 1


def test_large_sets_begin_with_the_clusters_of_some_samples(monkeypatch):
    X, labels = subspaces()
    first = LossyCodingClustering(0.05).fit(X[::2]).predict(X)
    monkeypatch.setattr(lossy_coding, "MOST_SINGLE", 160)
    assert len(LossyCodingClustering().fit(X[:160]).lengths_) == 160
    with pytest.raises(ValueError, match="170 samples are too many to merge one by one: begin"):
        LossyCodingClustering().fit(X)
    clustering = LossyCodingClustering(0.05, initial=first).fit(X)
    assert adjusted_rand_score(first, clustering.initial_labels_) == 1
    assert adjusted_rand_score(labels, clustering.labels_) > 0.95


@pytest.mark.parametrize("shift_invariant", [False, True])
def test_the_default_precision_follows_the_scale_of_the_samples(shift_invariant):
    X = samples(30, 2, 4) + 1
    places = 4 if shift_invariant else 1
    energy = X.square().flatten(1).sum(1).mean() / places
    for center in (False, True):
        options = {"center": center, "shift_invariant": shift_invariant}
        found = LossyCodingClustering(**options).fit(X)
        mean = X.mean((0, 2), keepdim=True) if shift_invariant else X.mean(0)
        expected = (X - mean).square().flatten(1).sum(1).mean() / places if center else energy
        np.testing.assert_allclose(found.eps_sq_, 0.01 * expected)
        scaled = LossyCodingClustering(**options).fit(1000 * X)
        np.testing.assert_array_equal(scaled.labels_, found.labels_)


def test_equal_samples_are_one_cluster():
    for X in (np.ones((5, 3)), np.zeros((5, 3))):
        for center in (False, True):
            assert LossyCodingClustering(center=center).fit(X).n_clusters_ == 1


def test_progress_is_shown_on_request(capsys):
    LossyCodingClustering(progress=True).fit(samples(10, 3))
    assert "merges: 100%" in capsys.readouterr().err
    LossyCodingClustering().fit(samples(10, 3))
    assert capsys.readouterr().err == ""


def test_runs_where_the_samples_are(device):
    X, _ = pulses(30)
    here = LossyCodingClustering(0.02, shift_invariant=True).fit(X)
    there = LossyCodingClustering(0.02, shift_invariant=True)
    there.fit(torch.from_numpy(X).to(device))
    np.testing.assert_array_equal(here.labels_, there.labels_)
    np.testing.assert_array_equal(here.predict(X), there.predict(torch.from_numpy(X).to(device)))


def test_errors_say_what_was_expected():
    X = samples(10, 3)
    with pytest.raises(ValueError, match="eps_sq must be a positive number, got -1"):
        LossyCodingClustering(-1).fit(X)
    for initial in ("groups", 40):
        with pytest.raises(ValueError, match=r"got \(\) for 10 samples; pass .* KMeans\(50\)"):
            LossyCodingClustering(initial=initial).fit(X)
    with pytest.raises(
        ValueError, match=r"initial: labels must have shape \(10,\): got \(4,\) for 10 samples"
    ):
        LossyCodingClustering(initial=[0, 1, 2, 3]).fit(X)
    with pytest.raises(ValueError, match=r"eps_sq must be at least .* for these samples"):
        LossyCodingClustering(1e-20).fit(X)
    with pytest.raises(ValueError, match=r"expected samples of shape \(3, 4\)"):
        LossyCodingClustering(1.0).fit(samples(9, 3, 4)).predict(samples(9, 3, 5))


def test_examples_in_docstrings():
    found = doctest.testmod(lossy_coding)
    assert found.attempted > 0
    assert found.failed == 0


# The data of the checks are Gaussians about means.
@parametrize_with_checks([LossyCodingClustering(center=True)])
def test_follows_scikit_learns_conventions(estimator, check):
    check(estimator)
