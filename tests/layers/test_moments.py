"""Operators and rates from each kind of second moments against their dense definitions."""

import math

import numpy as np
import pytest
import torch

from redunet._processes import Processes
from redunet.layers import DatasetInfo, Exact, SecondMoments, SummedMoments, TotalMoment
from redunet.layers.operators.moments import StoredSamples
from redunet.layers.operators.variational import (
    LATCHING_PASSES,
    Sketch,
    orthonormal_rows,
    random_sketch,
    rounded_cholesky,
)
from redunet.rates.coding_rates import spectral_rate_reduction
from redunet.rates.partition import Partition
from redunet.rates.spectrum import HalfSpectrum

EPS_SQ = 0.3


def setting(channels, shape, sizes, *, soft=False, seed=0):
    """Features ``(F, m, C)`` on the sphere, their partition and info."""
    generator = torch.Generator().manual_seed(seed)
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    m, spectrum = len(labels), HalfSpectrum(shape)
    if soft:
        labels = np.random.default_rng(seed).dirichlet(np.ones(len(sizes)), size=m)
    X = torch.randn(m, channels, *shape, generator=generator, dtype=torch.float64)
    V = spectrum(X / X.flatten(1).norm(dim=1).reshape(m, *[1] * (X.ndim - 1)))
    partition = Partition.from_labels(labels, m)
    return V, partition, info_of(partition, spectrum, V)


def info_of(partition, spectrum, V):
    return DatasetInfo.from_partition(partition, spectrum, V.shape[2], V.dtype, EPS_SQ, Processes())


def sketched(info, rows):
    return SecondMoments(info, Sketch(info, rows), TotalMoment(info))


def factors(moments):
    return moments.operators().compression.factors.data


KINDS = {
    "matrices": lambda info: SecondMoments(info, SummedMoments(info)),
    "samples": lambda info: SecondMoments(info, StoredSamples(info), TotalMoment(info)),
    "few samples": lambda info: SecondMoments(info, StoredSamples(info)),
    "sketch": lambda info: sketched(info, random_sketch(info, info.channels)),  # of full rank
}


def gather(moments, V, partition, batch=4):
    for start in range(0, V.shape[1], batch):
        run = slice(start, start + batch)
        moments.add(V[:, run], partition.batch(run))
    moments.finish()
    return moments


def dense_operators(V, partition, spectrum):
    """E and Cʲ by the formulas, on the unscaled spectrum."""
    _, m, C = V.shape
    U = V / spectrum.weights.sqrt()[:, None, None]
    eye = torch.eye(C, dtype=V.dtype)

    def operator(weights):
        alpha = C / (weights.sum().item() * EPS_SQ)
        moment = torch.einsum("m,fma,fmb->fab", weights.to(V.dtype), U, U.conj())
        return alpha * torch.linalg.inv(eye + alpha * moment)

    memberships = partition.membership.T
    return operator(torch.ones(m)), torch.stack([operator(pi) for pi in memberships], 1)


SETTINGS = [
    (6, (), [9, 5, 7]),
    (9, (), [2, 1, 4]),
    (3, (5,), [4, 6]),
    (7, (2, 3), [3, 1, 2]),
    (8, (4,), [2, 2]),
    (40, (), [5, 1, 6]),
    (20, (4,), [2, 3]),
]


@pytest.mark.parametrize(("channels", "shape", "sizes"), SETTINGS)
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_the_formula(channels, shape, sizes, soft, kind):
    V, partition, info = setting(channels, shape, sizes, soft=soft)
    if kind == "samples" and info.sizes.max() > channels:
        pytest.skip("members are only for classes of few samples")
    if kind == "few samples" and len(sizes) * info.sizes.max() > channels:
        pytest.skip("this kind is only for few samples")
    statistics = gather(KINDS[kind](info), V, partition)
    E, Cs = dense_operators(V, partition, info.spectrum)
    operators = statistics.operators()
    tight = {"rtol": 1e-8, "atol": 1e-8}
    torch.testing.assert_close(operators.matrices().expansion.data, E, **tight)
    torch.testing.assert_close(operators.matrices().compression.data, Cs, **tight)
    expected = spectral_rate_reduction(V, info.spectrum, partition, EPS_SQ)
    for found, rate in zip(statistics.rates(), expected, strict=True):
        torch.testing.assert_close(found, rate, **tight)


