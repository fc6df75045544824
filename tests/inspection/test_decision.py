from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from redunet import (
    Band,
    MultiScaleLift,
    RandomCirculantLift,
    ReduNet,
    Search,
    Softmax,
    Standardize,
    datasets,
    explain,
)
from redunet.inspection import Decision
from redunet.layers import Membership
from tests.samples import samples

BALANCED = Softmax(20, balanced=True)


def problem(*shape, m=24):
    """Normally distributed samples, whose classes differ in their first channel."""
    labels = np.arange(m) % 3
    X = samples(m, *shape)
    X[:, 0] += torch.from_numpy(labels).view(-1, *[1] * len(shape[1:]))
    return X, np.array(["a", "b", "c"])[labels]


def lifts(channels, ndim):
    return [
        nn.Sequential(
            Standardize(channels),
            MultiScaleLift(channels, ndim, kernels_per_scale=3, kernel_size=2, dilations=(1, 2)),
        ),
        MultiScaleLift(channels, ndim, kernels_per_scale=5, nonlinearity="relu", dilations=(2,)),
        None,
    ]


def searched(X, labels, number, bands):
    """The network of a search with one of three lifts."""
    lift = lifts(X.shape[1], X.ndim - 2)[number]
    search = Search([lift], bands=bands).fit(X, labels)
    return ReduNet.construct(X, labels, num_layers=2, **search.arguments)


def dense_shares(net, x, winner, other, layer=0):
    """v, D v, and the shares by frequency and channel, from dense matrices."""
    chosen = net.layers[layer]
    (V,) = net.encode(x[None])
    for earlier in net.layers[:layer]:
        V = earlier(V)
    scale = chosen.proportions / chosen.alpha
    matrices = chosen.operators.matrices().compression * scale[:, None, None]
    one, two = (matrices[:, net.classes_.tolist().index(label)] for label in (winner, other))
    D = two.mH @ two - one.mH @ one
    V = V[:, 0].detach()
    DV = torch.einsum("fcd,fd->fc", D, V).detach()
    return V, DV, (V.conj() * DV).real


def signals_at(places, V, net):
    """Signals ``(C, places)`` with the half spectrum V, by sums of cosines."""
    grid = places.shape[1]
    frequencies = net.spectrum.frequencies.double()
    phases = 2 * torch.pi * frequencies @ places.to(frequencies).T
    roots = net.spectrum.weights.sqrt()[:, None].expand_as(phases)
    waves = torch.polar(roots, phases) if grid else roots
    return (V.T.to(waves.dtype) @ waves).real / len(places) ** 0.5


def places_of(shape):
    """Positions of all places of a grid, from 0 to 1 along each axis."""
    axes = [torch.arange(length, dtype=torch.float64) / length for length in shape]
    return torch.cartesian_prod(*axes).reshape(-1, len(shape)) if shape else torch.zeros(1, 0)


def check(net, x, decision, layer=0, bands=False):
    V, DV, shares = dense_shares(net, x, *decision.classes, layer=layer)
    by_frequency, by_channel = shares.sum(1).numpy(), shares.sum(0).numpy()
    np.testing.assert_allclose(decision.by_frequency, by_frequency, rtol=1e-9, atol=1e-14)
    if not bands:
        places = places_of(net.sample_shape[1:])
        by_place = (signals_at(places, V, net) * signals_at(places, DV, net)).sum(0)
        by_place = by_place.reshape(net.sample_shape[1:])
        np.testing.assert_allclose(decision.by_place, by_place, rtol=1e-9, atol=1e-14)
    assert decision.by_place.shape == net.sample_shape[1:]
    difference = pytest.approx(decision.difference, rel=1e-11, abs=1e-15)
    assert decision.by_frequency.sum() == difference
    assert decision.by_place.sum() == difference
    assert by_channel.sum() == difference
    return by_channel


