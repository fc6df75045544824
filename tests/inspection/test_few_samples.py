"""Test sets of one class or of one sample are evaluated, drawn and reported like others."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from redunet import ReduNet, coding_rate, datasets, explain, report
from redunet.cli import main
from redunet.inspection.summary import description, evaluation
from redunet.plots import plot_similarity, plot_singular_values


def vectors():
    rng = np.random.default_rng(0)
    labels = np.repeat(["ant", "bee", "cow"], 8)
    X = np.repeat(rng.normal(size=(3, 4)), 8, 0) + rng.normal(size=(24, 4)) / 5
    return torch.from_numpy(X), labels


def series():
    X, labels = datasets.sinusoids(per_class=8, channels=4, length=9)
    return X.double(), labels.numpy()


FEW = pytest.mark.parametrize("rows", [slice(0, 5), slice(0, 1), slice(23, 24)])


@FEW
@pytest.mark.parametrize("samples", [vectors, series])
def test_their_rates_are_those_of_one_class(samples, rows):
    X, labels = samples()
    net = ReduNet.construct(X, labels, num_layers=2)
    found = evaluation(net, X[rows], labels[rows], train=(X, labels))
    assert found["samples"] == len(X[rows])
    assert found["accuracy"] == (net.predict(X[rows]) == labels[rows]).mean()
    assert found["chance level (largest class)"] == 1
    rate = coding_rate(net(X[rows]), net.settings.eps_sq).item()
    assert found["expansion"] == pytest.approx(rate, rel=1e-12)
    assert found["compression"] == pytest.approx(rate, rel=1e-12)
    assert found["rate reduction"] == pytest.approx(0, abs=1e-12 * rate)


def test_rates_of_several_classes_do_not_count_absent_ones():
    X, labels = vectors()
    net = ReduNet.construct(X, labels, num_layers=2)
    rows = slice(0, 16)
    pair = ReduNet.construct(X[rows], labels[rows], num_layers=1)
    assert len(pair.classes_) == 2
    found = evaluation(net, X[rows], labels[rows])
    parts = [coding_rate(net(X[i : i + 8]), net.settings.eps_sq).item() for i in (0, 8)]
    assert found["compression"] == pytest.approx(np.mean(parts), rel=1e-12)


@pytest.mark.parametrize("rows", [slice(0, 3), slice(0, 1)])
@pytest.mark.parametrize("samples", [vectors, series])
def test_they_are_reported_and_drawn(samples, rows, tmp_path):
    X, labels = samples()
    net = ReduNet.construct(X, labels, num_layers=2)
    path = tmp_path / "report.html"
    report(net, X[rows], labels[rows], path, worst=1, train=(X, labels))
    assert "Sample 0" in path.read_text(encoding="utf-8")
    plot_similarity(net(X[rows]), labels[rows], shift_invariant=X.ndim > 2)
    plot_singular_values(net(X[rows]), labels[rows])
    plt.close("all")
    assert explain(net, X[0]).prediction == labels[0]


@pytest.mark.parametrize("options", [{}, {"lift": "auto", "num_layers": 2}], ids=str)
@pytest.mark.parametrize("samples", [vectors, series])
def test_rates_of_the_samples_of_the_construction_are_those_of_its_history(samples, options):
    X, labels = samples()
    net = ReduNet.construct(X, labels, **options)
    rates, found = description(net), evaluation(net, X, labels)
    assert found["rate reduction"] == pytest.approx(rates["rate reduction after"], rel=1e-9)
    assert found["expansion"] == pytest.approx(net.history.expansion[-1], rel=1e-9)
    assert f"ΔR {net.history.delta[0]:.3g} → {net.history.delta[-1]:.3g}" in repr(net.history)


@FEW
def test_they_validate(rows):
    X, labels = vectors()
    net = ReduNet.construct(X, labels, num_layers=2, validation=(X[rows], labels[rows]))
    assert net.history.validation is not None
    np.testing.assert_allclose(net.history.validation.delta, 0, atol=1e-12)


def test_the_command_takes_a_single_row(tmp_path, capsys):
    X, labels = vectors()
    rows = [",".join(map(str, [*x, label])) for x, label in zip(X.tolist(), labels, strict=True)]
    train, test, net = (tmp_path / name for name in ("train.csv", "test.csv", "net.st"))
    train.write_text("\n".join(["a,b,c,d,kind", *rows]))
    test.write_text("\n".join(["a,b,c,d,kind", rows[0]]))
    options = ["--lift", "none", "--num-layers", "1"]
    assert main(["construct", str(train), "-o", str(net), *options]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(net), str(test), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 1
    for command, output in (("report", "page.html"), ("predict", "out.csv")):
        arguments = [command, str(net), str(test), "-o", str(tmp_path / output)]
        assert main(arguments) == 0
        assert (tmp_path / output).stat().st_size > 0
