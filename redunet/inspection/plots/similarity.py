"""Plots of the cosine similarities of features, and of the dimensions that they fill."""

from itertools import pairwise

import numpy as np
import torch
from matplotlib.axes import Axes
from torch.nn.functional import normalize

from redunet._checks import Array, as_labels, as_samples
from redunet.inspection.axes import given_or_new
from redunet.inspection.palette import class_colors


def cosine_similarity(A: Array, B: Array) -> np.ndarray:
    """Absolute cosine similarity of all pairs of flattened samples, ``(m, …)`` × ``(n, …)``."""
    A, B = (normalize(as_samples(Z, name="Z").detach().flatten(1)).cpu() for Z in (A, B))
    return (A @ B.T).abs().numpy()


def plot_similarity(Z: Array, labels: Array, *, ax: Axes | None = None) -> Axes:
    """Draw a heat map of absolute cosine similarities for all pairs of samples, sorted by class.

    Parameters
    ----------
    Z : array-like or Tensor of shape (m, …)
    labels : array-like or Tensor of shape (m,)
    ax : matplotlib Axes, optional
        Axes to draw on; by default those of a new figure.

    Returns
    -------
    matplotlib Axes

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Figures 16(a), (b), (e) and (f).
    """
    ax = given_or_new(ax)
    Z, labels = as_samples(Z, name="Z"), as_labels(labels)
    order = np.argsort(labels, kind="stable")
    classes, counts = np.unique(labels, return_counts=True)
    edges = np.concatenate([[0], np.cumsum(counts)])
    image = ax.imshow(
        cosine_similarity(Z[order], Z[order]),
        vmin=0,
        vmax=1,
        cmap="Blues",
        extent=(0, len(labels), len(labels), 0),
        interpolation="antialiased",
    )
    ax.figure.colorbar(image, ax=ax, label="|cosine similarity|", shrink=0.85)
    centres = [(start + stop) / 2 for start, stop in pairwise(edges)]
    ax.set_xticks(centres, classes)
    ax.set_yticks(centres, classes)
    ax.tick_params(length=0)
    for edge in edges[1:-1]:
        ax.axhline(edge, color="0.7", linewidth=0.4)
        ax.axvline(edge, color="0.7", linewidth=0.4)
    ax.set(xlabel="class", ylabel="class", title="Similarity of samples")
    return ax


def plot_similarity_histogram(
    train: tuple[Array, Array],
    test: tuple[Array, Array],
    *,
    ax: Axes | None = None,
    label: str = "",
) -> Axes:
    """Draw a histogram of absolute cosine similarities between training and test samples.

    Parameters
    ----------
    train, test : tuple of samples (m, …) and labels (m,)
        Training samples and test samples. Only pairs from different classes are counted.
    ax : matplotlib Axes, optional
        Axes to draw on; by default those of a new figure. Pass the same axes twice to compare two
        histograms.
    label : str
        Name of the histogram in the legend.

    Returns
    -------
    matplotlib Axes

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Figures 16(c) and (g).
    """
    ax = given_or_new(ax)
    across = as_labels(train[1])[:, None] != as_labels(test[1])[None]
    similarity = cosine_similarity(train[0], test[0])[across]
    bins = np.linspace(0, 1, 51).tolist()
    shares = np.full(similarity.size, 1 / max(1, similarity.size))
    ax.hist(similarity, bins, weights=shares, alpha=0.6, label=label)
    ax.set(
        xlabel="|cosine similarity|",
        ylabel="share of pairs",
        title="Training and test samples of different classes",
    )
    if label:
        ax.legend()
    return ax


def plot_singular_values(Z: Array, labels: Array, *, ax: Axes | None = None) -> Axes:
    """Plot the singular values of all samples together, and of each class.

    The number of large singular values is the number of dimensions that the samples fill.

    Parameters
    ----------
    Z : array-like or Tensor of shape (m, …)
    labels : array-like or Tensor of shape (m,)
    ax : matplotlib Axes, optional
        Axes to draw on; by default those of a new figure.

    Returns
    -------
    matplotlib Axes

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Figures 12(c) and 18.
    """
    ax = given_or_new(ax)
    Z, labels = as_samples(Z, name="Z").detach().flatten(1).cpu(), as_labels(labels)
    classes = np.unique(labels)
    for label, color in zip(classes, class_colors(len(classes)), strict=True):
        values = torch.linalg.svdvals(Z[labels == label])
        ax.plot(np.arange(1, len(values) + 1), values, color=color, linewidth=1, label=label)
    values = torch.linalg.svdvals(Z)
    ax.plot(np.arange(1, len(values) + 1), values, color="black", linewidth=2, label="all")
    ax.set(xlabel="component", ylabel="singular value", title="Singular values")
    ax.set_ylim(0, None, auto=None)  # further curves on the same axes may be higher
    ax.legend(title="class", frameon=False, fontsize="small", ncols=2)
    return ax
