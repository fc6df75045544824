import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redunet.coding.local import local_increments, squared_distances
from redunet.datasets import all_shifts
from redunet.rates import HalfSpectrum, Partition
from tests.coding.test_increment import EPS_SQ, LABELS, SHAPES, length
from tests.samples import samples


def distances_to_shifts(new, X):
    """Distances of samples to the nearest shifts of others."""
    X = all_shifts(X).flatten(2) if X.ndim > 2 else X[:, None]
    return torch.cdist(new.flatten(1), X.flatten(0, 1)).unflatten(1, X.shape[:2]).amin(2)


def by_loop(new, X, labels, k, eps_sq, center, *, held_out=False):
    distances = distances_to_shifts(new, X)
    table = np.full((len(new), labels.max() + 1), math.inf)
    for i, x in enumerate(new):
        for j in range(labels.max() + 1):
            others = [n for n in np.flatnonzero(labels == j) if not (held_out and n == i)]
            share = len(others) / (len(X) - held_out)
            nearest = sorted(others, key=lambda n: distances[i, n])[:k]
            if nearest:
                own = X[nearest]
                grown = length(torch.cat([own, x[None]]), eps_sq, center)
                table[i, j] = grown - length(own, eps_sq, center) - math.log(share)
    return table


def local(new, X, labels, k, eps_sq, center, **options):
    spectrum = HalfSpectrum(X.shape[2:])
    partition = Partition.from_labels(labels, len(X))
    return local_increments(
        spectrum(new),
        spectrum(X),
        partition,
        spectrum,
        eps_sq,
        n_neighbors=k,
        center=center,
        **options,
    )


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("k", [1, 3, 6])  # neighbours fewer and more than the channels, and all
@pytest.mark.parametrize("shape", SHAPES)
def test_increments_with_neighbours_are_those_of_a_loop(shape, k, center):
    X, new = samples(15, 4, *shape) + 1, samples(3, 4, *shape, seed=1) + 1
    table = local(new, X, LABELS, k, EPS_SQ, center)
    for i, eps_sq in enumerate(EPS_SQ):
        expected = by_loop(new, X, LABELS, k, eps_sq.item(), center)
        np.testing.assert_allclose(table[i], expected, rtol=1e-8, atol=1e-9)


@given(
    st.lists(st.integers(1, 7), min_size=2, max_size=4),
    st.integers(1, 5),
    st.lists(st.integers(1, 3), max_size=2),
    st.integers(1, 8),
    st.booleans(),
)
def test_samples_are_not_their_own_neighbours(sizes, channels, shape, k, center):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    X = samples(len(labels), channels, *shape)
    table = local(X, X, labels, k, 0.3, center, held_out=True)
    expected = by_loop(X, X, labels, k, 0.3, center, held_out=True)
    np.testing.assert_allclose(table, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("shape", [(), (5,), (4,), (2, 3)])
def test_distances_are_those_to_the_nearest_shifts(shape):
    X, new = samples(6, 2, *shape), samples(4, 2, *shape, seed=1)
    spectrum = HalfSpectrum(shape)
    squares = squared_distances(spectrum(new), spectrum(X), spectrum)
    torch.testing.assert_close(squares, distances_to_shifts(new, X).square())


def test_distances_far_from_the_origin():
    X = samples(40, 2) + 1e6
    new = samples(5, 2, seed=1) + 1e6
    spectrum = HalfSpectrum(())
    squares = squared_distances(spectrum(new), spectrum(X), spectrum)
    torch.testing.assert_close(squares, torch.cdist(new - 1e6, X - 1e6).square())


def test_small_blocks_give_the_same(monkeypatch):
    X, new = samples(15, 3, 4), samples(7, 3, 4, seed=1)
    whole = local(new, X, LABELS, 3, EPS_SQ, center=True)
    own = local(X, X, LABELS, 3, EPS_SQ, center=True, held_out=True)
    monkeypatch.setattr("redunet.coding.increment.BLOCK_ENTRIES", 600)
    torch.testing.assert_close(local(new, X, LABELS, 3, EPS_SQ, center=True), whole)
    again = local(X, X, LABELS, 3, EPS_SQ, center=True, held_out=True)
    torch.testing.assert_close(again, own)
