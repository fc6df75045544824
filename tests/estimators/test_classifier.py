import pickle

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.model_selection import GridSearchCV, ShuffleSplit, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from redunet import MultiScaleLift, RandomCirculantLift, ReduNetClassifier, Search
from redunet.datasets import all_shifts
from redunet.search.search import PRECISIONS

# Settings and sharpness come from leaving samples out, each with its whole weight. Of repeated
# samples, copies stay. tests/search/test_weights.py has what is equal.
OTHER_CHOICE = {
    "check_sample_weight_equivalence_on_dense_data": "copies are left out one at a time"
}


@parametrize_with_checks([ReduNetClassifier(2)], expected_failed_checks=lambda _: OTHER_CHOICE)
def test_scikit_learn_agrees(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    ("load", "least"), [(load_iris, 0.94), (load_wine, 0.97), (load_digits, 0.93)]
)
def test_defaults_suit_data_never_seen(load, least):
    X, y = load(return_X_y=True)
    splits = 5 if len(X) < 1000 else ShuffleSplit(1, test_size=0.2, random_state=0)
    assert cross_val_score(ReduNetClassifier(), X, y, cv=splits).mean() > least


def test_large_classes_are_not_favoured():
    X, y = load_wine(return_X_y=True)
    few = np.concatenate([np.flatnonzero(y == 0)[:15], np.flatnonzero(y != 0)[::2]])
    rest = np.setdiff1d(np.arange(len(y)), few)
    model = ReduNetClassifier(eps_sq=0.3, lift=None).fit(X[few], y[few])
    samples, small = X[rest], y[rest] == 0
    plain = model.net_.residual_norms(samples).argmin(1).numpy()  # the papers' rule, ‖Cʲ v‖
    np.testing.assert_array_equal(model.net_.predict(samples), model.predict(X[rest]))
    assert (plain[small] == 0).mean() < 0.6
    assert (model.predict(X[rest])[small] == 0).mean() > 0.8


def test_scores_labels_and_probabilities_agree():
    X, y = load_wine(return_X_y=True)
    names = np.array(["red", "white", "rosé"])[y]
    model = ReduNetClassifier(lift=None).fit(X[::2], names[::2])
    scores, shares = model.decision_function(X), model.predict_proba(X)
    assert model.classes_.tolist() == ["red", "rosé", "white"]
    np.testing.assert_array_equal(model.classes_[scores.argmax(1)], model.predict(X))
    np.testing.assert_array_equal(model.classes_[shares.argmax(1)], model.predict(X))
    np.testing.assert_allclose(shares.sum(1), 1)
    two = ReduNetClassifier(lift=None).fit(X[y < 2], y[y < 2])
    np.testing.assert_array_equal(two.decision_function(X) > 0, two.predict(X) == 1)


def test_scores_are_residuals_of_the_classes():
    X, y = load_iris(return_X_y=True)
    model = ReduNetClassifier(eps_sq=0.2, lift=None).fit(X, y)
    Z = np.c_[(X - X.mean(0)) / X.std(0), np.ones(len(X))]
    Z /= np.linalg.norm(Z, axis=1, keepdims=True)
    expected = []
    for j in range(3):
        moment = Z[y == j].T @ Z[y == j]
        shrunk = np.linalg.solve(np.eye(5) + 5 / (50 * 0.2) * moment, Z.T)
        expected.append(-np.linalg.norm(shrunk, axis=0))
    np.testing.assert_allclose(model.decision_function(X), np.stack(expected, 1))


def test_probabilities_are_calibrated():
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.5, random_state=0)
    shares = ReduNetClassifier(lift=None).fit(X, y).predict_proba(X_test)
    sure = shares.max(1)
    right = shares.argmax(1) == y_test
    assert abs(sure.mean() - right.mean()) < 0.05


