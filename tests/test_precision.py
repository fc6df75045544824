"""Networks compute in full precision, whatever the precision of their surroundings."""

import copy

import pytest
import torch
from torch import nn

from redunet import RandomCirculantLift, ReduNet, Search, explain
from tests.samples import samples

LABELS = torch.arange(24) % 3
LIFT = RandomCirculantLift(2, 4, 3, ndim=1)
WAYS = {"vectors": ((7,), None), "series": ((2, 8), LIFT)}


@pytest.fixture(params=WAYS)
def problem(request):
    shape, lift = WAYS[request.param]
    X = samples(24, *shape).float()
    return ReduNet.construct(X, LABELS, lift=lift, num_layers=2), X


def half(device_type="cpu"):
    return torch.autocast(device_type, torch.bfloat16)


@pytest.mark.parametrize("name", ["__call__", "membership", "residual_norms", "relative_residuals"])
def test_autocasting_changes_no_network(problem, name):
    net, X = problem
    expected = getattr(net, name)(X)
    with half():
        found = getattr(net, name)(X)
        of_halves = getattr(net, name)(X.bfloat16())
    assert torch.equal(found, expected)
    assert torch.equal(of_halves, getattr(net, name)(X.bfloat16().float()))


def test_autocasting_changes_no_construction_search_or_explanation(problem):
    net, X = problem
    words = str(explain(net, X[0])), str(explain(net, X[0]).decision)
    shares = Search([net.lift], bands=[None], eps_sq=0.5).fit(X, LABELS).loss_
    with half():
        again = ReduNet.construct(X, LABELS, lift=net.lift, num_layers=2)
        assert (str(explain(net, X[0])), str(explain(net, X[0]).decision)) == words
        assert Search([net.lift], bands=[None], eps_sq=0.5).fit(X, LABELS).loss_ == shares
    assert torch.equal(again(X), net(X))
    assert (again.history.delta == net.history.delta).all()


def test_autocasting_changes_no_layer_of_a_sequence(problem):
    net, X = problem
    (V,) = net.encode(X)
    with half():
        for layer in net.layers:
            V = layer(V)
        found = net.spectrum.inverse(V)
    assert torch.equal(found, net(X))


def test_a_lift_may_return_half_precision():
    class Half(nn.Module):
        def forward(self, X):
            return X.half()

    X = samples(24, 7).half().float()
    expected = ReduNet.construct(X, LABELS, num_layers=1)
    assert torch.equal(ReduNet.construct(X, LABELS, lift=Half(), num_layers=1)(X), expected(X))


@pytest.mark.parametrize("convert", [nn.Module.half, nn.Module.bfloat16])
@pytest.mark.parametrize("inside", [False, True])
def test_parameters_of_half_precision_are_refused(problem, convert, inside):
    net, X = problem
    module = nn.Sequential(copy.deepcopy(net)) if inside else copy.deepcopy(net)
    with pytest.raises(
        TypeError, match=r"a ReduNet computes in float32 or float64, got torch\.\w*"
    ):
        convert(module)
    assert torch.equal(module(X), net(X))
    assert module.double()(X).dtype is torch.float64


def test_a_network_of_inference_mode_can_be_trained():
    with torch.inference_mode():
        X = samples(24, 7)
        net = ReduNet.construct(X, LABELS, num_layers=1, operators="extensible")
        larger = net.extend(X, LABELS)
    for each in (net, larger):
        parameters = list(each.requires_grad_().parameters())
        each(samples(24, 7)).pow(3).sum().backward()
        assert parameters
        assert all(p.grad is not None and bool(p.grad.any()) for p in parameters)


def test_samples_may_be_mapped(problem):
    net, X = problem
    torch.testing.assert_close(torch.func.vmap(lambda x: net(x[None])[0])(X), net(X))
    derivatives = torch.func.jacrev(lambda x: net(x[None])[0])
    assert derivatives(X[0]).shape == (*net.feature_shape, *X[0].shape)
    torch.testing.assert_close(torch.func.vmap(derivatives)(X[:3])[1], derivatives(X[1]))


def test_no_samples_have_no_features(problem):
    net, X = problem
    assert net(X[:0]).shape == (0, *net.feature_shape)
    assert net.membership(X[:0]).shape == (0, 3)
    assert net.predict(X[:0]).shape == (0,)
    assert net.predict(X[:0]).dtype == net.classes_.dtype
