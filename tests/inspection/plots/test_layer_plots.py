"""Plots with a curve or bars for each layer."""

import numpy as np

from redunet import ReduNet, explain
from redunet.construction.construction import RateHistory
from redunet.inspection.style import HUES
from redunet.plots import (
    plot_explanation,
    plot_rates,
)
from tests.inspection.plots.made_up import RATES


def test_rates_are_the_history():
    history = RateHistory(RATES.expansion, RATES.compression, validation=RATES)
    for drawn, lines in ((RATES, 3), (history, 6)):
        ax = plot_rates(drawn)
        assert len(ax.lines) == len(ax.get_legend().get_texts()) == lines
        for line, values in zip(
            ax.lines, [RATES.delta, RATES.expansion, RATES.compression] * 2, strict=False
        ):
            np.testing.assert_array_equal(line.get_xdata(), [0, 1, 2])
            np.testing.assert_array_equal(line.get_ydata(), values)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels[0] == r"$\Delta R = R - R_c$"
    assert labels[5] == "$R_c$, class by class (validation)"


def test_an_explanation_is_drawn_as_it_is(images):
    net, X, _ = images
    explanation = explain(net, X[0])
    axes = plot_explanation(explanation)
    assert len(axes) == 3
    axes[0].figure.canvas.draw()
    arrays = explanation.residuals, explanation.memberships, explanation.compression
    for ax, array in zip(axes, arrays, strict=True):
        drawn = {line.get_label(): line.get_ydata() for line in ax.lines}
        for j in explanation.nearest_classes(5):
            np.testing.assert_array_equal(drawn[f"class digit {j}"], array[:, j])
        assert len(ax.lines) == 10 + (ax is axes[2])
    assert len(axes[2].get_legend().get_texts()) == 6


def colors_of(ax):
    """The colour of each class in a plot."""
    return {line.get_label(): line.get_color() for line in ax.lines if line.get_label()[0] != "_"}


def test_a_class_has_the_same_colour_for_all_samples(images):
    net, X, _ = images
    found = {}
    for x in X[:8]:
        for ax in plot_explanation(explain(net, x)):
            for name, color in colors_of(ax).items():
                assert found.setdefault(name, color) == color
    assert found.pop("$E$") == "black"
    expected = {f"class digit {j}": HUES[j] for j in range(10)}
    assert len(found) > 5
    assert found.items() <= expected.items()


def test_the_true_class_has_a_colour(images):
    net, X, _ = images
    furthest = explain(net, X[0]).nearest_classes(10)[-1]
    explanation = explain(net, X[0], label=f"digit {furthest}")
    assert f"class digit {furthest}" in colors_of(plot_explanation(explanation)[1])


def test_one_layer_has_bars(circle):
    _, X, labels = circle
    net = ReduNet.construct(X, labels, num_layers=1)
    explanation = explain(net, X[0])
    axes = plot_explanation(explanation)
    arrays = explanation.residuals, explanation.memberships, explanation.compression
    order = explanation.nearest_classes(2)
    for ax, array in zip(axes, arrays, strict=True):
        heights = [patch.get_height() for patch in ax.patches]
        np.testing.assert_allclose(heights[-2:], array[0, order])
        names = [tick.get_text() for tick in ax.get_xticklabels()]
        assert names[-2:] == [str(net.classes_[j]) for j in order]
    assert axes[2].patches[0].get_height() == explanation.expansion[0]
