"""The construction against independent truths: dense circulant families and the textbook."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import textbook
from redunet import ReduNet, rate_reduction
from redunet._processes import Processes
from redunet.construction import Construction, RateHistory, Settings
from redunet.construction.features import FeatureStore, LabelledFeatures
from redunet.layers import MEMBERSHIPS, OPERATOR_KINDS, DatasetInfo, Softmax, Variational
from redunet.rates.partition import Partition
from redunet.rates.spectrum import HalfSpectrum, project_to_sphere
from tests.samples import responses_of
from tests.samples import unit_samples as samples

SETTINGS = {"num_layers": 4, "eta": 0.3, "eps_sq": 0.2, "lam": 5.0}


def circulant_family(X):
    """Every cyclic shift of every sample as a vector, ``(m, C, *spatial)`` to ``(m·F, C·F)``."""
    axes = tuple(range(2, X.ndim))
    steps = np.ndindex(*X.shape[2:])
    return torch.stack([X.roll(step, axes).flatten(1) for step in steps], 1).flatten(0, 1)


def construct(X, labels, **options):
    """A construction that has run, of which a network keeps only the layers and the history."""
    spectrum = HalfSpectrum(X.shape[2:])
    lam, membership = options.pop("lam", 500.0), options.pop("membership", "softmax")
    operators, rank = options.pop("operators", "exact"), options.pop("rank", None)
    settings = Settings(
        membership=MEMBERSHIPS.instance(membership, lam=lam),
        operators=OPERATOR_KINDS.instance(operators, rank=rank),
        **options,
    )
    features = FeatureStore(X.device, X.device)
    features.append(V := project_to_sphere(spectrum(X)))
    partition = Partition.from_labels(labels, len(X))
    info = DatasetInfo.from_partition(
        partition, spectrum, X.shape[1], V.dtype, settings.eps_sq, Processes()
    )
    construction = Construction(settings, LabelledFeatures(features, partition, info))
    construction.run()
    return construction


@pytest.mark.parametrize("shape", [(2, 5), (3, 4), (2, 3, 4), (2, 4, 5)])
def test_spectral_construction_is_the_dense_one_on_the_circulant_family(shape):
    # Design: a dense construction at (ε²F, ηF, λF) has the same features, operators F times as
    # small, and rates F times as large.
    m, F = 6, math.prod(shape[1:])
    X, labels = samples(m, *shape), np.arange(m) % 2
    spectral = ReduNet.construct(X, labels, **SETTINGS)
    dense = ReduNet.construct(
        circulant_family(X),
        np.repeat(labels, F),
        num_layers=SETTINGS["num_layers"],
        eta=SETTINGS["eta"] * F,
        eps_sq=SETTINGS["eps_sq"] * F,
        lam=SETTINGS["lam"] * F,
    )
    exact = {"rtol": 0, "atol": 1e-9}
    torch.testing.assert_close(circulant_family(spectral(X)), dense(circulant_family(X)), **exact)
    for rates in ("expansion", "compression", "delta"):
        np.testing.assert_allclose(
            getattr(dense.history, rates) / F, getattr(spectral.history, rates), atol=1e-9
        )
    probes = samples(5, *shape, seed=1)
    for ours, theirs in zip(spectral.layers, dense.layers, strict=True):
        V, v = spectral.spectrum(probes), probes.flatten(1)[None]
        expanded = spectral.spectrum.inverse(ours.operators.expand(V)).flatten(1)
        torch.testing.assert_close(expanded / F, theirs.operators.expand(v)[0], **exact)
        for j in (0, 1):
            one_hot = torch.eye(2, dtype=v.dtype)[[j]].expand(5, 2)
            compressed = spectral.spectrum.inverse(
                torch.cat(list(responses_of(ours.operators.compression, V).combine(one_hot)))
            ).flatten(1)
            torch.testing.assert_close(
                compressed / F,
                next(responses_of(theirs.operators.compression, v).combine(one_hot))[0],
                **exact,
            )


@given(
    st.integers(1, 4),
    st.lists(st.integers(1, 5), min_size=0, max_size=3),
    st.lists(st.integers(1, 4), min_size=2, max_size=3),
)
def test_half_spectrum_is_the_full_spectrum_of_the_textbook(channels, shape, sizes):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    X = samples(len(labels), channels, *shape)
    settings = {**SETTINGS, "num_layers": 2}
    net = ReduNet.construct(X, labels, **settings)
    expected = textbook.construct(X, torch.tensor(labels), **settings)
    torch.testing.assert_close(net(X), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("shape", [(6,), (3, 5), (2, 4, 4)])
@pytest.mark.parametrize("membership", ["softmax", "rectified"])
def test_forward_repeats_the_constructed_features(shape, membership):
    m = 8
    X, labels = samples(m, *shape), np.arange(m) % 2
    options = {**SETTINGS, "membership": membership}
    construction = construct(X, labels, **options)
    (V,) = construction.samples.current
    net = ReduNet.construct(X, labels, **options)
    expected = construction.samples.info.spectrum.inverse(V)
    torch.testing.assert_close(net(X), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("shape", [(6,), (3, 5), (2, 4, 4)])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("true_membership", [False, True])
def test_batches_equal_the_whole(shape, soft, true_membership):
    m = 11
    X, labels = samples(m, *shape), np.arange(m) % 3
    if soft:
        labels = np.random.default_rng(0).dirichlet(np.ones(3), size=m)
    options = {**SETTINGS, "true_membership": true_membership, "validation": (X[:5], labels[:5])}
    whole = ReduNet.construct(X, labels, **options)
    for batch_size in (1, 4):
        parts = ReduNet.construct(X, labels, **options, batch_size=batch_size)
        torch.testing.assert_close(parts(X), whole(X), rtol=0, atol=1e-11)
        np.testing.assert_allclose(parts.history.delta, whole.history.delta, rtol=1e-10)
        np.testing.assert_allclose(
            parts.history.validation.delta, whole.history.validation.delta, rtol=1e-10
        )


@pytest.mark.parametrize("shape", [(6,), (3, 4), (2, 3, 4)])
def test_history_is_the_rates_of_the_features(shape):
    X, labels = samples(10, *shape), np.array(list("aabbbbbccc"))
    new, new_labels = samples(4, *shape, seed=1), np.array(list("acca"))
    net = ReduNet.construct(X, labels, **SETTINGS, validation=(new, new_labels))
    assert len(net.history.delta) == SETTINGS["num_layers"] + 1
    for history, Z, z_labels in (
        (net.history, X, labels),
        (net.history.validation, new, new_labels),
    ):
        for entry, features in ((0, Z), (-1, net(Z))):
            rates = rate_reduction(features, z_labels, SETTINGS["eps_sq"])
            found = (history.delta[entry], history.expansion[entry], history.compression[entry])
            np.testing.assert_allclose(found, [r.item() for r in rates], rtol=1e-10)


@pytest.mark.parametrize("shape", [(4,), (3, 5)])
def test_true_membership_is_projected_gradient_ascent(shape):
    X, labels = samples(9, *shape), np.arange(9) % 3
    options = {**SETTINGS, "num_layers": 1, "true_membership": True}
    net = ReduNet.construct(X, labels, **options)
    Z = X.clone().requires_grad_()
    rates = rate_reduction(Z, labels, options["eps_sq"])
    (gradient,) = torch.autograd.grad(rates.delta, Z)
    stepped = X + options["eta"] * net.spectrum.size * gradient
    stepped /= stepped.flatten(1).norm(dim=1).reshape(9, *[1] * len(shape))
    after = rate_reduction(stepped, labels, options["eps_sq"]).delta
    np.testing.assert_allclose(net.history.delta[1], after, rtol=1e-10)


def test_rate_reduction_grows():
    X, labels = samples(30, 8), np.arange(30) % 3
    net = ReduNet.construct(X, labels, num_layers=20, eta=0.1, eps_sq=0.5, true_membership=True)
    assert (np.diff(net.history.delta) > 0).all()


def test_tol_stops_when_the_rate_reduction_does():
    X, labels = samples(30, 8), np.arange(30) % 3
    net = ReduNet.construct(X, labels, num_layers=500, tol=1e-2, eta=2.0)
    growth = np.diff(net.history.delta) / net.history.delta[:-1]
    assert len(net.layers) < 500
    assert len(net.history.delta) == len(net.layers) + 1
    assert (growth[:-1] >= 1e-2).all()
    assert growth[-1] < 1e-2


def test_history_without_layers_has_not_stalled():
    assert not RateHistory().has_stalled(0.1)


def test_progress_bar_goes_to_standard_error(capsys):
    X, labels = samples(6, 4), np.arange(6) % 2
    ReduNet.construct(X, labels, num_layers=2, progress=True)
    shown = capsys.readouterr()
    assert "2/2" in shown.err
    assert "rate_reduction" in shown.err
    assert shown.out == ""


@pytest.mark.parametrize("shape", [(20,), (3,), (4, 5)])
def test_a_fine_precision_is_summed_and_inverted_in_double_precision(shape):
    X, labels = samples(60, *shape).float(), np.arange(60) % 2
    X[:, 0] += 3
    settings = {"num_layers": 1, "eps_sq": 1e-8, "membership": Softmax(math.inf)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few channels
        coarse, fine = (ReduNet.construct(Z, labels, **settings) for Z in (X, X.double()))
    assert coarse.layers[0].proportions.dtype == torch.float32
    np.testing.assert_allclose(coarse.history.delta[0], fine.history.delta[0], rtol=1e-5)
    E, C = coarse.layers[0].operators.matrices()
    expected = fine.layers[0].operators.matrices()
    for found, exact in zip((E, C), expected, strict=True):
        scale = exact.abs().max()
        torch.testing.assert_close(
            (found / scale).to(exact.dtype), exact / scale, rtol=0, atol=1e-3
        )


def test_too_fine_a_precision_is_an_error_that_says_so():
    X, labels = samples(12, 20), np.arange(12) % 2  # too many for the smaller side
    with pytest.raises(ValueError, match=r"eps_sq is too small for torch\.float64"):
        ReduNet.construct(X, labels, num_layers=1, eps_sq=1e-25, eta=1e-25)


VARIANTS = [
    {"momentum": 0.8},
    {"operators": "variational", "rank": 2},
    {"operators": Variational(2), "momentum": 0.5},
    {"momentum": 0.8, "membership": "rectified"},
]


@pytest.mark.parametrize("shape", [(6,), (3, 5)])
@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_in_batches_and_in_use_repeat_the_construction(shape, variant):
    X, labels = samples(11, *shape), np.arange(11) % 3
    options = {**SETTINGS, **variant}
    construction = construct(X, labels, **options)
    (V,) = construction.samples.current
    expected = construction.samples.info.spectrum.inverse(V)
    for batch_size in (None, 4):
        net = ReduNet.construct(X, labels, **options, batch_size=batch_size)
        torch.testing.assert_close(net(X), expected, rtol=0, atol=1e-9)
        np.testing.assert_allclose(net.history.delta, construction.history.delta, rtol=1e-9)


@pytest.mark.parametrize("shape", [(6,), (3, 5), (2, 2, 4)])
def test_variational_operators_of_full_rank_are_the_exact_ones(shape):
    X, labels = samples(9, *shape), np.arange(9) % 2
    exact = ReduNet.construct(X, labels, **SETTINGS)
    full = ReduNet.construct(X, labels, **SETTINGS, operators="variational", rank=shape[0])
    torch.testing.assert_close(full(X), exact(X), rtol=0, atol=1e-8)
    np.testing.assert_allclose(full.history.delta, exact.history.delta, rtol=1e-8)
    new = samples(5, *shape, seed=1)
    torch.testing.assert_close(full.membership(new), exact.membership(new), rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(6,), (3, 5)])
def test_momentum_is_its_recursion(shape):
    X, labels = samples(12, *shape), torch.arange(12) % 3
    net = ReduNet.construct(X, labels, **SETTINGS, momentum=0.6)
    settings = {name: SETTINGS[name] for name in ("eta", "eps_sq", "lam")}
    V = previous = textbook.to_spectrum(X)
    for layer in net.layers:
        ahead = V + layer.momentum * (V - previous)
        V, previous = textbook.layer(ahead, labels, **settings).V, V
    torch.testing.assert_close(net(X), textbook.from_spectrum(V, X.shape), rtol=0, atol=1e-9)
    assert [layer.momentum for layer in net.layers] == [0.0, 0.6, 0.6, 0.6]
    Z = net(X)
    np.testing.assert_allclose(
        net.history.delta[-1], rate_reduction(Z, labels, SETTINGS["eps_sq"]).delta, rtol=1e-9
    )


def test_momentum_restarts_where_the_rate_reduction_would_fall():
    X, labels = samples(40, 8), np.arange(40) % 2
    options = {"num_layers": 60, "eta": 0.5, "eps_sq": 0.5, "true_membership": True}
    net = ReduNet.construct(X, labels, **options, momentum=0.95)
    restarts = [i for i, layer in enumerate(net.layers) if layer.momentum == 0]
    assert restarts[0] == 0
    assert 1 < len(restarts) < 30
    assert (np.diff(net.history.delta) > -1e-12).all()
    plain = ReduNet.construct(X, labels, **options)
    quarter = net.history.delta[15]
    assert quarter > plain.history.delta[30]


@pytest.mark.parametrize("shape", [(6,), (9, 2, 3)])
@pytest.mark.parametrize("variant", [{}, *VARIANTS])
def test_every_device_makes_the_same_network(shape, variant, device):
    X, labels = samples(11, *shape), np.arange(11) % 3
    options = {**SETTINGS, **variant}
    there = ReduNet.construct(X, labels, **options, device=device)
    assert {t.device.type for t in there.state_dict().values()} == {device.type}
    here = ReduNet.construct(X, labels, **options)
    torch.testing.assert_close(there(X).cpu(), here(X), rtol=0, atol=1e-9)
    np.testing.assert_allclose(there.history.delta, here.history.delta, rtol=1e-9)


def test_layers_can_wait_in_host_memory(device):
    X, labels = samples(10, 3, 4), np.arange(10) % 2
    net = ReduNet.construct(X, labels, **SETTINGS, offload=True, device=device)
    assert {p.device.type for p in net.state_dict().values()} == {"cpu"}
    torch.testing.assert_close(net(X), ReduNet.construct(X, labels, **SETTINGS)(X))
