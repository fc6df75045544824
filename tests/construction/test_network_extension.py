"""A network that is extended by samples equals the one that is constructed from all samples."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from redunet import (
    Band,
    Extensible,
    MultiScaleLift,
    RandomCirculantLift,
    ReduNet,
    Search,
    Softmax,
    datasets,
    rate_reduction,
)
from tests.samples import samples

SHAPES = {"vectors": (4,), "series": (3, 6), "images": (2, 4, 5)}
LABELS = np.array([0] * 5 + [1] * 9 + [2] * 6 + [3] * 10)
ORDER = np.random.default_rng(0).permutation(30)


def construct(X, labels, **options):
    # η grows with the number of samples, so that the step ηα is always the same.
    step = {"eta": 0.05 * len(X), "num_layers": 1, "eps_sq": 0.3, "membership": Softmax(20.0)}
    options = step | options
    return ReduNet.construct(X, labels, operators="extensible", **options)


def extended(X, labels, rows, **options):
    """A network from these rows, extended by the others."""
    return construct(X[rows], labels[rows], **options).extend(X[~rows], labels[~rows])


def assert_equal(net, expected, X, tolerance=1e-9):
    """Both networks have the same operators, classes, settings, features and memberships."""
    exact = {"rtol": tolerance, "atol": tolerance}
    np.testing.assert_array_equal(net.classes_, expected.classes_)
    assert net.classes_.dtype == expected.classes_.dtype
    assert math.isclose(net.settings.eta, expected.settings.eta)
    tensors = expected.state_dict()
    assert net.state_dict().keys() == tensors.keys()
    for name, t in net.state_dict().items():
        torch.testing.assert_close(t, tensors[name], **exact)
    torch.testing.assert_close(net(X), expected(X), **exact)
    torch.testing.assert_close(net.membership(X), expected.membership(X), **exact)


WAYS = {
    "new classes": LABELS < 2,
    "smaller labels": LABELS >= 2,
    "more samples of old classes": np.arange(30) % 2 == 0,
    "both at once": (LABELS > 0) & (np.arange(30) % 3 > 0),
    "one sample": np.arange(30) > 0,
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("way", WAYS)
def test_one_layer_equals_that_of_all_samples(shape, way, device):
    X = samples(30, *shape).to(device)
    net = extended(X, LABELS, WAYS[way])
    assert_equal(net, construct(X, LABELS), samples(7, *shape, seed=1).to(device))
    assert net.layers[0].proportions.device.type == device.type


@settings(max_examples=25)
@given(
    shape=st.sampled_from(list(SHAPES.values())),
    order=st.permutations(range(30)),
    cuts=st.sets(st.integers(1, 29), min_size=1, max_size=4),
    batch_size=st.sampled_from([None, 1, 7]),
)
def test_samples_may_arrive_in_any_order(shape, order, cuts, batch_size):
    X = samples(30, *shape)
    first, *others = np.split(np.array(order), sorted(cuts))
    first = np.concatenate([first, [i for i in (0, 29) if i not in first]]).astype(int)
    net = construct(X[first], LABELS[first], batch_size=batch_size)
    for rows in others:
        rows = np.setdiff1d(rows, [0, 29], assume_unique=True)
        if len(rows):
            net = net.extend(X[rows], LABELS[rows])
    assert net.batch_size == batch_size
    assert_equal(net, construct(X, LABELS), samples(3, *shape, seed=1))


def test_a_lift_stays_and_batches_change_nothing():
    X = samples(30, 1, 8, 8)
    lift = [RandomCirculantLift(1, 6, 3, 2), Band(2)]
    old = LABELS < 2
    net = construct(X[old], LABELS[old], lift=lift, batch_size=4)
    assert_equal(net.extend(X[~old], LABELS[~old]), construct(X, LABELS, lift=lift), X)


def test_fine_precision_in_float32_is_summed_in_float64():
    X = samples(30, 3, 6)
    expected = construct(X, LABELS, eps_sq=1e-5)
    net = extended(X.float(), LABELS, LABELS < 2, eps_sq=1e-5)
    operators = net.layers[0].operators
    assert net.layers[0].proportions.dtype is torch.float32
    assert operators.sums.moments.dtype is torch.complex128
    assert operators.compression.values.dtype is torch.complex64
    torch.testing.assert_close(net(X).double(), expected(X), rtol=0, atol=1e-3)


def test_strings_are_labels_too():
    names = np.array(["ant", "bee", "crab", "elephant"])[LABELS]
    X = samples(30, 4)
    assert_equal(extended(X, names, LABELS < 2), construct(X, names), X)
    objects = construct(X[:14], names[:14]).extend(X[14:], names[14:].astype(object))
    np.testing.assert_array_equal(objects.classes_, ["ant", "bee", "crab", "elephant"])
    assert_equal(extended(X, LABELS > 1, np.arange(30) % 2 == 0), construct(X, LABELS > 1), X)


def test_soft_memberships_add_to_old_classes():
    X = samples(30, 4)
    pi = np.random.default_rng(0).dirichlet(np.ones(3), 30)
    net = construct(X[:14], pi[:14]).extend(X[14:], pi[14:])
    assert_equal(net, construct(X, pi), X)
    with pytest.raises(ValueError, match="expected memberships in 3 classes, got 4"):
        net.extend(X, np.eye(4)[LABELS])


def test_the_step_stays_and_a_given_eta_grows_with_the_samples():
    X = samples(30, 4)
    old = construct(X[:20], LABELS[:20], eta=0.2)
    net = old.extend(X[20:], LABELS[20:])
    assert net.settings.eta == net.layers[0].eta == pytest.approx(0.3)
    steps = [each.settings.eta * each.layers[0].alpha.item() for each in (old, net)]
    assert steps[0] == pytest.approx(steps[1])
    assert_equal(net, construct(X, LABELS, eta=0.3), X)


def test_the_old_network_does_not_change():
    X = samples(30, 3, 6)
    old = construct(X[:20], LABELS[:20], lift=RandomCirculantLift(3, 4, 3, 1), num_layers=2)
    before = {name: t.clone() for name, t in old.state_dict().items()}
    taken, delta, classes = old.settings, old.history.delta, old.classes_.copy()
    net = old.extend(X[20:], LABELS[20:])
    after = old.state_dict()
    assert all(torch.equal(t, after[name]) for name, t in before.items())
    assert old.settings == taken
    np.testing.assert_array_equal(old.history.delta, delta)
    np.testing.assert_array_equal(old.classes_, classes)
    shared = {t.data_ptr() for t in after.values()} & {
        t.data_ptr() for t in net.state_dict().values()
    }
    assert not shared
    assert not any(p.requires_grad for p in net.parameters())


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_history_begins_with_the_rates_of_all_samples(shape):
    X = samples(30, *shape)
    net = extended(X, LABELS, LABELS < 2, num_layers=3)
    Z = X / X.flatten(1).norm(dim=1).reshape(30, *[1] * len(shape))
    rates = rate_reduction(Z, LABELS, 0.3)
    np.testing.assert_allclose(net.history.delta[0], rates.delta, rtol=1e-10)
    np.testing.assert_allclose(net.history.expansion[0], rates.expansion, rtol=1e-10)
    np.testing.assert_allclose(net.history.compression[0], rates.compression, rtol=1e-10)
    assert np.isfinite(net.history.delta[:-1]).all()
    assert np.isnan(net.history.delta[-1])
    assert len(net.history.delta) == 4


@pytest.mark.parametrize("true_membership", [False, True])
def test_later_layers_add_the_moments_of_old_samples_and_of_moved_new_samples(true_membership):
    # The definition: old samples pass the old layers, new samples the new layers.
    X, old = samples(30, 3, 6), LABELS < 2
    net = construct(X[old], LABELS[old], num_layers=3, true_membership=true_membership)
    more = net.extend(X[~old], LABELS[~old])
    first = more.layers[0].operators.matrices(), construct(X, LABELS).layers[0].operators.matrices()
    for ours, theirs in zip(*first, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    (before,), (after,) = net.encode(X[old]), more.encode(X[~old])
    for number, (was, now) in enumerate(zip(net.layers, more.layers, strict=True)):
        moments = []
        for label in range(4):
            V = before[:, LABELS[old] == label] if label < 2 else after[:, LABELS[~old] == label]
            moments.append(V.mT @ V.conj())
        moments = torch.stack(moments, 1)
        torch.testing.assert_close(now.operators.sums.moments, moments, rtol=0, atol=1e-10)
        eye, weights = torch.eye(3), net.spectrum.weights[:, None, None]
        alpha = 3 / (30 * 0.3)
        expansion = alpha * torch.linalg.inv(eye + alpha * moments.sum(1) / weights)
        torch.testing.assert_close(
            now.operators.matrices().expansion.data, expansion, rtol=0, atol=1e-9
        )
        log_dets = torch.linalg.slogdet(eye + alpha * moments.sum(1) / weights).logabsdet
        rate = (log_dets * net.spectrum.weights).sum() / 2 / 6
        assert more.history.expansion[number] == pytest.approx(rate.item())
        known = [None, None]
        if true_membership:
            own_old, own_new = np.eye(2)[LABELS[old]], np.eye(4)[LABELS[~old]]
            known = [torch.from_numpy(own_old), torch.from_numpy(own_new)]
        before, after = was(before, known[0]), now(after, known[1])


def test_a_deep_network_is_close_to_that_of_all_samples():
    X, y = datasets.gaussians(ndim=3, per_class=40)
    X, y = X.double(), np.asarray(y)
    rows = np.arange(len(y)) % 2 == 0
    net = ReduNet.construct(X[rows], y[rows], num_layers=5, operators="extensible")
    whole = ReduNet.construct(X, y, num_layers=5)
    Z, expected = net.extend(X[~rows], y[~rows])(X), whole(X)
    assert (Z * expected).sum(1).min() > 0.9


def test_the_chosen_lift_of_a_search_can_be_extended():
    X, y = datasets.digits()
    X, y = X[:400], y[:400].numpy()
    old = y < 5
    candidates = [MultiScaleLift(1, 2, kernels_per_scale=8, dilations=(1, 2))]
    search = Search(candidates, bands=[1, 2]).fit(X[old], y[old])
    arguments = search.arguments | {"operators": "extensible"}
    net = ReduNet.construct(X[old], y[old], num_layers=1, **arguments)
    net = net.extend(X[~old], y[~old])
    whole = ReduNet.construct(X, y, num_layers=1, **arguments)
    np.testing.assert_allclose(net.membership(X), whole.membership(X), atol=1e-3)
    assert (net.predict(X) == whole.predict(X)).mean() > 0.99


def test_networks_that_keep_no_moments_are_refused():
    X = samples(30, 2, 6)
    for options in (
        {"operators": "exact"},
        {"operators": "variational", "rank": 2},
    ):
        net = ReduNet.construct(X, LABELS, num_layers=1, eps_sq=0.3, lift=Pair(), **options)
        with pytest.raises(ValueError, match='construct with operators="extensible"'):
            net.extend(X, LABELS)


class Pair(torch.nn.Module):
    """Four channels from two."""

    def forward(self, X):
        return torch.cat([X, X.abs()], 1)


def test_momentum_is_refused():
    X = samples(30, 4)
    net = construct(X, LABELS, momentum=0.5, num_layers=3, eta=0.01)
    with pytest.raises(ValueError, match="a network with momentum cannot be extended"):
        net.extend(X, LABELS)


@pytest.mark.parametrize(
    ("X", "labels", "message"),
    [
        (samples(5, 3), LABELS[:5], r"expected samples of shape \(4,\)"),
        (samples(5, 4) * math.nan, LABELS[:5], "X must be finite"),
        (samples(5, 4)[:0], LABELS[:0], "X has no values"),
        (samples(5, 4), LABELS[:4], r"labels must have shape \(5,\)"),
        (samples(5, 4), None, "labels are missing"),
        (samples(5, 4), list("abcde"), "are integers, got labels that are strings"),
        (samples(5, 4), np.arange(5.0), "are integers, got labels that are floats"),
        (samples(5, 4), [True, False] * 2 + [True], "are integers, got labels that are booleans"),
        (
            samples(5, 4),
            np.ma.masked_equal(LABELS[:5], 0),
            "labels are masked, but here all must be known",
        ),
        (samples(5, 4), [None] * 5, "5 of 5 labels are missing"),
    ],
)
def test_samples_and_labels_that_do_not_fit_are_refused(X, labels, message):
    net = construct(samples(30, 4), LABELS)
    with pytest.raises(ValueError, match=message):
        net.extend(X, labels)


def test_settings_and_shapes_stay():
    X = samples(30, 3, 6)
    old = construct(X[:20], LABELS[:20], batch_size=7, num_layers=2)
    net = old.extend(X[20:], LABELS[20:])
    assert net.settings.operators == Extensible()
    assert net.settings.eps_sq == old.settings.eps_sq
    assert net.settings.membership == old.settings.membership
    assert (net.batch_size, net.sample_shape, net.feature_shape) == (7, (3, 6), (3, 6))
    assert len(net.layers) == 2
    assert net.history.validation is None


@pytest.mark.parametrize("lam", [7.0, math.inf])
def test_balanced_memberships_stay_as_sharp(lam):
    X, rule = samples(30, 3, 6), Softmax(lam, balanced=True)
    net = extended(X, LABELS, LABELS < 2, membership=rule)
    assert net.settings.membership == net.layers[0].membership_rule == rule
    assert_equal(net, construct(X, LABELS, membership=rule), X)
    if lam < math.inf:
        expected = (-lam * net.relative_residuals(X)).softmax(1)
        torch.testing.assert_close(net.membership(X), expected)
