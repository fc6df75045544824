import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt

from redunet.construction import RateHistory
from redunet.plots import (
    plot_rates,
    plot_similarity,
    plot_similarity_histogram,
    plot_singular_values,
    plot_sphere,
)

RATES = RateHistory(np.array([2.0, 3.0, 4.0]), np.array([1.0, 1.5, 1.0]))


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
    assert labels[0] == r"$\Delta R$"
    assert labels[5] == "$R_c$ (validation)"


def test_similarities_are_sorted_by_class():
    labels = np.array(["b", "a", "b", "a", "a"])
    Z = torch.eye(2)[torch.tensor([1, 0, 1, 0, 0])] * torch.tensor([[1.0], [2], [-3], [4], [5]])
    ax = plot_similarity(Z, labels)
    (image,) = ax.get_images()
    expected = np.kron(np.eye(2), np.ones((3, 3)))[:5, :5]
    np.testing.assert_allclose(image.get_array(), expected, atol=1e-6)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["a", "b"]
    assert ax.get_xticks().tolist() == ax.get_yticks().tolist() == [1.5, 4]
    assert image.get_clim() == (0, 1)


def test_histogram_counts_pairs_of_different_classes_only():
    train = (torch.tensor([[1.0, 0.0], [0.0, 1.0]]), [0, 1])
    test = (torch.tensor([[1.0, 0.0], [1.0, 1.0]]), [0, 0])
    ax = plot_similarity_histogram(train, test, label="pixels")
    heights = np.array([patch.get_height() for patch in ax.patches])
    # The second training sample against both test samples: cosines 0 and 1/√2.
    assert np.flatnonzero(heights).tolist() == [0, 35]
    assert heights[[0, 35]].tolist() == [0.5, 0.5]
    assert ax.get_legend().get_texts()[0].get_text() == "pixels"
    plot_similarity_histogram(train, test, ax=ax, label="features")
    assert len(ax.patches) == 2 * len(heights)


@pytest.mark.parametrize("n", [2, 3])
def test_scatter_shows_every_sample_in_its_class(n):
    Z = torch.nn.functional.normalize(torch.randn(9, n, generator=torch.manual_seed(0)))
    labels = np.array(["x", "y", "z"] * 3)
    ax = plot_sphere(Z, labels)
    drawn = [c for c in ax.collections if not c.get_label().startswith("_")]
    assert [c.get_label() for c in drawn] == ["x", "y", "z"]
    for label, collection in zip("xyz", drawn, strict=True):
        offsets = collection._offsets3d if n == 3 else collection.get_offsets().T
        np.testing.assert_allclose(np.stack(offsets, 1), Z[labels == label], rtol=1e-6)
    assert len({tuple(c.get_facecolor()[0]) for c in drawn}) == 3


def test_singular_values_of_all_and_of_each_class():
    Z = torch.randn(12, 5, generator=torch.manual_seed(0))
    labels = np.repeat(["x", "y"], [9, 3])
    ax = plot_singular_values(Z, labels)
    assert [line.get_label() for line in ax.lines] == ["x", "y", "all"]
    for line, samples in zip(ax.lines, (Z[:9], Z[9:], Z), strict=True):
        expected = np.linalg.svd(samples.numpy(), compute_uv=False)
        np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-5)
        assert line.get_xdata().tolist() == [*range(1, len(expected) + 1)]


def test_scatter_needs_a_circle_or_a_sphere():
    with pytest.raises(ValueError, match=r"have shape \(m, 2\) or \(m, 3\), got \(5, 4\)"):
        plot_sphere(torch.ones(5, 4), [0] * 5)


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax: plot_rates(RATES, ax=ax),
        lambda ax: plot_similarity(torch.eye(2), [0, 1], ax=ax),
        lambda ax: plot_similarity_histogram((np.eye(2), [0, 1]), (np.eye(2), [0, 1]), ax=ax),
        lambda ax: plot_singular_values(torch.eye(2), [0, 1], ax=ax),
        lambda ax: plot_sphere(torch.eye(2), [0, 1], ax=ax),
    ],
)
def test_axes_that_are_given_are_drawn_on(draw):
    _, ax = plt.subplots()
    assert draw(ax) is ax
    assert len(plt.get_fignums()) == 1
