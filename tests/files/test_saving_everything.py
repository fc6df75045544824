"""Every kind of operators, memberships and lifts comes back from a file."""

import copy

import pytest
import torch
from torch import nn

from redunet import (
    Band,
    MultiScaleLift,
    PCALift,
    RandomCirculantLift,
    ReduNet,
    ReduNetClassifier,
    ScatteringLift,
    Search,
    SharedDictionary,
    ShortTimeFourierLift,
    Standardize,
    Variational,
)
from redunet.layers import MEMBERSHIPS, OPERATOR_KINDS, Rectified, Softmax
from redunet.lifts import LIFTS
from tests.samples import samples

pytestmark = pytest.mark.filterwarnings("ignore:without a lift", "ignore:.*samples, fewer than")

Y = torch.arange(12) % 2
X = samples(12, 2, 32) + Y[:, None, None]

OPERATORS = [
    "exact",
    "extensible",
    Variational(1),
    SharedDictionary(4, mu=0.5),
]
RULES = [Softmax(8.0), Softmax(float("inf"), balanced=True), Rectified(4.0)]
CHANNELS = {"in_channels": 2, "out_channels": 3, "kernel_size": 3, "ndim": 1}
MULTI_SCALE = MultiScaleLift(2, 1, kernels_per_scale=2, kernel_size=3, nonlinearity="relu").fit(X)
LIFTED = [
    None,
    Band(3),
    MULTI_SCALE,
    PCALift(**CHANNELS, threshold=0.1).fit(X),
    [RandomCirculantLift(**CHANNELS, threshold=0.0), nn.Hardshrink(0.1)],
    ScatteringLift(32, 1, 2, phases=2),
    ShortTimeFourierLift(6),
    Standardize(2, constant=True).fit(X),
    nn.Sequential(nn.Identity(), nn.Sequential(MULTI_SCALE, Band(3))),
    nn.Sequential(),
    [Standardize(2).fit(X), nn.ReLU(), nn.Softshrink(0.25), nn.AdaptiveAvgPool1d(8)],
    nn.Flatten(),
    [nn.Unflatten(1, (1, 2)), nn.AdaptiveAvgPool2d((2, 8))],
]


def assert_comes_back(net, samples, tmp_path, **options):
    net.save(tmp_path / "net.safetensors")
    twin = ReduNet.load(tmp_path / "net.safetensors", **options)
    assert torch.equal(twin(samples), net(samples))
    assert torch.equal(twin.membership(samples), net.membership(samples))
    assert (twin.settings, repr(twin)) == (net.settings, repr(net))


def test_nothing_is_left_out():
    """A kind that is new must be added above."""
    assert {type(rule) for rule in RULES} == {MEMBERSHIPS[name] for name in MEMBERSHIPS.names}
    kinds = {OPERATOR_KINDS[k] if isinstance(k, str) else type(k) for k in OPERATORS}
    assert kinds == {OPERATOR_KINDS[name] for name in OPERATOR_KINDS.names}
    parts = nn.ModuleList(nn.Sequential(*lift) if type(lift) is list else lift for lift in LIFTED)
    used = {type(part) for part in parts.modules()}
    assert {LIFTS[name] for name in LIFTS.names} <= used


@pytest.mark.parametrize("operators", OPERATORS, ids=str)
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_every_kind_of_operators_and_memberships(operators, rule, tmp_path):
    options = {"operators": operators, "membership": rule, "num_layers": 2, "eps_sq": 0.5}
    assert_comes_back(ReduNet.construct(X, Y, **options), X, tmp_path)


@pytest.mark.parametrize("operators", ["exact", "extensible", Variational(1)], ids=str)
@pytest.mark.parametrize("lift", LIFTED, ids=lambda lift: type(lift).__name__)
def test_every_lift(lift, operators, tmp_path):
    net = ReduNet.construct(X, Y, lift=lift, operators=operators, num_layers=1, eps_sq=0.5)
    unknown = isinstance(lift, list) and isinstance(lift[0], nn.Unflatten)
    assert_comes_back(net, X, tmp_path, **({"lift": copy.deepcopy(net.lift)} if unknown else {}))


@pytest.mark.parametrize(
    "candidates",
    [None, [None], [None, MULTI_SCALE], [nn.Identity(), MULTI_SCALE], [MULTI_SCALE, Band(2), None]],
)
def test_every_choice_of_a_search(candidates, tmp_path):
    few = slice(0, 4)  # two samples of each class, which are not left out
    for rows in (slice(None), few):
        search = Search(candidates, bands=[2, None]).fit(X[rows], Y[rows])
        net = ReduNet.construct(X[rows], Y[rows], num_layers=2, **search.arguments)
        assert_comes_back(net, X, tmp_path)


@pytest.mark.parametrize("lift", ["auto", None, MULTI_SCALE])
def test_the_network_of_a_classifier(lift, tmp_path):
    model = ReduNetClassifier(lift=lift).fit(X, Y)
    assert_comes_back(model.net_, X, tmp_path)