def test_rows_with_a_shape_are_images():
    X, y = load_digits(return_X_y=True)
    images, random = X.reshape(-1, 1, 8, 8), np.random.default_rng(0)
    train, test = random.permutation(len(X))[:300].reshape(2, 150)
    shape = FunctionTransformer(lambda X: X.reshape(-1, 1, 8, 8))
    rows = make_pipeline(shape, ReduNetClassifier(2)).fit(X[train], y[train])
    model = ReduNetClassifier(2).fit(images[train], y[train])
    np.testing.assert_array_equal(rows.predict(X[test]), model.predict(images[test]))
    shifted = all_shifts(torch.tensor(images[test[:8]]), 3)
    predictions = model.predict(shifted.flatten(0, 1).numpy()).reshape(8, -1)
    assert (predictions == model.predict(images[test[:8]])[:, None]).all()
    assert model.score(images[test], y[test]) > 0.85
    assert model.transform(images[:3]).shape == (3, *rows[-1].get_feature_names_out().shape)


def test_series_with_the_lift_of_a_user():
    X, y = load_digits(return_X_y=True)
    series = X.reshape(-1, 8, 8)  # eight channels
    lift = MultiScaleLift(8, 1, kernels_per_scale=20, kernel_size=5)
    model = ReduNetClassifier(lift=lift).fit(series[:300], y[:300])
    assert [candidate.name for candidate in model.search_.candidates_] == ["MultiScaleLift, step"]
    assert model.score(series[300:], y[300:]) > 0.7
    assert lift.spreads.numel() == 0  # the lift itself is not fitted
    search = Search([None, lift], bands=[2])
    more = ReduNetClassifier(lift=search).fit(series[:100], y[:100])
    assert not hasattr(search, "candidates_")  # nor is a search
    assert len({candidate.lift for candidate in more.search_.candidates_}) == 2
    np.testing.assert_allclose(
        more.predict_proba(series[300:310]),
        more.net_.membership(series[300:310]),
        rtol=1e-6,
        atol=1e-9,
    )


def test_grids_pipelines_clones_and_pickles(tmp_path):
    X, y = load_iris(return_X_y=True)
    model = make_pipeline(MinMaxScaler(), ReduNetClassifier(lift=None))
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
    found = ReduNetClassifier(2, lift=None).fit(X, y)
    assert found.eps_sq_ in PRECISIONS
    np.testing.assert_allclose(found.net_.settings.eta * 65 / (len(X) * found.eps_sq_), 2)  # ηα
    assert found.search_.accuracy_ == pytest.approx(found.score(X, y), abs=0.05)
    assert ReduNetClassifier(eps_sq=0.2, lift=None).fit(X, y).eps_sq_ == pytest.approx(0.2)
    low_rank = ReduNetClassifier(operators="variational", rank=5).fit(X[:300], y[:300])
    assert "rank 5" in low_rank.net_.layers[0].operators.description
    with pytest.raises(ValueError, match='lift must be "auto", a Search, None, a module'):
        ReduNetClassifier(lift="best").fit(X, y)
    with pytest.raises(ValueError, match=r"pass it to Search\(eps_sq=\)"):
        ReduNetClassifier(lift=Search(), eps_sq=0.2).fit(X, y)


def test_seeds_give_other_kernels():
    X, y = load_iris(return_X_y=True)
    one, same, other = (
        ReduNetClassifier(random_state=seed).fit(X, y).predict_proba(X) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_a_lift_stays_as_it_is():
    X, y = load_digits(return_X_y=True)
    X, y = X[:100].reshape(-1, 1, 8, 8), y[:100]
    lift = RandomCirculantLift(1, 4, 3, 2)
    kernels = lift.kernels.clone()
    model = ReduNetClassifier(lift=lift, eps_sq=0.01).fit(X, y)
    assert model.net_.lift[1].kernels.dtype == torch.float64
    assert lift.kernels.dtype == torch.float32
    assert torch.equal(lift.kernels, kernels)
