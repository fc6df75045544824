"""Plots of networks and features.

Functions that draw on one set of axes take and return ``ax``. Functions that draw on several take a
``figure``.
"""

from redunet.inspection.palette import MARKERS, PALETTE, class_colors
from redunet.inspection.plots.architecture import plot_architecture
from redunet.inspection.plots.coding import plot_coding_length, plot_merging
from redunet.inspection.plots.decision import plot_decision
from redunet.inspection.plots.depth import AccuracyByDepthDisplay
from redunet.inspection.plots.explanation import plot_explanation
from redunet.inspection.plots.images import plot_nearest_images, plot_principal_images
from redunet.inspection.plots.operators import plot_eigenvalues, plot_kernels
from redunet.inspection.plots.pairs import plot_pairs
from redunet.inspection.plots.rates import plot_rates
from redunet.inspection.plots.reliability import plot_reliability
from redunet.inspection.plots.search import plot_search
from redunet.inspection.plots.similarity import (
    plot_similarity,
    plot_similarity_histogram,
    plot_singular_values,
)
from redunet.inspection.plots.sphere import plot_paths, plot_sphere

__all__ = [
    "MARKERS",
    "PALETTE",
    "AccuracyByDepthDisplay",
    "class_colors",
    "plot_architecture",
    "plot_coding_length",
    "plot_decision",
    "plot_eigenvalues",
    "plot_explanation",
    "plot_kernels",
    "plot_merging",
    "plot_nearest_images",
    "plot_pairs",
    "plot_paths",
    "plot_principal_images",
    "plot_rates",
    "plot_reliability",
    "plot_search",
    "plot_similarity",
    "plot_similarity_histogram",
    "plot_singular_values",
    "plot_sphere",
]
