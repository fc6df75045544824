import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redunet import MultiScaleLift, ReduNet, datasets
from redunet.lifts import lift_from_json, lift_to_json
from redunet.lifts.multi_scale import BLOCK_ENTRIES, automatic_dilations
from tests.exported import assert_graph_equals
from tests.samples import samples

NONLINEARITIES = ("step", "soft step", "relu")


@given(
    st.lists(st.integers(1, 12), min_size=0, max_size=3),
    st.sampled_from(NONLINEARITIES),
    st.booleans(),
    st.integers(1, 5),
)
def test_it_commutes_with_shifts(shape, nonlinearity, differences, size):
    X = samples(4, 2, *shape)
    lift = MultiScaleLift(
        2,
        len(shape),
        kernels_per_scale=3,
        kernel_size=size,
        nonlinearity=nonlinearity,
        differences=differences,
    ).fit(X)
    axes = tuple(range(2, X.ndim))
    steps = tuple(range(1, 1 + len(shape)))
    expected = lift(X).roll(steps, axes) if shape else lift(X)
    shifted = lift(X.roll(steps, axes)) if shape else lift(X.clone())
    torch.testing.assert_close(shifted, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("differences", [False, True])
def test_whole_numbers_have_no_responses_at_their_biases(differences):
    X = datasets.digits()[0].double()
    lift = MultiScaleLift(1, 2, nonlinearity=NONLINEARITIES, differences=differences).fit(X[:300])
    new = X[300:600]
    for steps in ((0, 1), (3, 2), (7, 4)):
        expected = lift(new).roll(steps, (2, 3))
        torch.testing.assert_close(lift(new.roll(steps, (2, 3))), expected, rtol=0, atol=1e-9)


def test_kernels_must_see_something():
    with pytest.raises(ValueError, match="channels_per_kernel must have a number"):
        MultiScaleLift(5, 0, channels_per_kernel=())


@pytest.mark.parametrize("shape", [(), (20,)])
def test_kernels_see_some_channels_in_turn(shape):
    X = samples(10, 5, *shape)
    lift = MultiScaleLift(
        5, len(shape), kernels_per_scale=9, channels_per_kernel=(1, 2, None, 9)
    ).fit(X)
    seen = (lift.kernels != 0).view(*lift.kernels.shape[:3], -1).any(3)
    assert seen.sum(2).tolist() == len(seen) * [[1, 2, 5, 5, 1, 2, 5, 5, 1]]
    assert len({tuple(row) for row in seen[0, ::4].tolist()}) > 1  # random ones
    norms = torch.linalg.vector_norm(lift.kernels.flatten(2), dim=2)
    torch.testing.assert_close(norms, torch.ones_like(norms))
    again = lift_from_json(lift_to_json(lift)).fit(X)
    torch.testing.assert_close(again.kernels, lift.kernels, rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(7,), (8,), (5, 6)])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_responses_are_sums_over_dilated_places(shape, size):
    X = samples(2, 2, *shape)
    dilations = (1, 3, 10)  # the last goes around more than once
    lift = MultiScaleLift(
        2, len(shape), kernels_per_scale=2, kernel_size=size, dilations=dilations
    ).fit(X)
    for scale, dilation in enumerate(dilations):
        expected = torch.zeros(2, 2, *shape, dtype=X.dtype)
        for place in np.ndindex(*(size,) * len(shape)):
            # A kernel is centred on the place that it responds to.
            step = tuple(-dilation * (p - (size - 1) // 2) for p in place)
            weights = lift.kernels[(scale, slice(None), slice(None), *place)]
            rolled = X.roll(step, tuple(range(2, X.ndim)))
            expected += torch.einsum("kc,mc...->mk...", weights, rolled)
        torch.testing.assert_close(lift._respond(X, scale), expected)


def test_kernels_have_zero_mean_and_unit_norm():
    X = samples(3, 2, 40)
    lift = MultiScaleLift(2, 1, kernels_per_scale=5).fit(X)
    assert lift.dilations == (1, 2, 4, 8)
    torch.testing.assert_close(lift.kernels.sum(3), torch.zeros(4, 5, 2, dtype=X.dtype))
    norms = lift.kernels.square().sum((2, 3))
    torch.testing.assert_close(norms, torch.ones(4, 5, dtype=X.dtype))
    level = lift(X + 3.0)
    assert (level != lift(X)).double().mean() < 0.01


@pytest.mark.parametrize("shape", [(30,), (6, 7), ()])
def test_biases_are_quantiles_of_the_responses(shape):
    X = samples(50, 2, *shape)
    lift = MultiScaleLift(2, len(shape), kernels_per_scale=20).fit(X)
    above = lift(X).reshape(50, lift.biases.numel(), -1)
    shares = above.mean((0, 2))  # of responses above their bias
    assert shares.min() > 0.19
    assert shares.max() < 0.81
    assert shares.std() > 0.1  # every kernel has its own
    soft = MultiScaleLift(2, len(shape), kernels_per_scale=20, nonlinearity="soft step").fit(X)
    torch.testing.assert_close(soft.biases, lift.biases)
    responses = torch.cat([soft._respond(X, i) for i in range(len(soft.dilations))], 1)
    spreads = responses.transpose(0, 1).flatten(1).std(1, correction=0)
    torch.testing.assert_close(soft.spreads.flatten(), spreads)


def test_the_zero_frequency_of_the_step_is_the_share_of_positive_responses():
    X = samples(5, 1, 32)
    lift = MultiScaleLift(1, 1, kernels_per_scale=6).fit(X)
    net = ReduNet.construct(X, [0, 1, 0, 1, 0], num_layers=1, lift=lift)
    above = torch.cat([lift._respond(X, i) for i in range(len(lift.dilations))], 1)
    above = above - lift.biases.flatten()[:, None]
    ppv = (above > 0).double().mean(2)  # (m, C): ROCKET's feature
    V = net.spectrum(lift(X))
    torch.testing.assert_close(V[0].real, math.sqrt(32) * ppv)
    assert (V[1:].abs() > 1e-3).any()  # the network sees more than that


def test_differences_are_further_channels():
    X = samples(3, 2, 9)
    lift = MultiScaleLift(2, 1, kernels_per_scale=4, differences=True).fit(X)
    assert lift.kernels.shape[2] == 4
    plain = MultiScaleLift(4, 1, kernels_per_scale=4, dilations=lift.dilations)
    plain.fit(torch.cat([X, X - X.roll(1, 2)], 1))
    torch.testing.assert_close(lift(X), plain(torch.cat([X, X - X.roll(1, 2)], 1)))


def test_seeds_and_the_global_state():
    X = samples(4, 1, 20)
    before = torch.get_rng_state()
    first, again = (MultiScaleLift(1, 1, seed=3).fit(X) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first(X), again(X))
    assert not torch.equal(MultiScaleLift(1, 1, seed=4).fit(X)(X), first(X))


def test_blocks_of_samples_give_the_same(monkeypatch):
    X = samples(7, 1, 20)
    lift = MultiScaleLift(1, 1, kernels_per_scale=3).fit(X)
    whole = lift(X)
    monkeypatch.setitem(BLOCK_ENTRIES, "cpu", 2 * whole[0].numel())
    assert torch.equal(lift(X), whole)


@pytest.mark.parametrize(
    ("nonlinearity", "shape"),
    [("soft step", (2, 17)), ("step", (1, 6, 7)), ("relu", (1, 6, 7)), ("step", (4,))],
)
def test_networks_are_saved_and_exported(nonlinearity, shape, tmp_path):
    X = samples(12, *shape)
    lift = MultiScaleLift(
        shape[0], len(shape) - 1, kernels_per_scale=9, nonlinearity=nonlinearity, differences=True
    ).fit(X)
    net = ReduNet.construct(X, np.arange(12) % 3, num_layers=1, lift=lift)
    net.save(tmp_path / "net.safetensors")
    twin = ReduNet.load(tmp_path / "net.safetensors")
    assert torch.equal(twin(X), net(X))
    assert repr(twin.lift) == repr(net.lift)
    assert_graph_equals(net, tmp_path / "net.pt2", X, features=1e-9, membership=1e-9)


def test_digits_that_are_shifted_anywhere():
    X, labels = datasets.digits()
    train, test = slice(0, 1000), slice(1000, 1400)
    options = {"kernels_per_scale": 24, "nonlinearity": "relu", "differences": True}
    lift = MultiScaleLift(1, 2, **options).fit(X[train])
    net = ReduNet.construct(X[train], labels[train], num_layers=1, lift=lift)
    predicted = net.predict(X[test])
    assert (predicted == labels[test].numpy()).mean() > 0.93  # 0.970
    np.testing.assert_array_equal(net.predict(X[test].roll((3, 5), (2, 3))), predicted)


def test_automatic_dilations():
    assert automatic_dilations((), 1) == (1,)
    assert automatic_dilations((8, 8), 3) == (1, 2, 4)
    assert automatic_dilations((28, 28), 3) == (1, 2, 4, 8, 16)
    assert automatic_dilations((150,), 9) == (1, 2, 4, 8, 16, 32)
    assert automatic_dilations((3,), 9) == (1,)
    assert automatic_dilations((1,), 1) == (1,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ndim": 4}, "ndim must be 0, 1, 2 or 3, got 4"),
        ({"kernels_per_scale": 0}, "kernels_per_scale must be at least 1, got 0"),
        ({"dilations": [1, 0]}, "dilations must be at least 1, got 0"),
        (
            {"nonlinearity": "sign"},
            "nonlinearity must be one of .*'relu', 'competing'.*, or several of them, got 'sign'",
        ),
    ],
)
def test_settings_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        MultiScaleLift(**{"in_channels": 1, "ndim": 1, **options})


def test_samples_of_another_shape_and_a_lift_that_is_not_fitted():
    lift = MultiScaleLift(2, 2)
    with pytest.raises(ValueError, match=r"shape \(m, 2, H, W\), got a batch of shape \(3, 1,"):
        lift.fit(samples(3, 1, 5, 5))
    with pytest.raises(RuntimeError, match="not fitted: call fit"):
        lift(samples(3, 2, 5, 5))
    with pytest.raises(RuntimeError, match="not fitted: call fit"):
        MultiScaleLift(2, 1, dilations=[1])(samples(3, 2, 5))
