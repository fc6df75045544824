"""Plots of the shares in a decision."""

import numpy as np
import pytest

from redunet import explain
from redunet.inspection import Decision
from redunet.plots import plot_decision
from tests.inspection.plots.made_up import decision


def names_of(ax):
    return [tick.get_text() for tick in ax.get_yticklabels()]


def test_shares_are_drawn_on_an_image():
    shares = decision(6, 5, sample=np.arange(60.0).reshape(2, 6, 5))
    axes = plot_decision(shares)
    grey, overlay = axes[0].get_images()
    np.testing.assert_allclose(grey.get_array(), np.arange(30.0).reshape(6, 5) + 15)
    percentages = 100 * shares.by_place / abs(shares.difference)
    np.testing.assert_allclose(overlay.get_array(), percentages)
    low, high = overlay.get_clim()
    assert high == -low == np.abs(percentages).max()
    assert overlay.get_extent() == [-0.5, 4.5, 5.5, -0.5] == grey.get_extent()
    title = axes[0].figure.get_suptitle()
    assert title == "yes (blue) rather than no (orange)"
    bars = [patch.get_width() for patch in axes[1].patches]
    assert np.sum(bars) == pytest.approx(100 * np.sign(shares.difference))
    assert np.abs(bars[:9]).tolist() == sorted(np.abs(bars[:9]), reverse=True)
    names = names_of(axes[1])
    assert names[9] == "16 others"
    largest = np.abs(shares.by_frequency).argmax()
    assert names[0] == shares.frequency_names[largest]
    assert len(axes) == 2


def test_shares_are_drawn_behind_a_series():
    shares = decision(7, sample=np.ones((2, 7)), inputs={"a": 0.5, "_b": -0.25})
    axes = plot_decision(shares)
    assert len(axes) == 3
    assert len(axes[1].lines) == 2
    (overlay,) = axes[1].get_images()
    np.testing.assert_allclose(
        overlay.get_array()[0], 100 * shares.by_place / abs(shares.difference)
    )
    heights = [patch.get_height() for patch in axes[2].patches]
    np.testing.assert_allclose(heights, shares.percentages(shares.by_frequency))
    signs = [patch.get_facecolor()[2] > patch.get_facecolor()[0] for patch in axes[2].patches]
    assert signs == [height >= 0 for height in heights]  # blue for the winner


def test_columns_come_first_and_bars_sum_to_the_difference():
    inputs = {f"$column {i}": 0.01 * i for i in range(12)}
    shares = decision(inputs=inputs)
    (ax,) = plot_decision(shares)
    widths = [patch.get_width() for patch in ax.patches]
    assert names_of(ax) == [
        *(rf"\$column {i}" for i in range(11, 2, -1)),
        "3 others",
        "means",
    ]
    expected = [*(0.01 * np.arange(11, 2, -1)), 0.03, shares.rest]
    np.testing.assert_allclose(widths, shares.percentages(expected))
    assert np.sum(widths) == pytest.approx(100 * np.sign(shares.difference))
    assert ax.get_title() == "By column"


def test_shares_of_other_samples():
    assert len(plot_decision(decision(7))) == 2
    assert len(plot_decision(decision(2, 2, 2))) == 1
    (ax,) = plot_decision(decision(sample=np.ones((1, 4, 4))))  # features without places
    assert len(ax.patches) == 1


def test_a_decision_of_a_network_is_drawn(images):
    net, X, _ = images
    explanation = explain(net, X[0])
    axes = plot_decision(explanation.decision)
    assert len(axes) == 2
    title = axes[0].figure.get_suptitle()
    assert title.startswith(f"{explanation.decision.classes[0]} (blue)")
    nothing = Decision.from_network(net, 0 * X[0])
    plot_decision(nothing).item(0).figure.canvas.draw()
