"""Operators from one dictionary: sums over samples, latching, and ascent."""

import numpy as np
import pytest
import torch

from redunet import SharedDictionary
from redunet._processes import Processes
from redunet.layers import DatasetInfo, SecondMoments, SummedMoments
from redunet.layers.operators import responses as module
from redunet.rates.dictionary import Approximation, SampleSums, ascended, curvatures
from redunet.rates.partition import Partition
from redunet.rates.spectrum import HalfSpectrum
from tests.samples import moments_of

EPS_SQ = 0.3
TIGHT = {"rtol": 0, "atol": 1e-10}


def setting(channels, shape, sizes, *, soft=False, seed=0):
    """Features ``(F, m, C)`` on the sphere, their partition and info."""
    generator = torch.Generator().manual_seed(seed)
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    if soft:
        labels = rng.dirichlet(np.ones(len(sizes)), size=len(labels))
    X = torch.randn(len(labels), channels, *shape, generator=generator, dtype=torch.float64)
    spectrum = HalfSpectrum(shape)
    V = spectrum(X / X.flatten(1).norm(dim=1).reshape(-1, *[1] * (X.ndim - 1)))
    partition = Partition.from_labels(labels, len(labels))
    eps_sq = EPS_SQ / spectrum.size
    info = DatasetInfo.from_partition(partition, spectrum, channels, V.dtype, eps_sq, Processes())
    return V, partition, info


def gathered(kind, V, partition, info, previous=None, batch=4):
    """Moments of a kind from batches of samples."""
    return moments_of(kind, info, V, partition, previous, batch)


def normalised_moments(V, partition, info):
    """N_j by the definition, (F, k, C, C)."""
    weights = partition.membership.to(V.dtype)
    moments = torch.einsum("mk,fma,fmb->fkab", weights, V, V.conj())
    scale = info.spectrum.size / (info.spectrum.weights[:, None] * info.counts)
    return moments * scale[:, :, None, None]


def dense(operators, info):
    """E and all Cʲ of a dictionary by inverses of dense matrices."""
    atoms, codes = (
        operators.compression.dictionary.data,
        operators.compression.codes.to(operators.compression.dictionary.dtype),
    )
    beta = info.channels / (info.spectrum.size * info.eps_sq)
    approximations = torch.einsum("fqa,fkq,fqb->fkab", atoms, codes, atoms.conj())
    together = torch.einsum("k,fkab->fab", info.proportions.to(codes.dtype), approximations)
    identity = torch.eye(info.channels, dtype=codes.dtype)
    E = info.alpha * torch.linalg.inv(identity + beta * together)
    Cs = torch.linalg.inv(identity + beta * approximations)
    return E, info.class_alphas[:, None, None] * Cs


SETTINGS = [(6, (), [9, 5, 7]), (9, (), [2, 1, 4]), (3, (5,), [4, 6]), (7, (2, 3), [3, 1, 2])]


@pytest.mark.parametrize(("channels", "shape", "sizes"), SETTINGS)
@pytest.mark.parametrize("soft", [False, True])
def test_operators_are_the_inverses_of_dense_matrices(channels, shape, sizes, soft):
    V, partition, info = setting(channels, shape, sizes, soft=soft)
    kind, operators = SharedDictionary(2 * len(sizes)), None
    for _ in range(3):
        operators = gathered(kind, V, partition, info, operators).operators()
        E, Cs = dense(operators, info)
        torch.testing.assert_close(operators.matrices().expansion.data, E, **TIGHT)
        torch.testing.assert_close(operators.matrices().compression.data, Cs, **TIGHT)
    assert operators.description == f"{2 * len(sizes)} atoms"


@pytest.mark.parametrize(("channels", "shape", "sizes"), SETTINGS)
@pytest.mark.parametrize("soft", [False, True])
def test_latching_with_enough_atoms_gives_the_exact_operators_and_rates(
    channels, shape, sizes, soft
):
    V, partition, info = setting(channels, shape, sizes, soft=soft)
    found = gathered(SharedDictionary(channels * len(sizes)), V, partition, info)
    exact = SecondMoments(info, SummedMoments(info))
    exact.add(V, partition)
    exact.finish()
    tight = {"rtol": 1e-8, "atol": 1e-8}
    torch.testing.assert_close(found.rates(), exact.rates(), **tight)
    expected = exact.operators().matrices()
    torch.testing.assert_close(found.operators().matrices(), expected, **tight)


