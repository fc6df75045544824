import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redunet.coding import coding_length
from redunet.coding.increment import CodedClasses
from redunet.datasets import all_shifts
from redunet.rates import HalfSpectrum, Partition
from tests.samples import samples

LABELS = np.array([0] * 4 + [1] * 9 + [2] * 2)
EPS_SQ = torch.tensor([1e-3, 0.3, 20.0], dtype=torch.float64)
SHAPES = [(), (5,), (2, 3)]


def length(X, eps_sq, center):
    """The definition on all cyclic shifts as vectors, divided by their number F, with Fε²."""
    if len(X) == 0:
        return 0.0
    X = all_shifts(X) if X.ndim > 2 else X[:, None]
    F = X.shape[1]
    X = X.flatten(0, 1).flatten(1).numpy()
    m, D = X.shape
    mean = X.mean(0) * center
    covariance = (X - mean).T @ (X - mean) / m
    nats = (m + D) / 2 * np.linalg.slogdet(np.eye(D) + D / (F * eps_sq) * covariance)[1]
    return (nats + D / 2 * math.log1p(mean @ mean / (F * eps_sq))) / F


def increments(X, labels, new, eps_sq, center):
    """L(X_j ∪ {x}) − L(X_j) − log(m_j/m)."""
    classes = [X[torch.as_tensor(labels == j)] for j in np.unique(labels)]
    return np.array(
        [
            [
                length(torch.cat([own, x[None]]), eps_sq, center)
                - length(own, eps_sq, center)
                - math.log(len(own) / len(X))
                for own in classes
            ]
            for x in new
        ]
    )


def coded(X, labels, eps_sq=EPS_SQ, **options):
    spectrum = HalfSpectrum(X.shape[2:])
    partition = Partition.from_labels(labels, len(X))
    return spectrum, CodedClasses.from_samples(
        spectrum(X), partition, spectrum.weights, eps_sq, **options
    )


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 12])  # classes smaller and larger than the channels
@pytest.mark.parametrize("shape", SHAPES)
def test_increments_are_differences_of_lengths(shape, channels, center):
    X, new = samples(15, channels, *shape) + 2, samples(3, channels, *shape, seed=1) + 2
    spectrum, classes = coded(X, LABELS, center=center)
    table = classes.increments(spectrum(new))
    for i, eps_sq in enumerate(EPS_SQ):
        expected = increments(X, LABELS, new, eps_sq.item(), center)
        np.testing.assert_allclose(table[i], expected, rtol=1e-8, atol=1e-9)


@given(
    st.lists(st.integers(1, 7), min_size=2, max_size=4),
    st.integers(1, 5),
    st.lists(st.integers(1, 3), max_size=2),
    st.floats(1e-3, 10),
    st.booleans(),
)
def test_any_sizes(sizes, channels, shape, eps_sq, center):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    X, new = samples(len(labels), channels, *shape), samples(2, channels, *shape, seed=1)
    spectrum, classes = coded(X, labels, eps_sq, center=center)
    table = classes.increments(spectrum(new))
    expected = increments(X, labels, new, eps_sq, center)
    np.testing.assert_allclose(table, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 12])
