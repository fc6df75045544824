import math

import numpy as np
import pytest
import torch
from sklearn.utils.estimator_checks import parametrize_with_checks

from redunet.datasets import all_shifts, digits
from redunet.estimators.micl import MICLClassifier
from tests.coding.test_increment import increments as by_definition
from tests.samples import samples

LABELS = np.array([0] * 4 + [1] * 9 + [2] * 20)  # on both sides of ten features


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("shift_invariant", [False, True])
def test_increments_are_their_definition(center, shift_invariant):
    X, new = samples(33, 2, 5) + 1, samples(4, 2, 5, seed=1) + 1
    model = MICLClassifier(0.3, center=center, shift_invariant=shift_invariant).fit(X, LABELS)
    if not shift_invariant:
        X, new = X.flatten(1), new.flatten(1)
    expected = by_definition(X, LABELS, new, 0.3, center)
    np.testing.assert_allclose(model.increments(new.reshape(4, 2, 5)), expected, rtol=1e-9)


def test_probabilities_are_those_of_the_lengths():
    X, new = samples(33, 10), samples(5, 10, seed=1)
    model = MICLClassifier(0.3).fit(X, LABELS)
    lengths = model.increments(new)
    weights = np.exp(-model.sharpness_ * (lengths - lengths.min(1, keepdims=True)))
    assert 0 < model.sharpness_ < 1
    expected = weights / weights.sum(1, keepdims=True)
    np.testing.assert_allclose(model.predict_proba(new), expected, atol=1e-12)
    np.testing.assert_array_equal(model.decision_function(new), -lengths)
    np.testing.assert_array_equal(model.predict(new), lengths.argmin(1))


def test_two_classes_have_one_decision():
    X, labels = samples(12, 3), ["x", "y"] * 6
    model = MICLClassifier(0.3).fit(X, labels)
    decision = model.decision_function(X)
    assert decision.shape == (12,)
    probabilities = model.predict_proba(X)
    logits = np.log(probabilities[:, 1] / probabilities[:, 0])
    np.testing.assert_allclose(model.sharpness_ * decision, logits)
    np.testing.assert_array_equal(model.predict(X), np.where(decision > 0, "y", "x"))


@pytest.mark.parametrize("options", [{}, {"center": False}])
def test_the_precision_is_the_best_when_each_sample_is_left_out(options):
    X = torch.cat([samples(33, 3) + torch.as_tensor(LABELS)[:, None], samples(33, 7, seed=1)], 1)
    model = MICLClassifier(**options).fit(X, LABELS)
    losses = []
    for eps_sq in model.searched_[::8]:
        table = []
        for i in range(33):  # without the sample
            others = np.arange(33) != i
            refitted = MICLClassifier(eps_sq, **options).fit(X[others], LABELS[others])
            table.append(refitted.increments(X[i : i + 1])[0])
        losses.append(least_loss(torch.as_tensor(np.array(table))))
    np.testing.assert_allclose(model.losses_[::8], losses, rtol=1e-4)
    assert model.eps_sq_ == model.searched_[model.losses_.argmin()]
    assert 0 < model.sharpness_ <= 1


def least_loss(table):
    """The log loss of softmax(−t table) at the best of many t up to 1, for 33.25 samples.

    The last quarter of a sample is nearest to a wrong class.
    """
    t = torch.logspace(-5, 0, 3000).double()[:, None, None]
    own = table[np.arange(33), LABELS]
    others = table.clone()
    others[np.arange(33), LABELS] = torch.inf
    normaliser = (-t * table).logsumexp(2)
    losses, errors = normaliser + t[..., 0] * own, normaliser + t[..., 0] * others.amin(1)
    best = (33 * losses + errors / 4).mean(1).argmin()
    return losses[best].mean().item()


def test_small_tables_choose_the_same_precision(monkeypatch):
    X = samples(33, 10)
    whole = MICLClassifier().fit(X, LABELS)
    monkeypatch.setattr("redunet.estimators.micl.TABLE_ENTRIES", 4 * 33 * 3)
    parts = MICLClassifier().fit(X, LABELS)
    np.testing.assert_allclose(parts.losses_, whole.losses_)
    assert parts.eps_sq_ == whole.eps_sq_


