"""The construction, whatever its kind of operators, is the algorithm as the paper prints it."""

import inspect

import pytest
import torch
from samples import samples

from redunet import ReduNet, algorithm, rate_reduction

SETTINGS = {"num_layers": 3, "eta": 0.7, "eps_sq": 0.1, "lam": 50.0}
SHAPES = {"vectors": (6,), "series": (3, 8), "odd series": (3, 9), "images": (2, 4, 5)}
LABELS = torch.tensor([0, 1, 2, 0, 1, 1] * 6)

# Kinds that are exact if their rank is the number of channels.
KINDS = {
    "exact": {},
    "in batches": {"batch_size": 7},
    "extensible": {"operators": "extensible"},
    "variational": {"operators": "variational"},
}


def compared(X, labels, eta=SETTINGS["eta"], **options):
    """Features of new samples by the package and by the algorithm."""
    settings = SETTINGS | {"eta": eta}
    net = ReduNet.construct(X, labels, **settings, **options)
    layers = algorithm.construct(X, labels, **settings)
    new = samples(5, *X.shape[1:], seed=2)
    return net(new), algorithm.features(new, layers)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_network_is_the_algorithm(kind, shape):
    options = dict(KINDS[kind])
    if kind == "variational":
        options["rank"] = shape[0]
    actual, expected = compared(samples(36, *shape), LABELS, **options)
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shape", [(60,), (40, 45)], ids=["vectors", "series"])
def test_operators_of_low_rank_are_the_algorithm(shape):
    """Classes, and all samples together, have fewer samples than channels."""
    actual, expected = compared(samples(36, *shape), LABELS, eta=0.1)
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_rates_and_operators_are_those_of_the_algorithm(shape):
    X = samples(36, *shape)
    net = ReduNet.construct(X, LABELS, **SETTINGS)
    V = algorithm.to_spectrum(X)
    for layer, rate, rate_of_classes in zip(
        algorithm.construct(X, LABELS, **SETTINGS),
        net.history.expansion,
        net.history.compression,
        strict=False,
    ):
        R, R_c = algorithm.rates(V, LABELS, SETTINGS["eps_sq"])
        assert rate == pytest.approx(R.item(), rel=1e-10)
        assert rate_of_classes == pytest.approx(R_c.item(), rel=1e-10)
        V = algorithm.step(V, layer)
    R, R_c = algorithm.rates(V, LABELS, SETTINGS["eps_sq"])
    rates = rate_reduction(algorithm.from_spectrum(V, X.shape), LABELS, SETTINGS["eps_sq"])
    torch.testing.assert_close(rates.delta, R - R_c, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_increment_is_the_gradient_of_the_rates(shape):
    """With memberships that are the labels: E V and Σ γ_j Cʲ V Πʲ are gradients of R and R_c."""
    V = algorithm.to_spectrum(samples(36, *shape)).requires_grad_()
    R, R_c = algorithm.rates(V, LABELS, 0.1)
    of_R, of_R_c = (torch.autograd.grad(rate, V)[0] * len(V) for rate in (R, R_c))
    V = V.detach()
    E, C = algorithm.operators(V, LABELS, 0.1)
    torch.testing.assert_close(of_R, V @ E.mT, rtol=1e-10, atol=1e-10)
    gamma = torch.bincount(LABELS)[LABELS].double() / len(LABELS)
    members = torch.stack([(C[j] @ V[:, i, :, None])[..., 0] for i, j in enumerate(LABELS)], 1)
    torch.testing.assert_close(of_R_c, gamma[:, None] * members, rtol=1e-10, atol=1e-10)


def test_the_algorithm_fits_on_a_page():
    assert inspect.getsource(algorithm).count("\n") <= 120
