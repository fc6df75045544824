import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redunet import coding_rate, rate_reduction

EPS_SQ = 0.3


def features(m, *shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(m, *shape, generator=generator, dtype=torch.float64) / m**0.5


def brute_force(Z, memberships, eps_sq):
    """The definition, frequency by frequency of the full spectrum, class by class."""
    Z, memberships = Z.numpy(), np.asarray(memberships, dtype=float)
    m, C, *shape = Z.shape
    V = np.fft.fftn(Z, axes=range(2, Z.ndim), norm="ortho") if shape else Z
    V = V.reshape(m, C, -1)
    F = V.shape[2]

    def rate(weights):
        count = weights.sum()
        if count == 0:
            return 0.0
        total = 0.0
        for p in range(F):
            second_moment = V[:, :, p].T @ (weights[:, None] * V[:, :, p].conj())
            total += np.linalg.slogdet(np.eye(C) + C / (count * eps_sq) * second_moment)[1]
        return total / (2 * F)

    expansion = rate(np.ones(m))
    compression = sum(w.sum() / m * rate(w) for w in memberships.T)
    return expansion - compression, expansion, compression


@given(
    st.lists(st.integers(1, 9), min_size=2, max_size=5),
    st.integers(1, 6),
    st.lists(st.integers(1, 5), min_size=0, max_size=3),
)
def test_rates_are_their_definition_for_any_sizes(sizes, channels, shape):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    labels = np.random.default_rng(0).permutation(labels)
    Z = features(len(labels), channels, *shape)
    rates = rate_reduction(Z, labels, EPS_SQ)
    expected = brute_force(Z, np.eye(len(sizes))[labels], EPS_SQ)
    np.testing.assert_allclose([r.item() for r in rates], expected, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(coding_rate(Z, EPS_SQ).item(), expected[1], rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("shape", [(4,), (3, 5), (2, 4, 3)])
def test_soft_memberships(shape):
    soft = np.random.default_rng(0).dirichlet([0.3] * 3, size=12)
    soft[:4, 0] = 0
    soft[:4] /= soft[:4].sum(1, keepdims=True)
    Z = features(12, *shape)
    rates = rate_reduction(Z, torch.tensor(soft), EPS_SQ)
    expected = brute_force(Z, soft, EPS_SQ)
    np.testing.assert_allclose([r.item() for r in rates], expected, rtol=1e-12)


def test_one_hot_memberships_are_labels():
    Z, labels = features(9, 5), np.array([0, 1, 2] * 3)
    hard = rate_reduction(Z, labels, EPS_SQ)
    soft = rate_reduction(Z, np.eye(3)[labels], EPS_SQ)
    torch.testing.assert_close(torch.stack(soft), torch.stack(hard))


def test_rate_of_a_dense_circulant_matrix():
    # Over F, the rate of the C·F-dimensional vectors of all shifts, at ε²F.
    C, T = 3, 5
    Z = features(4, C, T)
    family = torch.stack([Z.roll(s, 2) for s in range(T)], 1).reshape(4 * T, C * T)
    dense = coding_rate(family, EPS_SQ * T) / T
    torch.testing.assert_close(coding_rate(Z, EPS_SQ), dense, rtol=1e-12, atol=0)


@pytest.mark.parametrize("m", [3, 40])  # fewer samples than channels, and more
def test_primal_and_dual_sides_agree(m):
    Z = features(m, 12)
    alpha = 12 / (m * EPS_SQ)
    primal = torch.logdet(torch.eye(12, dtype=Z.dtype) + alpha * Z.T @ Z) / 2
    dual = torch.logdet(torch.eye(m, dtype=Z.dtype) + alpha * Z @ Z.T) / 2
    torch.testing.assert_close(primal, dual, rtol=1e-12, atol=0)
    torch.testing.assert_close(coding_rate(Z, EPS_SQ), primal, rtol=1e-12, atol=0)


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 3)])
def test_gradients(shape):
    labels = [0, 0, 0, 1, 1, 1, 2, 0]  # both sides of every shape, and a class of one sample
    Z = features(8, *shape).requires_grad_()
    assert torch.autograd.gradcheck(lambda Z: rate_reduction(Z, labels, EPS_SQ), Z)


