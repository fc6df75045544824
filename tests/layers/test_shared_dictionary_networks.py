"""Networks whose operators share one dictionary."""

import numpy as np
import pytest
import torch

from redunet import ReduNet, SharedDictionary, datasets, finetune
from redunet.inspection.summary import description
from tests.exported import assert_graph_equals

TIGHT = {"rtol": 0, "atol": 1e-10}
X, LABELS = datasets.sinusoids(per_class=20, length=16)
X = torch.cat([X, X.roll(3, -1) * X, X.square()], 1).double()
IMAGES = torch.randn(18, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
DATA = {
    "vectors": (X[:, 0], LABELS, SharedDictionary(6)),
    "signals": (X, LABELS, SharedDictionary(6, mu=0.5)),
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
    tolerances = {"features": 1e-10, "membership": 1e-8}
    assert_graph_equals(net, tmp_path / "net.pt2", X[:1], X[:9], **tolerances)


def test_fine_tuning_trains_atoms_and_cores(data):
    samples, labels, _, net = data
    options = {"epochs": 2, "head": "residual", "validation": None}
    tuned = finetune(net, samples, labels, **options)
    before, after = (each.layers[0].operators.compression for each in (net, tuned.net))
    assert not torch.equal(before.dictionary, after.dictionary)
    assert not torch.equal(before.cores, after.cores)
    assert tuned.history.loss[1] < tuned.history.loss[0]


def test_a_summary_names_the_atoms(data):
    *_, kind, net = data
    assert description(net)["operators"] == f"{kind.atoms} atoms"
    assert f"{kind.atoms} atoms" in repr(net)


def test_single_precision_is_close_to_double_precision(data):
    samples, labels, kind, net = data
    single = ReduNet.construct(samples.float(), labels, num_layers=3, operators=kind)
    assert single.layers[0].operators.compression.cores.real.dtype == torch.float32
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
