"""Pictures of networks and features: ``ax`` in, ``ax`` out; ``figure`` where it takes several."""

from redunet.plots.architecture import plot_architecture
from redunet.plots.depth import AccuracyByDepthDisplay
from redunet.plots.explanation import plot_explanation
from redunet.plots.images import plot_nearest_images, plot_principal_images
from redunet.plots.operators import plot_eigenvalues, plot_kernels
from redunet.plots.rates import plot_rates
from redunet.plots.similarity import (
    plot_similarity,
    plot_similarity_histogram,
    plot_singular_values,
)
from redunet.plots.sphere import plot_paths, plot_sphere

__all__ = [
    "AccuracyByDepthDisplay",
    "plot_architecture",
    "plot_eigenvalues",
    "plot_explanation",
    "plot_kernels",
    "plot_nearest_images",
    "plot_paths",
    "plot_principal_images",
    "plot_rates",
    "plot_similarity",
    "plot_similarity_histogram",
    "plot_singular_values",
    "plot_sphere",
]