@pytest.mark.parametrize(
    "shape", [(6,), (2, 8), (2, 9), (1, 5, 6), (2, 4, 4), (1, 3, 2, 4)], ids=str
)
@pytest.mark.parametrize("options", [{}, {"operators": "variational", "rank": 1}], ids=str)
def test_shares_of_plain_operators(shape, options):
    X, labels = problem(*shape)
    net = ReduNet.construct(X, labels, num_layers=2, membership=BALANCED, eps_sq=0.1, **options)
    for layer in (0, 1):
        decision = Decision.from_network(net, X[4], layer=layer)
        check(net, X[4], decision, layer)
        assert decision.difference > 0
        assert decision.frequency.tolist() == net.spectrum.frequencies.tolist()


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize(
    ("shape", "bands"), [((4,), None), ((2, 12), [1, 3]), ((1, 9), [1, None]), ((1, 8, 7), [2])]
)
def test_shares_of_lifts(shape, bands, number):
    X, labels = problem(*shape)
    net = searched(X, labels, number, bands)
    decision = Decision.from_network(net, X[7])
    check(net, X[7], decision, bands=True)


def test_residuals_are_those_of_the_inverse():
    X, labels = problem(2, 9)
    labels[:4] = "c"  # classes of different sizes
    net = ReduNet.construct(X, labels, num_layers=1, membership=BALANCED, eps_sq=0.02)
    (V,) = net.encode(X)
    residuals = []
    for label in net.classes_:
        own = V[:, torch.from_numpy(labels == label)]
        moments = torch.einsum("fmc,fmd->fcd", own, own.conj())
        moments = moments / net.spectrum.weights[:, None, None]
        alpha = 2 / (own.shape[1] * 0.02)
        whole = torch.eye(2) + alpha * moments
        residuals.append(torch.linalg.solve(whole, V[:, 5, :, None]).norm().item())
    decision = Decision.from_network(net, X[5])
    order = np.argsort(residuals)
    assert decision.classes == tuple(net.classes_[order[:2]])
    np.testing.assert_allclose(decision.residuals, np.sort(residuals)[:2], rtol=1e-9)
    for pair in (("a", "c"), ("c", "b")):
        decision = Decision.from_network(net, X[5], classes=pair)
        expected = [residuals["abc".index(label)] for label in pair]
        np.testing.assert_allclose(decision.residuals, expected, rtol=1e-9)


def test_named_classes_and_the_opposite():
    X, labels = problem(2, 8)
    net = searched(X, labels, 0, [1, 3])
    one = Decision.from_network(net, X[0], classes=("c", "a"))
    two = Decision.from_network(net, X[0], classes=np.array(["a", "c"]))
    assert one.classes == ("c", "a")
    assert one.residuals == two.residuals[::-1]
    np.testing.assert_allclose(one.by_frequency, -two.by_frequency, rtol=1e-12)
    np.testing.assert_allclose(one.by_place, -two.by_place, rtol=1e-12)
    for name, share in two.by_input.items():
        assert one.by_input[name] == pytest.approx(-share, rel=1e-9)
    check(net, X[0], one, bands=True)
    for wrong in (("a", "a"), ("a", "d"), "a", (1, 2), ("a", "b", "c")):
        with pytest.raises(ValueError, match="classes must be two of the labels"):
            Decision.from_network(net, X[0], classes=wrong)
    with pytest.raises(ValueError, match=r"expected samples of shape \(2, 8\)"):
        Decision.from_network(net, X[:2])


@pytest.mark.parametrize("band", [None, 2])
def test_shares_move_with_the_sample(band):
    X, labels = problem(1, 8, 6)
    lift = nn.Sequential(
        MultiScaleLift(1, 2, kernels_per_scale=4, dilations=(1, 2)).fit(X),
        nn.Identity() if band is None else Band(band),
    )
    net = ReduNet.construct(X, labels, num_layers=1, lift=lift, membership=BALANCED)
    still = Decision.from_network(net, X[3])
    moved = Decision.from_network(net, X[3].roll((3, 1), (1, 2)))
    assert moved.classes == still.classes
    np.testing.assert_allclose(moved.by_frequency, still.by_frequency, rtol=1e-9, atol=1e-14)
    rolled = np.roll(still.by_place, (3, 1), (0, 1))
    np.testing.assert_allclose(moved.by_place, rolled, rtol=1e-9, atol=1e-14)


