"""Pictures of rates and of the geometry of features: ``ax`` in, ``ax`` out."""

from redunet.plots.geometry import (
    plot_similarity,
    plot_similarity_histogram,
    plot_singular_values,
    plot_sphere,
)
from redunet.plots.rates import plot_rates

__all__ = [
    "plot_rates",
    "plot_similarity",
    "plot_similarity_histogram",
    "plot_singular_values",
    "plot_sphere",
]
