"""Which class pulls at one sample, layer by layer."""

import numpy as np
from matplotlib.figure import FigureBase

from redunet.inspection.explanation import Explanation


def plot_explanation(explanation: Explanation, *, figure: FigureBase | None = None) -> np.ndarray:
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
    return explanation.plot(figure=figure)
