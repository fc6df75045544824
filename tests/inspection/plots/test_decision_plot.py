"""Plots of the shares in a decision."""

import numpy as np
import pytest

from redunet import explain
from redunet.inspection import Decision
from redunet.plots import (
    plot_decision,
)
from tests.inspection.plots.made_up import decision


def test_shares_are_drawn_on_an_image():
    shares = decision(6, 5)
    axes = plot_decision(shares, np.arange(60.0).reshape(2, 6, 5))
    grey, overlay = axes[0].get_images()
    np.testing.assert_allclose(grey.get_array(), np.arange(30.0).reshape(6, 5) + 15)
    percentages = 100 * shares.by_place / abs(shares.difference)
    np.testing.assert_allclose(overlay.get_array(), percentages)
    low, high = overlay.get_clim()
    assert high == -low == np.abs(percentages).max()
    assert overlay.get_extent() == [-0.5, 4.5, 5.5, -0.5] == grey.get_extent()
    assert axes[0].get_title() == "yes (blue) rather than no (orange)"
    bars = [patch.get_width() for patch in axes[1].patches]
    assert np.sum(bars) == pytest.approx(100 * np.sign(shares.difference))
    assert np.abs(bars[:8]).tolist() == sorted(np.abs(bars[:8]), reverse=True)
    names = [tick.get_text() for tick in axes[1].get_yticklabels()]
    assert names[8] == "17 others"
    largest = np.abs(shares.by_frequency).argmax()
    assert names[0] == shares.frequency_names[largest]
    assert [tick.get_text() for tick in axes[2].get_yticklabels()] == ["dilation 1", "dilation 2"]


def test_shares_are_drawn_behind_a_series():
    shares = decision(7)
    axes = plot_decision(shares, np.ones((2, 7)))
    assert len(axes[0].lines) == 2
    (overlay,) = axes[0].get_images()
    np.testing.assert_allclose(
        overlay.get_array()[0], 100 * shares.by_place / abs(shares.difference)
    )
    heights = [patch.get_height() for patch in axes[1].patches]
    np.testing.assert_allclose(heights, shares.percentages(shares.by_frequency))
    signs = [patch.get_facecolor()[2] > patch.get_facecolor()[0] for patch in axes[1].patches]
    assert signs == [height >= 0 for height in heights]  # blue for the winner


def test_shares_of_other_samples():
    assert len(plot_decision(decision(7, scales=["samples"]), np.ones((2, 7)))) == 2
    assert len(plot_decision(decision(2, 2, 2), np.ones((1, 2, 2, 2)))) == 2
    (ax,) = plot_decision(decision(scales=["samples"]), np.ones(4))
    assert len(ax.patches) == 1
    (ax,) = plot_decision(decision(), np.ones((1, 4, 4)))  # features without places
    assert len(ax.patches) == 2
    with pytest.raises(ValueError, match=r"one axis of channels and 2 of places, got shape \(3,"):
        plot_decision(decision(4, 4), np.ones((3, 1, 4, 4)))


def test_a_decision_fits_on_a_narrow_page():
    for shape, sample in (((7,), np.ones((2, 7))), ((4, 4), np.ones((1, 4, 4)))):
        axes = plot_decision(decision(*shape), sample)
        axes[0].figure.canvas.draw()
        places, frequencies, scales = (ax.get_position() for ax in axes)
        assert axes[0].figure.get_figwidth() < 7
        if len(shape) == 1:  # a series is above the bars
            assert places.y0 > max(frequencies.y1, scales.y1)
            assert frequencies.x1 < scales.x0
        else:  # an image is beside them
            assert places.x1 < min(frequencies.x0, scales.x0)
            assert frequencies.y0 > scales.y1


def test_a_decision_of_a_network_is_drawn(images):
    net, X, _ = images
    explanation = explain(net, X[0])
    axes = plot_decision(explanation.decision, X[0])
    assert len(axes) == 2
    assert axes[0].get_title().startswith(f"{explanation.decision.classes[0]} (blue)")
    nothing = Decision.from_network(net, 0 * X[0])
    plot_decision(nothing, 0 * X[0]).item(0).figure.canvas.draw()
