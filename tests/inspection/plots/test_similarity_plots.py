"""Plots of similarities and singular values."""

import numpy as np
import pytest
import torch

from redunet.inspection.plots.features import shown_rows, similarity_over_shifts
from redunet.plots import (
    plot_similarity,
    plot_singular_values,
)
from tests.samples import samples


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


@pytest.mark.parametrize("shape", [(5,), (4, 3)])
def test_similarities_over_shifts_are_the_largest_ones(shape):
    Z = samples(4, 2, *shape)
    Z /= Z.flatten(1).norm(dim=1).view(-1, *[1] * (Z.ndim - 1))
    expected = np.zeros((4, 4))
    for shift in np.ndindex(shape):
        moved = np.roll(Z.numpy(), shift, axis=tuple(range(2, Z.ndim))).reshape(4, -1)
        expected = np.maximum(expected, np.abs(moved @ Z.flatten(1).numpy().T))
    np.testing.assert_allclose(similarity_over_shifts(Z), expected, rtol=1e-9)


def test_similarities_over_shifts_do_not_change_if_a_sample_is_shifted():
    X, labels = samples(6, 2, 7), [0, 1] * 3
    (image,) = plot_similarity(X, labels, shift_invariant=True).get_images()
    moved = torch.stack([x.roll(i, 1) for i, x in enumerate(X)])
    (again,) = plot_similarity(moved, labels, shift_invariant=True).get_images()
    np.testing.assert_allclose(image.get_array(), again.get_array(), rtol=1e-9)
    with pytest.raises(ValueError, match=r"signals have shape \(m, C, \*spatial\), got \(2, 2\)"):
        plot_similarity(torch.eye(2), [0, 1], shift_invariant=True)


def test_heat_maps_of_reports_show_some_samples_of_each_class():
    labels = np.arange(900) % 9
    assert shown_rows(labels).tolist() == list(range(270))
    rows = shown_rows(np.arange(3000) % 200)
    assert np.bincount(rows % 200).tolist() == [2] * 200
    assert shown_rows(np.array(["b", "a"])).tolist() == [0, 1]


def test_singular_values_of_all_and_of_each_class():
    Z = torch.randn(12, 5, generator=torch.manual_seed(0))
    labels = np.repeat(["x", "y"], [9, 3])
    ax = plot_singular_values(Z, labels)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["x", "y", "all"]
    for line, part in zip(ax.lines, (Z[:9], Z[9:], Z), strict=True):
        expected = np.linalg.svd(part.numpy(), compute_uv=False)
        np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-5)
        assert line.get_xdata().tolist() == [*range(1, len(expected) + 1)]


def test_many_classes_share_a_colour_and_a_name():
    ax = plot_singular_values(samples(63, 4), np.arange(63) % 21)
    assert len(ax.lines) == 22
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["single classes", "all"]
