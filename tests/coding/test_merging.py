import itertools
import math
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from redunet.coding import coding_length
from redunet.coding import merging as merging_module
from redunet.coding.merging import Merging, merge
from redunet.rates import HalfSpectrum, Partition
from redunet.rates.covariance import PrecisionError
from tests.samples import samples


def merging(X, eps_sq, groups=None, **options):
    spectrum = HalfSpectrum(X.shape[2:])
    groups = np.arange(len(X)) if groups is None else groups
    partition = Partition.from_labels(groups, len(X), device=X.device, partial=True)
    return merge(spectrum.to(X.device)(X), partition, spectrum.weights, eps_sq, **options)


def brute_force(X, eps_sq, groups, center):
    """Merges and lengths, from the length of the whole segmentation after every possible merge."""

    @cache
    def segment(members):
        own = X[sorted(members)]
        label = -len(own) * math.log(len(own) / len(X))
        return float(coding_length(own, eps_sq, center=center)) + label

    clusters = {i: frozenset(np.flatnonzero(groups == g)) for i, g in enumerate(np.unique(groups))}
    k = len(clusters)
    pairs, lengths = [], [sum(map(segment, clusters.values()))]
    for new in range(k, 2 * k - 1):
        candidates = {}
        for a, b in itertools.combinations(sorted(clusters), 2):
            others = [c for i, c in clusters.items() if i not in (a, b)]
            candidates[a, b] = sum(map(segment, [*others, clusters[a] | clusters[b]]))
        best = min(candidates, key=candidates.get)
        clusters[new] = clusters.pop(best[0]) | clusters.pop(best[1])
        pairs.append(best)
        lengths.append(candidates[best])
    return np.array(pairs).reshape(-1, 2), lengths


def lines_and_planes(m, *shape, seed):
    """Samples near a few random subspaces, of various lengths."""
    rng = np.random.default_rng(seed)
    D = int(np.prod(shape))
    bases = rng.standard_normal((3, 2, D))
    kinds = rng.integers(3, size=m)
    coordinates = rng.standard_normal((m, 1, 2)) + 0.5
    X = (coordinates @ bases[kinds])[:, 0] + 0.1 * rng.standard_normal((m, D))
    return torch.from_numpy(X).reshape(m, *shape)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 1000),
    m=st.integers(1, 9),
    shape=st.sampled_from([(1,), (2,), (5,), (20,), (1, 4), (3, 3), (2, 2, 3)]),
    eps_sq=st.sampled_from([0.01, 0.3, 5.0]),
    center=st.booleans(),
)
def test_every_merge_is_the_best_one(seed, m, shape, eps_sq, center):
    X = lines_and_planes(m, *shape, seed=seed)
    found = merging(X, eps_sq, center=center)
    pairs, lengths = brute_force(X, eps_sq, np.arange(m), center)
    np.testing.assert_allclose(found.lengths, lengths, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(found.pairs, pairs)


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("shape", [(5,), (2, 3)])
def test_every_merge_of_twenty_samples_is_the_best_one(shape, center):
    X = lines_and_planes(20, *shape, seed=1)
    found = merging(X, 0.05, center=center)
    pairs, lengths = brute_force(X, 0.05, np.arange(20), center)
    np.testing.assert_allclose(found.lengths, lengths, rtol=1e-10)
    np.testing.assert_array_equal(found.pairs, pairs)


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("shape", [(2,), (5,), (30,), (3, 4), (2, 3, 3)])
def test_every_merge_of_groups_is_the_best_one(shape, center):
    X = lines_and_planes(30, *shape, seed=0)
    groups = np.random.default_rng(0).integers(8, size=30) ** 2
    found = merging(X, 0.3, groups, center=center)
    pairs, lengths = brute_force(X, 0.3, groups, center)
    np.testing.assert_allclose(found.lengths, lengths, rtol=1e-10)
    np.testing.assert_array_equal(found.pairs, pairs)


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("shape", [(4,), (2, 3)])
def test_lengths_are_those_of_the_labels(shape, center):
    X = lines_and_planes(60, *shape, seed=1)
    found = merging(X, 0.1, center=center)
    for merges in (0, 1, 40, 55, 58, 59):
        labels = found.labels(merges)
        assert labels.max() == 59 - merges
        expected = coding_length(X, 0.1, labels, center=center)
        np.testing.assert_allclose(found.lengths[merges], expected, rtol=1e-10)


@pytest.mark.parametrize("center", [False, True])
def test_the_size_of_blocks_does_not_matter(monkeypatch, center):
    X = lines_and_planes(24, 2, 5, seed=2)
    expected = merging(X, 0.1, center=center)
    monkeypatch.setattr(merging_module, "BLOCK_ENTRIES", 1)
    monkeypatch.setattr(merging_module, "BLOCK_CLUSTERS", 3)
    found = merging(X, 0.1, center=center)
    np.testing.assert_array_equal(found.pairs, expected.pairs)
    np.testing.assert_allclose(found.costs, expected.costs, rtol=1e-9)


def test_labels_follow_the_pairs():
    pairs = np.array([[1, 3], [0, 4], [2, 5]])
    found = Merging(pairs, np.zeros(3), np.zeros(4))
    assert [found.labels(t).tolist() for t in range(4)] == [
        [0, 1, 2, 3],
        [0, 2, 1, 2],
        [1, 1, 0, 1],
        [0, 0, 0, 0],
    ]


def test_one_cluster_needs_no_merge():
    X = samples(6, 3)
    found = merging(X, 0.1, np.zeros(6))
    assert found.pairs.shape == (0, 2)
    assert found.labels(0).tolist() == [0]
    np.testing.assert_allclose(found.lengths, [coding_length(X, 0.1)])


def test_samples_far_from_the_origin_keep_their_precision():
    X = lines_and_planes(15, 4, seed=0) + 1000
    found = merging(X, 0.3, center=True)
    pairs, lengths = brute_force(X, 0.3, np.arange(15), True)
    np.testing.assert_array_equal(found.pairs, pairs)
    np.testing.assert_allclose(found.lengths, lengths, rtol=1e-8)


def test_single_precision_samples_are_merged_in_double_precision(device):
    X = lines_and_planes(30, 2, 4, seed=3).float()
    expected = merging(X.double(), 0.1)
    found = merging(X.to(device), 0.1)
    np.testing.assert_array_equal(found.pairs, expected.pairs)
    np.testing.assert_allclose(found.lengths, expected.lengths, rtol=1e-5)


def test_too_small_a_precision_is_an_error():
    with pytest.raises(PrecisionError, match=r"eps_sq must be at least 1e-08 for these samples"):
        merging(torch.full((3, 10), 10.0), 1e-12)
