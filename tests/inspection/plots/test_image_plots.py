"""Plots of principal and nearest images."""

import numpy as np
import pytest
import torch

from redunet import datasets
from redunet.plots import (
    plot_nearest_images,
    plot_principal_images,
)


def test_principal_images_are_nearest_to_the_principal_directions():
    generator = torch.manual_seed(0)
    Z = torch.nn.functional.normalize(torch.randn(20, 5, generator=generator))
    X = torch.arange(20.0)[:, None, None].expand(20, 2, 2)  # an image tells its number
    labels = np.repeat(["x", "y"], 10)

    def numbers(axes):
        return [[int(ax.get_images()[0].get_array()[0, 0]) for ax in row] for row in axes]

    found = numbers(plot_principal_images(X, Z, labels, components=3))
    directions = np.linalg.svd(Z[10:].numpy())[2][:3]
    coherence = np.abs(directions @ Z[10:].numpy().T)
    assert found[1] == (10 + coherence.argmax(1)).tolist()
    axes = plot_principal_images(X[:, None], Z, labels, label="y", components=3, images=4)
    assert numbers(axes) == (10 + np.argsort(-coherence, axis=1)[:, :4]).tolist()
    assert axes[2, 0].get_ylabel() == "class y, direction 3"
    with pytest.raises(ValueError, match="no sample has label 'z'"):
        plot_principal_images(X, Z, labels, label="z")
    with pytest.raises(ValueError, match=r"got \(20, 2, 2, 2\)"):
        plot_principal_images(X[:, None].expand(20, 2, 2, 2), Z, labels)


def test_few_images_leave_the_rest_of_a_row_empty():
    X, Z = torch.rand(4, 3, 2, 2, generator=torch.manual_seed(0)), torch.eye(4)
    axes = plot_principal_images(X, Z, ["a", "a", "a", "b"])
    assert [[len(ax.get_images()) for ax in row] for row in axes] == [[1, 1, 1], [1, 0, 0]]
    np.testing.assert_allclose(axes[1, 0].get_images()[0].get_array(), X[3].movedim(0, -1))


def test_the_nearest_of_a_shifted_image_are_shifted_alike(images):
    net, X, _ = images
    shifts = datasets.all_shifts(X[:5], 4).flatten(0, 1)
    axes = plot_nearest_images((shifts[:4], net(shifts[:4])), (shifts, net(shifts)), images=2)
    assert axes.shape == (4, 3)
    for image, row in zip(shifts[:4], axes, strict=True):
        framed, nearest = (ax.get_images()[0].get_array() for ax in row[:2])
        np.testing.assert_array_equal(framed, image[0])
        np.testing.assert_array_equal(nearest, image[0])  # itself, not one of its shifts
    assert [ax.get_title() for ax in axes[0]] == ["image", "nearest", ""]
