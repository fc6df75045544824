import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redunet import MultiScaleLift, ReduNet, Standardize
from redunet.lifts.multi_scale import BLOCK_ENTRIES, GROUP, NONLINEARITIES
from redunet.rates import HalfSpectrum
from tests.exported import assert_graph_equals
from tests.samples import samples

shapes = st.lists(st.integers(1, 9), min_size=0, max_size=3)
ALL = ("step", "soft step", "relu", "competing")


def competing(channels, ndim, **options):
    options = {"kernels_per_scale": 16, "nonlinearity": "competing", **options}
    return MultiScaleLift(channels, ndim, **options)


@given(shapes, st.booleans(), st.integers(1, 5), st.lists(st.integers(-20, 20), min_size=3))
def test_competition_commutes_with_shifts(shape, differences, size, steps):
    X = samples(4, 2, *shape)
    lift = competing(2, len(shape), kernel_size=size, differences=differences).fit(X)
    axes = tuple(range(2, X.ndim))
    move = (lambda A: A.roll(steps[: len(axes)], axes)) if axes else torch.clone
    torch.testing.assert_close(lift(move(X)), move(lift(X)), rtol=0, atol=1e-12)


@given(shapes, st.lists(st.integers(-20, 20), min_size=3))
def test_means_are_invariant(shape, steps):
    X = samples(4, 2, *shape)
    lift = competing(2, len(shape), nonlinearity=("soft step", "competing"), mean=True).fit(X)
    axes = tuple(range(2, X.ndim))
    shifted = X.roll(steps[: len(axes)], axes) if axes else X
    assert lift(X).shape == (4, 3 * 16 * len(lift.dilations))
    torch.testing.assert_close(lift(shifted), lift(X), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(), (13,), (4, 5), (2, 3, 4)])
def test_only_the_strongest_and_the_weakest_pass(shape):
    X = samples(3, 2, *shape)
    lift = competing(2, len(shape)).fit(X)
    responses = torch.cat([lift._respond(X, i) for i in range(len(lift.dilations))], 1)
    channels = lift(X).unflatten(1, (-1, 2, GROUP))
    groups = responses.unflatten(1, (-1, GROUP)).movedim(2, -1)  # (m, groups, *spatial, 8)
    for place in np.ndindex(groups.shape[:-1]):
        of_group = groups[place]
        values, marks = channels[(place[0], place[1], slice(None), slice(None), *place[2:])]
        expected = torch.zeros(2, GROUP, dtype=X.dtype)
        top, low = of_group.argmax(), of_group.argmin()
        expected[0, top] = of_group[top].clamp_min(0)
        expected[1, low] = of_group[low] < 0
        torch.testing.assert_close(torch.stack([values, marks]), expected)


def test_means_are_the_counts_of_hydra():
    X = samples(5, 1, 40)
    lift = competing(1, 1, kernels_per_scale=8, dilations=[3], mean=True).fit(X)
    responses = lift._respond(X, 0)
    top, low = responses.max(1), responses.min(1)  # over the kernels of the group
    soft = torch.zeros(5, 8, dtype=X.dtype).scatter_add_(1, top.indices, top.values.clamp_min(0))
    hard = torch.zeros(5, 8, dtype=X.dtype).scatter_add_(1, low.indices, (low.values < 0).double())
    torch.testing.assert_close(lift(X), torch.cat([soft, hard], 1) / 40)


@pytest.mark.parametrize("nonlinearity", [*ALL, ALL])
@pytest.mark.parametrize("shape", [(), (12,), (6, 5), (3, 4, 2)])
def test_means_are_the_zero_frequency(shape, nonlinearity):
    X, options = samples(5, 2, *shape), {"kernels_per_scale": 16, "nonlinearity": nonlinearity}
    lift, mean = (
        MultiScaleLift(2, len(shape), mean=mean, **options).fit(X) for mean in (False, True)
    )
    V = HalfSpectrum(shape)(lift(X))
    torch.testing.assert_close(mean(X), V[0].real / math.sqrt(math.prod(shape)))


