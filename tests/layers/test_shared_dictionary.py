"""Operators from one dictionary: sums over samples, latching, and networks that use them."""

import numpy as np
import pytest
import torch

from redunet import ReduNet, SharedDictionary, datasets, export, finetune
from redunet._processes import Processes
from redunet.inspection.summary import description
from redunet.layers import DatasetInfo, SharedDictionaryOperators
from redunet.layers.operators import base
from redunet.layers.operators.approximation import Approximation, SampleSums, ascended
from redunet.layers.operators.exact import ClassMoments
from redunet.rates.partition import Partition
from redunet.rates.spectrum import HalfSpectrum

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


def gathered(kind, V, partition, info, previous=None, depth=0, batch=4):
    """Moments of a kind from batches of samples."""

    def collect(moments):
        for start in range(0, V.shape[1], batch):
            run = slice(start, start + batch)
            moments.add(V[:, run], partition.batch(run))
        moments.finish()

    return kind.gather(info, collect, previous, depth)


def normalised_moments(V, partition, info):
    """N_j by the definition, (F, k, C, C)."""
    weights = partition.membership.to(V.dtype)
    moments = torch.einsum("mk,fma,fmb->fkab", weights, V, V.conj())
    scale = info.spectrum.size / (info.spectrum.weights[:, None] * info.counts)
    return moments * scale[:, :, None, None]


def dense(operators, info):
    """E and all Cʲ of a dictionary by inverses of dense matrices."""
    atoms, codes = operators.dictionary.data, operators.codes.to(operators.dictionary.dtype)
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
    for depth in range(3):
        operators = gathered(kind, V, partition, info, operators, depth).operators()
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
    exact = ClassMoments(info)
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
    codes = operators.codes.unflatten(2, (2, 2))
    torch.testing.assert_close(codes[:, 0, 0], leading[:, 0], rtol=1e-6, atol=0)
    torch.testing.assert_close(codes[:, 1, 1], leading[:, 1], rtol=1e-6, atol=0)
    assert not codes[:, 0, 1].any()
    assert not codes[:, 1, 0].any()
    directions = vectors[:, :, :, -2:].flip(3).mT.flatten(1, 2)
    overlaps = (operators.dictionary * directions.conj()).sum(2).abs()
    torch.testing.assert_close(overlaps.data, torch.ones_like(overlaps), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("channels", "shape", "sizes"), SETTINGS)
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("block_bytes", [1, 2**24])
def test_the_next_layer_ascends_from_the_layer_before(
    channels, shape, sizes, soft, block_bytes, monkeypatch
):
    monkeypatch.setitem(base.BLOCK_BYTES, "cpu", block_bytes)
    V, partition, info = setting(channels, shape, sizes, soft=soft)
    kind = SharedDictionary(len(sizes), mu=3.0, step_size=0.7)
    first = gathered(kind, V, partition, info).operators()
    V = V.flip(1)  # the samples have moved
    atoms, codes = first.dictionary.data, first.codes
    moments, counts = normalised_moments(V, partition, info), info.counts
    sums = SampleSums(
        counts,
        torch.einsum("fqa,fkab,fqb->fkq", atoms.conj(), moments, atoms).real,
        torch.einsum("fkab,fqb,fkq->fqa", moments, atoms, (counts[:, None] * codes).to(V.dtype)),
        moments.diagonal(dim1=2, dim2=3).real.sum(2),
    )
    beta = channels / (info.spectrum.size * info.eps_sq)
    expected = ascended(Approximation(atoms, codes, info.proportions, beta), sums, 3.0, 0.7)
    found = gathered(kind, V, partition, info, first, 1).operators()
    torch.testing.assert_close(found.dictionary.data, expected.atoms, **TIGHT)
    torch.testing.assert_close(found.codes, expected.codes, **TIGHT)


@pytest.mark.parametrize("shape", [(), (5,)])
def test_the_rates_are_those_of_the_approximations(shape):
    V, partition, info = setting(6, shape, [8, 4])
    kind = SharedDictionary(6)
    first = gathered(kind, V, partition, info).operators()
    moments = gathered(kind, V.flip(1), partition, info, first, 1)
    operators = moments.operators()
    weights, size = info.spectrum.weights, info.spectrum.size
    beta = 6 / (size * info.eps_sq)
    E, Cs = dense(operators, info)
    expansion = -(weights * torch.logdet(E / info.alpha).real).sum() / 2 / size
    logs = -torch.logdet(Cs / info.class_alphas[:, None, None]).real
    compression = (weights[:, None] * logs * info.proportions).sum() / 2 / size
    assert (logs <= torch.log1p(beta * operators.codes).sum(2) + 1e-12).all()  # Proposition 3.1
    rates = moments.rates()
    torch.testing.assert_close(rates.expansion, expansion)
    torch.testing.assert_close(rates.compression, compression)
    torch.testing.assert_close(rates.delta, expansion - compression)