def test_momentum_and_later_layers():
    X, labels = problem(2, 8)
    net = ReduNet.construct(X, labels, num_layers=3, momentum=0.8, membership=BALANCED)
    for layer in (0, 2, -1):
        decision = Decision.from_network(net, X[9], layer=layer)
        relative = net.residual_norms(X[9:10], layer)[0] * net.layers[layer].proportions
        expected = np.sort(relative / net.layers[layer].alpha)[:2]
        np.testing.assert_allclose(decision.residuals, expected, rtol=1e-9)
        assert decision.by_place.sum() == pytest.approx(decision.difference, rel=1e-11)


def test_lifts_that_change_the_places():
    X, labels = problem(2, 8)
    kernels = RandomCirculantLift(2, 9, 3, 1)
    for last, shape in ((nn.Flatten(), ()), (nn.AdaptiveAvgPool1d(4), (4,))):
        net = ReduNet.construct(X, labels, num_layers=1, lift=[kernels, last])
        decision = Decision.from_network(net, X[1])
        assert decision.by_place.shape == shape
        assert decision.by_place.sum() == pytest.approx(decision.difference, rel=1e-11)
    net = ReduNet.construct(X, labels, num_layers=1, lift=[kernels, nn.AdaptiveAvgPool1d(5)])
    check(net, X[1], Decision.from_network(net, X[1]))


@pytest.mark.parametrize("balanced", [True, False])
def test_the_winner_is_that_of_the_membership(balanced):
    X, labels = problem(4, m=60)
    labels[labels == "b"] = "a"
    rule = Softmax(1, balanced=balanced)
    net = ReduNet.construct(X, labels, num_layers=1, membership=rule)
    predictions = net.predict(X)
    for x, prediction in zip(X, predictions, strict=True):
        decision = Decision.from_network(net, x)
        assert decision.classes[0] == prediction
        assert decision.difference > 0
        gap = np.diff(np.array(decision.residuals)[np.argsort(decision.classes)]).item()
        logits = net.membership(x[None])[0].log().detach()
        factor = 1 if balanced else 2 * net.layers[0].alpha.item()  # k α
        assert -logits.diff().item() == pytest.approx(gap * factor, rel=1e-9)
    relative = net.residual_norms(X) * net.layers[0].proportions
    by_relative = net.classes_[relative.argmin(1).numpy()]
    assert (by_relative == predictions).all() == balanced


def test_networks_in_single_precision_and_on_any_device(device):
    X, labels = datasets.digits()
    X, names = X[:40].to(device), np.array([f"digit {label}" for label in labels[:40]])
    lift = RandomCirculantLift(in_channels=1, out_channels=3, kernel_size=3, ndim=2)
    net = ReduNet.construct(X, names, num_layers=2, lift=lift, membership=BALANCED)
    decision = explain(net, X[7]).decision
    assert decision.classes[0] == names[7]
    net.classes_ = np.arange(10)
    assert Decision.from_network(net, X[7], classes=labels[:2]).classes == (0, 1)
    assert Decision.from_network(net, X[7], classes=(labels[1], 5)).classes == (1, 5)
    for shares in (decision.by_frequency, decision.by_place):
        assert np.sum(shares) == pytest.approx(decision.difference, rel=1e-10)
    expected = net.residual_norms(X[7:8], 0)[0] * net.layers[0].proportions / net.layers[0].alpha
    np.testing.assert_allclose(decision.residuals, expected.sort().values[:2].cpu(), rtol=1e-4)


