"""Operators that keep the second moments they were made from."""

import numpy as np
import pytest
import torch

from redunet import Extensible, ReduNet, datasets, explain, finetune, report
from redunet._processes import Processes
from redunet.layers import DatasetInfo
from redunet.plots import plot_eigenvalues, plot_rates
from redunet.rates import HalfSpectrum, Partition
from tests.exported import assert_graph_equals
from tests.samples import moments_of, samples

LABELS = np.array([0] * 5 + [1] * 9 + [2] * 6)
SETTINGS = {"num_layers": 2, "eps_sq": 0.3, "eta": 0.2, "lam": 20.0}


def construct(X, operators="extensible", **options):
    return ReduNet.construct(X, LABELS, operators=operators, **{**SETTINGS, **options})


@pytest.mark.parametrize("shape", [(4,), (3, 6), (2, 4, 5)])
def test_operators_are_the_exact_ones(shape):
    X = samples(20, *shape)
    net, exact = construct(X), construct(X, "exact")
    for ours, theirs in zip(net.layers, exact.layers, strict=True):
        assert ours.operators.sums is not None
        for one, other in zip(ours.operators.matrices(), theirs.operators.matrices(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(net(X), exact(X), rtol=0, atol=1e-10)
    np.testing.assert_allclose(net.history.delta, exact.history.delta, rtol=1e-10)


@pytest.mark.parametrize("soft", [False, True])
def test_kept_moments_and_counts_are_those_of_the_definition(soft, device):
    X = samples(20, 3, 6)
    membership = np.eye(3)[LABELS]
    if soft:
        membership = 0.8 * membership + 0.2 / 3
    net = ReduNet.construct(
        X.to(device), membership if soft else LABELS, operators=Extensible(), **SETTINGS
    )
    pi = torch.from_numpy(membership).to(device)
    V = torch.cat(list(net.encode(X)), 1)
    for layer in net.layers:
        moments = torch.einsum("fmc,mk,fmd->fkcd", V, pi.to(V.dtype), V.conj())
        torch.testing.assert_close(layer.operators.sums.moments, moments, rtol=0, atol=1e-12)
        torch.testing.assert_close(layer.operators.sums.counts, pi.sum(0))
        V = layer(V)


class Twins(Processes):
    """Two processes that hold the same samples. Sums are in place, as they are over a network."""

    def all_reduce(self, t):
        return t.mul_(2)


def test_kept_moments_are_those_of_all_processes():
    V, spectrum = samples(2, 20, 3, dtype=torch.complex128), HalfSpectrum((3,))
    partition = Partition.from_labels(LABELS, 20)
    info = DatasetInfo.from_partition(partition, spectrum, 3, V.dtype, 0.3, Twins())
    operators = moments_of(Extensible(), info, V, partition).operators()
    members = [V[:, j == LABELS] for j in range(3)]
    expected = torch.stack([v.mT @ v.conj() for v in members], 1)
    torch.testing.assert_close(operators.sums.moments, 2 * expected)
    torch.testing.assert_close(operators.sums.counts, torch.tensor([10.0, 18, 12]).double())


def test_moments_keep_the_type_in_which_they_were_summed():
    X = samples(20, 3, 6, dtype=torch.float32)
    for eps_sq, dtype in ((0.3, torch.complex64), (1e-5, torch.complex128)):
        operators = construct(X, eps_sq=eps_sq, num_layers=1).layers[0].operators
        assert operators.sums.moments.dtype is dtype
        assert operators.compression.values.dtype is torch.complex64


def test_conversion_to_double_precision_keeps_complex_moments():
    net = construct(samples(20, 3, 6, dtype=torch.float32))
    moments = net.layers[0].operators.sums.moments.clone()
    net.double()
    assert torch.equal(net.layers[0].operators.sums.moments, moments.to(torch.complex128))


@pytest.mark.parametrize("shape", [(4,), (3, 6)])
def test_files_hold_the_moments(shape, tmp_path):
    X = samples(20, *shape, dtype=torch.float32)
    net = construct(X, eps_sq=1e-5)
    net.save(tmp_path / "net.safetensors")
    twin = ReduNet.load(tmp_path / "net.safetensors")
    assert twin.settings == net.settings
    assert twin.settings.operators == Extensible()
    for ours, theirs in zip(net.layers, twin.layers, strict=True):
        for name, t in ours.state_dict().items():
            assert torch.equal(t, theirs.state_dict()[name])
    more, labels = samples(6, *shape, seed=1), [0, 1, 3, 3, 2, 3]
    assert torch.equal(twin.extend(more, labels)(X), net.extend(more, labels)(X))


def test_an_extended_network_goes_through_a_file(tmp_path):
    X = samples(20, 3, 6)
    net = construct(X).extend(samples(5, 3, 6, seed=1), [1, 7, 7, 7, 7])
    net.save(tmp_path / "net.safetensors")
    twin = ReduNet.load(tmp_path / "net.safetensors")
    assert torch.equal(twin(X), net(X))
    np.testing.assert_array_equal(twin.history.delta, net.history.delta)
    np.testing.assert_array_equal(twin.classes_, [0, 1, 2, 7])


def test_a_checkpoint_holds_the_moments(tmp_path):
    X = samples(20, 3, 6)
    construct(X, num_layers=1, checkpoint=tmp_path)
    resumed, whole = construct(X, checkpoint=tmp_path), construct(X)
    for ours, theirs in zip(resumed.layers, whole.layers, strict=True):
        assert torch.equal(ours.operators.sums.moments, theirs.operators.sums.moments)


@pytest.mark.parametrize("format", ["pt2", "onnx"])
def test_exported_graphs_are_equal(format, tmp_path):
    X = samples(20, 3, 6, dtype=torch.float32)
    net = construct(X)
    assert_graph_equals(net, tmp_path / f"net.{format}", X)


def test_the_real_form_needs_no_moments():
    X = samples(20, 3, 6)
    net = construct(X)
    features, membership, _ = net.real_form()(X)
    torch.testing.assert_close(features, net(X), rtol=0, atol=1e-10)
    torch.testing.assert_close(membership, net.membership(X), rtol=0, atol=1e-10)
    assert not any("moments" in name for name in net.real_form().state_dict())


def test_an_extended_network_can_be_explained_drawn_and_reported(tmp_path):
    X, labels = datasets.sinusoids(per_class=12, length=16)
    old = np.asarray(labels) != np.asarray(labels)[0]
    net = ReduNet.construct(X[old], labels[old], operators="extensible", num_layers=2, eps_sq=0.1)
    net = net.extend(X[~old], labels[~old])
    assert "prediction" in str(explain(net, X[0]))
    assert "extensible" in net._repr_html_()
    plot_eigenvalues(net)
    plot_rates(net.history)
    report(net, X, labels, tmp_path / "report.html", worst=1)
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_fine_tuning_leaves_the_moments():
    X = samples(20, 3, 6)
    net = construct(X)
    tuned = finetune(net, X, LABELS, epochs=1, head="residual", validation=None)
    ours, theirs = net.layers[0].operators, tuned.net.layers[0].operators
    assert not torch.equal(ours.compression.values, theirs.compression.values)
    assert torch.equal(ours.sums.moments, theirs.sums.moments)
