"""Plots of networks and features.

Functions that draw on one set of axes take and return ``ax``. Functions that draw on several take a
``figure``.
"""

from redunet.inspection.plots.explanation import plot_decision, plot_explanation
from redunet.inspection.plots.features import plot_similarity, plot_singular_values
from redunet.inspection.plots.network import plot_eigenvalues, plot_rates
from redunet.inspection.plots.reliability import plot_reliability
from redunet.inspection.plots.search import plot_search
from redunet.inspection.style import PALETTE, class_colors

__all__ = [
    "PALETTE",
    "class_colors",
    "plot_decision",
    "plot_eigenvalues",
    "plot_explanation",
    "plot_rates",
    "plot_reliability",
    "plot_search",
    "plot_similarity",
    "plot_singular_values",
]
