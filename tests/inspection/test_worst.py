"""The part of the report on the worst samples."""

import numpy as np
import pytest
import torch

from redunet import (
    ReduNet,
    Softmax,
    report,
)
from redunet._tables import three_digits
from redunet.inspection import Decision
from tests.inspection.report_page import Page


def test_the_worst_samples_are_those_furthest_on_the_wrong_side(path, problem):
    net, X, names = problem
    residuals = net.residual_norms(X).numpy()
    relative = residuals / (len(net.classes_) * net.layers[-1].alpha.item())
    rows = []
    for row, name in zip(relative, names, strict=True):
        own = net.classes_ == name
        rows.append([row[own][0], row[~own].min(), row[own][0] - row[~own].min()])
    order = np.argsort([-margin for _, _, margin in rows], kind="stable")
    page = Page(path)
    found = page.table("sample", "true class", "predicted class")
    assert len(found) == 30
    predictions = net.predict(X)
    for i, row in zip(order, found, strict=False):
        assert row[:3] == [f"Sample {i}", names[i], predictions[i]]
        np.testing.assert_allclose([*map(float, row[3:])], rows[i], rtol=6e-3, atol=1e-6)
    assert [a for a in page.addresses if a[0] == "#"] == [f"#sample-{i}" for i in order[:2]]
    lines = [
        f"True class {names[i]}, predicted class {net.predict(X[i : i + 1])[0]}." for i in order[:2]
    ]
    assert -1 < page.text.find(lines[0]) < page.text.find(lines[1])


def test_the_decision_between_the_true_class_and_its_rival_is_told(path, problem):
    net, X, _ = problem
    page = Page(path)
    number, true, predicted = page.table("sample", "true class")[0][:3]
    x = X[int(number.removeprefix("Sample "))]
    assert true != predicted
    first = Decision.from_network(net, x).classes[0]
    assert first != true
    decision = Decision.from_network(net, x, classes=[first, true])
    one, other = map(three_digits, decision.residuals)
    assert f"relative residual is {one} in class {first} and {other} in class {true}" in page.text
    assert f"{first} (blue) rather than {true} (orange)" in [alt for alt, _ in page.images]
    layers = [table for table in page.tables if table[0][0] == "layer"]
    assert [len(table) for table in layers] == [3, 3]
    assert f"{true}: residual" in layers[0][0]


def test_unequal_classes_are_compared_as_the_layers_do(tmp_path):
    X = torch.randn(30, 4, generator=torch.manual_seed(0))
    labels = np.repeat([0, 1], [24, 6])
    net = ReduNet.construct(
        X, labels, num_layers=1, membership=Softmax(1, balanced=True), eps_sq=0.5
    )
    report(net, X, labels, tmp_path / "report.html", worst=1)
    rows = Page(tmp_path / "report.html").table("sample", "true class", "predicted class")
    predictions = net.predict(X)
    assert (predictions != labels).any()
    for name, true, predicted, *_, margin in rows:
        i = int(name.removeprefix("Sample "))
        assert (int(true), int(predicted)) == (labels[i], predictions[i])
        assert (float(margin) > 0) == (true != predicted)


def test_samples_have_names(problem, tmp_path):
    net, X, labels = problem
    names = [f"folder/<{number}>.png" for number in range(len(X))]
    report(net, X[:5], labels[:5], tmp_path / "report.html", worst=0, names=names[:5])
    assert "Worst samples" not in Page(tmp_path / "report.html").text
    report(net, X[:5], labels[:5], tmp_path / "report.html", worst=1, names=names[:5])
    rows = Page(tmp_path / "report.html").table("sample")
    assert sorted(row[0] for row in rows) == names[:5]
    with pytest.raises(ValueError, match="names must be 60, one for each sample, got 2"):
        report(net, X, labels, tmp_path / "report.html", names=names[:2])


def test_rectified_layers_have_no_explanations(tmp_path):
    X = torch.randn(12, 5, generator=torch.manual_seed(0))
    net = ReduNet.construct(X, [0, 1] * 6, num_layers=1, membership="rectified")
    report(net, X, [0, 1] * 6, tmp_path / "report.html")
    assert "Worst samples" not in (tmp_path / "report.html").read_text(encoding="utf-8")
