import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.autograd import forward_ad
from torch.utils.data import DataLoader, TensorDataset

from redunet import NearestSubspaceClassifier, RandomCirculantLift, ReduNet
from redunet.datasets import all_shifts, digits, mnist, subsample
from redunet.layers.operators import responses as module
from tests.samples import samples

SETTINGS = {"num_layers": 3, "eta": 0.3, "eps_sq": 0.2, "lam": 5.0}
LABELS = np.arange(8) % 2
shapes = st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple)


def small_network(shape=(1, 6, 5), dtype=torch.float64, **options):
    X = samples(8, *shape, dtype=dtype)
    lift = RandomCirculantLift(shape[0], 4, 3, len(shape) - 1) if len(shape) > 1 else None
    return ReduNet.construct(X, LABELS, **SETTINGS, lift=lift, **options), X


@given(shapes, st.integers(1, 3))
def test_every_shift_of_a_sample_shifts_its_features_and_keeps_its_membership(shape, channels):
    X = samples(8, channels, *shape)
    net = ReduNet.construct(X, LABELS, **SETTINGS)
    new = samples(2, channels, *shape, seed=1)
    features, membership = net(new), net.membership(new)
    shifted = all_shifts(new)
    torch.testing.assert_close(
        net(shifted.flatten(0, 1)), all_shifts(features).flatten(0, 1), rtol=0, atol=1e-10
    )
    torch.testing.assert_close(
        net.membership(shifted.flatten(0, 1)),
        membership.repeat_interleave(shifted.shape[1], 0),
        rtol=0,
        atol=1e-10,
    )


@pytest.mark.parametrize("membership", ["softmax", "rectified"])
def test_a_lifted_network_is_equivariant_too(membership):
    net, X = small_network(membership=membership)
    shifted = X.roll((2, 1), (2, 3))
    torch.testing.assert_close(net(shifted), net(X).roll((2, 1), (2, 3)), rtol=0, atol=1e-12)
    torch.testing.assert_close(net.membership(shifted), net.membership(X), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(5,), (2, 6), (1, 5, 4), (1, 3, 3, 4)])
def test_features_are_unit_samples_of_the_lifted_shape(shape):
    net, X = small_network(shape)
    assert net.feature_shape == (4, *shape[1:]) if len(shape) > 1 else shape
    Z = net(X)
    assert Z.shape == (8, *net.feature_shape)
    torch.testing.assert_close(Z.flatten(1).norm(dim=1), torch.ones(8, dtype=Z.dtype))


def test_membership_is_the_last_layers():
    net, X = small_network()
    (V,) = net.encode(X)
    for layer in net.layers[:-1]:
        V = layer(V)
    torch.testing.assert_close(net.membership(X), net.layers[-1].membership(V))


def test_predict_gives_labels():
    X = samples(8, 4)
    labels = np.array(["cat", "dog"])[LABELS]
    net = ReduNet.construct(X, labels, **SETTINGS)
    assert net.classes_.tolist() == ["cat", "dog"]
    expected = net.classes_[net.membership(X).argmax(1).numpy()]
    np.testing.assert_array_equal(net.predict(X), expected)


def test_two_runs_agree_bitwise():
    (one, X), (two, _) = small_network(dtype=torch.float32), small_network(dtype=torch.float32)
    for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(one(X), two(X))


def test_construction_leaves_its_inputs_alone():
    X, lift = samples(8, 1, 6, 5), RandomCirculantLift(1, 4, 3, 2)
    before = X.clone()
    net = ReduNet.construct(X, LABELS, **SETTINGS, lift=lift)
    net(X)
    assert torch.equal(X, before)
    assert lift.kernels.dtype == torch.float32
    vectors = before.flatten(1)[:, :6].clone()
    ReduNet.construct(vectors, LABELS, **SETTINGS)
    assert torch.equal(vectors, before.flatten(1)[:, :6])


def test_parameters_are_the_operators_frozen():
    net, _ = small_network()
    names = [name for name, _ in net.named_parameters()]
    expected = [
        f"layers.{i}.operators.{name}"
        for i in range(SETTINGS["num_layers"])
        for name in ("expansion.values", "compression.values")
    ]
    assert names == expected
    assert not any(p.requires_grad for p in net.parameters())


