"""Steps that every layer chooses by the rate reduction, and that are safe for new samples."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import eval_chebyt

from benchmarks import textbook
from redunet import NearestSubspaceClassifier, ReduNet, Variational, datasets, rate_reduction
from redunet.construction.steps import (
    SHORT_STEPS,
    choose_step,
    first_trial,
    longest_constant_step,
    longest_step,
)
from redunet.layers.layer import trajectory
from redunet.rates.spectrum import project_to_sphere
from tests.samples import unit_samples as samples

X_AXIS = np.linspace(0, 1, 10_001)
SAMPLES = {"vectors": (6,), "many channels": (20,), "series": (3, 5), "images": (2, 3, 4)}


def polynomial(steps, x=X_AXIS):
    return np.prod([1 - step * x for step in steps], axis=0)


def steps_of(net):
    return [layer.eta * float(layer.alpha) for layer in net.layers]


def clustered(m, *shape, seed=0):
    """Samples of three classes with different means."""
    labels = np.arange(m) % 3
    return samples(3, *shape, seed=seed + 1)[labels] + 0.5 * samples(m, *shape, seed=seed), labels


def test_a_round_of_longest_steps_is_a_chebyshev_polynomial():
    steps = [*SHORT_STEPS, longest_step(SHORT_STEPS)]
    np.testing.assert_allclose(steps[2], 8 + 4 * math.sqrt(3), rtol=1e-6)
    np.testing.assert_allclose(sum(steps), 2 * 3**2, rtol=1e-6)
    np.testing.assert_allclose(polynomial(steps), eval_chebyt(3, 1 - 2 * X_AXIS), atol=1e-5)


@given(st.lists(st.floats(0.05, 2.0), max_size=3))
def test_the_longest_step_is_safe_and_no_longer_step_is(taken):
    step = longest_step(taken)
    assert step >= 2 - 1e-12
    assert abs(polynomial([*taken, step])).max() < 1 + 1e-4
    assert abs(polynomial([*taken, 1.01 * step])).max() > 1


@pytest.mark.parametrize("taken", [(), (1.0,), (4 - 2 * math.sqrt(2),)])
def test_the_longest_step_after_none_or_one_has_a_closed_form(taken):
    expected = (3 + 2 * math.sqrt(2)) * taken[0] if taken else 2
    np.testing.assert_allclose(longest_step(taken), expected, rtol=1e-6)


@pytest.mark.parametrize("momentum", [0.0, 0.3, 0.9])
def test_the_longest_constant_step_is_where_the_recursion_becomes_unstable(momentum):
    def growth(step):
        factors = 1 - step * np.linspace(0, 1, 501)
        matrices = np.array([[[a * (1 + momentum), -a * momentum], [1, 0]] for a in factors])
        return abs(np.linalg.eigvals(matrices)).max()

    longest = longest_constant_step(momentum)
    assert growth(longest) < 1 + 1e-6
    assert growth(1.01 * longest) > 1 + 1e-3


@settings(max_examples=25)
@given(st.sampled_from(list(SAMPLES.values())), st.integers(0, 1000))
def test_networks_take_safe_steps_and_the_rate_reduction_never_falls(shape, seed):
    X, labels = clustered(12, *shape, seed=seed)
    net = ReduNet.construct(X, labels, num_layers=7, eps_sq=0.2, true_membership=True)
    delta = net.history.delta
    assert (np.diff(delta) > -1e-11 * net.history.expansion[:-1]).all()
    steps = steps_of(net)
    for end in range(len(steps)):
        # The factors of new samples; a halved step may leave the round at a safe smaller one.
        assert abs(polynomial(steps[: end + 1])).max() < 1 + 1e-3


class Tried(tuple):
    """A step with its ΔR."""

    step = property(lambda self: self[0])
    delta = property(lambda self: self[1])


def chosen(taken, delta_of, before):
    tried = []

    def attempt(step):
        tried.append(Tried((step, delta_of(step))))
        return tried[-1]

    best = choose_step(taken, attempt, before)
    return best, tried


@given(st.integers(0, 2), st.floats(0.01, 30), st.floats(-1, 1))
def test_the_chosen_step_is_the_best_of_those_that_were_tried(position, peak, before):
    taken = SHORT_STEPS[:position]
    best, tried = chosen(taken, lambda step: -abs(math.log(step / peak)), before)
    assert best == max(tried, key=lambda trial: trial.delta)
    first, compares = first_trial(taken)
    np.testing.assert_allclose([t.step for t in tried], first / 2.0 ** np.arange(len(tried)))
    if best.delta < before:  # all tried steps have been used up
        assert len(tried) == 9
    if compares and best.delta >= before:
        assert len(tried) >= 2


@pytest.mark.parametrize("shape", SAMPLES.values(), ids=SAMPLES)
@pytest.mark.parametrize("options", [{}, {"true_membership": True}, {"membership": "rectified"}])
def test_a_layer_takes_the_best_of_its_steps_by_the_rates_of_the_features(shape, options):
    X, labels = clustered(15, *shape)
    net = ReduNet.construct(X, labels, num_layers=3, eps_sq=0.2, **options)
    V = net.spectrum(X / X.flatten(1).norm(dim=1).reshape(-1, *[1] * len(shape)))
    membership = torch.nn.functional.one_hot(torch.tensor(labels)).to(torch.float64)
    known = membership if "true_membership" in options else None
    taken = []
    for number, layer in enumerate(net.layers):
        direction = layer.increment(V, known)

        def delta(step, V=V, direction=direction, layer=layer):
            moved = project_to_sphere(V + step / float(layer.alpha) * direction)
            return rate_reduction(net.spectrum.inverse(moved), labels, 0.2).delta.item()

        best, _ = chosen(taken, delta, net.history.delta[number] - 1e-12)
        np.testing.assert_allclose(layer.eta * float(layer.alpha), best.step, rtol=1e-9)
        np.testing.assert_allclose(net.history.delta[number + 1], best.delta, rtol=1e-9)
        V = layer(V, known)
        taken.append(best.step)


@pytest.mark.parametrize("shape", SAMPLES.values(), ids=SAMPLES)
def test_textbook_layers_with_the_chosen_steps_give_the_same_features(shape):
    X, labels = clustered(12, *shape)
    net = ReduNet.construct(X, labels, num_layers=4, eps_sq=0.2)
    V = textbook.to_spectrum(X)
    for layer in net.layers:
        V = textbook.layer(V, torch.tensor(labels), layer.eta, 0.2, 500.0).V
    torch.testing.assert_close(net(X), textbook.from_spectrum(V, X.shape), rtol=0, atol=1e-8)


@pytest.mark.parametrize("shape", SAMPLES.values(), ids=SAMPLES)
@pytest.mark.parametrize("options", [{}, {"operators": Variational(2)}])
def test_batches_files_and_evaluation_change_nothing(shape, options, tmp_path):
    X, labels = clustered(11, *shape)
    whole = ReduNet.construct(X, labels, num_layers=4, eps_sq=0.2, **options)
    parts = ReduNet.construct(
        X, labels, num_layers=4, eps_sq=0.2, batch_size=4, workdir=tmp_path, **options
    )
    np.testing.assert_allclose(steps_of(parts), steps_of(whole), rtol=1e-12)
    np.testing.assert_allclose(parts.history.delta, whole.history.delta, rtol=1e-9)
    torch.testing.assert_close(parts(X), whole(X), rtol=0, atol=1e-9)
    rates = rate_reduction(whole(X), labels, 0.2)
    if not options:
        np.testing.assert_allclose(whole.history.delta[-1], rates.delta, rtol=1e-9)
    whole.save(tmp_path / "net.safetensors")
    loaded = ReduNet.load(tmp_path / "net.safetensors")
    assert steps_of(loaded) == steps_of(whole)
    assert loaded.settings == whole.settings
    assert list(tmp_path.iterdir()) == [tmp_path / "net.safetensors"]


@pytest.mark.parametrize("first", [1, 2, 3, 4])
def test_a_construction_that_is_resumed_takes_the_same_steps(first, tmp_path):
    X, labels = clustered(12, 3, 5)
    options = {"eps_sq": 0.2, "batch_size": 5, "checkpoint": tmp_path}
    ReduNet.construct(X, labels, num_layers=first, **options)
    resumed = ReduNet.construct(X, labels, num_layers=6, **options)
    whole = ReduNet.construct(X, labels, num_layers=6, eps_sq=0.2, batch_size=5)
    assert steps_of(resumed) == steps_of(whole)
    np.testing.assert_array_equal(resumed.history.delta, whole.history.delta)


def test_missing_labels_have_chosen_steps():
    X, labels = clustered(18, 6)
    missing = np.where(np.arange(18) < 12, labels, -1)
    some = ReduNet.construct(X, missing, unknown=-1, num_layers=4, true_membership=True)
    assert (np.diff(some.history.delta) > -1e-12).all()
    assert len(set(steps_of(some))) > 1


def test_an_extended_network_keeps_the_step_of_every_layer():
    X, labels = clustered(18, 4)
    net = ReduNet.construct(X[:12], labels[:12], num_layers=3, operators="extensible")
    larger = net.extend(X[12:], labels[12:])
    np.testing.assert_allclose(steps_of(larger), steps_of(net), rtol=1e-12)


def test_a_given_eta_and_momentum_have_constant_steps():
    X, labels = clustered(12, 6)
    given_eta = ReduNet.construct(X, labels, num_layers=4, eta=0.1)
    assert {layer.eta for layer in given_eta.layers} == {0.1}
    momentum = ReduNet.construct(X, labels, num_layers=4, momentum=0.5)
    np.testing.assert_allclose(steps_of(momentum), 1.5)


def test_every_layer_may_have_a_step_of_its_own(tmp_path):
    X, labels = clustered(12, 6)
    etas = [0.1, 0.3, 0.2]
    net = ReduNet.construct(X, labels, eta=etas, eps_sq=0.2)
    assert [layer.eta for layer in net.layers] == etas
    V = textbook.to_spectrum(X)
    for eta in etas:
        V = textbook.layer(V, torch.tensor(labels), eta, 0.2, 500.0).V
    torch.testing.assert_close(net(X), textbook.from_spectrum(V, X.shape), rtol=0, atol=1e-8)
    net.save(tmp_path / "net.safetensors")
    assert ReduNet.load(tmp_path / "net.safetensors").settings == net.settings
    with pytest.raises(ValueError, match="or one for each of the 4 layers"):
        ReduNet.construct(X, labels, eta=etas, num_layers=4)
    with pytest.raises(ValueError, match="eta must be"):
        ReduNet.construct(X, labels, eta=[0.1, -0.2])


def test_long_steps_do_not_spoil_features_of_new_samples():
    X, labels = datasets.digits()
    rows = datasets.subsample(labels[:900], 5)
    train, new = X[rows].flatten(1).double(), X[900:1300].flatten(1).double()

    def accuracy(net):
        classifier = NearestSubspaceClassifier(5).fit(net(train), labels[rows])
        return classifier.score(net(new), labels[900:1300])

    options = {"num_layers": 6}
    default = ReduNet.construct(train, labels[rows], **options)
    assert max(steps_of(default)) > 10
    safe = ReduNet.construct(train, labels[rows], **options, eta=default.settings.eta)
    assert accuracy(default) > accuracy(safe) - 0.02
    assert default.history.delta[-1] > safe.history.delta[-1]
    with pytest.warns(UserWarning, match="or less is safe"):
        long = ReduNet.construct(train, labels[rows], **options, eta=4 * default.settings.eta)
    assert accuracy(long) < accuracy(default) - 0.3


def test_new_samples_move_by_the_polynomial_of_the_steps():
    # Each class has one sample, on an axis of its own, so that the second moment of all samples has
    # the eigenvalue 1 on both axes, in every layer. A new sample is on the first axis, except for a
    # small part on the second axis.
    net = ReduNet.construct(torch.eye(2, dtype=torch.float64), [0, 1], num_layers=6, eps_sq=0.1)
    alpha, class_alpha = 2 / (2 * 0.1), 2 / 0.1
    new = torch.tensor([[1.0, 0.1]], dtype=torch.float64)
    steps = np.array(steps_of(net))
    own = np.cumprod(1 + steps * (1 / (1 + alpha) - 1 / (1 + class_alpha)))
    other = np.cumprod(1 - steps * alpha / (1 + alpha))
    expected = 0.1 * np.append(1, other / own)
    ratios = [float(V[0, 0, 1] / V[0, 0, 0]) for V, _ in trajectory(net.spectrum(new), net.layers)]
    np.testing.assert_allclose(ratios, expected, rtol=1e-9)
    assert abs(expected).max() == expected[0]
