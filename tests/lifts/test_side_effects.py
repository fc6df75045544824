"""Lifts and operators leave alone what they are given, and a fit forgets earlier ones."""

import pytest
import torch
from torch import nn

from redunet import (
    MultiScaleLift,
    PCALift,
    RandomCirculantLift,
    ReduNet,
    ReduNetClassifier,
    Search,
    Standardize,
    explain,
    export,
)
from redunet.layers import DenseOperator
from redunet.rates import HalfSpectrum
from tests.samples import samples

LABELS = torch.arange(30) % 3


def relu():
    return nn.ReLU(inplace=True)


def kernels():
    return RandomCirculantLift(1, 4, 3, ndim=1)


@pytest.mark.parametrize(
    "make",
    [
        relu,
        lambda: nn.Sequential(nn.Identity(), relu()),
        lambda: nn.Sequential(kernels(), relu()),
    ],
)
def test_lifts_that_write_into_their_input(make):
    X = samples(30, 1, 8)
    before, array = X.clone(), X.numpy()
    net = ReduNet.construct(array, LABELS, num_layers=1, lift=make())
    net(array), net.predict(X), explain(net, X[0])
    Search([make(), None]).fit(array, LABELS)
    ReduNetClassifier(lift=make()).fit(array, LABELS).predict(array)
    assert torch.equal(X, before)


@pytest.mark.parametrize("lift", [nn.Identity(), kernels()])
def test_gradients_at_a_blank_sample_are_zero(lift):
    X = samples(30, 1, 8)
    net = ReduNet.construct(X, LABELS, lift=lift, num_layers=1)
    x = torch.cat([X[:1], torch.zeros(1, 1, 8, dtype=X.dtype)]).requires_grad_()
    net(x).pow(3).sum().backward()
    assert x.grad.isfinite().all()
    assert x.grad[0].abs().sum() > 0
    assert not x.grad[1].any()


class Identity(DenseOperator):
    """It returns its input."""

    def respond(self, V, frequencies=slice(None)):
        return V.unsqueeze(2)


def test_operators_that_return_their_input():
    X = samples(30, 4)
    layer = ReduNet.construct(X, LABELS, num_layers=1, eta=0.1).layers[0]
    V = nn.functional.normalize(X)[None]
    layer.operators.expansion = DenseOperator(torch.eye(4, dtype=X.dtype)[None, None])
    expected, before = layer(V), V.clone()
    layer.operators.expansion = Identity(torch.eye(4, dtype=X.dtype)[None, None])
    torch.testing.assert_close(layer(V), expected)
    assert torch.equal(V, before)


def test_spectra_share_no_memory():
    HalfSpectrum((6,)).weights.mul_(3)
    assert HalfSpectrum((6,)).weights.tolist() == [1, 2, 2, 1]


@pytest.mark.parametrize("lengths", [(64, 12), (12, 64)])
def test_dilations_follow_the_samples_of_the_last_fit(lengths):
    lift = MultiScaleLift(1, 1, kernels_per_scale=4)
    for length in lengths:
        X = samples(10, 1, length)
        fresh = MultiScaleLift(1, 1, kernels_per_scale=4).fit(X)
        assert lift.fit(X).dilations == fresh.dilations
        assert torch.equal(lift(X), fresh(X))
    given = MultiScaleLift(1, 1, dilations=(1, 3)).fit(samples(10, 1, 64))
    assert given.fit(samples(10, 1, 12)).dilations == (1, 3)


LIFTS = {
    "PCALift": lambda: PCALift(1, 3, 3, ndim=2),
    "Standardize": lambda: Standardize(1),
    "MultiScaleLift": lambda: MultiScaleLift(1, 2, kernels_per_scale=3),
}


@pytest.mark.parametrize("make", LIFTS.values(), ids=LIFTS)
def test_lifts_take_the_precision_of_their_samples(make, device):
    X = samples(30, 1, 6, 6).to(device)
    lift = make().fit(X)
    assert lift(X).dtype is torch.float64
    assert lift(X).device.type == device.type
    rounded = make().fit(X.float())(X.float())
    assert rounded.dtype is torch.float32
    with pytest.raises(RuntimeError, match=f"this {type(lift).__name__} is not fitted: call fit"):
        make()(torch.zeros(2, 1, 6, 6))


@pytest.mark.parametrize("make", LIFTS.values(), ids=LIFTS)
def test_networks_with_fitted_lifts_are_compiled_whole(make):
    X = samples(30, 1, 6, 6).float()
    net = ReduNet.construct(X, LABELS, lift=make().fit(X), num_layers=1)
    compiled = torch.compile(net, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(X), net(X))


def test_networks_with_principal_components_are_exported(tmp_path):
    X = samples(30, 1, 6, 6).float()
    net = ReduNet.construct(X, LABELS, lift=LIFTS["PCALift"]().fit(X), num_layers=1)
    export(net, tmp_path / "net.pt2")
    features, _, _ = torch.export.load(tmp_path / "net.pt2").module()(X)
    torch.testing.assert_close(features, net(X), rtol=1e-4, atol=1e-5)