@pytest.mark.parametrize(("channels", "shape", "sizes"), SETTINGS)
def test_the_kind_that_is_less_work_is_taken(channels, shape, sizes):
    V, partition, info = setting(channels, shape, sizes)
    largest = max(sizes)
    if 2 * largest * len(sizes) < channels:
        description = f"rank {largest}, E of rank {largest * len(sizes)}"
    elif largest * (channels + largest) < channels**2:
        description = f"rank {largest}"
    else:
        description = "dense"
    moments = Exact().moments(info, None)
    assert gather(moments, V, partition).operators().description == description


@pytest.mark.parametrize("shape", [(), (4,)])
def test_atoms_are_exact_once_they_reach_the_rank_of_a_class(shape):
    V, partition, info = setting(12, shape, [3, 4, 2])
    atoms = gather(sketched(info, random_sketch(info, 4)), V, partition)
    _, Cs = dense_operators(V, partition, info.spectrum)
    torch.testing.assert_close(
        atoms.operators().matrices().compression.data, Cs, rtol=1e-7, atol=1e-7
    )
    expected = spectral_rate_reduction(V, info.spectrum, partition, EPS_SQ)
    torch.testing.assert_close(atoms.rates().delta, expected.delta, rtol=1e-7, atol=1e-7)


def decaying(m=60, channels=20, seed=0):
    """Two classes of vectors whose second moments have decaying eigenvalues."""
    generator = torch.Generator().manual_seed(seed)
    labels = np.arange(m) % 2
    X = torch.randn(m, channels, generator=generator, dtype=torch.float64)
    X *= 0.7 ** torch.arange(channels)
    for j in (0, 1):
        mixing = torch.randn(channels, channels, generator=generator, dtype=torch.float64)
        X[labels == j] = X[labels == j] @ torch.linalg.qr(mixing).Q
    V = (X / X.norm(dim=1, keepdim=True))[None]
    partition = Partition.from_labels(labels, m)
    return V, partition, info_of(partition, HalfSpectrum(), V)


def leading(V, partition, info, rank):
    """W_j*W_j of the leading eigenvectors, from an eigen-decomposition of each class's moment."""
    projections = []
    for j in range(2):
        Z = V[0, partition.membership[:, j] > 0]
        values, vectors = torch.linalg.eigh(Z.T @ Z)
        a, top = info.class_alphas[j] * values[-rank:], vectors[:, -rank:]
        projections.append((top * (a / (1 + a))) @ top.T)
    return torch.stack(projections)


def error(found, expected):
    return (found[0].mT @ found[0] - expected).norm().item()


def gap(V, partition, rank):
    """The ratio of eigenvalues on both sides of the rank, of the class where it is largest."""
    ratios = []
    for j in range(2):
        Z = V[0, partition.membership[:, j] > 0]
        values = torch.linalg.eigvalsh(Z.T @ Z).flip(0)
        ratios.append((values[rank] / values[rank - 1]).item())
    return max(ratios)


def iterate(V, partition, info, sketch, passes):
    """Factors after each of some subspace iterations."""
    found = []
    for _ in range(passes):
        found.append(factors(gather(sketched(info, sketch), V, partition)))
        sketch = orthonormal_rows(found[-1])
    return found


def test_latching_converges_to_the_leading_eigenvectors_as_fast_as_their_gap_says():
    V, partition, info = decaying()
    expected = leading(V, partition, info, 5)
    passes = iterate(V, partition, info, random_sketch(info, 5), 30)
    errors = np.array([error(each, expected) for each in passes])
    ratios = errors[1:] / errors[:-1]
    assert (ratios <= gap(V, partition, 5)).all()
    assert ratios[-1] > 0.98 * gap(V, partition, 5)
    assert errors[LATCHING_PASSES - 1] < 0.01 * errors[0]
    assert errors[-1] < 1e-9


