import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import normalize

from redunet.rates.partition import Partition
from redunet.training.dictionary import Approximation, ascend, rate_gradients, variational_rates

EPS_SQ = 0.4


def problem(seed, *, m=24, d=5, q=8, k=3, soft=False):
    generator = torch.Generator().manual_seed(seed)

    def rand(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    Z = normalize(rand(m, d) - 0.5, dim=1)
    labels = (6 * rand(m, k)).softmax(1) if soft else torch.randint(k, (m,), generator=generator)
    partition = Partition.from_labels(
        labels, m, classes=None if soft else torch.arange(k).numpy(), partial=True
    )
    return Approximation(Z, partition, normalize(rand(q, d) - 0.5, dim=1), 2 * rand(k, q) / q)


def dense_error(approximation):
    """Eq. 7's M over m, class by class, with matrices of d × d and A_j = n_j C_j."""
    a = approximation
    m, total = len(a.Z), 0
    for weights, codes in zip(a.partition.membership.T, a.codes, strict=True):
        count = weights.sum()
        if count == 0:
            continue
        moment = a.Z.T @ torch.diag(weights) @ a.Z
        approached = a.dictionary.T @ torch.diag(count * codes) @ a.dictionary
        total = total + (moment - approached).square().sum() / (count / m)
    return total / m


@given(st.integers(0, 1000), st.booleans(), st.integers(1, 30), st.integers(1, 9))
def test_error_is_the_dense_form(seed, soft, m, d):
    a = problem(seed, m=m, d=d, soft=soft)
    torch.testing.assert_close(a.error(), dense_error(a), rtol=1e-11, atol=1e-11)


def test_error_as_printed_for_balanced_classes():
    # Eq. 9 with μ = 1: k/(2m) [⟨ΠΠᵀ, (ZᵀZ)∘²⟩ − 2⟨AΠᵀ, (ΓᵀZ)∘²⟩ + ⟨AAᵀ, (ΓᵀΓ)∘²⟩]
    m, k = 24, 3
    a = problem(0)
    a = Approximation(a.Z, Partition.from_labels(torch.arange(m) % k, m), a.dictionary, a.codes)
    Pi, A = a.partition.membership, (m / k * a.codes).T
    Z, Gamma = a.Z.T, a.dictionary.T
    printed = (
        ((Pi @ Pi.T) * (Z.T @ Z).square()).sum()
        - 2 * ((A @ Pi.T) * (Gamma.T @ Z).square()).sum()
        + ((A @ A.T) * (Gamma.T @ Gamma).square()).sum()
    )
    torch.testing.assert_close(a.error() / 2, k / (2 * m) * printed, rtol=1e-12, atol=0)
    of_dictionary, of_codes = a.gradients()
    # Eqs. 10 and 11, which are with respect to Γ and A.
    eq_10 = (
        -2
        * k
        / m
        * sum(
            Z @ torch.diag(Pi[:, j]) @ Z.T @ Gamma @ torch.diag(A[:, j])
            - Gamma @ torch.diag(A[:, j]) @ Gamma.T @ Gamma @ torch.diag(A[:, j])
            for j in range(k)
        )
    )
    eq_11 = k / m * ((Gamma.T @ Gamma).square() @ A - (Gamma.T @ Z).square() @ Pi)
    torch.testing.assert_close(of_dictionary.T / 2, eq_10)
    torch.testing.assert_close(of_codes.T / 2, m / k * eq_11)
    # Eqs. 17 and 19
    moments = [(Z[:, Pi[:, j] > 0] @ Z[:, Pi[:, j] > 0].T).norm() for j in range(k)]
    eq_17 = 2 * k / m * sum(s * A[:, j].max() + A[:, j].max() ** 2 for j, s in enumerate(moments))
    eq_19 = k / m * (Gamma.T @ Gamma).square().norm()
    bound_of_dictionary, bounds_of_codes = a.lipschitz()
    torch.testing.assert_close(bound_of_dictionary / 2, eq_17)
    torch.testing.assert_close(bounds_of_codes / 2, (m / k) ** 2 * eq_19.expand(k))


@given(st.integers(0, 1000), st.booleans())
def test_gradients_are_those_of_autograd(seed, soft):
    a = problem(seed, soft=soft)
    variables = (a.dictionary.requires_grad_(), a.codes.requires_grad_())
    expected = torch.autograd.grad(a.error(), variables)
    torch.testing.assert_close(a.gradients(), expected, rtol=1e-10, atol=1e-10)

    shares = a.counts / len(a.Z)
    rates = variational_rates(*variables, shares, EPS_SQ)
    expected = torch.autograd.grad(rates[0] - rates[1], variables)
    torch.testing.assert_close(
        rate_gradients(*variables, shares, EPS_SQ), expected, rtol=1e-10, atol=1e-10
    )


def test_gradient_with_respect_to_features():
    a = problem(0)
    assert torch.autograd.gradcheck(
        lambda Z: Approximation(Z, a.partition, a.dictionary, a.codes).error(),
        a.Z.requires_grad_(),
    )


@pytest.mark.parametrize("q", [3, 12])  # fewer atoms than dimensions, and more
def test_rates_are_the_dense_form(q):
    a = problem(1, q=q)
    shares = a.counts / len(a.Z)
    scale = 5 / EPS_SQ
    mixture = a.dictionary.T @ torch.diag(shares @ a.codes) @ a.dictionary
    expansion = torch.logdet(torch.eye(5, dtype=mixture.dtype) + scale * mixture) / 2
    compression = sum(
        share / 2 * torch.log(1 + scale * codes).sum()
        for share, codes in zip(shares, a.codes, strict=True)
    )
    torch.testing.assert_close(
        variational_rates(a.dictionary, a.codes, shares, EPS_SQ), (expansion, compression)
    )


@given(st.integers(0, 1000), st.sampled_from([(24, 5, 8), (60, 10, 40), (10, 8, 3)]))
def test_a_step_of_one_over_the_bounds_does_not_increase_the_error(seed, size):
    m, d, q = size
    a = problem(seed, m=m, d=d, q=q)
    slopes, bounds = a.gradients(), a.lipschitz()
    dictionary = normalize(a.dictionary - slopes[0] / bounds[0], dim=1)
    steps = torch.where(bounds[1] > 0, 1 / bounds[1], 0)[:, None]
    codes = (a.codes - steps * slopes[1]).relu()
    error = a.error()
    assert Approximation(a.Z, a.partition, dictionary, a.codes).error() <= error
    assert Approximation(a.Z, a.partition, a.dictionary, codes).error() <= error
    assert Approximation(a.Z, a.partition, dictionary, codes).error() <= error


def test_a_step_goes_up_the_objective_and_stays_feasible():
    a = problem(2)
    mu, shares = 0.3, a.counts / len(a.Z)

    def objective(dictionary, codes):
        rates = variational_rates(dictionary, codes, shares, EPS_SQ)
        error = Approximation(a.Z, a.partition, dictionary, codes).error()
        return rates[0] - rates[1] - mu / 2 * error

    dictionary, codes = ascend(a, EPS_SQ, mu, 0.1)
    assert objective(dictionary, codes) > objective(a.dictionary, a.codes)
    torch.testing.assert_close(dictionary.norm(dim=1), torch.ones(8, dtype=torch.float64))
    assert (codes >= 0).all()
