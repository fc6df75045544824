"""Names of classes are drawn as they are, whatever matplotlib would make of them."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from redunet import ReduNet, explain, report
from redunet.plots import (
    plot_decision,
    plot_eigenvalues,
    plot_explanation,
    plot_similarity,
    plot_singular_values,
)

POSITIONS = np.arange(24) % 3
X = np.eye(3)[POSITIONS] + 0.2 * np.random.default_rng(0).normal(size=(24, 3))
NAMES = [
    ["$", "$$", "$$$"],
    ["_ant", "bee", "_cow"],
    ["$5", "$5 to $10", "over $10"],
    ["_$x$", "$\\frac{1}{$", "a_$b"],
    ["", "_", "__"],
    ["\\$5", "x^2", "{}"],
    ["50 %", "#1 & <b>", "~"],
]


def labels_of(names):
    return np.array(names)[POSITIONS]


def legend(ax):
    """The texts of a legend, after they were drawn."""
    ax.figure.canvas.draw()
    return [text.get_text().replace("\\$", "$") for text in ax.get_legend().get_texts()]


def ticks(axis):
    return [text.get_text().replace("\\$", "$") for text in axis.get_ticklabels()]


@pytest.mark.parametrize("names", NAMES)
def test_legends(names):
    labels = labels_of(names)
    assert set(legend(plot_singular_values(X, labels))) == {*names, "all"}
    net = ReduNet.construct(X, labels, num_layers=2)
    assert {f"$\\gamma_j C^j$, class {name}" for name in names} == {
        text for text in legend(plot_eigenvalues(net)) if "class" in text
    }


@pytest.mark.parametrize("names", NAMES)
def test_axes_and_titles(names):
    labels = labels_of(names)
    ax = plot_similarity(X, labels)
    ax.figure.canvas.draw()
    assert ticks(ax.xaxis) == ticks(ax.yaxis) == sorted(names)


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("num_layers", [1, 3])
def test_explanations(names, num_layers):
    labels = labels_of(names)
    net = ReduNet.construct(X, labels, num_layers=num_layers)
    explanation = explain(net, X[0])
    *_, ax = plot_explanation(explanation)
    if num_layers > 1:
        assert set(legend(ax)) == {*(f"class {name}" for name in names), "$E$"}
    else:
        ax.figure.canvas.draw()
        assert set(ticks(ax.xaxis)) == {*names, "$E$"}
    plot_decision(explanation.decision)[0].figure.canvas.draw()


def test_reports(tmp_path):
    labels = labels_of(["_$x$", "$\\frac{1}{$", "#1 & <b>"])
    report(ReduNet.construct(X, labels), X, labels, tmp_path / "r.html", worst=1)
    assert (tmp_path / "r.html").stat().st_size > 1000


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")
