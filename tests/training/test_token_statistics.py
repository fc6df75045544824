"""Attention by token statistics: its step, its bound and its cost."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from redunet import TokenStatisticsAttention

FUNCTIONS = {
    "logarithm": torch.log1p,
    "root": lambda s: (1 + s).sqrt() - 1,
    "saturated": torch.tanh,
}


def attention(**options):
    torch.manual_seed(0)
    return TokenStatisticsAttention(6, 3, eta=0.3, **options).double()


def tokens(count=7):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, count, 6, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("head_dim", [None, 4])
def test_the_step_is_the_gradient_of_the_compression(function, head_dim):
    layer = attention(head_dim=head_dim, function=FUNCTIONS[function])
    Z = tokens().requires_grad_()
    memberships = layer.membership(torch.einsum("bnd,hdp->bhnp", Z, layer.directions)).detach()
    torch.testing.assert_close(memberships.sum(1), torch.ones(2, 7, dtype=torch.float64))
    (gradient,) = torch.autograd.grad(layer.compression(Z, memberships).sum(), Z)
    expected = Z - 0.3 * Z.shape[1] * gradient
    torch.testing.assert_close(layer(Z), expected, rtol=0, atol=1e-13)
    assert torch.equal(layer.compression(Z), layer.compression(Z, memberships))


def test_the_compression_bounds_the_coding_rate_of_the_heads():
    layer, Z = attention(eps_sq=0.2), tokens()[0]
    W = torch.einsum("nd,hdp->hnp", Z, layer.directions)
    pi = layer.membership(W)
    covariances = layer.alpha * W.mT @ (pi[..., None] * W) / pi.sum(1)[:, None, None]
    rates = torch.logdet(torch.eye(2, dtype=torch.float64) + covariances)
    exact = (pi.mean(1) * rates).sum() / 2
    assert layer.compression(Z) > exact + 0.01
    # Equality holds in the directions that diagonalise the covariances; memberships do not change.
    vectors = torch.linalg.eigh(covariances).eigenvectors
    with torch.no_grad():
        layer.directions.copy_(layer.directions @ vectors)
    torch.testing.assert_close(layer.compression(Z), exact, rtol=0, atol=1e-13)


def test_a_short_step_lowers_the_compression():
    layer, Z = attention(), tokens()
    pi = layer.membership(torch.einsum("bnd,hdp->bhnp", Z, layer.directions))
    assert (layer.compression(layer(Z), pi) < layer.compression(Z, pi) - 0.01).all()


def test_the_cost_is_linear_in_the_number_of_tokens():
    layer, counts = attention(), []
    for count in (64, 128, 1024):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            layer(tokens(count))
        counts.append(counter.get_total_flops())
    assert counts[1] == 2 * counts[0]
    assert counts[2] == 16 * counts[0]


def test_everything_is_trained():
    layer = attention()
    inputs = (
        tokens(4).requires_grad_(),
        *(p.detach().requires_grad_() for p in layer.parameters()),
    )
    names = [name for name, _ in layer.named_parameters()]

    def step(Z, *values):
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), Z)

    assert torch.autograd.gradcheck(step, inputs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_heads": 4}, "dim=6 is no multiple of num_heads=4: pass head_dim"),
        ({"num_heads": 2, "head_dim": 7}, "head_dim must be at most dim=6, got 7"),
        ({"num_heads": 2, "eps_sq": 0}, "eps_sq must be"),
        ({"num_heads": 2, "eta": -1}, "eta must be"),
    ],
)
def test_settings_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TokenStatisticsAttention(6, **options)