@pytest.mark.parametrize("shape", [(), (4,)])
def test_latching_finds_leading_eigenvectors_and_eigenvalues(shape):
    V, partition, info = setting(8, shape, [30, 20])
    V = V * 0.3 ** torch.arange(8)  # eigenvalues that decay
    operators = gathered(SharedDictionary(4), V, partition, info).operators()
    values, vectors = torch.linalg.eigh(normalised_moments(V, partition, info))
    leading = values[:, :, -2:].flip(2)
    codes = operators.compression.codes.unflatten(2, (2, 2))
    torch.testing.assert_close(codes[:, 0, 0], leading[:, 0], rtol=1e-6, atol=0)
    torch.testing.assert_close(codes[:, 1, 1], leading[:, 1], rtol=1e-6, atol=0)
    assert not codes[:, 0, 1].any()
    assert not codes[:, 1, 0].any()
    directions = vectors[:, :, :, -2:].flip(3).mT.flatten(1, 2)
    overlaps = (operators.compression.dictionary * directions.conj()).sum(2).abs()
    torch.testing.assert_close(overlaps.data, torch.ones_like(overlaps), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("channels", "shape", "sizes"), SETTINGS)
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("block_bytes", [1, 2**24])
def test_the_next_layer_ascends_from_the_layer_before(
    channels, shape, sizes, soft, block_bytes, monkeypatch
):
    monkeypatch.setitem(module.BLOCK_BYTES, "cpu", block_bytes)
    V, partition, info = setting(channels, shape, sizes, soft=soft)
    kind = SharedDictionary(len(sizes), mu=3.0)
    first = gathered(kind, V, partition, info).operators()
    V = V.flip(1)  # the samples have moved
    atoms, codes = first.compression.dictionary.data, first.compression.codes
    moments, counts = normalised_moments(V, partition, info), info.counts
    sums = SampleSums(
        counts,
        torch.einsum("fqa,fkab,fqb->fkq", atoms.conj(), moments, atoms).real,
        torch.einsum("fkab,fqb,fkq->fqa", moments, atoms, (counts[:, None] * codes).to(V.dtype)),
    )
    beta = channels / (info.spectrum.size * info.eps_sq)
    before = Approximation(atoms, codes, info.proportions, beta)
    traces = moments.diagonal(dim1=2, dim2=3).real.sum(2)
    expected = ascended(before, sums, curvatures(before, counts, traces, 3.0), 3.0, 1.0)
    found = gathered(kind, V, partition, info, first).operators()
    torch.testing.assert_close(found.compression.dictionary.data, expected.atoms, **TIGHT)
    torch.testing.assert_close(found.compression.codes, expected.codes, **TIGHT)


@pytest.mark.parametrize("shape", [(), (5,)])
def test_the_rates_are_those_of_the_approximations(shape):
    V, partition, info = setting(6, shape, [8, 4])
    kind = SharedDictionary(6)
    first = gathered(kind, V, partition, info).operators()
    moments = gathered(kind, V.flip(1), partition, info, first)
    operators = moments.operators()
    weights, size = info.spectrum.weights, info.spectrum.size
    beta = 6 / (size * info.eps_sq)
    E, Cs = dense(operators, info)
    expansion = -(weights * torch.logdet(E / info.alpha).real).sum() / 2 / size
    logs = -torch.logdet(Cs / info.class_alphas[:, None, None]).real
    compression = (weights[:, None] * logs * info.proportions).sum() / 2 / size
    assert (
        logs <= torch.log1p(beta * operators.compression.codes).sum(2) + 1e-12
    ).all()  # Proposition 3.1
    rates = moments.rates()
    torch.testing.assert_close(rates.expansion, expansion)
    torch.testing.assert_close(rates.compression, compression)
    torch.testing.assert_close(rates.delta, expansion - compression)


def test_classes_without_samples_have_no_codes():
    V, partition, info = setting(5, (), [6, 4])
    more = Partition.from_labels(partition.membership.argmax(1), 10, classes=np.arange(3))
    info = DatasetInfo.from_partition(more, info.spectrum, 5, V.dtype, EPS_SQ, Processes())
    operators = None
    for _ in range(2):
        operators = gathered(SharedDictionary(6), V, more, info, operators).operators()
        assert not operators.compression.codes[:, 2].any()
        assert all(t.isfinite().all() for t in operators.state_dict().values())