def test_state_dict_and_deepcopy():
    net, X = small_network()
    twin = copy.deepcopy(net)
    with torch.no_grad():
        for p in twin.parameters():
            p.zero_()
    assert not torch.allclose(twin(X), net(X))
    twin.load_state_dict(net.state_dict())
    assert torch.equal(twin(X), net(X))


@pytest.mark.parametrize("shape", [(5,), (1, 6, 5)])
def test_moving_to_another_precision(shape):
    net, X = small_network(shape)
    expected = net(X)
    single = copy.deepcopy(net).to(torch.float32)
    assert single(X).dtype == torch.float32
    torch.testing.assert_close(single(X).double(), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(single.double()(X), expected, rtol=0, atol=1e-5)


def test_float32_construction_follows_float64():
    (double, X), (single, _) = small_network(), small_network(dtype=torch.float32)
    assert next(single.parameters()).dtype == torch.complex64
    np.testing.assert_allclose(single.history.delta, double.history.delta, rtol=1e-3)
    torch.testing.assert_close(single(X).double(), double(X), rtol=0, atol=1e-4)


def test_runs_on_the_device_of_the_samples_or_the_one_asked_for(device):
    reference, X = small_network()
    there, _ = small_network(device=device)
    assert next(there.parameters()).device.type == device.type
    assert there(X).device.type == device.type  # samples follow the network
    torch.testing.assert_close(there(X).cpu(), reference(X), rtol=0, atol=1e-9)
    torch.testing.assert_close(reference.to(device)(X).cpu(), there(X).cpu(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("shape", [(4,), (2, 5), (1, 3, 4)])
@pytest.mark.parametrize("lam", [5.0, math.inf])
def test_autograd_through_the_samples(shape, lam):
    X = samples(4, *shape)
    net = ReduNet.construct(X, [0, 0, 1, 1], **{**SETTINGS, "lam": lam})
    assert torch.autograd.gradcheck(net, X.requires_grad_())


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # torch calls it
@pytest.mark.parametrize("block_bytes", [1, 2**22])
@pytest.mark.parametrize("shape", [(4,), (2, 5)])
def test_derivatives_by_forward_and_by_reverse_mode_are_equal(shape, block_bytes, monkeypatch):
    X, direction = samples(4, *shape), samples(4, *shape, seed=1)
    net = ReduNet.construct(X, [0, 0, 1, 1], **SETTINGS)
    monkeypatch.setitem(module.BLOCK_BYTES, "cpu", block_bytes)
    with forward_ad.dual_level():
        derivative = forward_ad.unpack_dual(net(forward_ad.make_dual(X, direction))).tangent
    expected = torch.autograd.functional.jvp(net, X, direction)[1]  # by reverse mode, twice
    torch.testing.assert_close(derivative, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("shape", [(3,), (2, 4)])
def test_autograd_through_the_operators(shape):
    X = samples(4, *shape)
    net = ReduNet.construct(X, [0, 0, 1, 1], **SETTINGS).requires_grad_()
    operators = net.layers[0].operators

    def features(expansion, compression):
        replaced = {
            "layers.0.operators.expansion.values": expansion,
            "layers.0.operators.compression.values": compression,
        }
        return torch.func.functional_call(net, replaced, (X,))

    inputs = (operators.expansion.values, operators.compression.values)
    assert torch.autograd.gradcheck(features, inputs)


def test_batches_of_a_data_loader_equal_the_whole():
    net, X = small_network()
    loader = DataLoader(TensorDataset(X), batch_size=3)
    batches = torch.cat([net(batch) for (batch,) in loader])
    torch.testing.assert_close(batches, net(X), rtol=0, atol=1e-12)
    net.batch_size = 3
    torch.testing.assert_close(net(X), batches, rtol=0, atol=1e-12)
    torch.testing.assert_close(net.membership(X).sum(1), torch.ones(8, dtype=X.dtype))


def test_numpy_arrays_and_integers_are_samples():
    X = np.random.default_rng(0).integers(0, 16, (8, 1, 6, 5), dtype=np.uint8)
    net = ReduNet.construct(X, LABELS.tolist(), **SETTINGS)
    assert net(X).dtype == torch.float32
    torch.testing.assert_close(net(X), net(torch.tensor(X)))


def test_digits_and_all_their_shifts():
    X, labels = digits()
    train = subsample(labels, 50)
    test = np.setdiff1d(np.arange(len(X)), train.numpy())[:60]
    lift = RandomCirculantLift(1, 16, 3, 2)
    net = ReduNet.construct(X[train], labels[train], num_layers=3, eps_sq=0.01, lift=lift)
    shifted = all_shifts(X[test])
    on_originals, on_shifts = net.predict(X[test]), net.predict(shifted.flatten(0, 1))
    assert (on_originals == labels[test].numpy()).mean() > 0.8
    np.testing.assert_array_equal(on_shifts, np.repeat(on_originals, shifted.shape[1]))


@pytest.mark.real_data
def test_vector_network_on_mnist(mnist_dir):
    # A twentieth of Table 18's network: far above nearest subspace on so few raw pixels.
    X, labels = mnist("train", mnist_dir)
    rows = subsample(labels, 100)
    X, labels = X[rows].flatten(1), labels[rows]
    Xt, yt = (a[:2000] for a in mnist("test", mnist_dir))
    net = ReduNet.construct(X, labels, num_layers=5, eps_sq=0.5)
    classifier = NearestSubspaceClassifier(10).fit(net(X), labels)
    assert classifier.score(net(Xt.flatten(1)), yt) > 0.85
    assert (np.diff(net.history.delta) > 0).all()


@pytest.mark.parametrize("options", [{}, {"lift": RandomCirculantLift(2, 4, 2, 2)}])
def test_modules_in_a_row_are_the_network(options):
    X, labels = samples(20, 2, 4, 3), np.arange(20) % 2
    net = ReduNet.construct(X, labels, num_layers=3, eps_sq=0.5, **options)
    (V,) = net.encode(X)
    halfway = net.layers[0](V)
    shorter = ReduNet.construct(X, labels, num_layers=1, eps_sq=0.5, **options)
    torch.testing.assert_close(net.spectrum.inverse(halfway), shorter(X))
    V = net.layers[2](net.layers[1](halfway))
    torch.testing.assert_close(net.spectrum.inverse(V), net(X), rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(3,), (2, 5), (2, 4), (2, 3, 4)])
@pytest.mark.parametrize("options", [{}, {"operators": "variational", "rank": 1}])
def test_operators_are_circular_convolutions(shape, options):
    X = samples(20, *shape)
    net = ReduNet.construct(X, np.arange(20) % 2, num_layers=1, eps_sq=0.5, **options)
    layer = net.layers[0]
    expansion, compression = layer.kernels()
    assert expansion.shape == (shape[0], *shape)
    assert compression.shape == (2, shape[0], *shape)

    def convolved(kernel):
        """Σ_y k(y) z(x − y), shift by shift."""
        total = torch.zeros_like(X)
        for step in np.ndindex(shape[1:]):
            moved = X.roll(step, tuple(range(2, X.ndim))) if step else X
            total += torch.einsum("oi,mi...->mo...", kernel[(..., *step)], moved)
        return total

    V = net.spectrum(X)
    torch.testing.assert_close(
        net.spectrum.inverse(layer.operators.expand(V)), convolved(expansion)
    )
    responses = layer.operators.respond(V)  # (F, m, k, C)
    for j in range(2):
        found = net.spectrum.inverse(responses[:, :, j])
        torch.testing.assert_close(found, convolved(compression[j]))


@pytest.mark.parametrize("pool", [nn.AvgPool2d(2), nn.MaxPool2d(2)])
def test_a_network_may_be_a_stage_of_another_one(pool, tmp_path):
    first, X = small_network((1, 6, 4))
    net = ReduNet.construct(X, LABELS, **SETTINGS, lift=[first, pool])
    assert net.feature_shape == (4, 3, 2)
    direct = ReduNet.construct(pool(first(X)), LABELS, **SETTINGS)
    torch.testing.assert_close(net(X), direct(pool(first(X))), rtol=0, atol=1e-12)
    moved = X.roll((4, 2), (2, 3))  # by multiples of what is pooled
    torch.testing.assert_close(net(moved), net(X).roll((2, 1), (2, 3)), rtol=0, atol=1e-12)
    torch.testing.assert_close(net.membership(moved), net.membership(X), rtol=0, atol=1e-12)
    net.save(tmp_path / "stages.safetensors")
    stages = nn.Sequential(small_network((1, 6, 4))[0], pool)
    loaded = ReduNet.load(tmp_path / "stages.safetensors", lift=stages)
    torch.testing.assert_close(loaded(X), net(X), rtol=0, atol=0)
