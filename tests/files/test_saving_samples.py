"""Networks in files that hold the samples of the construction instead of the operators."""

import copy
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from redunet import ExpansionRegression, MultiScaleLift, ReduNet, Search, datasets
from redunet.construction.network_file import KEY
from redunet.files.tensors import read_tensors, write_tensors
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
    tensors = load_file(path)
    assert sorted(tensors) == ["samples.X", "samples.check", "samples.labels"]
    twin = ReduNet.load(path)
    new = samples(7, *shape, seed=1)
    torch.testing.assert_close(twin(new), net(new), rtol=0, atol=1e-8)
    torch.testing.assert_close(twin.membership(new), net.membership(new), rtol=0, atol=1e-6)
    assert repr(twin) == repr(net)
    assert twin.settings == net.settings
    np.testing.assert_array_equal(twin.history.delta, net.history.delta)
    np.testing.assert_array_equal(twin.predict(new), net.predict(new))
    assert not any(p.requires_grad for p in twin.parameters())


def test_a_searched_network_of_few_images_takes_less_room_than_they(tmp_path):
    X, labels = datasets.digits()
    X, labels = X[:100], labels[:100]
    net = ReduNet.construct(X, labels, lift=Search(bands=[2, 3]))
    net.save(tmp_path / "net.safetensors", samples=(X.numpy(), labels.tolist()))
    assert (tmp_path / "net.safetensors").stat().st_size < X.nbytes
    twin = ReduNet.load(tmp_path / "net.safetensors")
    torch.testing.assert_close(twin(X), net(X), rtol=0, atol=1e-5)
    torch.testing.assert_close(twin.membership(X), net.membership(X), rtol=0, atol=1e-5)
    tensors = load_file(tmp_path / "net.safetensors")
    assert sorted(tensors) == [
        *("reader.sharpness", "samples.X", "samples.check", "samples.labels")
    ]
    assert tensors["samples.X"].dtype == torch.float16  # which holds them exactly
    assert torch.equal(tensors["samples.X"].float(), X)


def test_operators_that_take_less_room_are_written_instead(tmp_path):
    X, labels = datasets.gaussians(per_class=50)
    net = ReduNet.construct(X, labels, num_layers=1)
    net.save(tmp_path / "net.safetensors", samples=(X, labels))
    assert not any("samples" in name for name in load_file(tmp_path / "net.safetensors"))
    assert torch.equal(ReduNet.load(tmp_path / "net.safetensors")(X), net(X))


@pytest.mark.parametrize("part", ["lift", "reader"])
def test_other_random_numbers_are_noticed(part, tmp_path):
    X = samples(20, 40, dtype=torch.float32)
    labels = np.arange(20) % 2
    lift = MultiScaleLift(40, 0, kernels_per_scale=80, nonlinearity="relu", seed=3).fit(X)
    reader = ExpansionRegression(copy.deepcopy(lift), eps_sq=0.1).fit(X, labels)
    net = ReduNet.construct(X, labels, lift=lift, reader=reader, num_layers=2)
    path = tmp_path / "net.safetensors"
    net.save(path, samples=(X, labels))
    assert "lift.kernels" not in load_file(path)
    assert torch.equal(ReduNet.load(path).membership(X), net.membership(X))
    header, tensors = read_tensors(path, KEY, "a network")
    (header["lift"] if part == "lift" else header["reader"]["lift"])["seed"] = 4
    write_tensors(tensors, path, KEY, header)
    with pytest.raises(ValueError, match="give another network here than where it was saved"):
        ReduNet.load(path)


def test_a_lift_that_a_file_cannot_name_is_refused(tmp_path):
    net, X, labels = constructed(30, lift=torch.nn.Linear(30, 40))
    with pytest.raises(ValueError, match=r"lift of class Linear .*: register the class first"):
        net.save(tmp_path / "net.safetensors", samples=(X, labels))
    assert list(tmp_path.iterdir()) == []


def test_a_lift_that_was_fitted_to_other_samples_stays_in_the_file(tmp_path):
    X, other = samples(10, 30), samples(10, 30, seed=1)
    labels = np.arange(10) % 2
    lift = MultiScaleLift(30, 0, kernels_per_scale=80, nonlinearity="relu").fit(other)
    net = ReduNet.construct(X, labels, lift=lift, num_layers=2)
    net.save(tmp_path / "net.safetensors", samples=(X, labels))
    assert any(name.startswith("lift.") for name in load_file(tmp_path / "net.safetensors"))
    twin = ReduNet.load(tmp_path / "net.safetensors")
    torch.testing.assert_close(twin(other), net(other), rtol=0, atol=1e-8)


def test_steps_that_were_given_for_more_layers(tmp_path):
    net, X, labels = constructed(30, eta=[0.5, 0.1, 0.01], num_layers=None, tol=0.9)
    assert len(net.layers) < 3
    net.save(tmp_path / "net.safetensors", samples=(X, labels))
    assert "samples.X" in load_file(tmp_path / "net.safetensors")
    torch.testing.assert_close(ReduNet.load(tmp_path / "net.safetensors")(X), net(X))


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
        (lambda net, X, y: (net, (X, np.where(y == "no", "maybe", y))), r"labels 'maybe' are"),
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
    with pytest.raises(ValueError, match="labels -1 are not among"):
        net.save(tmp_path / "net.safetensors", samples=(X, some))
