import math

import numpy as np
import pytest
import torch

from redunet import ReduNet, rate_reduction
from tests.samples import unit_samples as samples

EPS_SQ, ETA = 0.2, 0.3


@pytest.mark.parametrize("shape", [(4,), (3, 5), (3, 6), (2, 3, 4), (2, 2, 3, 3)])
@pytest.mark.parametrize("soft", [False, True])
def test_increment_with_true_membership_is_the_gradient_of_the_rate_reduction(shape, soft):
    m, k = 9, 3
    labels = np.arange(m) % k
    if soft:
        labels = np.random.default_rng(0).dirichlet(np.ones(k), size=m)
    X = samples(m, *shape)
    net = ReduNet.construct(X, labels, num_layers=1, eta=ETA, eps_sq=EPS_SQ)
    Z = X.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(rate_reduction(Z, labels, EPS_SQ).delta, Z)

    Pi = torch.tensor(np.eye(k)[labels] if not soft else labels)
    increment = net.layers[0].increment(net.spectrum(X), Pi)
    signal = net.spectrum.inverse(increment)
    torch.testing.assert_close(signal, net.spectrum.size * gradient, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("shape", [(4,), (3, 5), (2, 4, 4)])
def test_forward_is_a_step_and_a_projection(shape):
    X, labels = samples(8, *shape), np.arange(8) % 2
    net = ReduNet.construct(X, labels, num_layers=1, eta=ETA, eps_sq=EPS_SQ, lam=3.0)
    layer, V = net.layers[0], net.spectrum(X)
    pi = layer.membership(V)
    torch.testing.assert_close(pi.sum(1), torch.ones(8, dtype=pi.dtype))
    step = V + ETA * layer.increment(V, pi)
    expected = net.spectrum.inverse(step)
    expected /= expected.flatten(1).norm(dim=1).reshape(8, *[1] * len(shape))
    torch.testing.assert_close(net(X), expected)


def disjoint_positive_features(shape):
    """Classes on disjoint channels, non-negative: where the paper's Remark 3 holds."""
    X = samples(40, 2, *shape).abs()
    labels = np.arange(40) % 2
    for j in (0, 1):
        X[labels == j, 1 - j] = 0
    return X, labels


def compressed(layer, V, membership=None):
    """What the step of a layer takes away."""
    return layer.operators.expand(V) - layer.increment(V, membership)


@pytest.mark.parametrize("shape", [(), (5,), (3, 4)])
def test_rectified_layer_agrees_with_hard_membership_where_classes_are_far_apart(shape):
    X, labels = disjoint_positive_features(shape)
    fine = {"num_layers": 1, "eta": 1e-4, "eps_sq": 1e-6}
    hard = ReduNet.construct(X, labels, lam=math.inf, **fine)
    rectified = ReduNet.construct(X, labels, membership="rectified", **fine)
    V = hard.spectrum(X)
    expected = compressed(hard.layers[0], V)
    # Both are the residual times α; where the fit is perfect it vanishes against α itself.
    alpha = rectified.layers[0].alpha
    actual = compressed(rectified.layers[0], V)
    torch.testing.assert_close(actual / alpha, expected / alpha, rtol=0, atol=2e-3)
    assert (actual / alpha).abs().max() < 2e-3


def test_rectified_layer_is_its_formula():
    X, labels = samples(10, 3, 4), np.arange(10) % 2
    net = ReduNet.construct(X, labels, num_layers=1, eps_sq=EPS_SQ, membership="rectified")
    layer, V = net.layers[0], net.spectrum(X)
    alpha = 3 / (10 * EPS_SQ)
    residual = X.clone()
    for j in (0, 1):
        C_j = layer.operators.compression.values[:, j]
        alpha_j = 3 / (5 * EPS_SQ)
        part = net.spectrum.inverse(V - V @ C_j.mT / alpha_j)
        residual -= part.clamp_min(0)
    torch.testing.assert_close(net.spectrum.inverse(compressed(layer, V)), alpha * residual)
    given = torch.tensor(np.eye(2)[labels])
    weighted = torch.einsum("mk,fmkc->fmc", (given / 2).to(V.dtype), layer.operators.respond(V))
    torch.testing.assert_close(compressed(layer, V, given), weighted)
