import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redunet.layers.operators.moments import add_class_moments_
from redunet.rates import HalfSpectrum, Partition
from redunet.rates.covariance import second_moment
from redunet.rates.spectrum import project_to_sphere
from redunet.search.leave_one_out import held_out_residuals
from tests.samples import samples

LABELS = torch.tensor([0] * 9 + [1] * 5 + [2] * 3)
EPS_SQ = torch.tensor([1e-6, 0.3], dtype=torch.float64)


def features(m, channels, shape, seed=0):
    spectrum = HalfSpectrum(shape)
    V = project_to_sphere(spectrum(samples(m, channels, *shape, seed=seed)))
    return V, Partition.from_labels(LABELS[:m], m), spectrum.weights


def by_brute_force(V, labels, weights, eps_sq, among=None):
    """Take every sample out of its class, and solve with the matrix of the others."""
    others = V if among is None else among
    channels, k = V.shape[2], int(labels.max()) + 1
    table = V.real.new_empty(len(eps_sq), V.shape[1], k)
    for e, precision in enumerate(eps_sq):
        for i in range(V.shape[1]):
            for j in range(k):
                own = labels == j
                a = channels / (own.sum() * precision) / weights
                moment = second_moment(others[:, own])
                if labels[i] == j:
                    v = V[:, i : i + 1]
                    moment = moment - second_moment(v)
                matrix = torch.eye(channels, dtype=V.dtype) + a[:, None, None] * moment
                solved = torch.linalg.solve(matrix, V[:, i].unsqueeze(2))
                table[e, i, j] = solved.abs().square().sum().sqrt()
    return table


def test_blocks_of_frequencies(monkeypatch):
    V, partition, weights = features(17, 7, (9,))
    whole = held_out_residuals(V, partition, weights, EPS_SQ)
    monkeypatch.setattr("redunet.search.leave_one_out.BLOCK_ENTRIES", 2 * 7 * 21)
    blocks = held_out_residuals(V, partition, weights, EPS_SQ)
    torch.testing.assert_close(blocks, whole)


@pytest.mark.parametrize("channels", [3, 5, 7, 12])  # classes smaller and larger than the channels
@pytest.mark.parametrize("shape", [(), (6,), (5,), (3, 4)])
def test_residuals_are_those_without_the_sample(shape, channels):
    V, partition, weights = features(17, channels, shape)
    table = held_out_residuals(V, partition, weights, EPS_SQ)
    expected = by_brute_force(V, LABELS, weights, EPS_SQ)
    torch.testing.assert_close(table, expected, rtol=1e-6, atol=1e-9)


@given(
    st.lists(st.integers(0, 2), min_size=2, max_size=12),
    st.integers(1, 6),
    st.sampled_from([(), (2,), (5,), (2, 3)]),
    st.floats(1e-3, 10),
)
def test_any_sizes(classes, channels, shape, eps_sq):
    labels = torch.tensor([0, 1, *classes])
    m, spectrum = len(labels), HalfSpectrum(shape)
    V = project_to_sphere(spectrum(samples(m, channels, *shape)))
    labels = torch.unique(labels, return_inverse=True)[1]
    precisions = torch.tensor([eps_sq], dtype=torch.float64)
    table = held_out_residuals(V, Partition.from_labels(labels, m), spectrum.weights, precisions)
    expected = by_brute_force(V, labels, spectrum.weights, precisions)
    torch.testing.assert_close(table, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("channels", [3, 12])
def test_samples_of_a_larger_set(channels):
    V, partition, weights = features(17, channels, (5,))
    some = torch.tensor([0, 1, 9, 14])
    moments = V.new_zeros(len(V), 3, channels, channels)
    add_class_moments_(moments, V, partition)
    table = held_out_residuals(
        V[:, some],
        Partition.from_labels(LABELS[some], 4),
        weights,
        EPS_SQ,
        moments=moments,
        counts=partition.counts,
    )
    expected = by_brute_force(V, LABELS, weights, EPS_SQ)[:, some]
    # On the side of the channels 1 − a q is a difference of close numbers.
    torch.testing.assert_close(table, expected, rtol=1e-4, atol=1e-7)


def test_single_precision_is_never_too_coarse():
    V, partition, weights = features(17, 12, (6,))
    V[:, 1] = V[:, 0]  # two equal samples
    V[:, 4] = 0
    exact = held_out_residuals(V, partition, weights, EPS_SQ)
    coarse = held_out_residuals(V.to(torch.complex64), partition, weights, EPS_SQ)
    assert coarse.dtype == torch.float32
    torch.testing.assert_close(coarse.double(), exact, rtol=1e-3, atol=1e-5)


def test_a_class_without_samples_explains_nothing():
    V, _, weights = features(17, 3, ())
    partition = Partition.from_labels(LABELS.numpy(), 17, classes=torch.arange(4).numpy())
    table = held_out_residuals(V, partition, weights, EPS_SQ)
    assert (table[:, :, 3] == 1).all()