def test_it_prints_the_largest_shares():
    decision = Decision(
        classes=("cat", "dog"),
        residuals=(0.3, 0.5),
        sample=np.zeros((2, 2, 2)),
        by_input={"red": 0.2, "blue": -0.16},
        by_place=np.zeros((2, 2)),
        frequency=np.array([[0, 0], [0, 1], [-1, 1], [2, 0]]),
        by_frequency=np.array([0.016, 0.16, -0.048, 0.032]),
        means=np.zeros(2),
    )
    assert str(decision).splitlines() == [
        "decision: cat rather than dog",
        "residuals: 0.3000 and 0.5000; squared, they differ by 0.16",
        "shares: positive for cat, negative for dog",
        "channels: red: +125 %, blue: −100 %; at their means: +75 %",
        "frequencies: (0, 1): +100 %, (−1, 1): −30 %, (2, 0): +20 %",
    ]
    assert repr(decision) == "Decision('cat' rather than 'dog')"
    assert "red: +125 %, blue" in decision._repr_html_()
    X, labels = problem(4)
    vectors = str(explain(ReduNet.construct(X, labels, num_layers=1), X[0]).decision)
    assert "frequencies" not in vectors
    assert "columns: column " in vectors
    assert "at their means: +0 %" in vectors
    silent = Decision.from_network(ReduNet.construct(X, labels, num_layers=1), 0 * X[0])
    assert silent.difference == 0
    assert "+0 %" in str(silent)


@dataclass(frozen=True)
class Papers(Membership):
    """The papers' softmax, as a user writes it."""

    def __call__(self, residuals, proportions):
        return torch.softmax(-3 * residuals, 1)


@dataclass(frozen=True)
class OfShares(Papers):
    """A rule whose order nothing but its memberships tells."""

    def __call__(self, residuals, proportions):
        return super().__call__(proportions**2 * residuals, proportions)


@dataclass(frozen=True)
class Relative(Papers):
    """A balanced rule."""

    @property
    def relative(self):
        return True


@pytest.mark.parametrize("rule", [Papers(), Relative(), OfShares()])
@pytest.mark.filterwarnings("ignore:classes have from")
def test_the_winner_is_that_of_a_rule_of_ones_own(rule):
    X, labels = problem(4, m=60)
    labels[labels == "b"] = "a"
    net = ReduNet.construct(X, labels, num_layers=1, membership=rule)
    decisions = [Decision.from_network(net, x) for x in X]
    assert [decision.classes[0] for decision in decisions] == net.predict(X).tolist()
    twin = ReduNet.construct(X, labels, num_layers=1, membership=Softmax(3, balanced=rule.relative))
    if type(rule) is not OfShares:
        for x, decision in zip(X, decisions, strict=True):
            assert decision.difference > 0
            expected = Decision.from_network(twin, x)
            assert decision.residuals == pytest.approx(expected.residuals, rel=1e-12)


def squared_difference(net, X, decision):
    """Differences of the squared residuals of the two classes, from the network alone."""
    pair = [net.classes_.tolist().index(label) for label in decision.classes]
    smaller, larger = net.relative_residuals(X, 0)[:, pair].double().T
    return (larger**2 - smaller**2).numpy()


@pytest.mark.parametrize("shape", [(4,), (3, 9)])
def test_columns_move_from_their_means(shape):
    X, labels = problem(*shape)
    net = searched(X, labels, 0, None if len(shape) == 1 else [1, None])
    decision = Decision.from_network(net, X[7])
    means = X.mean((0, *range(2, X.ndim)))
    np.testing.assert_allclose(decision.means, means, rtol=1e-9)
    at_means = means.view(-1, *[1] * (X.ndim - 2)).expand_as(X[:1])
    assert decision.rest == pytest.approx(squared_difference(net, at_means, decision)[0], rel=1e-9)
    shares = sum(decision.by_input.values())
    assert shares + decision.rest == pytest.approx(decision.difference, rel=1e-11)
    assert len(decision.by_input) == shape[0]


@pytest.mark.parametrize("shape", [(4,), (3, 9)])
def test_columns_have_shares_of_the_log_odds_if_there_is_a_reader(shape):
    X, labels = problem(*shape, m=60)
    net = ReduNet.construct(X, labels, lift="auto")
    assert net.reader is not None
    decision = Decision.from_network(net, X[7])
    pair = [net.classes_.tolist().index(label) for label in decision.classes]
    odds = net.membership(
        torch.stack(
            [X[7], X.mean((0, *range(2, X.ndim))).view(-1, *[1] * (X.ndim - 2)).expand_as(X[7])]
        )
    )[:, pair].log()
    expected, at_means = (odds[:, 0] - odds[:, 1]).tolist()
    assert decision.log_odds == decision.lead == pytest.approx(expected, rel=1e-9)
    assert decision.rest == pytest.approx(at_means, rel=1e-9)
    shares = sum(decision.by_input.values())
    assert shares == pytest.approx(expected - at_means, rel=1e-9)
    assert "columns, of the log odds: " in str(decision) or X.ndim > 2
    assert decision.by_place.sum() == pytest.approx(decision.difference, rel=1e-9)


