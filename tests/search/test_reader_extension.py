"""A reader that is extended by samples equals the one that is fitted to all samples at once."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import nn

from redunet import (
    ExpansionRegression,
    MultiScaleLift,
    ReduNet,
    ReduNetClassifier,
    Search,
    explain,
)
from redunet.construction.network_file import KEY
from redunet.files.tensors import read_tensors, write_tensors
from redunet.layers import Reader
from tests.exported import assert_graph_equals
from tests.samples import samples

LABELS = np.array(list("bbbbbdddddddaaaaaacccccccc"))
CLASSES = np.unique(LABELS)
ONE_HOT = torch.from_numpy(LABELS[:, None] == CLASSES).double()
EXACT = {"rtol": 1e-10, "atol": 1e-10}
WAYS = {
    "new classes": LABELS <= "b",
    "more samples of old classes": np.arange(26) % 2 == 0,
    "both at once": (LABELS > "a") & (np.arange(26) % 3 > 0),
    "one sample": np.arange(26) > 0,
}


def problem(*shape):
    level = torch.from_numpy(np.searchsorted(CLASSES, LABELS)).reshape(-1, *[1] * len(shape))
    return samples(26, *shape) * (1 + level) + level


def assert_same(found, expected, X):
    np.testing.assert_array_equal(found.classes_, expected.classes_)
    for name in ("mean", "weights", "offset", "size", "cross"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), **EXACT)
    moments = (reader.factor.mT @ reader.factor for reader in (found, expected))
    torch.testing.assert_close(*moments, **EXACT)
    torch.testing.assert_close(found(X), expected(X), **EXACT)


@pytest.mark.parametrize("most_samples", [5, 5000])
@pytest.mark.parametrize("channels", [4, 20, 60])  # fewer or more than samples
@pytest.mark.parametrize("way", WAYS)
def test_scores_are_those_of_all_samples(way, channels, most_samples):
    X, old = problem(channels), WAYS[way]
    X[:, 0] = torch.from_numpy(old * 2.5)  # a channel that varies only if there are new samples
    weights = np.where(old, 0.5 + np.arange(26) % 4, 1)
    options = {"eps_sq": 0.2, "extensible": True, "most_samples": most_samples}
    before = ExpansionRegression(**options).fit(X[old], LABELS[old], sample_weight=weights[old])
    reader = before
    for rows in np.array_split(np.flatnonzero(~old), 2):
        if len(rows):
            reader = reader.extended(X[rows], ONE_HOT[rows], CLASSES)
    whole = ExpansionRegression(**options).fit(X, LABELS, sample_weight=weights)
    assert_same(reader, whole, X)
    assert len(reader.factor) <= channels
    assert len(reader.factor) <= 28 or most_samples < 26
    assert not hasattr(reader, "held_out_")
    mean = np.average(X, 0, weights)
    Z = X.numpy() - mean
    Z /= np.sqrt(channels * np.average(Z**2, 0, weights))
    model = Ridge(0.2 * weights.sum() / channels).fit(Z, ONE_HOT, weights)
    np.testing.assert_allclose(reader(X), model.predict(Z), atol=1e-10)
    again = ExpansionRegression(**options).fit(X[old], LABELS[old], sample_weight=weights[old])
    assert_same(before, again, X)


class Fixed(nn.Module):
    """A lift that stays as it was fitted."""

    def __init__(self, lift):
        super().__init__()
        self.lift = lift

    def forward(self, X):
        return self.lift(X)


def search_for(shape, **options):
    kernels = {"kernels_per_scale": 6, "dilations": [1]}
    lift = MultiScaleLift(shape[0], len(shape) - 1, **kernels)
    reader = MultiScaleLift(shape[0], len(shape) - 1, nonlinearity="relu", mean=True, **kernels)
    reader = ExpansionRegression(reader)
    return Search([lift], bands=[1] if shape[1:] else None, reader=reader, **options)


def extended(shape, old, tmp_path, **options):
    """A network of both readers, extended twice, once after it was in a file."""
    X, path = problem(*shape), tmp_path / "net.safetensors"
    net = ReduNet.construct(
        X[old], LABELS[old], lift=search_for(shape), operators="extensible", **options
    )
    first, second = np.array_split(np.flatnonzero(~old), 2)
    net = net.extend(X[first], LABELS[first])
    net.save(path)
    return X, ReduNet.load(path).extend(X[second], LABELS[second])


@pytest.mark.parametrize("shape", [(6,), (1, 12), (1, 6, 5)])
@pytest.mark.parametrize("way", ["new classes", "both at once"])
def test_a_network_equals_that_of_all_samples(shape, way, tmp_path):
    X, net = extended(shape, WAYS[way], tmp_path)
    reader = ExpansionRegression(Fixed(net.reader.lift), eps_sq=net.reader.eps_sq_, extensible=True)
    reader.fit(X, LABELS).sharpness.copy_(net.reader.sharpness)
    settings = {name: getattr(net.settings, name) for name in ("eps_sq", "membership", "operators")}
    whole = ReduNet.construct(X, LABELS, lift=net.lift, num_layers=1, reader=reader, **settings)
    assert_same(net.reader, whole.reader, X)
    membership = net.membership(X)
    torch.testing.assert_close(membership, whole.membership(X), **EXACT)
    axes = tuple(range(2, X.ndim))
    moved = X.roll([5, 2][: len(axes)], axes) if axes else X
    torch.testing.assert_close(net.membership(moved), membership, **EXACT)
    assert explain(net, X[0]).prediction == net.predict(X[:1])[0]


def test_single_precision():
    X, old = problem(1, 12), WAYS["new classes"]
    net, single = (
        ReduNet.construct(S[old], LABELS[old], lift=search_for((1, 12)), operators="extensible")
        for S in (X, X.float())
    )
    single = single.extend(X[~old].float(), LABELS[~old])
    assert single.reader.factor.dtype is torch.float64
    expected = net.extend(X[~old], LABELS[~old]).membership(X)
    found = single.membership(X.float()).double()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


def test_graphs_leave_the_sums_out(tmp_path):
    X, net = extended((1, 12), WAYS["both at once"], tmp_path)
    assert_graph_equals(net, tmp_path / "net.pt2", X, membership=1e-4)
    tensors = torch.export.load(tmp_path / "net.pt2").state_dict
    assert "reader.weights" in tensors
    assert "reader.factor" not in tensors
    assert net.reader.factor is not None


def test_soft_memberships():
    X, soft = problem(6), samples(26, 3, seed=1).softmax(1)
    options = {"num_layers": 1, "operators": "extensible", "eps_sq": 0.3}
    fitted = [
        ExpansionRegression(eps_sq=0.2, extensible=True).fit(X[:m], soft[:m]) for m in (14, 26)
    ]
    net = ReduNet.construct(X[:14], soft[:14], reader=fitted[0], **options)
    assert_same(net.extend(X[14:], soft[14:]).reader, fitted[1], X)


def test_files_with_samples_keep_the_reader(tmp_path):
    X, old, path = problem(1, 12), WAYS["new classes"], tmp_path / "net.safetensors"
    net = ReduNet.construct(X[old], LABELS[old], lift=search_for((1, 12)), operators="extensible")
    net.save(path, samples=(X[old], LABELS[old]))
    twin = ReduNet.load(path)
    assert torch.equal(twin.reader.factor, net.reader.factor)
    found, expected = (n.extend(X[~old], LABELS[~old]).membership(X) for n in (twin, net))
    torch.testing.assert_close(found, expected, **EXACT)


def test_files_that_do_not_say_whether_a_reader_is_extensible(tmp_path):
    X, path = problem(6), tmp_path / "net.safetensors"
    ReduNet.construct(X, LABELS, lift=search_for((6,))).save(path)
    header, tensors = read_tensors(path, KEY, "a network")
    assert header["reader"].pop("extensible") is False
    write_tensors(tensors, path, KEY, header)
    assert not ReduNet.load(path).reader.extensible


def test_the_classifier_makes_a_network_that_can_be_extended():
    X, old = problem(1, 12), WAYS["new classes"]
    model = ReduNetClassifier(operators="extensible", lift=search_for((1, 12)))
    net = model.fit(X[old], LABELS[old]).net_.extend(X[~old], LABELS[~old])
    np.testing.assert_array_equal(net.classes_, CLASSES)
    assert (net.reader.classes_ == CLASSES).all()
    exact = ReduNet.construct(X, LABELS, lift=search_for((1, 12)))
    assert "factor" not in exact.reader.state_dict()


class Fourth(Reader):
    """A reader of another kind."""

    classes_ = CLASSES
    forward = describe = restored = None


def test_what_cannot_be_extended_is_refused():
    X = problem(6)
    options = {"num_layers": 1, "operators": "extensible"}
    chosen = search_for((6,)).fit(X, LABELS).arguments
    for given in (chosen, {"reader": ExpansionRegression().fit(X, LABELS)}, {"reader": Fourth()}):
        with pytest.raises(ValueError, match=r"cannot be extended, because it keeps no second mom"):
            ReduNet.construct(X, LABELS, **given, **options)
    reader = ExpansionRegression(extensible=True).fit(X, LABELS)
    net = ReduNet.construct(X, LABELS, reader=reader, **options)
    net.reader = ExpansionRegression().fit(X, LABELS)
    with pytest.raises(ValueError, match=r"lift=search, which makes a reader that keeps them"):
        net.extend(X, LABELS)
    with pytest.raises(ValueError, match=r"pass lift=Search\(reader=None, class_weight=…\)"):
        ReduNet.construct(X, LABELS, lift=search_for((6,), class_weight="balanced"), **options)
    search = Search([None], reader=ExpansionRegression(extensible=True), class_weight={"a": 2})
    with pytest.raises(ValueError, match="weights of classes change with their sizes"):
        search.fit(X, LABELS)