def test_classes_of_one_sample():
    X = samples(5, 3)
    alone = MICLClassifier().fit(X, np.arange(5))
    scale = (X - X.mean(0)).square().sum(1).mean().item()
    np.testing.assert_allclose(alone.eps_sq_, 0.1 * scale)
    assert (len(alone.losses_), alone.sharpness_) == (0, 1)
    np.testing.assert_array_equal(alone.predict(X), np.arange(5))
    mixed = MICLClassifier().fit(X, [0, 1, 1, 1, 1])
    assert np.isfinite(mixed.losses_).all()


def test_classes_are_subspaces_that_extrapolate():
    # The training samples are close to the origin. New samples are far away, on the same planes.
    planes = samples(3, 2, 10)
    X = torch.cat([samples(8, 2, seed=j) @ planes[j] for j in range(3)])
    new = torch.cat([30 * samples(50, 2, seed=10 + j) @ planes[j] for j in range(3)])
    model = MICLClassifier(1e-3).fit(X, np.repeat([0, 1, 2], 8))
    assert model.score(new, np.repeat([0, 1, 2], 50)) == 1


@pytest.mark.parametrize("center", [False, True])
def test_shift_invariant_decisions_do_not_change_under_shifts(center):
    X, new = samples(33, 2, 4, 3), samples(3, 2, 4, 3, seed=1)
    model = MICLClassifier(center=center, shift_invariant=True)
    model.fit(X, LABELS)
    shifted = all_shifts(new)
    np.testing.assert_allclose(
        model.increments(shifted.flatten(0, 1)),
        np.repeat(model.increments(new), shifted.shape[1], axis=0),
        rtol=1e-9,
    )


def test_a_given_precision_has_the_sharpness_of_leave_one_out():
    X = samples(33, 10)
    searched = MICLClassifier().fit(X, LABELS)
    given = MICLClassifier(searched.eps_sq_).fit(X, LABELS)
    assert given.sharpness_ == pytest.approx(searched.sharpness_, rel=1e-9)
    np.testing.assert_allclose(given.losses_, searched.losses_.min())
    np.testing.assert_allclose(given.searched_, searched.eps_sq_)


def test_single_precision_samples():
    X, new = samples(33, 10), samples(5, 10, seed=1)
    expected = MICLClassifier().fit(X, LABELS).increments(new)
    lengths = MICLClassifier().fit(X.float(), LABELS).increments(new.float())
    np.testing.assert_allclose(lengths, expected, rtol=1e-4)


def test_digits_from_few_labels():
    X, y = digits()
    assert MICLClassifier().fit(X[:400], y[:400]).score(X[400:], y[400:]) > 0.9


def test_errors_say_what_was_expected():
    X, labels = samples(6, 3, 4), [0, 1] * 3
    with pytest.raises(ValueError, match="eps_sq must be a positive number, got 0"):
        MICLClassifier(0).fit(X, labels)
    with pytest.raises(ValueError, match="should be a 1d array"):
        MICLClassifier().fit(X, np.full((6, 2), 0.5))
    with pytest.raises(ValueError, match="at least two classes"):
        MICLClassifier().fit(X, [0] * 6)
    with pytest.raises(ValueError, match="Expected 2D array"):
        MICLClassifier(shift_invariant=True).fit(samples(6), labels)
    model = MICLClassifier(shift_invariant=True).fit(X, labels)
    with pytest.raises(ValueError, match=r"expected samples of shape \(3, 4\)"):
        model.predict(samples(2, 3, 5))


def test_runs_where_the_samples_are(device):
    X = samples(33, 2, 4)
    there = MICLClassifier(shift_invariant=True).fit(X.to(device), LABELS)
    here = MICLClassifier(shift_invariant=True).fit(X, LABELS)
    assert math.isclose(there.eps_sq_, here.eps_sq_, rel_tol=1e-9)
    np.testing.assert_allclose(there.increments(X), here.increments(X), rtol=1e-7)


@parametrize_with_checks([MICLClassifier()])
def test_follows_scikit_learns_conventions(estimator, check):
    check(estimator)
