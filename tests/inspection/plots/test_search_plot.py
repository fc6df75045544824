"""Plots of a search."""

import numpy as np
import pytest
import torch

from redunet import MultiScaleLift, Search, datasets
from redunet.plots import (
    plot_search,
)


def test_a_search_is_drawn_by_band_and_precision(search):
    left, right = plot_search(search)
    assert [tick.get_text() for tick in left.get_xticklabels()] == ["1", "3", "all"]
    curves = {tuple(line.get_ydata()) for line in left.lines if len(line.get_xdata()) == 3}
    for lift in {candidate.lift for candidate in search.candidates_}:
        losses = {c.band: c.loss for c in search.candidates_ if c.lift is lift}
        assert (losses[1], losses[3], losses[None]) in curves
    assert left.lines[-1].get_ydata() == [search.best_.loss]
    curve, ring = right.lines
    np.testing.assert_array_equal(curve.get_xdata(), search.best_.precisions)
    np.testing.assert_array_equal(curve.get_ydata(), search.best_.losses)
    assert ring.get_xdata() == [search.best_.eps_sq]
    assert right.get_xscale() == right.get_yscale() == "log"
    names = [text.get_text() for text in right.get_legend().get_texts()]
    assert {"MultiScaleLift, relu", "MultiScaleLift, step", "samples"} == set(names[:3])
    assert names[-1].startswith("chosen, band ")


def test_a_search_without_bands_has_a_point_for_each_lift():
    X, labels = datasets.gaussians(per_class=10)
    search = Search([None, MultiScaleLift(3, 0, kernels_per_scale=4)], most_samples=20)
    search.fit(X, labels)
    left, right = plot_search(search)
    assert not left.xaxis.get_visible()
    assert right.get_legend().get_texts()[-1].get_text() == "chosen"
    drawn = {line.get_label(): line.get_ydata() for line in left.lines[:-1]}
    assert drawn == {candidate.name: [candidate.loss] for candidate in search.candidates_}
    # All samples refined the chosen candidate, but the ring is that of the subset.
    assert left.lines[-1].get_ydata() == [search.candidates_[0].loss]


def test_a_search_on_too_few_samples_has_no_losses_to_draw():
    search = Search([None], bands=[1, 2]).fit(torch.randn(4, 1, 9), [0, 0, 1, 1])
    with pytest.raises(ValueError, match="no class had three samples or more"):
        plot_search(search)
