"""The dictionary of V-MCR² and its ascent against automatic differentiation and dense matrices."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from redunet.rates.covariance import RegularisedCovariance
from redunet.rates.dictionary import (
    Approximation,
    SampleSums,
    ascended,
    curvatures,
    lipschitz_bounds,
    penalty_gradients,
    rate_gradients,
    woodbury_core,
)

BETA = 7.0
COUNTS = torch.tensor([9.0, 4.0, 6.0], dtype=torch.float64)


def random(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def problem(dtype=torch.float64, *, frequencies=2, atoms=5, channels=4, seed=0):
    """An approximation with atoms of unit norm, and dense second moments N_j, (F, k, C, C)."""
    dictionary = random(frequencies, atoms, channels, dtype=dtype, seed=seed)
    dictionary = dictionary / dictionary.norm(dim=2, keepdim=True)
    codes = random(frequencies, 3, atoms, seed=seed + 1).relu() / atoms
    samples = random(frequencies, 3, 6, channels, dtype=dtype, seed=seed + 2) / channels**0.5
    moments = samples.mT @ samples.conj() / 6
    return Approximation(dictionary, codes, COUNTS / COUNTS.sum(), BETA), moments


def approximated(atoms, codes):
    """Γ diag(c) Γ* for codes (F, n, q)."""
    return torch.einsum("fqa,fnq,fqb->fnab", atoms, codes.to(atoms.dtype), atoms.conj())


def penalty(atoms, codes, moments):
    errors = (moments - approximated(atoms, codes)).abs().square().sum((2, 3))
    return (COUNTS * errors).sum()


def rates(atoms, codes, shares):
    together = (shares[:, None] * codes).sum(1, keepdim=True)
    identity = torch.eye(atoms.shape[2], dtype=atoms.dtype)
    expansion = torch.logdet(identity + BETA * approximated(atoms, together)).real.sum() / 2
    return expansion - (shares[:, None] * torch.log1p(BETA * codes)).sum() / 2


def objective(atoms, codes, shares, moments, mu):
    return rates(atoms, codes, shares) - mu / 2 * penalty(atoms, codes, moments)


def sums_of(a, moments):
    energies = torch.einsum("fqa,fkab,fqb->fkq", a.atoms.conj(), moments, a.atoms).real
    products = torch.einsum(
        "k,fkab,fqb,fkq->fqa", COUNTS.to(moments.dtype), moments, a.atoms, a.codes.to(moments.dtype)
    )
    return SampleSums(COUNTS, energies, products)


def bounds_of(a, moments, mu, counts=COUNTS):
    return curvatures(a, counts, moments.diagonal(dim1=2, dim2=3).real.sum(2), mu)


def step(a, moments, mu, step_size=1.0):
    return ascended(a, sums_of(a, moments), bounds_of(a, moments, mu), mu, step_size)


DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])


@DTYPES
@pytest.mark.parametrize("atoms", [3, 6])  # fewer atoms than channels, and more
def test_cores_give_the_inverses_of_dense_matrices(dtype, atoms):
    a, _ = problem(dtype, atoms=atoms)
    roots = a.all_codes.sqrt()
    covariance = RegularisedCovariance.from_moment(
        a.weighted_coherence(), torch.full_like(roots[..., 0], BETA)
    )
    cores = woodbury_core(covariance, roots)
    identity = torch.eye(4, dtype=dtype)
    dense = torch.linalg.inv(identity + BETA * approximated(a.atoms, a.all_codes))
    found = identity - torch.einsum("fqa,fnqr,frb->fnab", a.atoms, cores, a.atoms.conj())
    torch.testing.assert_close(found, dense, rtol=0, atol=1e-10)
    shrunk = torch.einsum("fab,fqb->fqa", dense[:, 0], a.atoms)
    torch.testing.assert_close(a.shrunk_atoms, shrunk, rtol=0, atol=1e-10)


@DTYPES
def test_gradients_are_those_of_the_objective(dtype):
    a, moments = problem(dtype)
    variables = a.atoms.clone().requires_grad_(), a.codes.clone().requires_grad_()
    expected = torch.autograd.grad(penalty(*variables, moments), variables)
    found = penalty_gradients(a, sums_of(a, moments))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    expected = torch.autograd.grad(rates(*variables, a.shares), variables)
    torch.testing.assert_close(rate_gradients(a), expected, rtol=1e-10, atol=1e-10)


@DTYPES
@pytest.mark.parametrize("mu", [0.1, 10.0])
def test_a_step_is_a_gradient_step_and_a_projection(dtype, mu):
    a, moments = problem(dtype)
    variables = a.atoms.clone().requires_grad_(), a.codes.clone().requires_grad_()
    slopes = torch.autograd.grad(objective(*variables, a.shares, moments, mu), variables)
    bounds = bounds_of(a, moments, mu)
    atoms = a.atoms + 0.3 * slopes[0] / bounds[0].clamp_min(1e-300)
    codes = a.codes + 0.3 / bounds[1] * slopes[1]
    moved = step(a, moments, mu, 0.3)
    torch.testing.assert_close(moved.atoms, atoms / atoms.norm(dim=2, keepdim=True))
    torch.testing.assert_close(moved.codes, codes.clamp_min(0))
    assert torch.equal(moved.codes == 0, codes <= 0)


@DTYPES
def test_curvatures_bound_the_second_derivative_along_the_codes(dtype):
    a, moments = problem(dtype, frequencies=1)
    mu = 0.5
    bounds = bounds_of(a, moments, mu)

    def cost(codes):
        log_barrier = (a.shares[:, None] * torch.log1p(BETA * codes)).sum() / 2
        return -objective(a.atoms, codes, a.shares, moments, mu) - log_barrier

    hessian = torch.autograd.functional.hessian(cost, a.codes).reshape(15, 15)
    rest = torch.diag(bounds[1].flatten()) - hessian
    assert torch.linalg.eigvalsh(rest).min() > -1e-10


@settings(max_examples=30)
@given(st.integers(0, 500), st.integers(1, 8), st.sampled_from([torch.float64, torch.complex128]))
def test_a_step_never_raises_the_penalty(seed, atoms, dtype):
    a, moments = problem(dtype, atoms=atoms, seed=seed)
    for _ in range(3):
        moved = step(a, moments, mu=1e9)
        before, after = (penalty(b.atoms, b.codes, moments) for b in (a, moved))
        assert after <= before * (1 + 1e-9)
        a = moved


@settings(max_examples=30)
@given(st.integers(0, 500), st.sampled_from([0.1, 1.0, 100.0]))
def test_a_step_never_lowers_the_objective(seed, mu):
    a, moments = problem(seed=seed)
    for _ in range(3):
        moved = step(a, moments, mu)
        before, after = (objective(b.atoms, b.codes, b.shares, moments, mu) for b in (a, moved))
        assert after >= before - 1e-9 * before.abs()
        a = moved


@given(st.integers(0, 500), st.sampled_from([(4, 5), (10, 40), (8, 3)]))
def test_a_step_of_one_over_the_bounds_of_the_paper_never_raises_the_penalty(seed, size):
    channels, atoms = size
    a, moments = problem(atoms=atoms, channels=channels, frequencies=1, seed=seed)
    norms = COUNTS * torch.linalg.matrix_norm(moments)
    bounds = lipschitz_bounds(a, COUNTS, norms, mu=1e9)
    moved = ascended(a, sums_of(a, moments), bounds, mu=1e9, step_size=1.0)
    before, after = (penalty(b.atoms, b.codes, moments) for b in (a, moved))
    assert after <= before * (1 + 1e-9)


def test_bounds_as_printed():
    # Eqs. 17 and 19 for balanced classes, with A_j = m_j c_j; the codes are in units of A_j here.
    a, moments = problem(frequencies=1)
    k, mu, count = 3, 0.7, torch.tensor(8.0, dtype=torch.float64)
    A, Gamma, m = (count * a.codes[0]).T, a.atoms[0].T, 3 * count
    norms = [(count * moments[0, j]).norm() for j in range(k)]
    eq_17 = 2 * k / m * sum(s * A[:, j].max() + A[:, j].max() ** 2 for j, s in enumerate(norms))
    eq_19 = k / m * (Gamma.T @ Gamma).square().norm()
    counts = count.expand(k)
    bounds = lipschitz_bounds(a, counts, torch.stack(norms)[None], mu)
    torch.testing.assert_close(bounds.atoms.squeeze(), mu * eq_17)
    torch.testing.assert_close(bounds.codes[0, :, 0], (mu * count**2 * eq_19).expand(k))


def test_the_codes_of_a_class_without_samples_stay():
    a, moments = problem()
    counts = torch.tensor([9.0, 0.0, 6.0], dtype=torch.float64)
    a = Approximation(a.atoms, a.codes, counts / counts.sum(), BETA)
    sums = sums_of(a, moments)._replace(counts=counts)
    moved = ascended(a, sums, bounds_of(a, moments, 1.0, counts), mu=1.0, step_size=1.0)
    torch.testing.assert_close(moved.codes[:, 1], a.codes[:, 1])
    assert moved.codes.isfinite().all()
    assert not torch.equal(moved.codes[:, 0], a.codes[:, 0])


def test_atoms_without_energy_stay():
    a, moments = problem()
    a.codes[:, :, 2] = 0
    a.atoms[:, 3] = 0
    a.codes[:, :, 3] = 0
    moved = step(a, moments, mu=1.0)
    torch.testing.assert_close(moved.atoms[:, 2:4], a.atoms[:, 2:4])


def test_the_gradient_of_the_penalty_is_the_step_of_a_layer_where_the_objective_is_stationary():
    # Approximations S_j, and features whose moments make the objective stationary in S_j.
    mu, channels, counts = 50.0, 4, torch.full((3,), 4.0, dtype=torch.float64)
    m, shares, eps_sq = counts.sum(), counts / counts.sum(), 0.5
    alphas = channels / (counts * eps_sq)
    roots = random(3, channels, channels)
    S = (roots @ roots.mT).requires_grad_()
    identity = torch.eye(channels, dtype=torch.float64)

    def inverse(alpha, moment):
        return alpha * torch.linalg.inv(identity + alpha * moment)

    E = inverse(channels / (m * eps_sq), S.detach().sum(0))
    compression = shares[:, None, None] * inverse(alphas[:, None, None], S.detach())
    moments = S.detach() - (counts / (2 * mu))[:, None, None] * (E - compression)
    Z = torch.linalg.cholesky(moments).requires_grad_()  # the columns are samples
    errors = (Z @ Z.mT - S).square().sum((1, 2)) / shares
    log_dets = torch.logdet(identity + alphas[:, None, None] * S)
    expansion = torch.logdet(identity + channels / (m * eps_sq) * S.sum(0)) / 2
    value = expansion - (shares * log_dets).sum() / 2 - mu / (2 * m) * errors.sum()
    of_approximations, of_features = torch.autograd.grad(value, (S, Z))
    assert of_approximations.abs().max() < 1e-10
    torch.testing.assert_close(of_features, (E - compression) @ Z.detach(), rtol=0, atol=1e-10)