@pytest.mark.parametrize("lift", ["searched", None, Band(2), Standardize(2)], ids=str)
def test_two_columns_have_their_shapley_values(lift):
    X, labels = problem(2, 8) if isinstance(lift, Band) else problem(2)
    if isinstance(lift, Standardize):
        lift.fit(X)
    if lift == "searched":
        net = searched(X, labels, 0, None)
    else:
        net = ReduNet.construct(X, labels, num_layers=1, lift=lift, membership=BALANCED)
    decision = Decision.from_network(net, X[7])
    means = X.mean(0) if lift == "searched" or isinstance(lift, Standardize) else 0 * X[7]
    np.testing.assert_allclose(decision.means, means if X.ndim == 2 else 0, rtol=1e-9)
    corners = torch.stack([means, X[7], means, X[7]])
    corners[2, 0], corners[3, 0] = X[7, 0], means[0]
    none, both, first, second = squared_difference(net, corners, decision)
    expected = [(first - none + both - second) / 2, (second - none + both - first) / 2]
    assert list(decision.by_input) == [f"{decision.input_kind[:-1]} {i}" for i in range(2)]
    np.testing.assert_allclose(list(decision.by_input.values()), expected, rtol=1e-9)
    assert decision.rest == pytest.approx(none, rel=1e-9, abs=1e-14)


@pytest.mark.parametrize("band", [0, 2])
def test_places_before_a_band(band):
    X, labels = problem(1, 11)
    inner = MultiScaleLift(1, 1, kernels_per_scale=4, dilations=(1, 2)).fit(X)
    lift = nn.Sequential(inner, Band(band))
    net = ReduNet.construct(X, labels, num_layers=1, lift=lift, membership=BALANCED)
    decision = Decision.from_network(net, X[3])
    _, DV, _ = dense_shares(net, X[3], *decision.classes)
    features = inner(X[3:4])
    scaled = features[0] / Band(band)(features).norm()
    expected = (scaled * signals_at(places_of((11,)), DV, net)).sum(0)
    np.testing.assert_allclose(decision.by_place, expected, rtol=1e-9, atol=1e-14)
    assert decision.by_place.sum() == pytest.approx(decision.difference, rel=1e-11)
    moved = Decision.from_network(net, X[3].roll(4, 1))
    np.testing.assert_allclose(moved.by_place, np.roll(decision.by_place, 4), rtol=1e-8, atol=1e-13)


def test_one_column_that_decides_has_the_largest_share():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 6))
    labels = np.where(X[:, 2] > 0, "high", "low")
    net = ReduNet.construct(X, labels, lift="auto", feature_names=list("uvwxyz"))
    sure = X[np.abs(X[:, 2]) > 1]
    for x in sure[:10]:
        decision = explain(net, x).decision
        assert decision.classes[0] == ("high" if x[2] > 0 else "low")
        assert list(decision.by_input) == list("uvwxyz")
        others = [abs(share) for name, share in decision.by_input.items() if name != "w"]
        assert decision.by_input["w"] > 2 * max(others)


@pytest.mark.parametrize("bands", [[0], [4]])
def test_one_bump_that_decides_has_the_largest_share(bands):
    rng = np.random.default_rng(0)
    X = 0.3 * rng.normal(size=(80, 3, 64))
    labels = np.arange(80) % 2
    X[labels == 1, 1, 30:41] += 2 * np.hanning(11)
    search, names = Search(bands=bands), ["left", "right", "front"]
    net = ReduNet.construct(X[:60], labels[:60], lift=search, feature_names=names)
    window = np.arange(64) // 16
    for x in X[61:71:2]:
        decision = explain(net, x).decision
        assert decision.classes == (1, 0)
        assert max(decision.by_input, key=decision.by_input.get) == "right"
        by_window = np.bincount(window, decision.by_place)
        assert by_window.argmax() in (1, 2)
