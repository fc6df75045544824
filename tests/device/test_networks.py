"""Networks of samples on a device equal those of samples on the host."""

import copy
import math

import numpy as np
import pytest
import torch
from torch.autograd import forward_ad
from torch.utils.data import DataLoader, TensorDataset

from redunet import ReduNet, SharedDictionary, Softmax, explain, export, plots, report
from tests.device.samples import SETTINGS, SHAPES, assert_close, data

KINDS = {
    "exact": {},
    "chosen step": {"eta": None},
    "stops": {"eta": None, "num_layers": None},
    "momentum": {"momentum": 0.6},
    "variational": {"operators": "variational", "rank": 2},
    "extensible": {"operators": "extensible"},
    "shared dictionary": {"operators": SharedDictionary(6)},
    "rectified": {"membership": "rectified"},
    "hard": {"lam": math.inf},
    "balanced": {"membership": Softmax(20.0, balanced=True)},
    "batches": {"batch_size": 7},
    "true membership": {"true_membership": True},
}


def options_of(kind, shape):
    options = {**SETTINGS, **KINDS[kind]}
    if "membership" in options:
        del options["lam"]
    return options


def pair(kind, shape, device, m=60, **more):
    """A network on the host, one on the device, and the samples."""
    X, labels = data(shape, m)
    options = options_of(kind, shape)
    here = ReduNet.construct(X, labels, **options)
    there = ReduNet.construct(X.to(device), labels.to(device), **options, **more)
    return here, there, X


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_network_equals_that_of_the_host(kind, shape, device):
    here, there, X = pair(kind, shape, device)
    features = there(X.to(device))
    assert features.device.type == device.type
    assert {p.device.type for p in there.parameters()} == {device.type}
    assert_close(features, here(X))
    assert_close(there.membership(X.to(device)), here.membership(X))
    assert_close(there.history.delta, here.history.delta)
    assert (there.predict(X.to(device)) == here.predict(X)).all()


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_network_of_few_samples(shape, device):
    here, there, X = pair("exact", shape, device, m=6)
    assert_close(there(X.to(device)), here(X))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("kind", ["exact", "momentum", "variational", "shared dictionary"])
def test_layers_in_host_memory(kind, shape, device):
    here, there, X = pair(kind, shape, device, offload=True)
    assert {p.device.type for p in there.parameters()} == {"cpu"}
    assert_close(there(X), here(X))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("kind", ["exact", "chosen step", "momentum", "shared dictionary"])
def test_a_construction_resumes(kind, shape, device, tmp_path):
    X, labels = data(shape)
    options = options_of(kind, shape)
    samples = X.to(device), labels
    ReduNet.construct(*samples, **{**options, "num_layers": 1}, checkpoint=tmp_path)
    there = ReduNet.construct(*samples, **options, checkpoint=tmp_path, workdir=tmp_path)
    assert {p.device.type for p in there.parameters()} == {device.type}
    assert_close(there(X.to(device)), ReduNet.construct(X, labels, **options)(X))


def soft(labels):
    return 0.8 * torch.nn.functional.one_hot(labels).double() + 0.2 / 3


def names(labels):
    return np.array(["a", "b", "c"])[labels]


def unknown(labels):
    return torch.where(torch.arange(len(labels)) < 20, labels, -1)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize(
    ("labels_of", "options"),
    [
        (torch.Tensor.numpy, {}),
        (names, {}),
        (soft, {}),
        (unknown, {"unknown": -1}),
        (lambda labels: np.ma.masked_equal(unknown(labels).numpy(), -1), {}),
        (lambda labels: None, {"num_classes": 3}),
    ],
    ids=["numpy", "names", "soft", "unknown", "masked", "none"],
)
def test_every_kind_of_labels(labels_of, options, shape, device):
    X, labels = data(shape)
    labels = labels_of(labels)
    moved = labels.to(device) if isinstance(labels, torch.Tensor) else labels
    there = ReduNet.construct(X.to(device), moved, **SETTINGS, **options)
    here = ReduNet.construct(X, labels, **SETTINGS, **options)
    assert_close(there(X.to(device)), here(X))
    assert (there.predict(X.to(device)) == here.predict(X)).all()
    if here.transduction_ is not None:
        assert (there.transduction_ == here.transduction_).all()