def test_latching_is_repeated():
    V, partition, info = setting(6, (), [8, 6])
    kind = SharedDictionary(12, latch_every=2)
    first = gathered(kind, V, partition, info).operators()
    second = gathered(kind, V, partition, info, first, 1).operators()
    third = gathered(kind, V, partition, info, second, 2).operators()
    assert not torch.equal(second.codes, first.codes)
    torch.testing.assert_close(third.codes, first.codes)


def test_classes_without_samples_have_no_codes():
    V, partition, info = setting(5, (), [6, 4])
    more = Partition.from_labels(partition.membership.argmax(1), 10, classes=np.arange(3))
    info = DatasetInfo.from_partition(more, info.spectrum, 5, V.dtype, EPS_SQ, Processes())
    operators = None
    for depth in range(2):
        operators = gathered(SharedDictionary(6), V, more, info, operators, depth).operators()
        assert not operators.codes[:, 2].any()
        assert all(t.isfinite().all() for t in operators.state_dict().values())


# The representation


def operators_of(dtype, *, frequencies=3, classes=4, atoms=5, channels=6):
    """Any operators of this representation, and their matrices."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape, dtype=dtype):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    dictionary = random(frequencies, atoms, channels)
    cores = random(frequencies, 1 + classes, atoms, atoms) / 10
    codes = random(frequencies, classes, atoms, dtype=torch.float64).abs()
    scales = torch.arange(1.0, 2 + classes, dtype=torch.float64)
    explained = torch.einsum("fqa,fnqr,frb->fnab", dictionary, cores, dictionary.conj())
    matrices = scales[:, None, None] * (torch.eye(channels) - explained)
    operators = SharedDictionaryOperators(dictionary, cores, codes, scales)
    return operators, matrices[:, 0], matrices[:, 1:], random(frequencies, 7, channels)


def memberships(kind):
    weights = torch.rand(7, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    if kind == "soft":
        return weights
    decided = torch.full_like(weights, 1e-30)
    decided[torch.arange(7), torch.arange(7) * 3 % 4] = torch.linspace(0.1, 2, 7).double()
    if kind == "mixed":
        decided[3] = weights[3]
    return decided


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("kind", ["soft", "decided", "mixed"])
@pytest.mark.parametrize("reads", [True, False])
@pytest.mark.parametrize("block_bytes", [1, 2**24])
def test_norms_and_sums_are_those_of_the_matrices(dtype, kind, reads, block_bytes, monkeypatch):
    monkeypatch.setitem(base.BLOCK_BYTES, "cpu", block_bytes)
    monkeypatch.setitem(base.COST_OF_READING, "cpu", 0 if reads else float("inf"))
    operators, E, Cs, V = operators_of(dtype)
    weights = memberships(kind)
    expected = torch.einsum("fkab,fmb->fmka", Cs, V)
    torch.testing.assert_close(operators.expand(V), torch.einsum("fab,fmb->fma", E, V))
    torch.testing.assert_close(operators.respond(V), expected)
    responses = operators.responder()(V)
    torch.testing.assert_close(responses.norms(), expected.abs().square().sum((0, 3)).sqrt())
    sums = torch.cat(list(responses.combine(weights)))
    torch.testing.assert_close(sums, torch.einsum("mk,fmka->fma", weights.to(dtype), expected))


@pytest.mark.parametrize("samples", [2, 30])
def test_few_and_many_samples_have_the_same_norms(samples):
    operators, _, Cs, _ = operators_of(torch.float64)
    V = torch.randn(3, samples, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    expected = torch.einsum("fkab,fmb->fmka", Cs, V).square().sum((0, 3)).sqrt()
    torch.testing.assert_close(operators.responder()(V).norms(), expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_the_real_form_acts_on_real_and_imaginary_parts(dtype):
    operators, _, _, V = operators_of(dtype)

    def as_reals(t):
        return torch.cat([t.real, t.imag], -1) if t.is_complex() else t

    real = operators.real_form()
    assert not any(t.is_complex() for t in real.state_dict().values())
    torch.testing.assert_close(real.expand(as_reals(V)), as_reals(operators.expand(V)))
    torch.testing.assert_close(real.respond(as_reals(V)), as_reals(operators.respond(V)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_hermitian_parts(dtype):
    operators, E, Cs, _ = operators_of(dtype)
    operators.make_hermitian_()
    torch.testing.assert_close(operators.matrices().expansion.data, (E + E.mH) / 2)
    torch.testing.assert_close(operators.matrices().compression.data, (Cs + Cs.mH) / 2)


# Networks

X, LABELS = datasets.sinusoids(per_class=20, length=16)
X = torch.cat([X, X.roll(3, -1) * X, X.square()], 1).double()
IMAGES = torch.randn(18, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
DATA = {
    "vectors": (X[:, 0], LABELS, SharedDictionary(6)),
    "signals": (X, LABELS, SharedDictionary(6, mu=0.5, latch_every=2)),
    "images": (IMAGES, np.arange(18) % 3, SharedDictionary(3)),
}


@pytest.fixture(params=DATA)
def data(request):
    samples, labels, kind = DATA[request.param]
    return samples, labels, kind, ReduNet.construct(samples, labels, num_layers=3, operators=kind)


def test_shifts_of_the_samples_shift_the_features(data):
    samples, *_, net = data
    axes = tuple(range(2, samples.ndim))
    shifts = (2, 3)[: len(axes)]
    if not axes:
        pytest.skip("vectors have no axis to shift along")
    torch.testing.assert_close(
        net(samples.roll(shifts, axes)), net(samples).roll(shifts, axes), **TIGHT
    )
    torch.testing.assert_close(
        net.membership(samples.roll(shifts, axes)), net.membership(samples), **TIGHT
    )


def test_batches_and_a_checkpoint_give_the_same_network(data, tmp_path):
    samples, labels, kind, net = data
    options = {"operators": kind, "batch_size": 7, "checkpoint": tmp_path}
    ReduNet.construct(samples, labels, num_layers=2, **options)
    parts = ReduNet.construct(samples, labels, num_layers=3, **options)
    torch.testing.assert_close(parts(samples), net(samples), rtol=0, atol=1e-8)


def test_files_hold_it(data, tmp_path):
    samples, *_, net = data
    net.save(tmp_path / "net.safetensors")
    twin = ReduNet.load(tmp_path / "net.safetensors")
    assert torch.equal(twin(samples), net(samples))
    assert torch.equal(twin.membership(samples), net.membership(samples))
    assert twin.settings == net.settings
    assert repr(twin) == repr(net)


def test_an_exported_graph_is_equal(tmp_path):
    net = ReduNet.construct(X, LABELS, num_layers=1, operators=SharedDictionary(6))
    export(net, tmp_path / "net.pt2", "pt2")
    graph = torch.export.load(tmp_path / "net.pt2").module()
    for batch in (X[:1], X[:9]):
        features, membership = graph(batch)
        torch.testing.assert_close(features, net(batch), **TIGHT)
        torch.testing.assert_close(membership, net.membership(batch), rtol=0, atol=1e-8)


def test_fine_tuning_trains_atoms_and_cores(data):
    samples, labels, _, net = data
    options = {"epochs": 2, "head": "residual", "hermitian": True, "validation": None}
    tuned = finetune(net, samples, labels, **options)
    before, after = net.layers[0].operators, tuned.net.layers[0].operators
    assert not torch.equal(before.dictionary, after.dictionary)
    assert not torch.equal(before.cores, after.cores)
    assert tuned.history.loss[1] < tuned.history.loss[0]


def test_a_summary_names_the_atoms(data):
    *_, kind, net = data
    assert description(net)["operators"] == f"{kind.atoms} atoms"
    assert f"atoms={kind.atoms}" in repr(net)


def test_single_precision_is_close_to_double_precision(data):
    samples, labels, kind, net = data
    single = ReduNet.construct(samples.float(), labels, num_layers=3, operators=kind)
    assert single.layers[0].operators.cores.real.dtype == torch.float32
    torch.testing.assert_close(single(samples.float()).double(), net(samples), rtol=0, atol=1e-3)


def test_memberships_of_unknown_labels_are_found():
    generator = torch.Generator().manual_seed(0)
    bases = torch.randn(2, 2, 12, generator=generator, dtype=torch.float64)
    labels = np.arange(40) % 2
    samples = torch.randn(40, 1, 2, generator=generator, dtype=torch.float64) @ bases[labels]
    partial = np.where(np.arange(40) < 12, labels.astype(str), "?")
    options = {"operators": SharedDictionary(4), "num_layers": 2, "unknown": "?"}
    net = ReduNet.construct(samples[:, 0], partial, **options)
    assert (net.predict(samples[:, 0]) == labels.astype(str)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"atoms": 0}, "atoms must be at least 1, got 0"),
        ({"atoms": 4, "mu": 0.0}, "mu must be a positive number, got 0.0"),
        ({"atoms": 4, "mu": float("inf")}, "mu must be a positive number, got inf"),
        ({"atoms": 4, "step_size": -1.0}, "step_size must be a positive number, got -1.0"),
        ({"atoms": 4, "latch_every": 0}, "latch_every must be at least 1, got 0"),
        ({"atoms": 5}, "atoms must be a multiple of the number of classes, 3, got 5"),
        ({"atoms": 51}, "atoms must be at most 48, the number of classes times the number of"),
    ],
)
def test_bad_options_are_errors_that_say_so(options, message):
    with pytest.raises(ValueError, match=message):
        ReduNet.construct(X[:, 0], LABELS, num_layers=1, operators=SharedDictionary(**options))


def test_the_number_of_atoms_must_be_an_integer():
    with pytest.raises(TypeError, match=r"atoms must be an integer, got 2\.5"):
        SharedDictionary(2.5)
