"""The lemmas and the theorem of Appendix A of the ReduNet paper (JMLR 2022)."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from redunet import coding_rate, optimal_rate_reduction, rate_reduction
from tests.samples import samples


def log_det(Z, scale):
    """Log determinant of I + scale · Σ z z*, for samples ``(m, n)``."""
    return torch.logdet(torch.eye(Z.shape[1], dtype=Z.dtype) + scale * Z.T @ Z).item()


def bounds_of_the_rate(parts, eps_sq):
    """Both sides of eq. 55, divided by m, and the coding rate between them."""
    Z = torch.cat(parts)
    m, n = Z.shape
    lower = sum(len(P) / m * coding_rate(P, eps_sq).item() for P in parts)
    upper = sum(log_det(P, n / (m * eps_sq)) / 2 for P in parts)
    return lower, coding_rate(Z, eps_sq).item(), upper


def bound_of_the_reduction(parts, eps_sq):
    """The right side of Lemma 11."""
    m, n = torch.cat(parts).shape
    return sum(
        (m * log_det(P, n / (m * eps_sq)) - len(P) * log_det(P, n / (len(P) * eps_sq))) / (2 * m)
        for P in parts
    )


def reduction(parts, eps_sq):
    labels = np.repeat(np.arange(len(parts)), [len(P) for P in parts])
    return rate_reduction(torch.cat(parts), labels, eps_sq).delta.item()


def in_orthogonal_subspaces(parts, seed=0):
    """The same classes, each in its own block of dimensions of a rotated space."""
    dimensions = [P.shape[1] for P in parts]
    basis = torch.linalg.qr(samples(sum(dimensions), sum(dimensions), seed=seed))[0]
    return [P @ rows for P, rows in zip(parts, basis.split(dimensions), strict=True)]


some_classes = (
    st.lists(st.integers(1, 8), min_size=2, max_size=4),
    st.integers(1, 6),
    st.floats(0.05, 5),
)


@settings(max_examples=40)
@given(*some_classes)
def test_lemma_10_bounds_the_coding_rate(sizes, n, eps_sq):
    parts = [samples(size, n, seed=i) for i, size in enumerate(sizes)]
    lower, rate, upper = bounds_of_the_rate(parts, eps_sq)
    assert lower < rate + 1e-12
    assert rate < upper + 1e-12


def test_lemma_10_is_tight_for_equal_second_moments_and_for_orthogonal_classes():
    Z, turn = samples(5, 4), torch.linalg.qr(samples(5, 5, seed=1))[0]
    lower, rate, upper = bounds_of_the_rate([Z, turn @ Z, torch.cat([Z, Z])], 0.2)
    assert rate == pytest.approx(lower, rel=1e-12)
    assert rate < upper - 0.1
    apart = in_orthogonal_subspaces([samples(size, 3, seed=size) for size in (4, 7)])
    lower, rate, upper = bounds_of_the_rate(apart, 0.2)
    assert rate == pytest.approx(upper, rel=1e-12)
    assert lower < rate - 0.1


@settings(max_examples=40)
@given(*some_classes)
def test_lemma_11_bounds_the_rate_reduction(sizes, n, eps_sq):
    parts = [samples(size, n, seed=i) for i, size in enumerate(sizes)]
    assert reduction(parts, eps_sq) < bound_of_the_reduction(parts, eps_sq) + 1e-12


@pytest.mark.parametrize("eps_sq", [0.01, 0.5, 5.0])
def test_lemma_11_is_tight_for_orthogonal_classes_alone(eps_sq):
    apart = in_orthogonal_subspaces([samples(m, d, seed=d) for m, d in ((5, 2), (4, 3), (3, 3))])
    bound = bound_of_the_reduction(apart, eps_sq)
    assert reduction(apart, eps_sq) == pytest.approx(bound, rel=1e-11)
    apart[0] = apart[0] + 0.3 * apart[1][:1]  # no longer orthogonal
    assert reduction(apart, eps_sq) < bound_of_the_reduction(apart, eps_sq) - 1e-5


# Theorem 12. With orthogonal classes, ΔR is half the sum of f(x) over the squared singular values x
# of all classes, where the sum of x over class j is m_j.


def gain(x, n, m, share, eps_sq):
    """f(x) = log(1 + α x) − γ_j log(1 + α_j x)."""
    alpha = n / (m * eps_sq)
    return np.log1p(alpha * x) - share * np.log1p(alpha / share * x)


def rank_gain(rank, n, m, share, eps_sq):
    """The sum of f over ``rank`` equal squared singular values."""
    return rank * gain(share * m / rank, n, m, share, eps_sq)


def optimum(sizes, ranks, n, seed=0):
    """Orthogonal classes of these ranks whose singular values are equal, with ‖Zʲ‖² = m_j."""
    parts = [
        (size / rank) ** 0.5 * torch.linalg.qr(samples(size, rank, seed=seed + i))[0]
        for i, (size, rank) in enumerate(zip(sizes, ranks, strict=True))
    ]
    parts = in_orthogonal_subspaces(parts, seed)
    padding = torch.zeros(1, n - sum(ranks), dtype=torch.float64)
    return [torch.cat([P, padding.expand(len(P), -1)], 1) for P in parts]


CASES = [((6, 6), (3, 3), 6), ((4, 8), (2, 3), 7), ((5, 9, 6), (1, 3, 2), 6)]


@pytest.mark.parametrize(("sizes", "ranks", "n"), CASES)
@pytest.mark.parametrize("eps_sq", [1e-3, 0.1])
def test_theorem_12_has_a_closed_form(sizes, ranks, n, eps_sq):
    expected = optimal_rate_reduction(sizes, ranks, eps_sq, n)
    assert reduction(optimum(sizes, ranks, n), eps_sq) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("rank", [2, 3])
def test_the_best_singular_values_are_equal_or_zero(share, rank):
    # Lemma 13 also allows d_j − 1 equal values and a smaller one. For this f, f' has the same
    # value at both, and then f'' has a positive sum at them. This is not a maximum.
    n, m, steps = 12, 60, 120
    grid = np.indices((steps + 1,) * (rank - 1)).reshape(rank - 1, -1).T
    grid = grid[grid.sum(1) <= steps]
    spectra = np.column_stack([grid, steps - grid.sum(1)]) * share * m / steps
    for eps_sq in np.geomspace(0.01, 1, 12) * share**0.5 * n / rank:
        values = gain(spectra, n, m, share, eps_sq).sum(1)
        best = max(rank_gain(r, n, m, share, eps_sq) for r in range(1, rank + 1))
        assert values.max() == pytest.approx(best, rel=1e-12)


def test_the_precision_of_theorem_12_is_not_fine_enough_for_full_rank():
    # The theorem asks for ε⁴ < min γ_j n²/d_j², which is 2 here. Equal singular values are then a
    # local maximum. Just below this limit, classes of a single dimension have a larger ΔR.
    sizes, n = (6, 6), 4
    for eps_sq, full_rank_is_best in ((1.2, False), (0.8, True)):
        assert eps_sq**2 < 0.5 * n**2 / 2**2
        planes, lines = (optimum(sizes, (r, r), n) for r in (2, 1))
        lead = reduction(planes, eps_sq) - reduction(lines, eps_sq)
        assert (lead > 0) == full_rank_is_best
        assert abs(lead) > 1e-3


def test_the_constraint_of_eq_11_lets_samples_vanish():
    # The optimum depends on second moments only. It can leave all samples but d_j at zero, which
    # unit norms exclude.
    sizes, ranks, n = (6, 9), (2, 3), 5
    few = [torch.zeros(size, n, dtype=torch.float64) for size in sizes]
    for Z, best, rank in zip(few, optimum(sizes, ranks, n), ranks, strict=True):
        _, s, Vh = torch.linalg.svd(best, full_matrices=False)
        Z[:rank] = s[:rank, None] * Vh[:rank]
        assert (Z.norm() ** 2).item() == pytest.approx(len(Z))
    value = reduction(optimum(sizes, ranks, n), 0.1)
    assert reduction(few, 0.1) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("sizes", "ranks", "n", "eps_sq"),
    [((6, 9), (2, 3), 6, 0.1), ((6, 6), (2, 2), 4, 1.2), ((3, 8), (5, 2), 7, 2.0)],
)
def test_ascent_reaches_the_optimum_and_never_exceeds_it(sizes, ranks, n, eps_sq):
    """Gradient ascent on factors of features of bounded rank, from several beginnings."""
    best, found = optimal_rate_reduction(sizes, ranks, eps_sq, n), []
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    for seed in range(6):
        factors = [
            (samples(m, d, seed=99 * j + seed), samples(d, n, seed=999 * j + seed))
            for j, (m, d) in enumerate(zip(sizes, ranks, strict=True))
        ]
        leaves = [factor.requires_grad_() for pair in factors for factor in pair]
        optimizer = torch.optim.LBFGS(leaves, max_iter=300, line_search_fn="strong_wolfe")

        def loss(factors=factors, optimizer=optimizer):
            optimizer.zero_grad()
            parts = [A @ B for A, B in factors]
            parts = [len(Z) ** 0.5 * Z / Z.norm() for Z in parts]
            value = -rate_reduction(torch.cat(parts), labels, eps_sq).delta
            value.backward()
            return value

        optimizer.step(loss)
        found.append(-loss().item())
    assert max(found) == pytest.approx(best, rel=1e-5)
    assert max(found) < best * (1 + 1e-9)


def test_the_optimum_takes_what_fits():
    assert optimal_rate_reduction([3, 4], [9, 2], 0.1, 20) == optimal_rate_reduction(
        [3, 4], [3, 2], 0.1, 20
    )
    assert optimal_rate_reduction([3, 4], [1, 2], 0.1) == optimal_rate_reduction(
        [3, 4], [1, 2], 0.1, 3
    )
    for arguments, message in (
        (([3, 4], [1], 0.1), "dims must be 2, one for each of the counts, got 1"),
        (([3, 4], [1, 2], 0.1, 2), "dim must be at least 3"),
        (([3, 0], [1, 2], 0.1), "counts must be"),
        (([3, 4], [1, 2], 0.0), "eps_sq must be a positive number"),
    ):
        with pytest.raises(ValueError, match=message):
            optimal_rate_reduction(*arguments)
