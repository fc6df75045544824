"""Which class pulls at one sample, layer by layer."""

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

from redunet.plots.palette import MARKERS, class_colors

if TYPE_CHECKING:
    from redunet.explain import Explanation

# More classes than these are drawn grey: those that matter least to the sample.
NAMED_CLASSES = 5


def plot_explanation(explanation: "Explanation", *, figure: FigureBase | None = None) -> np.ndarray:
    """‖Cʲv‖, memberships and the parts of the step of one sample, by layer.

    Parameters
    ----------
    explanation : Explanation
        See :func:`redunet.explain`.
    figure : matplotlib Figure or SubFigure, optional
        Where to draw; by default a new figure.

    Returns
    -------
    numpy array of three matplotlib Axes
    """
    figure = plt.figure(figsize=(12, 3.6), layout="constrained") if figure is None else figure
    axes = figure.subplots(1, 3)
    layers = np.arange(1, len(explanation.memberships) + 1)
    _draw_classes(axes[0], layers, explanation.residual_norms, explanation)
    axes[0].set(title="Residual against each class", ylabel=r"$\|C^j v\|$")
    _draw_classes(axes[1], layers, explanation.memberships, explanation)
    axes[1].set(title="Membership", ylabel=r"$\hat\pi_j$", ylim=(-0.03, 1.03))
    axes[2].plot(layers, explanation.expansion, color="black", linewidth=2, label="$E$")
    _draw_classes(axes[2], layers, explanation.compression, explanation)
    axes[2].set(title="Parts of the step", ylabel="length", ylim=(0, None))
    axes[2].legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), title="class")
    for ax in axes:
        ax.set_xlabel("layer")
        ax.xaxis.get_major_locator().set_params(integer=True)
    return axes


def _draw_classes(
    ax: Axes, layers: np.ndarray, values: np.ndarray, explanation: "Explanation"
) -> None:
    """A curve for each class; in colour those that the sample is nearest to, in any layer."""
    named = explanation.nearest_classes(NAMED_CLASSES)
    colors = dict(zip(named, class_colors(len(named)), strict=True))
    marks = len(layers) <= 30
    for j in sorted(range(values.shape[1]), key=lambda j: (j in colors, j)):
        style = {"color": "0.8", "linewidth": 0.8}
        if j in colors:
            marker = MARKERS[named.index(j) % len(MARKERS)] if marks else ""
            style = {"color": colors[j], "linewidth": 1.5, "marker": marker, "markersize": 4}
            style["label"] = str(explanation.classes[j])
        ax.plot(layers, values[:, j], **style)
