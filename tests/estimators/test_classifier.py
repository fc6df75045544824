import pickle

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from redunet import RandomCirculantLift, ReduNetClassifier
from redunet.datasets import all_shifts
from redunet.estimators import classifier
from redunet.estimators.classifier import CANDIDATES


@parametrize_with_checks([ReduNetClassifier(2, random_state=0)])
def test_scikit_learn_agrees(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    ("load", "least"), [(load_iris, 0.94), (load_wine, 0.93), (load_digits, 0.92)]
)
def test_defaults_suit_data_never_seen(load, least):
    X, y = load(return_X_y=True)
    assert cross_val_score(ReduNetClassifier(random_state=0), X, y).mean() > least


def test_large_classes_are_not_favoured():
    X, y = load_wine(return_X_y=True)
    few = np.concatenate([np.flatnonzero(y == 0)[:15], np.flatnonzero(y != 0)[::2]])
    rest = np.setdiff1d(np.arange(len(y)), few)
    model = ReduNetClassifier(1, eps_sq=0.3).fit(X[few], y[few])
    samples, small = model._samples(X[rest]), y[rest] == 0
    plain = model.net_.residual_norms(samples).argmin(1).numpy()  # the papers' rule, ‖Cʲ v‖
    np.testing.assert_array_equal(model.net_.predict(samples), model.predict(X[rest]))
    assert (plain[small] == 0).mean() < 0.6
    assert (model.predict(X[rest])[small] == 0).mean() > 0.8


def test_scores_labels_and_probabilities_agree():
    X, y = load_wine(return_X_y=True)
    names = np.array(["red", "white", "rosé"])[y]
    model = ReduNetClassifier(random_state=0).fit(X[::2], names[::2])
    scores, shares = model.decision_function(X), model.predict_proba(X)
    assert model.classes_.tolist() == ["red", "rosé", "white"]
    np.testing.assert_array_equal(model.classes_[scores.argmax(1)], model.predict(X))
    np.testing.assert_array_equal(model.classes_[shares.argmax(1)], model.predict(X))
    np.testing.assert_allclose(shares.sum(1), 1)
    two = ReduNetClassifier(random_state=0).fit(X[y < 2], y[y < 2])
    np.testing.assert_array_equal(two.decision_function(X) > 0, two.predict(X) == 1)


def test_scores_are_residuals_of_the_classes():
    X, y = load_iris(return_X_y=True)
    model = ReduNetClassifier(1, eps_sq=0.2).fit(X, y)
    Z = np.c_[(X - X.mean(0)) / X.std(0), np.ones(len(X))]
    Z /= np.linalg.norm(Z, axis=1, keepdims=True)
    expected = []
    for j in range(3):
        moment = Z[y == j].T @ Z[y == j]
        shrunk = np.linalg.solve(np.eye(5) + 5 / (50 * 0.2) * moment, Z.T)
        expected.append(-5 / (150 * 0.2) * np.linalg.norm(shrunk, axis=0))
    np.testing.assert_allclose(model.decision_function(X), np.stack(expected, 1))


def test_probabilities_are_calibrated():
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.5, random_state=0)
    shares = ReduNetClassifier(random_state=0).fit(X, y).predict_proba(X_test)
    sure = shares.max(1)
    right = shares.argmax(1) == y_test
    assert abs(sure.mean() - right.mean()) < 0.05


def test_shapes_make_it_invariant():
    X, y = load_digits(return_X_y=True)
    lift = RandomCirculantLift(1, 16, 3, 2)
    model = ReduNetClassifier(2, input_shape=(1, 8, 8), lift=lift, random_state=0)
    model.fit(X[:900], y[:900])
    shifted = all_shifts(torch.tensor(X[900:1000].reshape(-1, 1, 8, 8)), 3)
    predictions = model.predict(shifted.flatten(0, 1).flatten(1).numpy()).reshape(100, -1)
    assert (predictions == model.predict(X[900:1000])[:, None]).all()
    assert model.score(X[900:], y[900:]) > 0.85
    assert model.transform(X[:3]).shape == (3, 16 * 64)


def test_grids_pipelines_clones_and_pickles(tmp_path):
    X, y = load_iris(return_X_y=True)
    model = make_pipeline(MinMaxScaler(), ReduNetClassifier(random_state=0))
    grid = GridSearchCV(model, {"redunetclassifier__eps_sq": [0.03, 0.3]}, cv=3).fit(X, y)
    assert grid.best_score_ > 0.9
    fitted = clone(model).fit(X, y)
    assert fitted[-1].get_feature_names_out().tolist() == [
        f"redunetclassifier{i}" for i in range(5)
    ]
    joblib.dump(fitted, tmp_path / "model.joblib")
    for again in (pickle.loads(pickle.dumps(fitted)), joblib.load(tmp_path / "model.joblib")):
        np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))


def test_settings_are_found_or_taken():
    X, y = load_digits(return_X_y=True)
    found = ReduNetClassifier(2, random_state=0).fit(X, y)
    assert found.eps_sq_ in CANDIDATES
    np.testing.assert_allclose(found.eta_ * 65 / (len(X) * found.eps_sq_), 2)  # ηα
    few = ReduNetClassifier(2).fit(X[:20], y[:20])  # two of each class
    assert few.eps_sq_ == 0.5
    np.testing.assert_allclose(few.eta_ * 65 / (20 * 0.5), 2)
    given = ReduNetClassifier(2, eps_sq=0.2, eta=0.3).fit(X, y)
    assert (given.eps_sq_, given.eta_) == (0.2, 0.3)


def test_a_shape_that_does_not_fit():
    X, y = load_digits(return_X_y=True)
    with pytest.raises(ValueError, match=r"input_shape \(1, 8, 9\) has 72 values, X has 64"):
        ReduNetClassifier(input_shape=(1, 8, 9)).fit(X, y)


def test_a_lift_stays_as_it_is():
    X, y = load_digits(return_X_y=True)
    lift = RandomCirculantLift(1, 4, 3, 2)
    kernels = lift.kernels.clone()
    model = ReduNetClassifier(1, input_shape=(1, 8, 8), lift=lift, eps_sq=0.01).fit(
        X[:100], y[:100]
    )
    assert model.net_.lift.kernels.dtype == torch.float64
    assert lift.kernels.dtype == torch.float32
    assert torch.equal(lift.kernels, kernels)


def test_candidates_that_are_too_small_for_the_precision_are_skipped(monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 60)).astype(np.float32)  # E is singular but for the identity
    y = np.arange(30) % 3
    X[:, 0] += 3 * y
    with pytest.raises(ValueError, match="eps_sq is too small for"):
        ReduNetClassifier(1, eps_sq=1e-14).fit(X, y)
    monkeypatch.setattr(classifier, "CANDIDATES", np.array([1e-14, 0.3]))
    assert ReduNetClassifier(1, random_state=0).fit(X, y).eps_sq_ == 0.3