@pytest.mark.parametrize("nonlinearity", [*ALL, ALL])
def test_blocks_bound_the_responses_in_memory(nonlinearity, monkeypatch):
    X = samples(3, 1, 50)
    lift = MultiScaleLift(1, 1, kernels_per_scale=24, nonlinearity=nonlinearity, mean=True).fit(X)
    whole, sizes, respond = lift(X), [], lift._respond
    monkeypatch.setattr(lift, "_respond", lambda *a: sizes.append(respond(*a)) or sizes[-1])
    for entries in (2 * 24 * 50, 8 * 50, 1):
        sizes.clear()
        monkeypatch.setitem(BLOCK_ENTRIES, "cpu", entries)
        torch.testing.assert_close(lift(X), whole)
        assert max(r.numel() for r in sizes) <= max(entries, GROUP * 50)


def test_several_nonlinearities_share_the_responses(monkeypatch):
    X = samples(4, 2, 20)
    lift = MultiScaleLift(2, 1, kernels_per_scale=8, dilations=[1, 4], nonlinearity=ALL).fit(X)
    alone = [
        MultiScaleLift(2, 1, kernels_per_scale=8, dilations=[1, 4], nonlinearity=kind).fit(X)
        for kind in ALL
    ]
    by_scale = [part(X).chunk(2, 1) for part in alone]
    expected = torch.cat([part[scale] for scale in (0, 1) for part in by_scale], 1)
    torch.testing.assert_close(lift(X), expected)


@pytest.mark.parametrize("shape", [(60,), (12, 10)])
def test_constant_places_do_not_compete(shape):
    """Padding responds with rounding alone, which differs from place to place."""
    X = torch.zeros(6, 1, *shape)
    X[(..., *[slice(0, 5)] * len(shape))] = samples(6, 1, *[5] * len(shape)).float()
    lift = torch.nn.Sequential(Standardize(1).fit(X), competing(1, len(shape), dilations=[1]))
    lift[1].fit(lift[0](X))
    axes, steps = tuple(range(2, X.ndim)), (7, 3)[: len(shape)]
    channels = lift(X)
    torch.testing.assert_close(lift(X.roll(steps, axes)), channels.roll(steps, axes))
    assert (channels[0].flatten(1) != 0).any(0).float().mean() < 0.5
    flat = torch.full_like(X, 0.3)  # a training set without any variation
    assert not competing(1, len(shape), dilations=[1]).fit(flat)(flat).any()


@pytest.mark.parametrize(
    ("shape", "mean"), [((2, 17), False), ((2, 17), True), ((1, 6, 7), True), ((4,), False)]
)
def test_networks_are_saved_and_exported(shape, mean, tmp_path):
    X = samples(12, *shape)
    lift = competing(shape[0], len(shape) - 1, nonlinearity=["relu", "competing"], mean=mean)
    net = ReduNet.construct(X, np.arange(12) % 3, num_layers=1, lift=lift.fit(X))
    net.save(tmp_path / "net.safetensors")
    twin = ReduNet.load(tmp_path / "net.safetensors")
    assert torch.equal(twin(X), net(X))
    assert repr(twin.lift) == repr(net.lift)
    assert_graph_equals(net, tmp_path / "net.pt2", X, features=1e-9, membership=1e-9)


def test_onnx_has_the_same(tmp_path):
    X = samples(6, 1, 16).float()
    lift = competing(1, 1, nonlinearity=ALL, mean=True).fit(X)
    net = ReduNet.construct(X, [0, 1] * 3, num_layers=1, lift=lift)
    assert_graph_equals(net, tmp_path / "net.onnx", X, membership=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernels_per_scale": 12}, "groups of 8: kernels_per_scale must be a multiple of 8, got"),
        ({"nonlinearity": ()}, r"nonlinearity must be one of .*several of them, got \(\)"),
        ({"nonlinearity": ("relu", "max")}, r"or several of them, got \('relu', 'max'\)"),
    ],
)
def test_settings_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        competing(1, 1, **options)


def test_all_nonlinearities_are_tested():
    assert set(NONLINEARITIES) == set(ALL)
