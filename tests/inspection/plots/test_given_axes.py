"""All plots draw on axes and figures that are given, from tensors on any device."""

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt

from redunet import ReduNet, explain
from redunet.plots import (
    AccuracyByDepthDisplay,
    plot_architecture,
    plot_decision,
    plot_eigenvalues,
    plot_explanation,
    plot_kernels,
    plot_paths,
    plot_principal_images,
    plot_rates,
    plot_search,
    plot_similarity,
    plot_similarity_histogram,
    plot_singular_values,
    plot_sphere,
)
from tests.inspection.plots.made_up import RATES, decision


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax: plot_rates(RATES, ax=ax),
        lambda ax: plot_similarity(torch.eye(2), [0, 1], ax=ax),
        lambda ax: plot_similarity_histogram((np.eye(2), [0, 1]), (np.eye(2), [0, 1]), ax=ax),
        lambda ax: plot_singular_values(torch.eye(2), [0, 1], ax=ax),
        lambda ax: plot_sphere(torch.eye(2), [0, 1], ax=ax),
        lambda ax: AccuracyByDepthDisplay([0.5]).plot(ax=ax).ax_,
    ],
)
def test_axes_that_are_given_are_drawn_on(draw):
    _, ax = plt.subplots()
    assert draw(ax) is ax
    assert len(plt.get_fignums()) == 1


@pytest.mark.parametrize("draw", [plot_paths, plot_eigenvalues, plot_architecture])
def test_axes_that_are_given_are_drawn_on_too(draw, circle):
    _, ax = plt.subplots()
    arguments = circle if draw is plot_paths else circle[:1]
    assert draw(*arguments, ax=ax) is ax
    assert len(plt.get_fignums()) == 1


@pytest.mark.parametrize(
    "draw", [plot_kernels, plot_explanation, plot_principal_images, plot_decision, plot_search]
)
def test_figures_that_are_given_are_drawn_on(draw, circle, images, search):
    figure = plt.figure().subfigures(1, 2)[1]
    arguments = {
        plot_kernels: (circle[0],),
        plot_explanation: (explain(circle[0], circle[1][0]),),
        plot_principal_images: (images[1], images[1], images[2]),
        plot_decision: (decision(4, 4), np.ones((1, 4, 4))),
        plot_search: (search,),
    }[draw]
    axes = draw(*arguments, figure=figure)
    assert all(ax.get_figure(root=False) is figure for ax in axes.flat)
    assert len(plt.get_fignums()) == 1


def test_labels_and_features_may_be_on_any_device(device):
    generator = torch.Generator().manual_seed(0)
    Z = torch.randn(20, 3, generator=generator).to(device)
    labels = (torch.arange(20) % 2).to(device)
    net = ReduNet.construct(Z, labels, num_layers=1, eta=0.1)
    for draw in (plot_similarity, plot_singular_values, plot_sphere):
        draw(net(Z), labels)
    plot_similarity_histogram((Z, labels), (net(Z), labels))
    plot_paths(net, Z, labels)
    plot_principal_images(Z[:, None].expand(20, 2, 3), Z, labels)
    plot_eigenvalues(net)
    plot_kernels(net)
    plot_explanation(explain(net, Z[0]))
    assert AccuracyByDepthDisplay.from_network(net, Z, labels).accuracies.shape == (1,)
