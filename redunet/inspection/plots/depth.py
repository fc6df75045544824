"""Plot of the accuracy by depth."""

from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from redunet._checks import Array, as_tensor
from redunet._labels import as_labels
from redunet.inspection.axes import draw_legend, entry, given_or_new
from redunet.network import ReduNet


class AccuracyByDepthDisplay:
    """Accuracy of the memberships that each layer estimates.

    The first layers decide the class, so accuracy hardly changes with depth. Further layers make
    the features of the classes orthogonal.

    Parameters
    ----------
    accuracies : array-like of shape (num_layers,)
        Share of the samples whose class has the largest membership, for each layer. A layer
        estimates memberships before it moves the samples.
    name : str, optional
        Name of the samples, for the legend.

    Attributes
    ----------
    ax_, figure_, line_
        Axes, figure and line of the last :meth:`plot`.
    """

    ax_: Axes
    figure_: Figure | SubFigure
    line_: Line2D

    def __init__(self, accuracies: Array, *, name: str | None = None):
        self.accuracies = as_tensor(accuracies).detach().cpu().numpy()
        self.name = name

    @classmethod
    def from_network(
        cls,
        net: ReduNet,
        X: Array,
        labels: Array,
        *,
        name: str | None = None,
        ax: Axes | None = None,
    ) -> "AccuracyByDepthDisplay":
        """Compute the accuracy of the memberships of each layer, and plot it.

        Parameters
        ----------
        net : ReduNet
        X : array-like or Tensor of shape (m, *net.sample_shape)
        labels : array-like or Tensor of shape (m,)
            True labels of the samples.
        name : str, optional
            Name of the samples, for the legend.
        ax : matplotlib Axes, optional
            Axes to draw on; by default those of a new figure. Pass the same axes twice to compare
            two accuracies.

        Returns
        -------
        AccuracyByDepthDisplay
        """
        with torch.no_grad():
            predictions = predictions_by_layer(net, X, net.residual_norms_by_layer(X))
        true = as_labels(labels, predictions.shape[1], classes=net.classes_)
        accuracies = (predictions == true).mean(1)
        return cls(accuracies, name=name).plot(ax=ax)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> "AccuracyByDepthDisplay":
        """Plot the accuracy by layer.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to draw on; by default those of a new figure.
        **kwargs
            Further arguments of ``Axes.plot``.

        Returns
        -------
        AccuracyByDepthDisplay
        """
        ax = given_or_new(ax)
        style = {
            "marker": "." if len(self.accuracies) <= 60 else "",
            "label": None if self.name is None else entry(self.name),
        } | kwargs
        (self.line_,) = ax.plot(np.arange(1, len(self.accuracies) + 1), self.accuracies, **style)
        ax.set(xlabel="layer", ylabel="accuracy", title="Accuracy of memberships, layer by layer")
        ax.set_ylim(None, 1.01, auto=None)  # a second curve may lie lower
        ax.locator_params(axis="x", integer=True)
        if self.name is not None:
            draw_legend(ax, frameon=False)
        self.ax_, self.figure_ = ax, ax.figure
        return self


@torch.no_grad()
def predictions_by_layer(net: ReduNet, X: Array, residuals: torch.Tensor) -> np.ndarray:
    """The label with the largest membership in each layer, ``(num_layers, m)``.

    A reader, if the network has one, takes part after the last layer.

    Parameters
    ----------
    net : ReduNet
    X : array-like or Tensor of shape (m, *sample_shape)
    residuals : Tensor of shape (num_layers, m, k)
        ‖Cʲv‖ before each layer.
    """
    memberships = [layer.assign(norms) for layer, norms in zip(net.layers, residuals, strict=True)]
    memberships[-1] = net.pool(memberships[-1], X)
    return net.classes_[torch.stack(memberships).argmax(2).cpu().numpy()]
