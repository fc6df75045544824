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
    rings = left.lines[-1]
    assert sorted(rings.get_ydata()) == sorted(c.loss for c in search.chosen_)
    curves = [line for line in right.lines if line.get_linestyle() != "None"]
    for curve, candidate in zip(curves, search.chosen_, strict=True):
        np.testing.assert_array_equal(curve.get_xdata(), candidate.precisions)
        np.testing.assert_array_equal(curve.get_ydata(), candidate.losses)
    rings = [line for line in right.lines if line.get_linestyle() == "None"]
    assert [line.get_xdata()[0] for line in rings] == [c.eps_sq for c in search.chosen_]
    assert right.get_xscale() == right.get_yscale() == "log"
    names = [text.get_text() for text in right.get_legend().get_texts()]
    assert {"MultiScaleLift, relu", "MultiScaleLift, step", "samples"} == set(names[:3])
    assert names[-1] == "chosen"


def test_a_search_without_bands_has_a_row_for_each_lift():
    X, labels = datasets.gaussians(per_class=10)
    search = Search([None, MultiScaleLift(3, 0, kernels_per_scale=4)], most_samples=20)
    search.fit(X, labels)
    left, right = plot_search(search)
    names = [tick.get_text() for tick in left.get_yticklabels()]
    assert names == [candidate.name for candidate in search.candidates_]
    # All samples refined the chosen candidates, but the rings are those of the subset.
    chosen = [candidate.lift for candidate in search.chosen_]
    rows = [row for row, c in enumerate(search.candidates_) if c.lift in chosen]
    assert left.lines[-1].get_ydata().tolist() == rows
    assert right.get_legend() is None


def test_a_search_on_too_few_samples_has_no_losses_to_draw():
    search = Search([None], bands=[1, 2]).fit(torch.randn(4, 1, 9), [0, 0, 1, 1])
    with pytest.raises(ValueError, match="no class had three samples or more"):
        plot_search(search)
