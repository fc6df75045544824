"""Memberships of samples whose class is not known."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.metrics import adjusted_rand_score

from redunet import ReduNet, ReduNetClassifier, Search, rate_reduction
from redunet._processes import Processes
from redunet.construction import unknown_labels
from redunet.construction.unknown_labels import coding_increments, project_to_simplex
from redunet.layers import DatasetInfo, Exact
from redunet.rates import HalfSpectrum, Partition
from redunet.rates.coding_rates import mean_rate
from tests.samples import moments_of

SHAPES = {"vectors": (6,), "series": (3, 5), "images": (2, 3, 4)}


def subspaces(per_class=40, seed=0, noise=0.05):
    """Samples near four random subspaces of three dimensions in 25, and their labels."""
    random = np.random.default_rng(seed)
    bases = [np.linalg.qr(random.normal(size=(25, 3)))[0] for _ in range(4)]
    X = np.concatenate([random.normal(size=(per_class, 3)) @ basis.T for basis in bases])
    return X + noise * random.normal(size=X.shape), np.repeat(["d", "a", "c", "b"], per_class)


def hide(labels, kept, seed=0):
    """The labels, of which only some of each class are kept; the others are masked."""
    random = np.random.default_rng(seed)
    mask = np.ones(len(labels), bool)
    for name in np.unique(labels):
        mask[random.choice(np.flatnonzero(labels == name), kept, replace=False)] = False
    return np.ma.array(labels, mask=mask)


def increments(V, spectrum, membership, kind, eps_sq):
    """m ∂R_c/∂Π of half spectra, by the closed form."""
    partition = Partition(np.arange(membership.shape[1]), membership)
    processes = Processes(None)
    info = DatasetInfo.from_partition(partition, spectrum, V.shape[2], V.dtype, eps_sq, processes)
    moments = moments_of(kind, info, V, partition)
    forms = moments.operators().compression.quadratic_forms(V)
    rates = mean_rate(moments.log_dets()[:, 1:], spectrum)
    return coding_increments(forms, membership, rates, spectrum.size, processes), moments


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("m", [4, 30])
def test_increments_are_the_gradient_of_the_compression_rate(shape, m):
    generator = torch.Generator().manual_seed(m)
    X = torch.randn(m, *shape, generator=generator, dtype=torch.float64)
    membership = torch.rand(m, 3, generator=generator, dtype=torch.float64) + 0.1
    membership = (membership / membership.sum(1, keepdim=True)).requires_grad_()
    (gradient,) = torch.autograd.grad(rate_reduction(X, membership, 0.3).compression, membership)
    spectrum = HalfSpectrum(shape[1:])
    with torch.no_grad():
        closed, _ = increments(spectrum(X), spectrum, membership.detach(), Exact(), 0.3)
    torch.testing.assert_close(closed, m * gradient, rtol=1e-9, atol=1e-9)


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 6))
def test_projections_onto_the_simplex_are_the_closest_points(seed, m, k):
    points = torch.from_numpy(3 * np.random.default_rng(seed).normal(size=(m, k)))
    projected = project_to_simplex(points)
    torch.testing.assert_close(projected.sum(1), torch.ones(m, dtype=torch.float64))
    assert projected.min() >= 0
    # A projection onto a convex set has an obtuse angle to all of its points, here the corners.
    offsets = points - projected
    at_corners = offsets - (offsets * projected).sum(1, keepdim=True)
    assert at_corners.max() <= 1e-12


def test_a_projection_agrees_with_a_solver():
    point = np.array([0.9, 0.4, -0.3, 0.1])
    constraint = {"type": "eq", "fun": lambda p: p.sum() - 1}
    solved = minimize(
        lambda p: ((p - point) ** 2).sum(),
        np.full(4, 0.25),
        bounds=[(0, 1)] * 4,
        constraints=[constraint],
        options={"ftol": 1e-14},
    )
    np.testing.assert_allclose(
        project_to_simplex(torch.from_numpy(point)[None])[0], solved.x, atol=1e-6
    )


@given(st.integers(0, 10_000), st.sampled_from(list(SHAPES.values())), st.floats(-3, 5))
def test_a_step_of_any_length_raises_the_rate_reduction(seed, shape, log_step):
    random = np.random.default_rng(seed)
    X = torch.from_numpy(random.normal(size=(8, *shape)))
    membership = torch.from_numpy(random.dirichlet([1, 1, 1], 8))
    spectrum = HalfSpectrum(shape[1:])
    gradient, moments = increments(spectrum(X), spectrum, membership, Exact(), 0.2)
    moved = project_to_simplex(membership - 10**log_step * gradient)
    before = rate_reduction(X, membership, 0.2).delta
    assert rate_reduction(X, moved, 0.2).delta >= before - 1e-12
    torch.testing.assert_close(moments.rates().delta, before)


def test_subspaces_are_told_apart_by_one_label_each():
    X, labels = subspaces()
    masked = hide(labels, 1)
    net = ReduNet.construct(X, masked, num_layers=8)
    known = ~masked.mask
    alone = ReduNet.construct(X[known], labels[known], num_layers=1)
    assert (alone.predict(X) == labels).mean() < 0.9
    assert (net.transduction_ == labels).mean() > 0.98
    assert (net.transduction_[known] == labels[known]).all()
    assert (np.diff(net.history.delta) > 0).all()


def test_the_rates_in_the_history_are_those_of_the_memberships():
    X, labels = subspaces(per_class=15)
    net = ReduNet.construct(X, hide(labels, 2), num_layers=3, true_membership=True)
    Z = torch.from_numpy(X / np.linalg.norm(X, axis=1, keepdims=True))
    for layer in net.layers:
        Z = layer(Z[None], net.label_distributions_)[0]
    rates = rate_reduction(Z, net.label_distributions_, net.settings.eps_sq)
    np.testing.assert_allclose(net.history.delta[-1], rates.delta, rtol=1e-9)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_if_all_labels_are_known_nothing_changes(momentum):
    X, labels = subspaces(per_class=10)
    options = {"num_layers": 3, "momentum": momentum}
    expected = ReduNet.construct(X, labels, **options)
    masked = np.ma.array(labels, mask=np.zeros(len(labels), bool))
    net = ReduNet.construct(X, masked, unknown="?", **options)
    assert net.transduction_ is None
    for name, tensor in expected.state_dict().items():
        assert torch.equal(net.state_dict()[name], tensor)


def test_unknown_labels_have_a_value_or_a_mask():
    X, labels = subspaces(per_class=10)
    masked = hide(labels, 2)
    integers = np.where(masked.mask, -1, np.unique(labels, return_inverse=True)[1])
    by_value = ReduNet.construct(X, integers, unknown=-1, num_layers=2)
    by_mask = ReduNet.construct(X, masked, num_layers=2)
    assert by_value.classes_.tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(by_mask.classes_[by_value.transduction_], by_mask.transduction_)


def test_batches_and_data_sets_give_the_same():
    X, labels = subspaces(per_class=10)
    codes = np.where(hide(labels, 2).mask, -1, np.unique(labels, return_inverse=True)[1])
    expected = ReduNet.construct(X, codes, unknown=-1, num_layers=2)
    data = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(codes))
    for arguments in ((X, codes), (data, None)):
        net = ReduNet.construct(*arguments, unknown=-1, num_layers=2, batch_size=7)
        np.testing.assert_array_equal(net.transduction_, expected.transduction_)
        np.testing.assert_allclose(net.history.delta, expected.history.delta, rtol=1e-9)


def test_without_labels_construction_begins_with_clusters():
    X, labels = subspaces()
    net = ReduNet.construct(X, num_classes=4, num_layers=3, eps_sq=0.1)
    assert net.classes_.tolist() == [0, 1, 2, 3]
    assert adjusted_rand_score(labels, net.transduction_) > 0.9


def test_signals_are_clustered_up_to_shifts():
    random = np.random.default_rng(0)
    templates = random.normal(size=(3, 2, 16))
    labels = np.repeat([0, 1, 2], 12)
    X = np.stack([np.roll(templates[j], random.integers(16), axis=1) for j in labels])
    X += 0.1 * random.normal(size=X.shape)
    with pytest.warns(UserWarning, match="without a lift"):
        net = ReduNet.construct(X, num_classes=3, num_layers=1)
    assert adjusted_rand_score(labels, net.transduction_) == 1


def test_a_construction_resumes_with_its_memberships(tmp_path, monkeypatch):
    monkeypatch.setattr(unknown_labels, "MOST_STEPS", 1)  # so that layers change memberships
    X, labels = subspaces(per_class=20, noise=0.3)
    masked, options = hide(labels, 1), {"eps_sq": 0.1}
    expected = ReduNet.construct(X, masked, num_layers=4, **options)
    first = ReduNet.construct(X, masked, num_layers=1, checkpoint=tmp_path, **options)
    second = ReduNet.construct(X, masked, num_layers=2, checkpoint=tmp_path, **options)
    assert not torch.equal(first.label_distributions_, second.label_distributions_)
    resumed = ReduNet.construct(X, masked, num_layers=4, checkpoint=tmp_path, **options)
    np.testing.assert_array_equal(resumed.history.delta, expected.history.delta)
    assert torch.equal(resumed.label_distributions_, expected.label_distributions_)
    finished = ReduNet.construct(X, masked, num_layers=4, checkpoint=tmp_path, **options)
    assert torch.equal(finished.label_distributions_, expected.label_distributions_)
    shorter = ReduNet.construct(X, masked, num_layers=2, checkpoint=tmp_path, **options)
    assert torch.equal(shorter.label_distributions_, second.label_distributions_)


def test_the_search_leaves_unknown_samples_out():
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], 15)
    X = random.normal(size=(30, 1, 12)) + 3 * np.sin(np.arange(12) * (1 + labels[:, None]))[:, None]
    unknown = np.where(hide(labels, 5).mask, -1, labels)
    known = unknown >= 0
    search = Search(bands=[1]).fit(X, unknown, unknown=-1)
    expected = Search(bands=[1]).fit(X[known], labels[known])
    assert str(search) == str(expected)
    net = ReduNet.construct(X, unknown, lift="auto", unknown=-1)
    assert (net.transduction_ == labels).all()


def test_the_classifier_takes_unknown_labels():
    X, labels = subspaces()
    unknown = np.where(hide(labels, 1).mask, "?", labels)
    model = ReduNetClassifier(lift=None, eps_sq=0.5, unknown="?").fit(X, unknown)
    assert model.classes_.tolist() == ["a", "b", "c", "d"]
    assert (model.transduction_ == labels).mean() > 0.95
    assert model.label_distributions_.shape == (len(X), 4)
    assert (model.predict(X) == labels).mean() > 0.95
    labelled = ReduNetClassifier(lift=None, eps_sq=0.5).fit(X, labels)
    np.testing.assert_array_equal(labelled.transduction_, labels)
    np.testing.assert_array_equal(
        labelled.label_distributions_.argmax(1), np.unique(labels, return_inverse=True)[1]
    )


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ([0, 0, -1, -1], {"unknown": -1}, "at least two classes need labelled samples"),
        ([-1] * 4, {"unknown": -1}, "pass num_classes"),
        (None, {}, "pass num_classes"),
        (None, {"num_classes": 1}, "num_classes must be at least 2"),
        (None, {"num_classes": 5}, "at least as many samples as classes"),
        ([0, 1, 0, 1], {"num_classes": 2}, "num_classes is for samples"),
        ([0, 1, -1], {"unknown": -1}, "labels must have shape"),
    ],
)
def test_bad_labels_are_explained(labels, options, message):
    with pytest.raises(ValueError, match=message):
        ReduNet.construct(np.eye(4), labels, **options)


def test_a_search_reads_batches_without_any_label():
    X, labels = subspaces()
    masked = np.ma.masked_array(labels, np.arange(len(labels)) >= len(labels) // 2)
    search = Search([None], bands=[1])
    batched = Search([None], bands=[1]).fit(X, masked, batch_size=len(X) // 4)
    assert batched.best_.loss == pytest.approx(search.fit(X, masked).best_.loss)
    with pytest.raises(ValueError, match=r"got 0 class\(es\) with labelled samples"):
        ReduNet.construct(X, num_classes=3, lift="auto")


@pytest.mark.parametrize("hidden", [0, 120])
def test_memberships_are_as_sharp_as_the_search_says(hidden):
    X, labels = subspaces()
    labels = np.ma.array(labels, mask=np.random.default_rng(0).permutation(160) < hidden)
    search = Search([None]).fit(X, labels)
    net = ReduNet.construct(X, labels, num_layers=1, **search.arguments)
    expected = (-search.sharpness_ * net.relative_residuals(X)).softmax(1)
    torch.testing.assert_close(net.membership(X), expected)


def test_an_extended_network_has_no_labels_of_its_samples():
    X, labels = subspaces()
    unknown, old = hide(labels, 2), labels < "d"
    net = ReduNet.construct(X[old], unknown[old], num_layers=1, operators="extensible")
    new = net.extend(X[~old], labels[~old])
    assert new.classes_.tolist() == ["a", "b", "c", "d"]
    assert new.transduction_ is None
    assert len(net.transduction_) == old.sum()


def test_the_labels_that_were_found_are_no_view_of_those_that_were_given():
    X, labels = subspaces()
    given = np.unique(labels, return_inverse=True)[1]
    model = ReduNetClassifier(lift=None, eps_sq=0.5).fit(X, given)
    expected = given.tolist()
    given[:] = 0
    assert model.transduction_.tolist() == expected
