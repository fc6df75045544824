"""Plot of the explanation of one sample."""

import numpy as np
from matplotlib.figure import FigureBase

from redunet.inspection.explanation import Explanation


def plot_explanation(explanation: Explanation, *, figure: FigureBase | None = None) -> np.ndarray:
    """Plot ‖Cʲv‖, the memberships and the parts of the step of one sample by layer.

    The five classes nearest to the sample have colours, and so has its true class, if the
    explanation knows it. A class has the same colour in the plots of all samples. If there is only
    one layer, bars show these classes.

    Parameters
    ----------
    explanation : Explanation
        The explanation of a sample; see :func:`redunet.explain`.
    figure : matplotlib Figure or SubFigure, optional
        Figure to draw on; by default a new one.

    Returns
    -------
    numpy array of three matplotlib Axes
    """
    return explanation.plot(figure=figure)