@pytest.mark.parametrize("shape", SHAPES)
def test_held_out_increments_are_those_without_the_sample(shape, channels, center):
    X = samples(15, channels, *shape) + 2
    spectrum, classes = coded(X, LABELS, center=center, held_out=True)
    table = classes.held_out_increments(spectrum(X))
    for i, eps_sq in enumerate(EPS_SQ):
        for sample in range(15):
            others = np.arange(15) != sample
            new = X[sample : sample + 1]
            expected = increments(X[others], LABELS[others], new, eps_sq.item(), center)
            np.testing.assert_allclose(table[i, sample], expected[0], rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("channels", [3, 12])
def test_held_out_increments_of_degenerate_classes(channels, center):
    # Equal samples, samples at zero, and samples on a line.
    X = torch.cat([samples(1, channels).expand(4, -1), 0 * samples(3, channels)])
    X = torch.cat([X, samples(8, 1) * samples(1, channels, seed=1)])
    labels = np.repeat([0, 1, 2], [4, 3, 8])
    _, classes = coded(X, labels, center=center, held_out=True)
    table = classes.held_out_increments(X[None])
    for i, eps_sq in enumerate(EPS_SQ):
        for sample in range(15):
            others = np.arange(15) != sample
            new = X[sample : sample + 1]
            expected = increments(X[others], labels[others], new, eps_sq.item(), center)
            np.testing.assert_allclose(table[i, sample], expected[0], rtol=1e-6, atol=1e-6)


def test_a_sample_that_is_alone_cannot_be_left_out_of_its_class():
    X, labels = samples(4, 3), [0, 1, 1, 1]
    _, classes = coded(X, labels, 0.3, held_out=True)
    table = classes.held_out_increments(X[None])
    assert torch.isinf(table).nonzero().tolist() == [[0, 0]]


@pytest.mark.parametrize("shape", SHAPES)
def test_increments_are_differences_of_the_public_coding_length(shape):
    X, new = samples(15, 4, *shape), samples(1, 4, *shape, seed=1)
    spectrum, classes = coded(X, LABELS, 0.3, center=True)
    own = X[LABELS == 1]
    expected = coding_length(torch.cat([own, new]), 0.3, center=True)
    expected = expected - coding_length(own, 0.3, center=True) - math.log(9 / 15)
    torch.testing.assert_close(classes.increments(spectrum(new))[0, 1], expected)


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("channels", [3, 12])
def test_small_blocks_give_the_same(channels, center, monkeypatch):
    X, new = samples(15, channels, 9), samples(7, channels, 9, seed=1)
    spectrum, classes = coded(X, LABELS, center=center, held_out=True)
    whole = classes.increments(spectrum(new)), classes.held_out_increments(spectrum(X))
    monkeypatch.setattr("redunet.coding.increment.BLOCK_ENTRIES", 600)
    spectrum, classes = coded(X, LABELS, center=center, held_out=True)
    blocks = classes.increments(spectrum(new)), classes.held_out_increments(spectrum(X))
    torch.testing.assert_close(blocks, whole)


def test_another_precision_needs_no_new_decomposition():
    X, new = samples(15, 3, 4), samples(3, 3, 4, seed=1)
    spectrum, classes = coded(X, LABELS)
    table = classes.increments(spectrum(new))
    torch.testing.assert_close(classes.at(0.3).increments(spectrum(new)), table[1])


def test_a_class_without_samples_takes_none():
    X = samples(15, 3)
    partition = Partition.from_labels(LABELS, 15, classes=np.arange(4))
    classes = CodedClasses.from_samples(X[None], partition, torch.ones(1), 0.3)
    assert torch.isinf(classes.increments(X[None])[:, 3]).all()


def test_soft_memberships_are_an_error():
    X = samples(4, 3)
    partition = Partition.from_labels(np.full((4, 2), 0.5), 4)
    with pytest.raises(ValueError, match="one label for each sample"):
        CodedClasses.from_samples(X[None], partition, torch.ones(1), 0.3)


def gaussians():
    """Means, covariances and probabilities of three Gaussians, one of them degenerate."""
    factors = samples(3, 3, 3)
    factors[1, :, 1:] = 0
    return samples(3, 3, seed=1), factors @ factors.mT, factors, torch.tensor([0.2, 0.3, 0.5])


def limit(x, eps_sq):
    """−log N(x | μ, Σ + ε²/D I) − log π − D_ε(Σ)/2 − D/2 log(2πε²/D), ``(m, k)``."""
    means, covariances, _, priors = gaussians()
    D = x.shape[1]
    columns = []
    for mean, covariance, prior in zip(means, covariances, priors, strict=True):
        regularised = covariance + eps_sq / D * torch.eye(D)
        density = torch.distributions.MultivariateNormal(mean, regularised)
        dimension = torch.linalg.solve(regularised, covariance).trace()
        columns.append(-density.log_prob(x) - prior.log() - dimension / 2)
    return torch.stack(columns, 1) - D / 2 * math.log(2 * math.pi * eps_sq / D)


def test_increments_become_a_regularised_likelihood_with_the_effective_dimension():
    # Samples that have exactly these moments: μ ± √D times each column of a factor of Σ.
    means, _, factors, _ = gaussians()
    pairs = math.sqrt(3) * torch.cat([factors.mT, -factors.mT], 1) + means[:, None]  # (3, 6, 3)
    new, errors = samples(5, 3, seed=2), []
    for count in (10, 100, 1000, 10_000):
        X = torch.cat([x.repeat(n * count // 10, 1) for x, n in zip(pairs, (2, 3, 5), strict=True)])
        labels = np.repeat([0, 1, 2], [6 * n * count // 10 for n in (2, 3, 5)])
        _, classes = coded(X, labels, 0.3, center=True)
        errors.append((classes.increments(new[None]) - limit(new, 0.3)).abs().max().item())
    slopes = np.diff(np.log10(errors))
    np.testing.assert_allclose(slopes[1:], -1, atol=0.1)  # nothing is left but terms of 1/m


def test_the_error_with_random_samples_falls_with_the_root_of_their_number():
    means, _, factors, _ = gaussians()
    new, errors = samples(5, 3, seed=2), {}
    for count in (100, 100_000):
        of_seeds = []
        for seed in range(5):
            sizes = [2 * count // 10, 3 * count // 10, 5 * count // 10]
            labels = np.repeat([0, 1, 2], sizes)
            noise = samples(count, 3, seed=10 + seed)
            X = means[labels] + (factors[labels] @ noise.unsqueeze(2)).squeeze(2)
            _, classes = coded(X, labels, 0.3, center=True)
            error = classes.increments(new[None]) - limit(new, 0.3)
            of_seeds.append(error.square().mean())
        errors[count] = torch.stack(of_seeds).mean().sqrt().item()
    slope = math.log(errors[100_000] / errors[100]) / math.log(1000)
    assert -0.75 < slope < -0.3


def test_with_all_else_equal_the_class_of_higher_effective_dimension_is_preferred():
    # Two Gaussians of equal likelihood at zero. One is a line and one is a ball.
    eps_sq, count = 0.3, 10_000
    a, line = eps_sq / 3, 4.0
    ball = (a**2 * (line + a)) ** (1 / 3) - a
    directions = math.sqrt(3) * torch.cat([torch.eye(3), -torch.eye(3)]).double()
    X = torch.cat([directions[[0, 3]].repeat(3, 1) * (line / 3) ** 0.5, directions * ball**0.5])
    labels = np.tile(np.repeat([0, 1], 6), count)
    _, classes = coded(X.repeat(count, 1), labels, eps_sq, center=True)
    preference = classes.increments(torch.zeros(1, 1, 3)) @ torch.tensor([1.0, -1.0]).double()
    dimensions = line / (line + a), 3 * ball / (ball + a)
    assert dimensions[1] > 2 * dimensions[0]
    np.testing.assert_allclose(preference, (dimensions[1] - dimensions[0]) / 2, rtol=1e-3)


def test_runs_where_the_samples_are(device):
    X = samples(15, 3, 4)
    spectrum, here = coded(X, LABELS, center=True, held_out=True)
    V = spectrum(X)
    partition = Partition.from_labels(LABELS, 15, device=device)
    there = CodedClasses.from_samples(
        V.to(device), partition, spectrum.weights, EPS_SQ.to(device), center=True, held_out=True
    )
    for table in (there.increments(V.to(device)), there.held_out_increments(V.to(device))):
        assert table.device.type == device.type
    torch.testing.assert_close(
        there.held_out_increments(V.to(device)).cpu(), here.held_out_increments(V)
    )
