import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex, to_rgba

from redunet.estimators.lossy_coding import LossyCodingClustering
from redunet.inspection.palette import class_colors
from redunet.inspection.plots.coding import ABOVE, plot_coding_length, plot_merging


@pytest.fixture(scope="module")
def clustering():
    """Three lines in three dimensions, with 20, 12 and 8 samples."""
    rng = np.random.default_rng(0)
    lines = np.repeat(np.eye(3), [20, 12, 8], axis=0)
    X = rng.uniform(1, 2, (40, 1)) * lines + 0.01 * rng.standard_normal((40, 3))
    fitted = LossyCodingClustering().fit(X)
    assert fitted.n_clusters_ == 3
    return fitted


def links(ax):
    """Heights and colours of the merges that are drawn."""
    return [
        (segment[1, 1], to_hex(collection.get_color()[0]))
        for collection in ax.collections
        for segment in collection.get_segments()
    ]


def test_all_merges_are_drawn_at_their_heights(clustering):
    ax = plot_merging(clustering, max_leaves=40)
    heights = sorted(height for height, _ in links(ax))
    np.testing.assert_allclose(heights, clustering.linkage_[:, 2])
    (line,) = ax.lines
    np.testing.assert_allclose(line.get_ydata(), clustering.threshold_)
    assert ax.get_title() == "3 clusters below the line"


def test_merges_have_the_colour_of_their_cluster(clustering):
    drawn = links(plot_merging(clustering, max_leaves=40))
    palette = [to_hex(color) for color in class_colors(3)]
    below = [color for height, color in drawn if height < clustering.threshold_]
    assert [below.count(color) for color in palette] == [19, 11, 7]
    assert [c for h, c in drawn if h > clustering.threshold_] == [ABOVE, ABOVE]


def test_leaves_are_labelled_with_their_samples(clustering):
    ax = plot_merging(clustering, max_leaves=3)
    labels = ax.get_xticklabels()
    sizes = [int(text.get_text()) for text in labels]
    assert sorted(sizes) == [8, 12, 20]
    palette = class_colors(3)
    order = [20, 12, 8]
    for size, text in zip(sizes, labels, strict=True):
        assert to_rgba(text.get_color()) == pytest.approx(palette[order.index(size)], abs=1 / 255)


def test_leaves_are_labelled_with_the_samples_of_groups():
    X = np.repeat(np.eye(2), [5, 3], axis=0)
    groups = [0, 0, 1, 1, 1, 2, 3, 3]
    ax = plot_merging(LossyCodingClustering(initial=groups).fit(X))
    sizes = sorted(int(text.get_text()) for text in ax.get_xticklabels())
    assert sizes == [1, 2, 2, 3]


def test_hundreds_of_samples_have_few_leaves():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 2)) @ rng.standard_normal((2, 5))
    ax = plot_merging(LossyCodingClustering().fit(X))
    labels = [int(text.get_text()) for text in ax.get_xticklabels()]
    assert len(labels) == 20
    assert sum(labels) == 300
    assert ax.get_title() == "1 cluster below the line"


def test_the_coding_length_has_its_minimum_at_the_clusters(clustering):
    ax = plot_coding_length(clustering)
    curve, minimum = ax.lines
    np.testing.assert_array_equal(curve.get_xdata(), range(40, 0, -1))
    np.testing.assert_array_equal(curve.get_ydata(), clustering.lengths_)
    assert minimum.get_xdata() == [3]
    assert minimum.get_ydata() == [clustering.coding_length_]
    assert ax.get_legend().get_texts()[0].get_text() == "minimum at 3 clusters"


def test_axes_may_be_given(clustering):
    _, axes = plt.subplots(1, 2)
    assert plot_merging(clustering, ax=axes[0]) is axes[0]
    assert plot_coding_length(clustering, ax=axes[1]) is axes[1]


def test_errors_say_what_was_expected(clustering):
    with pytest.raises(ValueError, match="max_leaves must be at least 2, got 1"):
        plot_merging(clustering, max_leaves=1)
    with pytest.raises(ValueError, match="the clustering began with one cluster"):
        plot_merging(LossyCodingClustering(initial=[0, 0, 0]).fit(np.eye(3)))