@pytest.mark.parametrize("sizes", [(6, 6), (4, 8)])
def test_orthogonal_subspaces_of_equal_singular_values_are_the_optimum(sizes):
    # Theorem 1: classes of rank d_j with Σ d_j = n and Frobenius norms m_j; here two of three
    # dimensions each, with ε fine enough.
    n, rank = 6, 3
    rng = np.random.default_rng(0)

    def rates_of(classes):
        Z = torch.tensor(np.concatenate(classes))
        return rate_reduction(Z, np.repeat([0, 1], sizes), 1e-3).delta.item()

    basis = np.linalg.qr(rng.standard_normal((n, n)))[0]
    optimum = []
    for j, size in enumerate(sizes):
        rows = np.linalg.qr(rng.standard_normal((size, rank)))[0]  # equal singular values
        optimum.append(np.sqrt(size / rank) * rows @ basis[:, rank * j : rank * (j + 1)].T)
    best = rates_of(optimum)
    for scale in (1e-3, 1e-2, 1e-1, 1.0):
        for _ in range(25):
            perturbed = []
            for Zj in optimum:
                Zj = Zj + scale * rng.standard_normal(Zj.shape)
                u, s, vt = np.linalg.svd(Zj, full_matrices=False)
                Zj = u[:, :rank] * s[:rank] @ vt[:rank]  # of the same rank and Frobenius norm
                perturbed.append(np.sqrt(len(Zj)) * Zj / np.linalg.norm(Zj))
            assert rates_of(perturbed) < best


@pytest.mark.parametrize(
    ("d", "rank", "expected"),
    [
        (512, None, (552.70, 193.29, 360.41)),
        (512, 50, (545.63, 108.46, 437.17)),
        (512, 10, (195.46, 30.97, 164.49)),
        (512, 1, (31.18, 4.27, 26.91)),
        (256, None, (292.71, 154.13, 138.57)),
        (256, 25, (288.65, 56.34, 232.31)),
        (128, None, (150.05, 110.85, 39.19)),
        (128, 12, (144.36, 27.72, 116.63)),
        (128, 1, (24.28, 3.57, 20.70)),
    ],
)
def test_table_4_of_the_paper(d, rank, expected):
    """Unit vectors, Gaussian or in orthogonal subspaces: ReduNet (JMLR 2022), Table 4."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 1000)
    if rank is None:
        Z = rng.standard_normal((1000, d))
    else:
        bases = np.linalg.qr(rng.standard_normal((d, 10 * rank)))[0].reshape(d, 10, rank)
        Z = np.einsum("mr,dmr->md", rng.standard_normal((1000, rank)), bases[:, labels])
    Z /= np.linalg.norm(Z, axis=1, keepdims=True)
    delta, expansion, compression = rate_reduction(Z, labels, 0.1)
    np.testing.assert_allclose([expansion, compression, delta], expected, rtol=0.01)


def test_float32_follows_float64():
    Z, labels = features(60, 8, 5, 5), np.arange(60) % 4
    double = torch.stack(rate_reduction(Z, labels, EPS_SQ))
    single = torch.stack(rate_reduction(Z.float(), labels, EPS_SQ))
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-6)


def test_runs_where_the_samples_are(device):
    Z, labels = features(20, 3, 4, 4), np.arange(20) % 2
    here = rate_reduction(Z.to(device), labels, EPS_SQ)
    assert here.delta.device.type == device.type
    torch.testing.assert_close(
        torch.stack(here).cpu(), torch.stack(rate_reduction(Z, labels, EPS_SQ))
    )


@pytest.mark.parametrize("shape", [(4,), (12,), (3, 4)])
def test_classes_without_members_add_nothing(shape):
    Z, labels = features(8, *shape).requires_grad_(), np.array([1, 1, 3, 3, 3, 1, 3, 1])
    Pi = torch.eye(6, dtype=Z.dtype)[labels].requires_grad_()
    found, expected = rate_reduction(Z, Pi, EPS_SQ), rate_reduction(Z, labels, EPS_SQ)
    torch.testing.assert_close(found, expected)
    of_samples, of_members = torch.autograd.grad(found.delta, [Z, Pi])
    assert of_members.isfinite().all()
    torch.testing.assert_close(of_samples, torch.autograd.grad(expected.delta, Z)[0])
    one = rate_reduction(Z, torch.eye(6, dtype=Z.dtype)[[2] * 8], EPS_SQ)
    torch.testing.assert_close(one.expansion, one.compression)
