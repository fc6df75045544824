"""Where samples lie and in which unit they are measured changes nothing, where it should not."""

import numpy as np
import pytest
import torch

from redunet import (
    LossyCodingClustering,
    MICLClassifier,
    MultiScaleLift,
    NearestSubspaceClassifier,
    PCALift,
    RateReductionMeter,
    ReduNetClassifier,
    Standardize,
    coding_length,
    coding_rate,
    rate_reduction,
)
from redunet.rates import pairwise_rate_reduction
from tests.samples import samples

TRAIN, TEST = slice(None, None, 2), slice(1, None, 2)
LABELS = np.repeat([0, 1, 2], 20)
OFFSETS = [(np.float32, 1e4), (np.float64, 5e6), (np.float64, 1e10)]
UNITS = [(np.float32, 2.0**-100), (np.float32, 2.0**67), (np.float64, 2.0**-200)]


def classes(*shape):
    """Samples near planes of their own, about means of their own, in multiples of 1/1024."""
    rng = np.random.default_rng(0)
    bases, means = rng.normal(size=(3, 2, *shape)), 3 * rng.normal(size=(3, *shape))
    X = np.stack([means[j] + np.tensordot(rng.normal(size=2), bases[j], 1) for j in LABELS])
    return np.round((X + 0.02 * rng.normal(size=X.shape)) * 1024) / 1024


def moved(X, dtype, offset):
    """The samples at an offset, and the same samples back again: rounding happens before."""
    far = (X + offset).astype(dtype)
    return far, far.astype(np.float64) - offset


CLASSIFIERS = {
    "nearest subspace": ((8,), NearestSubspaceClassifier(2, center=True)),
    "nearest subspace of series": (
        (5, 9),
        NearestSubspaceClassifier(2, center=True, shift_invariant=True),
    ),
    "MICL": ((8,), MICLClassifier()),
    "MICL of series": ((2, 9), MICLClassifier(shift_invariant=True)),
    "ReduNet": ((8,), ReduNetClassifier()),
    "ReduNet of series": ((2, 9), ReduNetClassifier()),
}


@pytest.mark.parametrize(("shape", "model"), CLASSIFIERS.values(), ids=CLASSIFIERS)
@pytest.mark.parametrize(("dtype", "offset"), OFFSETS)
def test_classifiers_of_samples_far_from_the_origin(shape, model, dtype, offset):
    far, near = moved(classes(*shape), dtype, offset)
    model.fit(far[TRAIN], LABELS[TRAIN])
    found = model.predict(far[TEST])
    expected = model.fit(near[TRAIN], LABELS[TRAIN]).predict(near[TEST])
    np.testing.assert_array_equal(found, expected)
    assert (found == LABELS[TEST]).mean() > 0.9


@pytest.mark.parametrize(("shape", "model"), CLASSIFIERS.values(), ids=CLASSIFIERS)
@pytest.mark.parametrize(("dtype", "unit"), UNITS)
def test_classifiers_of_samples_in_any_unit(shape, model, dtype, unit):
    X = classes(*shape).astype(dtype)
    found = model.fit(X[TRAIN] * dtype(unit), LABELS[TRAIN]).predict(X[TEST] * dtype(unit))
    expected = model.fit(X[TRAIN], LABELS[TRAIN]).predict(X[TEST])
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("shift_invariant", [False, True])
@pytest.mark.parametrize(("dtype", "offset"), OFFSETS)
def test_distances_to_subspaces_far_from_the_origin(shift_invariant, dtype, offset):
    far, near = moved(classes(2, 9), dtype, offset)
    model = NearestSubspaceClassifier(2, center=True, shift_invariant=shift_invariant)
    found = model.fit(far, LABELS).decision_function(far)
    means = model.means_
    expected = model.fit(near, LABELS).decision_function(near)
    # The Fourier transform rounds to 16 digits of the offset.
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=max(1e-9, 1e-14 * offset))
    level = offset * (3 if shift_invariant else 1)  # the root of nine places
    np.testing.assert_allclose(means[0] - level, model.means_[0], atol=max(1e-9, 1e-15 * offset))


