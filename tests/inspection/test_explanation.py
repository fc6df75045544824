import math

import numpy as np
import pytest
import torch

from redunet import RandomCirculantLift, ReduNet, Softmax, datasets, explain


def network(**options):
    X, labels = datasets.digits()
    lift = RandomCirculantLift(in_channels=1, out_channels=3, kernel_size=3, ndim=2)
    names = np.array([f"digit {label}" for label in labels])
    X, names = X[:60].double(), names[:60]
    return ReduNet.construct(X, names, num_layers=3, lift=lift, lam=20, **options), X


@pytest.mark.parametrize(
    "options", [{}, {"momentum": 0.8}, {"operators": "variational", "rank": 2}], ids=str
)
def test_every_layer_is_taken_to_pieces(options):
    """Against the step by dense matrices, frequency by frequency."""
    net, X = network(**options)
    explanation = explain(net, X[7])
    V = next(net.encode(X[7:8]))[:, 0]  # (F, C)
    previous = V
    for i, layer in enumerate(net.layers):
        Q = V + layer.momentum * (V - previous)
        E, C = layer.operators.matrices()
        expanded = torch.einsum("fcd,fd->fc", E, Q)
        responses = torch.einsum("fkcd,fd->kfc", C, Q)
        residuals = responses.flatten(1).norm(dim=1)
        membership = torch.softmax(-20 * residuals, 0)
        parts = (layer.eta * layer.proportions * membership)[:, None, None] * responses
        relative = residuals * layer.comparison_weights()
        np.testing.assert_allclose(explanation.residuals[i], relative, rtol=1e-9)
        np.testing.assert_allclose(explanation.memberships[i], membership, rtol=1e-7, atol=1e-20)
        expected = layer.eta * expanded.norm()
        np.testing.assert_allclose(explanation.expansion[i], expected, rtol=1e-9)
        lengths = parts.flatten(1).norm(dim=1)
        np.testing.assert_allclose(explanation.compression[i], lengths, rtol=1e-7, atol=1e-20)
        moved = Q + layer.eta * expanded - parts.sum(0)
        V, previous = moved / moved.norm(), V
        cosine = (V.conj() * previous).sum().real
        assert math.cos(math.radians(explanation.angles[i])) == pytest.approx(cosine.item())
    torch.testing.assert_close(net.spectrum.inverse(V[:, None]), net(X[7:8]))
    assert explanation.prediction == net.predict(X[7:8])[0]


def test_small_angles_are_exact():
    X, labels = datasets.gaussians(ndim=2, per_class=20)
    net = ReduNet.construct(X.double(), labels, num_layers=1, eta=1e-9)
    x, z = X[0].double(), net(X[:1].double())[0].detach()
    cross = (x[0] * z[1] - x[1] * z[0]).item() / x.norm().item()
    assert explain(net, x).angles[0] == pytest.approx(math.degrees(abs(cross)), rel=1e-5)


def test_it_prints_the_nearest_classes():
    net, X = network()
    explanation = explain(net, X[3])
    text = str(explanation)
    for j in explanation.nearest_classes(3):
        assert f"digit {j}: residual" in text
    assert text.count(": residual") == 3
    assert text.startswith(str(explanation.decision))
    assert repr(explanation) == f"Explanation(prediction={explanation.prediction!r}, layers=3)"
    assert f"prediction </td><td>{explanation.prediction}" in explanation._repr_html_()
    assert text.endswith(f"prediction: {explanation.prediction}")
    assert f"{explanation.expansion[1]:.3f}" in text
    closeness = explanation.memberships.mean(0)
    order = explanation.nearest_classes(10)
    assert sorted(order) == list(range(10))
    assert (np.diff(closeness[order]) <= 0).all()


def test_it_prints_the_true_class():
    net, X = network()
    order = explain(net, X[3]).nearest_classes(10)
    for label, shown in ((order[-1], [*order[:2], order[-1]]), (order[1], order[:3])):
        explanation = explain(net, X[3], label=np.str_(f"digit {label}"))
        headers, rows = explanation.table(3)
        assert headers[3::3] == [f"digit {j}: residual" for j in shown]
        assert f"digit {label}" in explanation.decision.classes
        assert explanation.decision.classes[0] == explain(net, X[3]).decision.classes[0]
        assert rows[1][4::3] == tuple(explanation.memberships[1, shown])
        assert str(explanation).endswith(f"true class: digit {label}")
    with pytest.raises(ValueError, match=r"(?s)label must be one of the labels .*, got 'x'"):
        explain(net, X[3], label="x")
    X, labels = datasets.gaussians(ndim=2, per_class=5)
    net = ReduNet.construct(X, labels, num_layers=1)
    assert explain(net, X[0], label=labels[0]).label == 0


def test_classes_without_membership_go_by_their_residuals():
    net, X = network()
    for layer in net.layers:
        layer.membership_rule = Softmax(math.inf)
    explanation = explain(net, X[3])
    assert set(explanation.memberships.ravel()) == {0, 1}
    order = explanation.nearest_classes(10)[3:]
    assert (np.diff(explanation.residuals.mean(0)[order]) >= 0).all()


def test_rectified_steps_have_no_memberships():
    net, X = network(membership="rectified")
    with pytest.raises(ValueError, match="weighted by memberships can be explained"):
        explain(net, X[0])


def test_one_sample_is_asked_for():
    net, X = network()
    with pytest.raises(ValueError, match=r"expected samples of shape \(1, 8, 8\)"):
        explain(net, X[:2])
    for nothing in ("a", None, b"a", {"a": 1}):
        with pytest.raises(TypeError, match=r"expected an array of numbers, got ('a'|None|b|\{)"):
            explain(net, nothing)
