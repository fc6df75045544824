"""Plots of the operators of a layer."""

import numpy as np
import pytest
import torch

from redunet import ReduNet, datasets
from redunet.plots import (
    plot_eigenvalues,
    plot_kernels,
)


def test_eigenvalues_are_those_of_the_operators(circle):
    net, _, _ = circle
    ax = plot_eigenvalues(net, 0)
    layer = net.layers[0]
    E, C = layer.operators.expansion[0], layer.operators.matrices().compression[0]
    weighted = [g * c for g, c in zip(layer.proportions, C, strict=True)]
    *curves, limit = ax.lines
    assert limit.get_ydata() == [layer.alpha.item()] * 2
    for line, matrix in zip(curves, [*weighted, E], strict=True):
        expected = np.linalg.eigvalsh(matrix.numpy())[::-1]
        np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-5)
    assert ax.get_title() == "Operators of layer 1"
    assert plot_eigenvalues(net).get_title() == "Operators of layer 5"
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["$\\gamma_j C^j$, class 0", "$\\gamma_j C^j$, class 1", "$E$", r"$\alpha$"]


def test_kernels_are_drawn_around_their_origin(images, circle):
    net, _, _ = images
    axes = plot_kernels(net, channels=3)
    assert axes.shape == (11, 3)
    E, C = net.layers[-1].kernels()
    for i, j, kernel in ((0, 0, E[0, 0]), (3, 2, C[2, 2, 2])):
        (picture,) = axes[i, j].get_images()
        drawn = np.fft.ifftshift(picture.get_array().filled(np.nan))
        assert np.isnan(drawn[0, 0])
        np.testing.assert_allclose(drawn.ravel()[1:], kernel.ravel()[1:], rtol=1e-5)
        low, high = picture.get_clim()
        assert low == -high
        scale = axes[i, 0].get_images()[0].colorbar
        np.testing.assert_allclose(scale.get_ticks(), [low, 0, high])
    assert [ax.get_ylabel() for ax in axes[:2, 0]] == ["E", "C, class digit 0"]
    assert [tick.get_text() for tick in axes[-1, 0].get_xticklabels()] == ["-4", "0", "3"]
    assert axes[-1, 0].get_images()[0].get_extent() == [-4.5, 3.5, 3.5, -4.5]

    net, _, _ = circle
    axes = plot_kernels(net)
    assert axes.shape == (3, 1)
    matrix = axes[0, 0].get_images()[0].get_array().filled(np.nan)
    expected = net.layers[-1].operators.expansion[0]
    np.testing.assert_allclose(matrix[[0, 1], [1, 0]], expected[[0, 1], [1, 0]], rtol=1e-5)
    assert np.isnan(np.diag(matrix)).all()


def test_kernels_of_signals_are_curves():
    X, labels = datasets.sinusoids(per_class=5)
    net = ReduNet.construct(X, labels, num_layers=1)
    axes = plot_kernels(net)
    length = X.shape[-1]
    kernel = net.layers[0].kernels()[0][0, 0]
    (line,) = axes[0, 0].lines
    drawn = dict(zip(line.get_xdata().tolist(), line.get_ydata().tolist(), strict=True))
    assert np.isnan(drawn[0])
    np.testing.assert_allclose([drawn[1], drawn[-1]], kernel[[1, length - 1]], rtol=1e-5)
    kernels = net.layers[0].kernels()[0]
    largest = max(kernels[c, c, 1:].abs().max().item() for c in range(axes.shape[1]))
    np.testing.assert_allclose(axes[0, 0].get_yticks(), [-largest, 0, largest])


def test_kernels_of_volumes_cannot_be_drawn():
    X = torch.randn(6, 1, 2, 2, 2, generator=torch.manual_seed(0))
    net = ReduNet.construct(X, [0, 1] * 3, num_layers=1)
    with pytest.raises(ValueError, match=r"two spatial axes can be drawn, got \(2, 2, 2\)"):
        plot_kernels(net)