def test_classes_far_from_each_other():
    X = classes(8) + 1e7 * LABELS[:, None]
    model = NearestSubspaceClassifier(2, center=True)
    found = model.fit(X, LABELS).decision_function(X)
    own = model.fit(classes(8), LABELS).decision_function(classes(8))
    rows = np.arange(60)
    np.testing.assert_allclose(found[rows, LABELS], own[rows, LABELS], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"shift_invariant": True}])
@pytest.mark.parametrize(("dtype", "offset"), OFFSETS)
def test_clusters_do_not_depend_on_the_origin(options, dtype, offset):
    shape = (2, 9) if "shift_invariant" in options else (8,)
    far, near = moved(classes(*shape), dtype, offset)
    model = LossyCodingClustering(center=True, **options)
    found, expected = (model.fit(X).labels_.tolist() for X in (far, near))
    assert found == expected
    assert model.fit(far).predict(far).tolist() == model.fit(near).predict(near).tolist()


@pytest.mark.parametrize(("dtype", "unit"), UNITS)
def test_clusters_do_not_depend_on_the_unit(dtype, unit):
    X, model = classes(8).astype(dtype), LossyCodingClustering()
    assert model.fit(X * dtype(unit)).labels_.tolist() == model.fit(X).labels_.tolist()


@pytest.mark.parametrize("shape", [(8,), (2, 9)])
@pytest.mark.parametrize(("dtype", "offset"), OFFSETS[1:])
def test_coding_lengths_far_from_the_origin(shape, dtype, offset):
    far, near = moved(classes(*shape), dtype, offset)
    found, expected = (coding_length(X, 0.1, LABELS, center=True) for X in (far, near))
    channels = shape[0]

    def of_means(X):
        means = np.stack([X[j == LABELS].mean(0).reshape(channels, -1).mean(1) for j in range(3)])
        return channels / 2 * np.log1p(np.square(means).sum(1) / 0.1).sum()

    change = of_means(far) - of_means(near)
    np.testing.assert_allclose(found - expected, change, rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize("shape", [(8,), (70,), (2, 9)])
@pytest.mark.parametrize(("dtype", "unit"), UNITS)
def test_rates_depend_on_samples_in_units_of_epsilon_alone(shape, dtype, unit):
    X = torch.from_numpy(classes(*shape).astype(dtype))
    eps_sq, far = 0.1, X * dtype(unit)

    def metered(Z, precision):
        meter = RateReductionMeter(precision)
        for part in np.split(np.arange(60), 6):
            meter.update(Z[part], LABELS[part])
        return torch.stack(meter.compute())

    for rate in (
        coding_rate,
        lambda Z, e: torch.stack(rate_reduction(Z, LABELS, e)),
        lambda Z, e: pairwise_rate_reduction(Z, LABELS, e),
        lambda Z, e: coding_length(Z, e, LABELS),
        lambda Z, e: coding_length(Z, e, LABELS, center=True),
        metered,
    ):
        torch.testing.assert_close(rate(far, eps_sq * unit**2), rate(X, eps_sq))
    Z = far.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(coding_rate(Z, eps_sq * unit**2), Z)
    Z = X.clone().requires_grad_()
    (expected,) = torch.autograd.grad(coding_rate(Z, eps_sq), Z)
    torch.testing.assert_close(gradient * dtype(unit), expected)


@pytest.mark.parametrize(
    "lift",
    [
        PCALift(2, 3, 3, ndim=1, threshold=0),
        Standardize(2),
        MultiScaleLift(2, 1, kernels_per_scale=4, dilations=(1, 2), nonlinearity="soft step"),
    ],
    ids=lambda lift: type(lift).__name__,
)
def test_lifts_are_fitted_to_samples_of_any_offset_and_unit(lift):
    X = samples(20, 2, 12)
    expected = lift.fit(X)(X)
    for offset in (5e6, 1e10):
        found = lift.fit(X + offset)(X + offset)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-14 * offset)
    if isinstance(lift, PCALift):
        kernels = lift.kernels.clone()
        torch.testing.assert_close(lift.fit(X * 2.0**-200).kernels, kernels, rtol=0, atol=1e-4)
        return
    single = X.float()
    for unit in (2.0**-100, 2.0**67):
        torch.testing.assert_close(lift.fit(single * unit)(single * unit), lift.fit(single)(single))
