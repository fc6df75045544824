import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redunet import (
    PCALift,
    RandomCirculantLift,
    ReduNet,
    ReduNetWarning,
    Standardize,
    polar_samples,
)
from redunet.datasets import all_shifts, rotations
from redunet.lifts import lift_from_json, lift_to_json


def images(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(
    ("shape", "size"), [((7,), 3), ((6,), 4), ((5,), 5), ((4, 6), 3), ((5, 4), (2, 3))]
)
def test_lift_is_circular_correlation(shape, size):
    lift = RandomCirculantLift(2, 3, size, len(shape), threshold=0.0).double()
    X, kernels = images(2, 2, *shape), lift.kernels
    expected = torch.zeros(2, 3, *shape, dtype=X.dtype)
    for offset in torch.cartesian_prod(*(torch.arange(n) for n in kernels.shape[2:])).tolist():
        offset = offset if isinstance(offset, list) else [offset]
        # Kernels are centred: their middle, the earlier one of two, stands on the sample.
        shift = [(n - 1) // 2 - o for n, o in zip(kernels.shape[2:], offset, strict=True)]
        weights = kernels[(slice(None), slice(None), *offset)]
        rolled = X.roll(shift, tuple(range(2, X.ndim)))
        expected += torch.einsum("oi,mi...->mo...", weights, rolled)
    torch.testing.assert_close(lift(X), expected)
    lift.threshold = "relu"
    torch.testing.assert_close(lift(X), expected.clamp_min(0))
    lift.threshold = 0.7
    torch.testing.assert_close(lift(X), expected.sign() * (expected.abs() - 0.7).clamp_min(0))


def test_a_soft_threshold_is_saved():
    lift = RandomCirculantLift(1, 2, 3, 1, threshold=0.5)
    again = lift_from_json(lift_to_json(lift))
    X = images(3, 1, 9).float()
    torch.testing.assert_close(again(X), lift(X))


@given(st.lists(st.integers(3, 6), min_size=1, max_size=2), st.integers(1, 3))
def test_lift_commutes_with_every_shift(shape, size):
    lift = RandomCirculantLift(1, 2, size, len(shape)).double()
    X = images(1, 1, *shape)
    torch.testing.assert_close(lift(all_shifts(X)[0]), all_shifts(lift(X))[0])


def test_kernels_follow_their_seed_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one, two, other = (RandomCirculantLift(1, 400, 5, 2, seed=seed).kernels for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert abs(one.mean().item()) < 0.05  # standard normal, 10 000 of them
    assert one.std().item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ndim": 4}, "ndim must be 1, 2 or 3, got 4"),
        ({"kernel_size": (3, 3, 3)}, r"kernel_size must be one integer or 2, got \(3, 3, 3\)"),
        ({"kernel_size": 0}, "kernel_size must be at least 1, got 0"),
        ({"out_channels": 0}, "out_channels must be at least 1, got 0"),
        ({"threshold": "soft"}, "threshold must be 'relu' or a number t >= 0, got 'soft'"),
        ({"threshold": -1.0}, "threshold must be .* got -1.0"),
    ],
)
def test_settings_of_a_lift(options, message):
    defaults = {"in_channels": 1, "out_channels": 2, "kernel_size": 3, "ndim": 2}
    with pytest.raises(ValueError, match=message):
        RandomCirculantLift(**{**defaults, **options})


def test_samples_that_do_not_fit_a_lift():
    lift = RandomCirculantLift(1, 2, 5, 2)
    with pytest.raises(ValueError, match=r"samples of shape \(m, 1, H, W\), got"):
        lift(torch.zeros(3, 2, 8, 8))
    with pytest.raises(ValueError, match=r"kernels of \(5, 5\) do not fit signals of \(8, 4\)"):
        lift(torch.zeros(3, 1, 8, 4))


def test_a_quarter_turn_shifts_polar_samples_by_a_quarter():
    X = images(2, 1, 9, 9)
    samples = polar_samples(X, 4, 40)
    turned = polar_samples(rotations(X, 4)[:, 1], 4, 40)
    torch.testing.assert_close(turned, samples.roll(10, 2), rtol=0, atol=1e-6)


def test_polar_samples_of_known_pictures():
    rows, columns = torch.meshgrid(torch.arange(-4.0, 5), torch.arange(-4.0, 5), indexing="ij")
    samples = polar_samples(columns.expand(1, 1, 9, 9), [0, 1.5, 3], 8)
    angles = torch.arange(8) * (2 * math.pi / 8)
    # Bilinear interpolation is exact on a plane: x = r cos φ, and y = r sin φ upwards.
    torch.testing.assert_close(
        samples[0], torch.tensor([[0.0], [1.5], [3.0]]) * angles.cos(), rtol=0, atol=1e-5
    )
    samples = polar_samples(-rows.expand(1, 1, 9, 9), [2], 8)
    torch.testing.assert_close(samples[0, 0], 2 * angles.sin(), rtol=0, atol=1e-5)
    assert polar_samples(images(2, 3, 9, 9), 5, 8).shape == (2, 15, 8)


def test_channels_of_polar_samples_are_radii_of_the_first_channel_first():
    X = images(1, 2, 9, 9)
    both = polar_samples(X, 3, 8)
    torch.testing.assert_close(both[:, :3], polar_samples(X[:, :1], 3, 8))
    torch.testing.assert_close(both[:, 3:], polar_samples(X[:, 1:], 3, 8))
    torch.testing.assert_close(both[0, 0], X[0, 0, 4, 4].expand(8))


def test_outside_of_the_picture_is_zero():
    assert (polar_samples(torch.ones(1, 1, 5, 5), [10], 4) == 0).all()


def test_polar_samples_of_what_are_no_images():
    with pytest.raises(ValueError, match=r"images must have shape \(m, C, H, W\), got \(3, 8, 8\)"):
        polar_samples(torch.zeros(3, 8, 8), 3, 8)
    with pytest.raises(ValueError, match="angles must be at least 1, got 0"):
        polar_samples(torch.zeros(1, 1, 8, 8), 3, 0)
    with pytest.raises(ValueError, match="radii must be at least 1, got 0"):
        polar_samples(torch.zeros(1, 1, 8, 8), 0, 8)


# Principal components


@pytest.mark.parametrize(
    ("channels", "shape", "size"), [(2, (9,), 3), (1, (6, 7), (3, 2)), (2, (4, 5, 4), 2)]
)
def test_components_are_those_of_all_patches(channels, shape, size):
    X = images(5, channels, *shape)
    lift = PCALift(channels, 3, size, len(shape)).double().fit(X)
    # Every patch cut out, around the border too, and each without its mean.
    places = torch.cartesian_prod(*(torch.arange(n) for n in lift.kernel_size))
    cut = [X.roll((-p).tolist(), tuple(range(2, X.ndim))) for p in places.reshape(-1, len(shape))]
    patches = torch.stack(cut, 2).flatten(3).permute(0, 3, 1, 2).flatten(0, 1).flatten(1)
    patches -= patches.mean(1, keepdim=True)
    expected = torch.linalg.svd(patches, full_matrices=False)[2][:3]
    found = lift.kernels.flatten(1)
    torch.testing.assert_close((found * expected).sum(1).abs(), torch.ones(3, dtype=X.dtype))
    torch.testing.assert_close(found @ found.T, torch.eye(3, dtype=X.dtype))
    torch.testing.assert_close(found.sum(1), torch.zeros(3, dtype=X.dtype))


def test_responses_to_components_have_the_patches_variances():
    X = images(20, 1, 8, 8)
    lift = PCALift(1, 8, 3, 2, threshold=0.0).double().fit(X)
    variances = lift(X).square().mean((0, 2, 3))
    assert (variances.diff() < 0).all()  # the strongest first


def test_a_lift_by_components_needs_samples():
    lift = PCALift(1, 4, 3, 2)
    with pytest.raises(RuntimeError, match="not fitted"):
        lift(torch.zeros(1, 1, 8, 8))
    with pytest.raises(
        ValueError, match="8 dimensions without their mean, fewer than out_channels=9"
    ):
        PCALift(1, 9, 3, 2)
    with pytest.raises(ValueError, match=r"samples of shape \(m, 1, H, W\)"):
        lift.fit(torch.zeros(3, 2, 8, 8))


def test_a_network_on_components_is_saved(tmp_path):
    X = images(20, 1, 8, 8).float()
    lift = PCALift(1, 4, 3, 2).fit(X)
    net = ReduNet.construct(X, torch.arange(20) % 2, num_layers=2, lift=lift)
    net.save(tmp_path / "net.safetensors")
    loaded = ReduNet.load(tmp_path / "net.safetensors")
    torch.testing.assert_close(loaded.lift.kernels, lift.kernels)
    torch.testing.assert_close(loaded(X), net(X))


def test_a_list_of_lifts_holds_modules():
    with pytest.raises(
        TypeError, match=r"a lift must be a torch module, or a list of them, got \['relu'\]"
    ):
        ReduNet.construct(images(4, 1, 8, 8), [0, 0, 1, 1], num_layers=1, lift=["relu"])


# Standardisation


@pytest.mark.parametrize("shape", [(100, 3), (1, 3, 6, 6)])
def test_samples_in_another_unit_are_a_warning(shape):
    lift = Standardize(3).fit(255 * images(100, *shape[1:]))
    X = images(*shape, seed=1)
    lift(255 * X)
    lift(10 * X)
    lift(0 * X)  # blank
    lift(X[:1, :, :1, :1] if X.ndim > 2 else X[:1])  # one value of each channel
    with pytest.warns(ReduNetWarning, match=r"50 times less .* the same unit.* divide the int"):
        lift(X)
    with pytest.warns(ReduNetWarning, match=r"50 times more than those of the construction"):
        lift(255 * 255 * X)


@pytest.mark.parametrize("unit", [1e-200, 1e200])
def test_very_large_and_very_small_samples_are_standardised(unit):
    X = images(20, 3)
    found = Standardize(3).fit(unit * X)(unit * X)
    torch.testing.assert_close(found, Standardize(3).fit(X)(X), rtol=1e-12, atol=0)
