from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from redunet import rate_reduction
from redunet.rates import pairs
from redunet.rates.pairs import pairwise_rate_reduction
from tests.samples import samples, unit_samples

EPS_SQ = 0.3


def pair_by_pair(Z, labels, eps_sq=EPS_SQ):
    """The rate reduction of the samples of two classes, for each pair."""
    classes = np.unique(labels)
    matrix = torch.zeros(len(classes), len(classes), dtype=Z.dtype)
    for i, j in combinations(range(len(classes)), 2):
        rows = np.isin(labels, classes[[i, j]])
        delta = rate_reduction(Z[rows], labels[rows], eps_sq).delta
        matrix[i, j] = matrix[j, i] = delta
    return matrix


@settings(max_examples=30)
@given(
    st.lists(st.integers(1, 12), min_size=2, max_size=5),
    st.integers(1, 9),
    st.lists(st.integers(1, 4), min_size=0, max_size=2),
)
def test_each_entry_is_the_rate_reduction_of_two_classes(sizes, channels, shape):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    labels = np.random.default_rng(0).permutation(labels)
    Z = samples(len(labels), channels, *shape)
    torch.testing.assert_close(pairwise_rate_reduction(Z, labels, EPS_SQ), pair_by_pair(Z, labels))


@pytest.mark.parametrize("entries", [1, 40, 2**24])
def test_the_size_of_a_chunk_does_not_matter(entries, monkeypatch):
    labels = np.repeat(["a", "b", "c", "d"], [2, 3, 2, 9])  # both sides of six channels
    Z = samples(16, 6, 3)
    monkeypatch.setattr(pairs, "ENTRIES", entries)
    torch.testing.assert_close(pairwise_rate_reduction(Z, labels, EPS_SQ), pair_by_pair(Z, labels))


def test_soft_memberships():
    soft = np.random.default_rng(0).dirichlet([0.3] * 3, size=12)
    soft[:4, 0] = 0
    soft[:4] /= soft[:4].sum(1, keepdims=True)
    Z = samples(12, 5)

    def rate(weights):
        moment = (Z.numpy().T * weights) @ Z.numpy()
        scale = 5 / (weights.sum() * EPS_SQ)
        return np.linalg.slogdet(np.eye(5) + scale * moment)[1] / 2

    expected = np.zeros((3, 3))
    for i, j in combinations(range(3), 2):
        a, b = soft[:, i], soft[:, j]
        share = a.sum() / (a.sum() + b.sum())
        expected[i, j] = rate(a + b) - share * rate(a) - (1 - share) * rate(b)
    found = pairwise_rate_reduction(Z, soft, EPS_SQ).numpy()
    np.testing.assert_allclose(found, expected + expected.T, rtol=1e-12)


def test_the_paper_for_classes_of_equal_size():
    Z, labels = unit_samples(20, 6), np.arange(20) % 2
    alpha = 6 / (20 * EPS_SQ)

    def rate(rows, scale):
        return torch.logdet(torch.eye(6, dtype=Z.dtype) + scale * rows.T @ rows) / 2

    mean = (rate(Z[labels == 0], 2 * alpha) + rate(Z[labels == 1], 2 * alpha)) / 2
    delta = pairwise_rate_reduction(Z, labels, EPS_SQ)
    torch.testing.assert_close(delta[0, 1], rate(Z, alpha) - mean)
    torch.testing.assert_close(delta[0, 1], rate_reduction(Z, labels, EPS_SQ).delta)


def test_classes_of_equal_moments_have_no_distance_and_orthogonal_ones_the_largest():
    Z = unit_samples(8, 3)
    zeros = torch.zeros_like(Z)
    Z = torch.cat([torch.cat(halves, 1) for halves in ((Z, zeros), (-Z, zeros), (zeros, Z))])
    turned = torch.linalg.qr(samples(6, 6))[0]
    labels = np.repeat([0, 1, 2], 8)
    delta = pairwise_rate_reduction(Z, labels, EPS_SQ)
    assert abs(delta[0, 1].item()) < 1e-12
    # Lemma 11 holds with equality, and both classes have the same determinants.
    moment, alpha = Z[:8].T @ Z[:8], 6 / (8 * EPS_SQ)
    identity = torch.eye(6, dtype=Z.dtype)
    half, whole = (torch.logdet(identity + s * alpha * moment) for s in (0.5, 1.0))
    torch.testing.assert_close(delta[0, 2], half - whole / 2)
    torch.testing.assert_close(pairwise_rate_reduction(Z @ turned, labels, EPS_SQ), delta)


@pytest.mark.parametrize("shape", [(4,), (3, 4)])
def test_gradients(shape):
    labels = [0, 0, 1, 1, 1, 2, 2, 2, 2]  # pairs on both sides of four channels
    Z = samples(9, *shape).requires_grad_()
    assert torch.autograd.gradcheck(lambda Z: pairwise_rate_reduction(Z, labels, EPS_SQ), Z)


def test_float32_follows_float64():
    Z, labels = samples(60, 8, 5, 5), np.arange(60) % 4
    single = pairwise_rate_reduction(Z.float(), labels, EPS_SQ)
    assert single.dtype == torch.float32
    double = pairwise_rate_reduction(Z, labels, EPS_SQ)
    torch.testing.assert_close(single.double(), double, rtol=1e-3, atol=1e-4)


def test_invalid_input():
    Z = samples(4, 3)
    with pytest.raises(ValueError, match="eps_sq must be a positive number, got 0"):
        pairwise_rate_reduction(Z, [0, 0, 1, 1], 0)
    with pytest.raises(ValueError, match="at least two classes are needed"):
        pairwise_rate_reduction(Z, [0] * 4, EPS_SQ)


def test_runs_where_the_samples_are(device):
    Z, labels = samples(20, 3, 4, 4), np.arange(20) % 3
    here = pairwise_rate_reduction(Z.to(device), labels, EPS_SQ)
    assert here.device.type == device.type
    torch.testing.assert_close(here.cpu(), pairwise_rate_reduction(Z, labels, EPS_SQ))


@pytest.mark.parametrize("channels", [3, 20])
def test_pairs_with_a_class_without_members_are_zero(channels):
    Z, labels = samples(14, channels).requires_grad_(), np.array([1, 1, 3, 3, 3, 1, 4] * 2)
    Pi = torch.eye(6, dtype=Z.dtype)[labels]
    found = pairwise_rate_reduction(Z, Pi, EPS_SQ)
    present = np.ix_([1, 3, 4], [1, 3, 4])
    torch.testing.assert_close(found[present], pairwise_rate_reduction(Z, labels, EPS_SQ))
    assert not found[[0, 2, 5]].any()
    assert not found[:, [0, 2, 5]].any()
    assert torch.autograd.grad(found.sum(), Z)[0].isfinite().all()
