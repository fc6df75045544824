import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge as Expected

from redunet.search.regression import Ridge, Sums
from tests.samples import samples

DOUBLE = torch.float64


def problem(m, channels, k=3, seed=0):
    return samples(m, channels, seed=seed) + 0.3, samples(m, k, seed=seed + 1).softmax(1)


def both_sides(Z, Y):
    return [Ridge.of_samples(Z, Y, DOUBLE), Ridge.of_sums(Sums.of(Z, Y), Z, Y, DOUBLE)]


def standardised(Z):
    Z = (Z - Z.mean(0)) / Z.std(0, correction=0)
    return Z / Z.shape[1] ** 0.5


def by_brute_force(Z, Y, lam):
    """Solve the regression with an intercept without each sample, and predict the sample."""
    found = torch.empty_like(Y)
    for i in range(len(Y)):
        rest = torch.arange(len(Y)) != i
        model = Expected(lam, solver="cholesky").fit(Z[rest], Y[rest])
        found[i] = torch.from_numpy(model.predict(Z[i : i + 1]))[0]
    return found


@given(st.integers(3, 14), st.integers(1, 20), st.floats(0.01, 10))
def test_held_out_predictions_are_those_of_the_others(m, channels, lam):
    Z, Y = problem(m, channels)
    expected = by_brute_force(standardised(Z), Y, lam)
    for ridge in both_sides(Z, Y):
        found = ridge.held_out(torch.tensor(1 / lam, dtype=DOUBLE))
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_nearly_no_penalty_and_fewer_samples_than_channels():
    """The regression nearly reproduces the targets: residuals are far below rounding of them."""
    Z, Y = problem(8, 40)
    expected = by_brute_force(standardised(Z), Y, 1e-7)
    for ridge in both_sides(Z, Y):
        found = ridge.held_out(torch.tensor(1e7, dtype=DOUBLE))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("m", "channels"), [(5, 12), (20, 6), (7, 7)])
def test_both_sides_have_the_solution_of_scikit_learn(m, channels):
    Z, Y = problem(m, channels)
    model = Expected(0.3).fit(standardised(Z), Y)
    for ridge in both_sides(Z, Y):
        weights = ridge.weights(torch.tensor(1 / 0.3, dtype=DOUBLE))
        torch.testing.assert_close(
            (Z - ridge.mean) @ weights + ridge.mean_target,
            torch.from_numpy(model.predict(standardised(Z))),
        )


def test_samples_of_a_larger_set_are_left_out_of_all_others():
    Z, Y = problem(30, 6)
    some = torch.tensor([3, 8, 21])
    alpha = torch.tensor(2.0, dtype=DOUBLE)
    whole, part = (Ridge.of_sums(Sums.of(Z, Y), Z[s], Y[s], DOUBLE) for s in (slice(30), some))
    torch.testing.assert_close(part.held_out(alpha), whole.held_out(alpha)[some])


def test_sums_add_up_over_batches():
    Z, Y = problem(30, 4)
    Z = Z + 1e4  # deviations are far smaller than the mean
    whole = Sums.of(Z, Y)
    parts = [Sums.of(Z[run], Y[run]) for run in (slice(7), slice(7, 8), slice(8, 30))]
    nothing = Sums.of(Z[:0], Y[:0])
    for found, expected in zip(
        nothing + parts[0] + parts[1] + nothing + parts[2], whole, strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
