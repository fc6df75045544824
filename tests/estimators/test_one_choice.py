"""The classifier and ``lift="auto"`` make the same choice, from samples of any layout."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris

from redunet import ReduNet, ReduNetClassifier, Search, Variational, datasets


def table():
    X, y = load_iris(return_X_y=True)
    return X[::3], y[::3]


def series():
    X, y = datasets.sinusoids(per_class=8, channels=2, length=20, noise=0.5)
    return X.numpy(), y.numpy()


def images():
    X, y = datasets.digits()
    return X[:60].numpy(), y[:60].numpy()


def whole_numbers():
    X, y = table()
    return (10 * X).astype(int), np.array(["a", "b", "c"])[y]


SAMPLES = pytest.mark.parametrize("samples", [table, series, images, whole_numbers])


def assert_same(net, other):
    assert net.settings == other.settings
    assert net.layers[0].proportions.dtype == other.layers[0].proportions.dtype
    state, others = net.state_dict(), other.state_dict()
    assert state.keys() == others.keys()
    for name, value in state.items():
        assert torch.equal(value, others[name]), name


@SAMPLES
@pytest.mark.parametrize("seed", [0, 3])
def test_both_construct_the_same_network(samples, seed):
    X, y = samples()
    model = ReduNetClassifier(random_state=seed).fit(X, y)
    search = Search(seed=seed)
    net = ReduNet.construct(X, y, lift=search)
    assert str(search) == str(model.search_)
    assert_same(net, model.net_)
    assert (net.predict(X) == model.predict(X)).all()
    assert search.sharpness_ == model.sharpness_
    if seed == 0:
        assert_same(ReduNet.construct(X, y, lift="auto"), net)


def test_both_take_the_best_candidate_with_other_operators():
    X, y = table()
    model = ReduNetClassifier(operators="variational", rank=3).fit(X, y)
    net = ReduNet.construct(X, y, lift=Search(), operators=Variational(3))
    assert_same(net, model.net_)
    assert (net.predict(X) == model.predict(X)).all()


def test_both_take_a_given_precision():
    X, y = table()
    model = ReduNetClassifier(eps_sq=0.02).fit(X, y)
    net = ReduNet.construct(X, y, lift=Search(eps_sq=0.02))
    assert_same(net, model.net_)
    assert net.settings.eps_sq == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eps_sq": 0.1}, r"a Search chooses eps_sq itself: .* pass lift=Search\(eps_sq=0\.1\)"),
        ({"lam": 500.0}, "a Search chooses lam itself"),
        ({"membership": "rectified"}, "a Search chooses membership itself"),
        ({"num_layers": 0}, "num_layers must be at least 1"),
        ({"tol": 2.0}, "tol must be None or in"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
    ],
)
def test_settings_are_checked_before_the_search(options, message, monkeypatch):
    monkeypatch.setattr(Search, "fit", lambda *_, **__: pytest.fail("the search has begun"))
    with pytest.raises(ValueError, match=message):
        ReduNet.construct(*table(), lift=Search(), **options)


def test_more_than_three_spatial_axes_need_a_lift_of_ones_own():
    X, y = np.random.default_rng(0).normal(size=(12, 1, 3, 3, 3, 3)), np.arange(12) % 2
    for run in (ReduNetClassifier().fit, lambda X, y: ReduNet.construct(X, y, lift="auto")):
        with pytest.raises(ValueError, match="at most 3 spatial axes, got samples of shape"):
            run(X, y)
    assert ReduNetClassifier(lift=None).fit(X, y).predict(X).shape == (12,)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda X: X[:, ::-1], id="reversed columns"),
        pytest.param(lambda X: X[::-1][::-1], id="reversed twice"),
        pytest.param(lambda X: np.asfortranarray(X), id="Fortran order"),
        pytest.param(lambda X: X.astype(">f8"), id="big-endian"),
        pytest.param(lambda X: X.astype(np.float32)[:, ::-1], id="single precision"),
    ],
)
def test_the_classifier_takes_arrays_of_any_layout(change):
    X, y = table()
    changed = change(X)
    model = ReduNetClassifier(lift=None).fit(changed, y)
    same = ReduNetClassifier(lift=None).fit(
        changed.astype(changed.dtype.newbyteorder("=")).copy(), y
    )
    assert (model.predict(changed) == same.predict(changed)).all()
    np.testing.assert_array_equal(model.predict_proba(changed), same.predict_proba(changed))


def test_the_classifier_takes_frames_of_reversed_columns():
    pandas = pytest.importorskip("pandas")
    X, y = table()
    frame = pandas.DataFrame(X, columns=list("abcd")).iloc[:, ::-1]
    model = ReduNetClassifier(lift=None).fit(frame, y)
    assert model.score(frame, y) > 0.9
