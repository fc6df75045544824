"""Networks in files that hold the samples of the construction instead of the operators."""

import math

import numpy as np
import pytest
import torch
from safetensors import safe_open

from redunet import ReduNet, Search, datasets
from redunet.files.tensors import read_tensors
from redunet.layers.operators import responses as module
from tests.samples import samples

OPTIONS = [
    {},
    {"eta": 0.3, "true_membership": True},
    {"membership": "rectified"},
    {"lam": math.inf},
    {"momentum": 0.8, "eta": 0.4},
    {"operators": "variational", "rank": 2},
    {"operators": "extensible"},
    {"batch_size": 3},
]


def constructed(*shape, dtype=torch.float64, **options):
    X = samples(10, *shape, dtype=dtype)
    labels = np.array(["no", "yes"])[np.arange(10) % 2]
    return ReduNet.construct(X, labels, **{"num_layers": 4, "eps_sq": 0.3, **options}), X, labels


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("shape", [(5,), (5, 4), (5, 3, 4), (30,)])
@pytest.mark.filterwarnings("ignore:the step eta")
def test_the_operators_come_back(shape, options, tmp_path):
    net, X, labels = constructed(*shape, **options)
    path = tmp_path / "net.safetensors"
    net.save(path, samples=(X, labels))
    tensors = read_tensors(path)[1]
    assert sorted(tensors) == ["samples.X", "samples.labels"]
    twin = ReduNet.load(path)
    new = samples(7, *shape, seed=1)
    torch.testing.assert_close(twin(new), net(new), rtol=0, atol=1e-8)
    torch.testing.assert_close(twin.membership(new), net.membership(new), rtol=0, atol=1e-6)
    assert repr(twin) == repr(net)
    assert twin.settings == net.settings
    np.testing.assert_array_equal(twin.history.delta, net.history.delta)
    np.testing.assert_array_equal(twin.predict(new), net.predict(new))
    assert not any(p.requires_grad for p in twin.parameters())


def test_a_searched_network_of_few_images_takes_little_room(tmp_path):
    X, labels = datasets.digits()
    X, labels = X[:100], labels[:100]
    net = ReduNet.construct(X, labels, lift=Search(reader=None))
    whole, short = tmp_path / "whole.safetensors", tmp_path / "short.safetensors"
    net.save(whole)
    net.save(short, samples=(X.numpy(), labels.tolist()))
    assert short.stat().st_size < whole.stat().st_size / 50
    twin = ReduNet.load(short)
    torch.testing.assert_close(twin(X), net(X), rtol=0, atol=1e-4)
    with safe_open(short, framework="pt") as file:
        assert torch.equal(file.get_tensor("samples.X"), X)


def test_soft_labels_come_back(tmp_path):
    X = samples(10, 6)
    labels = np.random.default_rng(0).dirichlet(np.ones(3), size=10)
    net = ReduNet.construct(X, labels, num_layers=2)
    net.save(tmp_path / "net.safetensors", samples=(X, labels))
    twin = ReduNet.load(tmp_path / "net.safetensors")
    torch.testing.assert_close(twin(X), net(X), rtol=0, atol=1e-8)


def test_other_roundings_are_accepted(tmp_path, monkeypatch):
    net, X, labels = constructed(5, 4)
    monkeypatch.setitem(module.COST_OF_READING, "cpu", math.inf)  # other products, same results
    net.save(tmp_path / "net.safetensors", samples=(X, labels))
    torch.testing.assert_close(
        ReduNet.load(tmp_path / "net.safetensors")(X), net(X), rtol=0, atol=1e-8
    )


def tuned(net):
    with torch.no_grad():
        net.layers[1].operators.expansion.values += 0.1
    return net


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda net, X, y: (tuned(net), (X, y)), "does not follow from these samples"),
        (lambda net, X, y: (net, (X[:-2], y[:-2])), "does not follow from these samples"),
        (lambda net, X, y: (net, (X, np.roll(y, 3))), "does not follow from these samples"),
        (lambda net, X, y: (net, (X[:, :3], y)), r"must have shape \(m, 5\)|shape"),
        (lambda net, X, y: (net, (X, y[:-1])), "labels must have shape"),
        (lambda net, X, y: (net, (X, np.where(y == "no", "maybe", y))), r"labels \['maybe'\] are"),
    ],
)
def test_samples_that_do_not_fit_are_refused_and_nothing_is_written(change, message, tmp_path):
    net, pair = change(*constructed(5))
    with pytest.raises(ValueError, match=message):
        net.save(tmp_path / "net.safetensors", samples=pair)
    assert list(tmp_path.iterdir()) == []


def test_networks_with_missing_labels_are_refused(tmp_path):
    X, labels = datasets.gaussians(per_class=20)
    some = torch.where(torch.arange(60) % 4 == 0, labels, -1)
    net = ReduNet.construct(X, some, unknown=-1, num_layers=2)
    with pytest.raises(ValueError, match=r"labels \[-1\] are not among"):
        net.save(tmp_path / "net.safetensors", samples=(X, some))
