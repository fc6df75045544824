import doctest
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redunet import coding_rate
from redunet.coding import coding_length, length
from redunet.datasets import all_shifts
from tests.samples import samples

EPS_SQ = 0.3
LABELS = np.array([2, 0, 1, 1, 0, 2, 1, 1, 1, 0])


def of_vectors(X, eps_sq, *, center=False, weights=None):
    """The definition, with dense matrices; each sample may count for a part."""
    X = np.asarray(X)
    weights = np.ones(len(X)) if weights is None else weights
    m, D = weights.sum(), X.shape[1]
    if m == 0:
        return 0.0
    mean = weights @ X / m * center
    centred = X - mean
    moment = centred.T @ (weights[:, None] * centred)
    of_mean = D / 2 * math.log(1 + mean @ mean / eps_sq)
    return (m + D) / 2 * np.linalg.slogdet(np.eye(D) + D / (m * eps_sq) * moment)[1] + of_mean


def of_signals(X, eps_sq, *, center=False, weights=None):
    """The length of all shifts of all samples, as vectors, divided by the number of shifts."""
    shifts = all_shifts(X)
    F = shifts.shape[1]
    if weights is not None:
        weights = np.repeat(weights, F)
    dense = shifts.flatten(0, 1).flatten(1)
    return of_vectors(dense, F * eps_sq, center=center, weights=weights) / F


def of_segments(X, memberships, eps_sq, center):
    """The definition: the lengths of the segments and of the labels."""
    of_samples = of_signals if X.ndim > 2 else of_vectors
    counts = memberships.sum(0)
    lengths = [of_samples(X, eps_sq, center=center, weights=w) for w in memberships.T]
    of_labels = [-n * math.log(n / len(X)) for n in counts if n > 0]
    return sum(lengths) + sum(of_labels)


@given(
    st.integers(1, 12),
    st.integers(1, 9),
    st.booleans(),
    st.sampled_from([1e-4, 0.3, 20.0]),
)
def test_the_length_of_vectors_is_its_definition(m, D, center, eps_sq):
    X = samples(m, D) + 0.5
    expected = of_vectors(X, eps_sq, center=center)
    np.testing.assert_allclose(coding_length(X, eps_sq, center=center), expected, rtol=1e-11)


@given(st.integers(1, 5), st.integers(1, 3), st.lists(st.integers(1, 4), min_size=1, max_size=3))
def test_the_length_of_signals_is_that_of_dense_circulant_matrices(m, C, shape):
    """Block-circulant matrices hold all shifts of each sample in their columns."""
    X = samples(m, C, *shape) + 0.5
    for center in (False, True):
        expected = of_signals(X, EPS_SQ, center=center)
        np.testing.assert_allclose(coding_length(X, EPS_SQ, center=center), expected, rtol=1e-11)


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("shape", [(4,), (12,), (3, 5), (2, 3, 4)])
def test_the_length_of_a_segmentation_is_its_definition(shape, center):
    X = samples(10, *shape) + 0.5
    expected = of_segments(X, np.eye(3)[LABELS], EPS_SQ, center)
    for labels in (LABELS, np.array(["x", "y", "z"])[LABELS], np.eye(3)[LABELS]):
        found = coding_length(X, EPS_SQ, labels, center=center)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("shape", [(4,), (2, 3)])
def test_soft_memberships_count_samples_in_parts(shape, center):
    X = samples(10, *shape) + 0.5
    soft = np.random.default_rng(0).dirichlet([1, 1, 1], 10)
    soft[:4] = [[1, 0, 0], [0, 1, 0], [0, 0.5, 0.5], [0, 0, 1]]
    expected = of_segments(X, soft, EPS_SQ, center)
    np.testing.assert_allclose(coding_length(X, EPS_SQ, soft, center=center), expected, rtol=1e-12)


def test_an_empty_segment_has_no_length():
    X = samples(10, 4)
    soft = np.eye(4)[LABELS]
    expected = coding_length(X, EPS_SQ, LABELS)
    assert torch.isclose(coding_length(X, EPS_SQ, soft), expected, rtol=1e-14)


@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 3)])
def test_the_length_is_a_multiple_of_the_coding_rate(shape):
    X = samples(7, *shape)
    F = math.prod(shape[1:])
    expected = (7 + shape[0]) * F * coding_rate(X, EPS_SQ)
    np.testing.assert_allclose(coding_length(X, EPS_SQ), expected, rtol=1e-13)