def test_one_step_a_layer_follows_samples_that_move():
    V, partition, info = decaying()
    sketch = orthonormal_rows(iterate(V, partition, info, random_sketch(info, 5), 40)[-1])
    noise = torch.randn(V.shape, generator=torch.Generator().manual_seed(1), dtype=V.dtype)
    moved = V + 0.01 * noise
    moved /= moved.norm(dim=2, keepdim=True)
    expected = leading(moved, partition, info, 5)
    without = (leading(V, partition, info, 5) - expected).norm().item()
    (found,) = iterate(moved, partition, info, sketch, 1)
    assert error(found, expected) < gap(moved, partition, 5) * without


@pytest.mark.parametrize("rank", [1, 3, 8, 20])
def test_the_rate_reduction_of_atoms_is_never_overstated(rank):
    V, partition, info = decaying()
    true = spectral_rate_reduction(V, info.spectrum, partition, EPS_SQ)
    sketch = random_sketch(info, rank)
    for _ in range(3):
        atoms = gather(sketched(info, sketch), V, partition)
        found = atoms.rates()
        assert found.delta <= true.delta + 1e-9
        torch.testing.assert_close(found.expansion, true.expansion)
        sketch = orthonormal_rows(factors(atoms))
    if rank == 20:
        torch.testing.assert_close(found.delta, true.delta)


def test_sketches_stay_finite_where_a_class_has_few_dimensions():
    V, partition, info = decaying()
    V = V[:, :1].expand(-1, 60, -1)  # all samples the same
    atoms = gather(sketched(info, random_sketch(info, 6)), V, partition)
    rows = orthonormal_rows(factors(atoms))
    assert rows.isfinite().all()
    assert (torch.linalg.matrix_norm(rows, 2) < 1 + 1e-6).all()
    true = spectral_rate_reduction(V, info.spectrum, partition, EPS_SQ)
    torch.testing.assert_close(atoms.rates().delta, true.delta, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_orthonormal_rows_span_the_same_space(dtype):
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(2, 3, 4, 9, generator=generator, dtype=dtype)
    rows *= torch.logspace(0, -8, 4, dtype=torch.float64)[:, None]
    basis = orthonormal_rows(rows)
    identity = torch.eye(4, dtype=dtype).expand(2, 3, 4, 4)
    torch.testing.assert_close(basis @ basis.mH, identity, rtol=0, atol=1e-12)
    torch.testing.assert_close(rows @ basis.mH @ basis, rows, rtol=0, atol=1e-12)


def test_rounded_cholesky_of_singular_matrices():
    zero = torch.zeros(2, 3, 3, dtype=torch.float64)
    assert rounded_cholesky(zero).isfinite().all()
    ones = torch.ones(3, 3, dtype=torch.float64)
    factor = rounded_cholesky(ones)
    torch.testing.assert_close(factor @ factor.mT, ones, rtol=0, atol=1e-14)


def test_classes_without_samples_have_no_rate():
    V, partition, _ = setting(4, (), [5, 3])
    more = Partition.from_labels(
        partition.classes[partition.membership.argmax(1)], 8, classes=np.arange(4)
    )
    spectrum = HalfSpectrum()
    found = gather(KINDS["matrices"](info_of(more, spectrum, V)), V, more).rates()
    expected = spectral_rate_reduction(V, spectrum, partition, EPS_SQ)
    assert math.isclose(found.delta, expected.delta, rel_tol=1e-12)


def test_no_matrix_has_the_size_of_the_channels_if_samples_are_few():
    channels = 100_000  # a matrix of this size would take 80 GB
    V, partition, info = setting(channels, (), [3, 4])
    moments = gather(Exact().moments(info, None), V, partition)
    Z, scale = V[0], channels / EPS_SQ
    grams = [Z @ Z.T, *(Z[partition.membership[:, j] > 0] for j in (0, 1))]
    grams[1:] = [members @ members.T for members in grams[1:]]
    rates = [torch.logdet(torch.eye(len(g)) + scale / len(g) * g).item() / 2 for g in grams]
    assert math.isclose(moments.rates().expansion, rates[0], rel_tol=1e-9)
    assert math.isclose(moments.rates().compression, (3 * rates[1] + 4 * rates[2]) / 7)
    operators = moments.operators()
    gram = torch.eye(7) / scale * 7 + grams[0]
    expected = info.alpha * (Z - grams[0] @ torch.linalg.solve(gram, Z))
    torch.testing.assert_close(operators.expand(V)[0].data, expected, rtol=1e-8, atol=1e-12)
