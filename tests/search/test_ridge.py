import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from redunet.search.ridge import OfChannels, OfSamples, Sums
from tests.samples import samples


def problem(m, channels, k=3, seed=0):
    Z, Y = samples(m, channels, seed=seed), samples(m, k, seed=seed + 1).softmax(1)
    return Z, Y, samples(m, seed=seed + 2).exp()


def penalty(value):
    return torch.tensor(value, dtype=torch.float64)


def of_channels(Z, Y, weights):
    sums, gain = Sums.of(Z, Y, weights), torch.ones(Z.shape[1], dtype=Z.dtype)
    return OfChannels(sums, gain, Z - sums.mean, Y, weights)


def scale_of(kernel, weights):
    """Mean on the diagonal of a kernel that is centred by weighted means."""
    share = weights / weights.sum()
    means = kernel @ share
    return share @ (kernel.diagonal() - 2 * means) + means @ share


def by_brute_force(features, Y, weights, lam):
    """Solve the regression with an intercept without each sample, and predict the sample."""
    model = Ridge(lam, solver="cholesky")
    found = torch.empty_like(Y)
    for i in range(len(Y)):
        rest = torch.arange(len(Y)) != i
        model.fit(features[rest], Y[rest], sample_weight=weights[rest].numpy())
        found[i] = torch.from_numpy(model.predict(features[i : i + 1]))[0]
    return found


@given(st.integers(3, 14), st.integers(1, 9), st.floats(0.01, 10))
def test_held_out_predictions_are_those_of_the_others(m, channels, lam):
    Z, Y, weights = problem(m, channels)
    of_samples = OfSamples(Z @ Z.mT, Y, weights)
    scale = scale_of(Z @ Z.mT, weights)
    expected = by_brute_force(Z, Y, weights, lam)
    found = of_samples.held_out(penalty(lam) / scale)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    found = of_channels(Z, Y, weights).held_out(penalty(lam))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@given(st.integers(3, 14), st.integers(1, 4), st.floats(0.01, 10))
def test_held_out_predictions_of_degree_2(m, channels, lam):
    Z, Y, weights = problem(m, channels)
    products = (Z[:, :, None] * Z[:, None]).flatten(1)
    monomials = torch.cat([2**0.5 * Z, products], 1)  # without the constant
    kernel = (1 + Z @ Z.mT).square()
    found = OfSamples(kernel, Y, weights).held_out(penalty(lam) / scale_of(kernel, weights))
    expected = by_brute_force(monomials, Y, weights, lam)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_nearly_no_penalty_and_fewer_samples_than_channels():
    """The regression nearly reproduces the targets: residuals are far below rounding of them."""
    Z, Y, weights = problem(8, 40)
    scale = scale_of(Z @ Z.mT, weights)
    found = OfSamples(Z @ Z.mT, Y, weights).held_out(penalty(1e-9))
    expected = OfSamples(Z @ Z.mT, Y, weights).held_out(penalty(1e-13))
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(
        found, by_brute_force(Z, Y, weights, 1e-9 * float(scale)), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize(("m", "channels"), [(5, 12), (20, 6), (7, 7)])
def test_both_sides_have_the_solution_of_scikit_learn(m, channels):
    Z, Y, weights = problem(m, channels)
    model = Ridge(0.3).fit(Z, Y, sample_weight=weights.numpy())
    of_samples, offset = OfSamples(Z @ Z.mT, Y, weights).solution(
        penalty(0.3) / scale_of(Z @ Z.mT, weights)
    )
    torch.testing.assert_close(Z.mT @ of_samples, torch.from_numpy(model.coef_).T)
    torch.testing.assert_close(offset, torch.from_numpy(model.intercept_))
    coefficients, mean_target = of_channels(Z, Y, weights).solution(penalty(0.3))
    torch.testing.assert_close(coefficients, torch.from_numpy(model.coef_).T)
    mean = weights @ Z / weights.sum()
    torch.testing.assert_close(mean_target - mean @ coefficients, offset)


def test_sums_add_up_over_batches():
    Z, Y, weights = problem(30, 4)
    Z = Z + 1e4  # deviations are far smaller than the mean
    whole = Sums.of(Z, Y, weights)
    parts = [Sums.of(Z[run], Y[run], weights[run]) for run in (slice(7), slice(7, 8), slice(8, 30))]
    nothing = Sums.of(Z[:0], Y[:0], weights[:0])
    for found, expected in zip(
        nothing + parts[0] + parts[1] + nothing + parts[2], whole, strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