@pytest.mark.parametrize("center", [False, True])
def test_signals_of_one_place_are_vectors(center):
    X = samples(10, 4) + 1
    for labels in (None, LABELS):
        expected = coding_length(X, EPS_SQ, labels, center=center)
        found = coding_length(X[:, :, None, None], EPS_SQ, labels, center=center)
        np.testing.assert_allclose(found, expected, rtol=1e-13)


@pytest.mark.parametrize("center", [False, True])
def test_shifts_of_single_samples_do_not_change_the_length(center):
    X = samples(10, 3, 4, 5) + 0.5
    shifted = torch.stack([x.roll((i, 2 * i), (1, 2)) for i, x in enumerate(X)])
    for labels in (None, LABELS):
        expected = coding_length(X, EPS_SQ, labels, center=center)
        found = coding_length(shifted, EPS_SQ, labels, center=center)
        np.testing.assert_allclose(found, expected, rtol=1e-13)


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("shape", [(3,), (2, 4)])
def test_gradients_are_those_of_finite_differences(shape, center):
    X = (samples(10, *shape) + 0.5).requires_grad_()
    soft = torch.softmax(samples(10, 3, seed=1), 1).requires_grad_()

    def of_softmax(X, logits):
        return coding_length(X, EPS_SQ, torch.softmax(logits, 1), center=center)

    assert torch.autograd.gradcheck(lambda X: coding_length(X, EPS_SQ, center=center), X)
    assert torch.autograd.gradcheck(lambda X: coding_length(X, EPS_SQ, LABELS, center=center), X)
    assert torch.autograd.gradcheck(of_softmax, (X, soft))


@pytest.mark.parametrize("center", [False, True])
def test_translation_adds_only_the_length_of_the_mean(center):
    X = samples(40, 3)
    X -= X.mean(0)
    offset = torch.tensor([3.0, -4.0, 0.0], dtype=torch.float64)
    added = coding_length(X + offset, EPS_SQ, center=center) - coding_length(X, EPS_SQ)
    of_mean = 3 / 2 * math.log(1 + 25 / EPS_SQ)
    assert torch.isclose(added, torch.tensor(of_mean, dtype=torch.float64)) == center


@pytest.mark.parametrize("D", [1, 2])
def test_the_first_part_of_the_length_counts_spheres(D):
    """The samples' part of the length is m times the logarithm of a ratio of volumes.

    Gaussian noise of variance ε²/D in each direction has the mean squared norm ε². The numerator
    is the volume of the ellipsoid {y : yᵀ S⁻¹ y ≤ D}, where S is the second moment of many samples
    with such noise. The denominator is the volume of the ball of radius ε. Both are numbers of
    points of a fine grid. L has the factor m + D, and its samples' part the factor m.
    """
    eps_sq, m = 0.5, 100_000
    X = samples(m, D) @ torch.tensor([[2.0, 0.0], [1.5, 0.7]], dtype=torch.float64)[:D, :D]
    noisy = X + samples(m, D, seed=1) * (eps_sq / D) ** 0.5
    axis = torch.linspace(-8, 8, 1601, dtype=torch.float64)
    grid = torch.cartesian_prod(*[axis] * D).reshape(-1, D)
    precision = torch.linalg.inv(noisy.T @ noisy / m)
    in_ellipsoid = ((grid @ precision * grid).sum(1) <= D).sum()
    in_ball = (grid.square().sum(1) <= eps_sq).sum()
    spheres = torch.log(in_ellipsoid / in_ball)
    np.testing.assert_allclose(coding_length(X, eps_sq) / (m + D), spheres, rtol=0.02)


def test_single_precision_and_other_devices(device):
    X, soft = samples(10, 3, 4), np.eye(3)[LABELS]
    expected = coding_length(X, EPS_SQ, soft, center=True)
    found = coding_length(X.to(device, torch.float32), EPS_SQ, soft, center=True)
    assert found.dtype == torch.float32
    assert found.device.type == device.type
    np.testing.assert_allclose(found.cpu(), expected, rtol=1e-5)


def test_errors_say_what_was_expected():
    X = samples(10, 4)
    with pytest.raises(ValueError, match="eps_sq must be a positive number, got 0"):
        coding_length(X, 0)
    with pytest.raises(ValueError, match=r"labels must have shape \(10,\)"):
        coding_length(X, EPS_SQ, [0, 1])
    with pytest.raises(ValueError, match="X must be finite"):
        coding_length(X.log(), EPS_SQ)


def test_examples_in_docstrings():
    found = doctest.testmod(length)
    assert found.attempted > 0
    assert found.failed == 0
