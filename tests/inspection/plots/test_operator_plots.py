"""Plots of the operators of a layer."""

import numpy as np

from redunet.plots import plot_eigenvalues


def test_eigenvalues_are_those_of_the_operators(circle):
    net, _, _ = circle
    ax = plot_eigenvalues(net, 0)
    layer = net.layers[0]
    E, C = layer.operators.matrices().expansion[0], layer.operators.matrices().compression[0]
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
