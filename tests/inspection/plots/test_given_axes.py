"""All plots draw on axes and figures that are given, from tensors on any device."""

import pytest
import torch
from matplotlib import pyplot as plt

from redunet import ReduNet, explain
from redunet.plots import (
    plot_decision,
    plot_eigenvalues,
    plot_explanation,
    plot_rates,
    plot_search,
    plot_similarity,
    plot_singular_values,
)
from tests.inspection.plots.made_up import RATES, decision


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax: plot_rates(RATES, ax=ax),
        lambda ax: plot_similarity(torch.eye(2), [0, 1], ax=ax),
        lambda ax: plot_singular_values(torch.eye(2), [0, 1], ax=ax),
    ],
)
def test_axes_that_are_given_are_drawn_on(draw):
    _, ax = plt.subplots()
    assert draw(ax) is ax
    assert len(plt.get_fignums()) == 1


def test_axes_that_are_given_are_drawn_on_too(circle):
    _, ax = plt.subplots()
    assert plot_eigenvalues(circle[0], ax=ax) is ax
    assert len(plt.get_fignums()) == 1


@pytest.mark.parametrize("draw", [plot_explanation, plot_decision, plot_search])
def test_figures_that_are_given_are_drawn_on(draw, circle, search):
    figure = plt.figure().subfigures(1, 2)[1]
    arguments = {
        plot_explanation: (explain(circle[0], circle[1][0]),),
        plot_decision: (decision(4, 4),),
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
    for draw in (plot_similarity, plot_singular_values):
        draw(net(Z), labels)
    plot_eigenvalues(net)
    plot_explanation(explain(net, Z[0]))
