"""Plots of samples on the circle and the sphere."""

import numpy as np
import pytest
import torch

from redunet import ReduNet, datasets
from redunet.plots import (
    plot_paths,
    plot_sphere,
)


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


def test_scatter_needs_a_circle_or_a_sphere():
    with pytest.raises(ValueError, match=r"have shape \(m, 2\) or \(m, 3\), got \(5, 4\)"):
        plot_sphere(torch.ones(5, 4), [0] * 5)


def test_subspaces_are_where_the_samples_are():
    Z = torch.tensor([[0.6, 0.8, 0], [-0.6, -0.8, 0], [0.0, 0.0, 1.0]])
    ax = plot_sphere(Z[:2, :2], ["a", "a"], subspace_dim=1)
    ends = np.stack(ax.lines[-1].get_data(), 1)
    np.testing.assert_allclose(np.abs(ends), [[0.6, 0.8]] * 2, rtol=1e-6)
    np.testing.assert_allclose(ends.sum(0), 0, atol=1e-6)
    ax = plot_sphere(Z, ["a"] * 3, subspace_dim=2)
    turn = np.stack(ax.lines[-1].get_data_3d(), 1)
    np.testing.assert_allclose(np.linalg.norm(turn, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(turn @ [0.8, -0.6, 0], 0, atol=1e-6)
    with pytest.raises(ValueError, match="from 0 to 1 on S1, got 2"):
        plot_sphere(Z[:, :2], [0] * 3, subspace_dim=2)


def test_paths_begin_at_the_samples_and_end_at_the_features(circle):
    net, X, labels = circle
    ax = plot_paths(net, X, labels)
    starts, ends = ([c.get_offsets() for c in ax.collections[i::2]] for i in (0, 1))
    np.testing.assert_allclose(np.concatenate(starts), 0.35 * X, rtol=1e-5)
    np.testing.assert_allclose(np.concatenate(ends), net(X), rtol=1e-5)
    path = np.stack(ax.lines[1].get_data(), 1).reshape(20, 7, 2)  # six points, and a gap
    assert np.isnan(path[:, -1]).all()
    np.testing.assert_allclose(
        np.linalg.norm(path[:, :-1], axis=2), [np.linspace(0.35, 1, 6)] * 20, rtol=1e-5
    )
    X, labels = datasets.gaussians(per_class=5)
    net = ReduNet.construct(X, labels, num_layers=2)
    drawn = plot_paths(net, X, labels).lines
    assert [len(line.get_data_3d()[0]) for line in drawn] == [5 * 4] * 3