@pytest.mark.parametrize("where", ["host", "device"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_data_sets_and_loaders(shape, where, device):
    X, labels = data(shape)
    place = torch.device("cpu") if where == "host" else device
    samples = TensorDataset(X.to(place), labels.to(place))
    expected = ReduNet.construct(X, labels, **SETTINGS)
    for source in (samples, DataLoader(samples, 13)):
        validation = TensorDataset(X[:20], labels[:20])
        net = ReduNet.construct(source, **SETTINGS, device=device, validation=validation)
        assert_close(net(X.to(device)), expected(X))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_new_classes(shape, device):
    X, labels = data(shape)
    options = {**SETTINGS, "operators": "extensible"}
    here = ReduNet.construct(X[:40], labels[:40], **options).extend(X[40:], labels[40:] + 1)
    there = ReduNet.construct(X[:40].to(device), labels[:40], **options)
    for new in ((X[40:].to(device), labels[40:].to(device) + 1), (X[40:], labels[40:] + 1)):
        assert_close(there.extend(*new)(X.to(device)), here(X))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_files(shape, device, tmp_path):
    X, labels = data(shape)
    net = ReduNet.construct(X.to(device), labels, **SETTINGS)
    expected = net(X.to(device))
    for name, samples in (("layers", None), ("samples", (X.to(device), labels.to(device)))):
        net.save(tmp_path / name, samples=samples)
        there = ReduNet.load(tmp_path / name, device=device)
        assert {p.device.type for p in there.parameters()} == {device.type}
        assert_close(there(X.to(device)), expected)
        assert_close(ReduNet.load(tmp_path / name)(X), expected)


@pytest.mark.parametrize("shape", [(12,), (4, 6, 6)], ids=["vectors", "images"])
def test_an_exported_graph_runs_on_the_host(shape, device, tmp_path):
    X, labels = data(shape, dtype=torch.float32)
    net = ReduNet.construct(X.to(device), labels, **SETTINGS)
    export(net, tmp_path / "net.pt2")
    assert {p.device.type for p in net.parameters()} == {device.type}
    features, _, _ = torch.export.load(tmp_path / "net.pt2").module()(X)
    assert_close(features, net(X.to(device)), atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # torch calls it
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_derivatives(shape, device):
    here, there, X = pair("exact", shape, device)
    direction = data(shape, k=2)[0]
    _, expected = torch.func.jvp(here, (X,), (direction,))
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(X.to(device), direction.to(device))
        assert_close(forward_ad.unpack_dual(there(dual)).tangent, expected)
    features, pulled_back = torch.func.vjp(there, X.to(device))
    expected = torch.func.vjp(here, X)[1](here(X).sin())
    assert_close(pulled_back(features.sin()), expected)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_look_inside(shape, device, tmp_path):
    X, labels = data(shape, m=30)
    there, moved = X.to(device), labels.to(device)
    net = ReduNet.construct(there, moved, **SETTINGS)
    explanation = explain(net, there[0], label=moved[0])
    expected = explain(ReduNet.construct(X, labels, **SETTINGS), X[0]).residuals
    assert_close(explanation.residuals, expected)
    assert str(explanation)
    plots.plot_explanation(explanation)
    report(net, there, moved, tmp_path / "report.html", worst=1, train=(there, moved))
    assert len(list(net.trajectory(there))) == 4
    net.layers[0].operators.matrices()
    assert_close(copy.deepcopy(net)(there), net(there))
    plots.plot_similarity(net(there), moved, shift_invariant=len(shape) > 1)
    plots.plot_eigenvalues(net)


def test_samples_that_are_not_finite(device):
    X, labels = data((12,))
    net = ReduNet.construct(X.to(device), labels, **SETTINGS)
    X[3, 5] = math.inf
    assert net(X.to(device))[3].isnan().all()
    with pytest.raises(ValueError, match="X must be finite"):
        net.predict(X.to(device))
    with pytest.raises(ValueError, match="X must be finite"):
        ReduNet.construct(X.to(device), labels, **SETTINGS)
