"""A construction with nothing but samples and labels, and settings that stay as they are given."""

import math
import warnings

import numpy as np
import pytest
import torch

from redunet import Exact, RandomCirculantLift, ReduNet, Softmax, Variational, datasets
from redunet.construction.settings import MOST_LAYERS, TOLERANCE
from redunet.construction.steps import ROUND, longest_constant_step

LABELS = np.arange(60) % 3


def samples(*shape):
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(3, *shape, generator=generator)
    return means[LABELS] + torch.randn(60, *shape, generator=generator)


@pytest.mark.parametrize("shape", [(5,), (4, 9), (4, 6, 5), (4, 3, 4, 2)])
def test_the_first_call_needs_nothing(shape):
    X = samples(*shape)
    net = ReduNet.construct(X, LABELS)
    frequencies = math.prod(shape[1:])
    assert net.settings.eps_sq == 0.5 / frequencies
    step = net.settings.eta * shape[0] / (60 * net.settings.eps_sq)
    assert step == pytest.approx(2)
    assert net.settings.adaptive_eta
    assert (net.settings.operators, net.settings.membership) == (Exact(), Softmax(500.0))
    assert len(net.layers) <= net.settings.num_layers == MOST_LAYERS
    # The last layer of every round but the last raised ΔR by more than the tolerance.
    assert len(net.layers) % ROUND == 0 or len(net.layers) == MOST_LAYERS
    growth = (np.diff(net.history.delta) / np.abs(net.history.delta[:-1]))[ROUND - 1 :: ROUND]
    assert net.settings.tol == TOLERANCE
    assert (growth[:-1] >= TOLERANCE).all()
    assert growth[-1] < TOLERANCE or len(net.layers) == MOST_LAYERS


def test_it_gets_as_far_as_many_small_steps():
    X, labels = datasets.digits()
    X, labels = X[:500].flatten(1), labels[:500]
    net = ReduNet.construct(X, labels)
    slow = ReduNet.construct(X, labels, num_layers=100, eta=0.5)
    assert len(net.layers) <= 15
    assert net.history.delta[-1] > 0.95 * slow.history.delta[-1]


@pytest.mark.parametrize(
    "given",
    [
        {"num_layers": 3},
        {"eta": 0.01},
        {"eps_sq": 7.0},
        {"tol": 0.2},
        {"num_layers": 2, "eta": 0.3, "eps_sq": 0.2},
        {"num_layers": 30, "tol": 0.0},
        {"operators": Variational(2), "membership": Softmax(3.0), "momentum": 0.4},
    ],
)
@pytest.mark.filterwarnings("ignore:the construction stopped")
def test_settings_that_are_given_are_not_changed(given):
    net = ReduNet.construct(samples(6), LABELS, **given)
    for name, value in given.items():
        assert getattr(net.settings, name) == value
    if "num_layers" in given and "tol" not in given:
        assert net.settings.tol is None
        assert len(net.layers) == given["num_layers"]
    if "eta" not in given:
        step = net.settings.eta * 6 / (60 * net.settings.eps_sq)
        assert step == pytest.approx(longest_constant_step(net.settings.momentum))
    assert net.settings.adaptive_eta == ("eta" not in given and "momentum" not in given)
    if not net.settings.adaptive_eta:
        assert {layer.eta for layer in net.layers} == {net.settings.eta}


@pytest.mark.filterwarnings("error::redunet.ReduNetWarning")
def test_signals_of_few_channels_get_one_warning():
    with pytest.warns(UserWarning, match="sees little more than the power at each") as found:
        ReduNet.construct(samples(2, 7, 8), LABELS, num_layers=2)
    assert len(found) == 1
    assert found[0].filename == __file__
    assert "RandomCirculantLift(2, 32, 3, ndim=2)" in str(found[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lift = RandomCirculantLift(2, 8, 3, ndim=2)
        ReduNet.construct(samples(2, 7, 8), LABELS, num_layers=2, lift=lift)
        ReduNet.construct(samples(4, 7), LABELS, num_layers=2)
        ReduNet.construct(samples(2), LABELS, num_layers=2)  # vectors


def test_a_construction_that_stops_because_the_rate_reduction_falls_says_so():
    X = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))  # nothing to learn
    with pytest.warns(UserWarning, match="stopped after . layer.* lowered the rate reduc") as found:
        net = ReduNet.construct(X, LABELS, eta=1e4)
    assert net.history.delta[-1] < net.history.delta[-2]
    assert any(warning.filename == __file__ for warning in found)
