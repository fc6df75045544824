import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge as Expected

from redunet._processes import Processes
from redunet.rates.decomposition import decompose
from redunet.search.regression import Ridge, Sums
from tests.samples import samples

DOUBLE = torch.float64


def problem(m, channels, k=3, *, weighted=True):
    """Samples, soft targets times the weights of samples, and these weights."""
    weights = samples(m, 1, seed=2).exp() if weighted else torch.ones(m, 1, dtype=DOUBLE)
    return samples(m, channels) + 0.3, weights * samples(m, k, seed=1).softmax(1), weights[:, 0]


def of_batches(Z, of_classes, size=7):
    parts = zip(Z.split(size), of_classes.split(size), strict=True)
    return Sums.of_batches(parts, Z[:3].mean(0), of_classes.shape[1], Processes())


def both_sides(Z, of_classes):
    sums = (Sums.of(Z, of_classes), of_batches(Z, of_classes))
    return [Ridge.of(Z, of_classes, each, DOUBLE) for each in sums]


def standardised(Z, weights):
    deviations = Z - weights @ Z / weights.sum()
    variance = weights @ deviations.square() / weights.sum()
    return deviations / (Z.shape[1] * variance).sqrt()


def solved(Z, of_classes, weights, lam):
    Y = of_classes / weights[:, None]
    return Expected(lam, solver="cholesky").fit(Z, Y, sample_weight=weights)


def by_brute_force(Z, of_classes, weights, lam):
    """Solve the regression with an intercept without each sample, and predict the sample."""
    Z, found = standardised(Z, weights), torch.empty_like(of_classes)
    for i in range(len(Z)):
        rest = torch.arange(len(Z)) != i
        model = solved(Z[rest], of_classes[rest], weights[rest], lam)
        found[i] = torch.from_numpy(model.predict(Z[i : i + 1]))[0]
    return found


@settings(max_examples=30)
@given(st.integers(3, 14), st.integers(1, 20), st.floats(0.01, 10), st.booleans())
def test_held_out_predictions_are_those_of_the_others(m, channels, lam, weighted):
    Z, of_classes, weights = problem(m, channels, weighted=weighted)
    expected = by_brute_force(Z, of_classes, weights, lam)
    for ridge in both_sides(Z, of_classes):
        found = ridge.held_out(torch.tensor([1e3, 1 / lam], dtype=DOUBLE))[1]
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_nearly_no_penalty_and_fewer_samples_than_channels():
    """The regression nearly reproduces the targets: residuals are far below rounding of them."""
    Z, of_classes, weights = problem(8, 40)
    expected = by_brute_force(Z, of_classes, weights, 1e-7)
    for ridge in both_sides(Z, of_classes):
        (found,) = ridge.held_out(torch.tensor([1e7], dtype=DOUBLE))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("m", "channels"), [(5, 12), (20, 6), (7, 7)])
def test_both_sides_have_the_solution_of_scikit_learn(m, channels):
    Z, of_classes, weights = problem(m, channels)
    standard, sums = standardised(Z, weights), Sums.of(Z, of_classes)
    expected = solved(standard, of_classes, weights, 0.3).predict(standard)
    for ridge in both_sides(Z, of_classes):
        found = (Z - sums.mean) @ ridge.weights(torch.tensor(1 / 0.3, dtype=DOUBLE))
        torch.testing.assert_close(found + sums.mean_target, torch.from_numpy(expected))


def test_samples_of_a_larger_set_are_left_out_of_all_others():
    Z, of_classes, _ = problem(30, 6)
    some, sums = torch.tensor([3, 8, 21]), of_batches(Z, of_classes)
    alphas = torch.tensor([0.1, 2.0], dtype=DOUBLE)
    whole, part = (Ridge.of(Z[s], of_classes[s], sums, DOUBLE) for s in (slice(30), some))
    torch.testing.assert_close(part.held_out(alphas), whole.held_out(alphas)[:, some])


def test_sums_add_up_over_batches():
    Z, of_classes, _ = problem(30, 4)
    Z = Z + 1e4  # deviations are far smaller than the mean
    whole, batched = Sums.of(Z, of_classes), of_batches(Z, of_classes)
    deviations = Z - whole.mean
    moment = (deviations * of_classes.sum(1, keepdim=True)).mT @ deviations
    for found, expected in zip(batched, whole._replace(moment=moment), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_repeated_samples_have_no_directions_of_rounding():
    Z, _, _ = problem(4, 30)
    Z = (Z - Z.mean(0)).repeat(3, 1)
    constant = torch.full((1, 12), 12**-0.5, dtype=DOUBLE)
    parts = decompose(Z[None, None], constant=constant, with_shares=True)
    assert parts.values.count_nonzero() == 3
    lengths = torch.linalg.vector_norm(parts.directions, dim=2).flatten().sort().values
    torch.testing.assert_close(lengths, torch.tensor([0.0] * 9 + [1.0] * 3, dtype=DOUBLE))
