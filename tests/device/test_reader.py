"""Regression by E, alone and as the reader of a network, with samples on a device."""

import pytest
import torch

from redunet import ExpansionRegression, MultiScaleLift, ReduNet, Search
from tests.device.samples import assert_close, data

OPTIONS = {"kernels_per_scale": 8, "dilations": [1, 2]}


def reader_for(shape, **options):
    if len(shape) == 1:
        return ExpansionRegression(**options)
    lift = MultiScaleLift(
        shape[0], len(shape) - 1, nonlinearity=("soft step", "competing"), mean=True, **OPTIONS
    )
    return ExpansionRegression(lift, **options)


@pytest.mark.parametrize("shape", [(10,), (200,), (2, 12), (1, 6, 5)])
@pytest.mark.parametrize("options", [{}, {"most_samples": 50}])
def test_a_regression_is_the_same_on_a_device(shape, options, device):
    X, labels = data(shape, 90, 3)
    expected = reader_for(shape, **options).fit(X, labels)
    found = reader_for(shape, **options).fit(X.to(device), labels.to(device))
    assert {t.device.type for t in found.state_dict().values()} == {device.type}
    assert found.eps_sq_ == expected.eps_sq_
    membership = found.membership(X.to(device))
    assert_close(membership, expected.membership(X))


@pytest.mark.parametrize("is_weighted", [False, True])
def test_a_network_with_a_reader(is_weighted, device):
    X, labels = data((2, 12), 60, 3)
    weights = torch.arange(60) % 3 + 1.0
    lift, nets = MultiScaleLift(2, 1, nonlinearity="relu", **OPTIONS), []
    for place in ("cpu", device):
        search = Search([lift], bands=[2], reader=reader_for((2, 12)))
        options = {}
        if is_weighted:
            search.class_weight, search.most_samples = {0: 3.0}, 50
            options["sample_weight"] = weights.to(place)
        nets.append(ReduNet.construct(X.to(place), labels, lift=search, num_layers=2, **options))
    expected, found = (net.membership(X.to(net.layers[0].proportions.device)) for net in nets)
    assert_close(found, expected)


def test_a_network_that_is_extended(device):
    X, labels = data((2, 12), 60, 3)
    lift, found = MultiScaleLift(2, 1, nonlinearity="relu", **OPTIONS), []
    for place in ("cpu", device):
        search = Search([lift], bands=[2], reader=reader_for((2, 12)))
        net = ReduNet.construct(X[:40].to(place), labels[:40], lift=search, operators="extensible")
        net = net.extend(X[40:].to(place), labels[40:] + 1)
        found.append(net.membership(X.to(place)))
    assert found[1].device.type == device.type
    assert_close(found[1], found[0])


def test_an_extension_waits_for_no_class(device):
    if device.type != "sim":
        pytest.skip("only the simulated device counts")
    waits = []
    for m, k in ((60, 3), (240, 6)):
        X, labels = data((2, 12), m, k)
        membership = torch.nn.functional.one_hot(labels).double().to(device)
        X, options = X.to(device), {"eps_sq": 0.1, "extensible": True}
        reader = reader_for((2, 12), **options).fit(X[: m // 2], labels[: m // 2])
        torch.ops.simulated.reset()
        reader.extended(X[m // 2 :], membership[m // 2 :], reader.classes_)
        waits.append(torch.ops.simulated.waits())
    assert waits[1] <= waits[0] + 5


def test_waits_do_not_grow_with_the_samples(device):
    if device.type != "sim":
        pytest.skip("only the simulated device counts")
    waits = []
    for m in (60, 240):
        X, labels = data((2, 12), m, 3)
        X, reader = X.to(device), reader_for((2, 12))
        torch.ops.simulated.reset()
        reader.fit(X, labels)
        waits.append(torch.ops.simulated.waits())
        torch.ops.simulated.reset()
        reader.membership(X)
        assert torch.ops.simulated.waits() == 0
    assert waits[1] <= waits[0] + 5
