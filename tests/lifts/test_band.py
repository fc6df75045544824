import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from redunet import Band, MultiScaleLift, ReduNet, Standardize
from redunet.lifts.base import in_blocks
from redunet.rates import HalfSpectrum
from tests.samples import samples


@given(st.lists(st.integers(1, 9), min_size=1, max_size=3), st.integers(0, 4))
def test_kept_coefficients_do_not_change(shape, largest):
    X = samples(3, 2, *shape)
    Y = Band(largest)(X)
    assert Y.shape[2:] == tuple(min(n, 2 * largest + 1) for n in shape)
    spectrum, small = HalfSpectrum(shape), HalfSpectrum(Y.shape[2:])
    limits = torch.tensor([n // 2 for n in Y.shape[2:]])
    kept = (spectrum.frequencies.abs() <= limits).all(1)
    assert torch.equal(spectrum.frequencies[kept], small.frequencies)
    assert torch.equal(spectrum.weights[kept], small.weights)
    torch.testing.assert_close(small(Y), spectrum(X)[kept])


@given(st.integers(2, 12), st.integers(0, 3), st.integers(-20, 20))
def test_a_shift_multiplies_by_phases(length, largest, shift):
    X = samples(2, 3, length)
    spectrum = HalfSpectrum(Band(largest)(X).shape[2:])
    V, shifted = (spectrum(Band(largest)(x)) for x in (X, X.roll(shift, 2)))
    phases = torch.exp(-2j * torch.pi * shift * spectrum.frequencies[:, :1, None].double() / length)
    torch.testing.assert_close(shifted, V * phases)


@given(st.integers(4, 11), st.integers(4, 11), st.integers(-9, 9), st.integers(-9, 9))
def test_memberships_are_exactly_invariant(height, width, down, right):
    X = samples(12, 1, height, width)
    lift = [MultiScaleLift(1, 2, kernels_per_scale=4, dilations=(1, 2)).fit(X), Band(1)]
    net = ReduNet.construct(X, torch.arange(12) % 2, lift=lift, num_layers=2, lam=5.0)
    new = samples(5, 1, height, width, seed=1)
    torch.testing.assert_close(
        net.membership(new.roll((down, right), (2, 3))), net.membership(new), rtol=0, atol=1e-10
    )


def test_band_zero_is_the_mean():
    X = samples(3, 2, 6, 5)
    torch.testing.assert_close(Band(0)(X)[..., 0, 0], X.mean((2, 3)) * 30**0.5)


def test_bands_are_not_negative():
    with pytest.raises(ValueError, match="frequencies must be at least 0"):
        Band(-1)


def test_blocks_give_the_same_as_all_at_once(monkeypatch):
    X = samples(7, 1, 6)
    lift = nn.Sequential(MultiScaleLift(1, 1, dilations=(1,)).fit(X), Band(1))
    whole = lift(X)
    seen = []
    lift[1].register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    monkeypatch.setattr("redunet.lifts.base.BLOCK_ENTRIES", 2 * 32 * 6)
    torch.testing.assert_close(in_blocks(lift, X), whole)
    assert max(seen) == 2


def test_standardized_channels():
    X = samples(20, 3, 5) * torch.tensor([1.0, 100.0, 0.0])[:, None] + 7
    lift = Standardize(3, constant=True).fit(X)
    Y = lift(X)
    torch.testing.assert_close(Y[:, :3].mean((0, 2)), torch.zeros(3).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(Y[:, :2].std((0, 2), correction=0), torch.ones(2).double())
    assert (Y[:, 2] == 0).all()
    assert (Y[:, 3] == 1).all()
    with pytest.raises(ValueError, match="in_channels=3"):
        lift(X[:, :2])
    with pytest.raises(RuntimeError, match="not fitted"):
        Standardize(3)(X)
