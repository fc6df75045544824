"""How features lie to each other: cosine similarities, and points on the circle and sphere."""

from itertools import pairwise
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from torch.nn.functional import normalize

from redunet.checks import as_samples
from redunet.plots.palette import PALETTE

CLASS_MARKERS = "os^Dv*P"


def cosine_similarity(A: Any, B: Any) -> np.ndarray:
    """Absolute cosine similarity of all pairs of flattened samples, ``(m, …)`` × ``(n, …)``."""
    A, B = (normalize(as_samples(Z, name="Z").detach().flatten(1)).cpu() for Z in (A, B))
    return (A @ B.T).abs().numpy()


def plot_similarity(Z: Any, labels: Any, *, ax: Axes | None = None) -> Axes:
    """Heat map of the absolute cosine similarity of all pairs of samples, sorted by class.

    Parameters
    ----------
    Z : array-like or Tensor of shape (m, …)
    labels : array-like or Tensor of shape (m,)
    ax : matplotlib Axes, optional
        Where to draw; by default on a new figure.

    Returns
    -------
    matplotlib Axes

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Figures 16(a), (b), (e) and (f).
    """
    if ax is None:
        _, ax = plt.subplots(layout="constrained")
    Z, labels = as_samples(Z, name="Z"), np.asarray(labels)
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
    train: tuple[Any, Any], test: tuple[Any, Any], *, ax: Axes | None = None, label: str = ""
) -> Axes:
    """Histogram of the absolute cosine similarity of training and test samples across classes.

    Parameters
    ----------
    train, test : tuple of samples (m, …) and labels (m,)
        Only pairs of different classes count.
    ax : matplotlib Axes, optional
        Where to draw; by default on a new figure. Draw twice to compare.
    label : str
        Name in the legend.

    Returns
    -------
    matplotlib Axes

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Figures 16(c) and (g).
    """
    if ax is None:
        _, ax = plt.subplots(layout="constrained")
    across = np.asarray(train[1])[:, None] != np.asarray(test[1])[None]
    similarity = cosine_similarity(train[0], test[0])[across]
    bins = np.linspace(0, 1, 51)
    shares = np.full(similarity.size, 1 / max(1, similarity.size))
    ax.hist(similarity, bins, weights=shares, alpha=0.6, label=label)
    ax.set(
        xlabel="|cosine similarity|",
        ylabel="share of pairs",
        title="Training against test samples of other classes",
    )
    if label:
        ax.legend()
    return ax


def plot_singular_values(Z: Any, labels: Any, *, ax: Axes | None = None) -> Axes:
    """Singular values of all samples together, and of each class.

    How many of them are large is the number of dimensions that the samples, or a class, fill.

    Parameters
    ----------
    Z : array-like or Tensor of shape (m, …)
    labels : array-like or Tensor of shape (m,)
    ax : matplotlib Axes, optional
        Where to draw; by default on a new figure.

    Returns
    -------
    matplotlib Axes

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Figures 12(c) and 18.
    """
    if ax is None:
        _, ax = plt.subplots(layout="constrained")
    Z, labels = as_samples(Z, name="Z").detach().flatten(1).cpu(), np.asarray(labels)
    classes = np.unique(labels)
    colors = plt.colormaps["viridis"](np.linspace(0, 0.9, len(classes)))
    for label, color in zip(classes, colors, strict=True):
        values = torch.linalg.svdvals(Z[labels == label])
        ax.plot(np.arange(1, len(values) + 1), values, color=color, linewidth=1, label=label)
    values = torch.linalg.svdvals(Z)
    ax.plot(np.arange(1, len(values) + 1), values, color="black", linewidth=2, label="all")
    ax.set(xlabel="component", ylabel="singular value", title="Singular values", ylim=(0, None))
    ax.legend(frameon=False, fontsize="small", ncols=2)
    return ax


def plot_sphere(Z: Any, labels: Any, *, ax: Axes | None = None) -> Axes:
    """Scatter of samples on the circle S¹ or the sphere S², coloured by class.

    Parameters
    ----------
    Z : array-like or Tensor of shape (m, 2) or (m, 3)
    labels : array-like or Tensor of shape (m,)
    ax : matplotlib Axes, optional
        Where to draw, of projection "3d" for the sphere; by default on a new figure.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If samples have neither two nor three coordinates.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Figures 15, 28 and 29.
    """
    Z, labels = as_samples(Z, name="Z").detach().cpu().numpy(), np.asarray(labels)
    if Z.ndim != 2 or Z.shape[1] not in (2, 3):
        raise ValueError(f"samples on S¹ or S² have shape (m, 2) or (m, 3), got {Z.shape}")
    on_circle = Z.shape[1] == 2
    if ax is None:
        _, ax = plt.subplots(
            layout="constrained", subplot_kw={} if on_circle else {"projection": "3d"}
        )
    _draw_unit(ax, on_circle)
    for i, label in enumerate(np.unique(labels)):
        style = {
            "color": PALETTE[i % len(PALETTE)],
            "marker": CLASS_MARKERS[i % len(CLASS_MARKERS)],
            "s": 18,
            "alpha": 0.7,
            "linewidths": 0,
        }
        ax.scatter(*Z[labels == label].T, label=str(label), **style)
    ax.set_aspect("equal")
    if not on_circle:
        ax.set_box_aspect((1, 1, 1), zoom=1.4)
    # Where no sample can be: inside of the circle, outside of the sphere.
    ax.legend(title="class", loc="center" if on_circle else "upper left", frameon=False)
    return ax


def _draw_unit(ax: Axes, on_circle: bool) -> None:
    """The circle or sphere that the samples lie on."""
    turn = np.linspace(0, 2 * np.pi, 61)
    if on_circle:
        ax.plot(np.cos(turn), np.sin(turn), color="0.8", linewidth=1, zorder=0)
        return
    ax.set_axis_off()
    ax.view_init(elev=25, azim=35)  # looks at the octant that is positive in all coordinates
    tilt = np.linspace(0, np.pi, 31)
    x, y = np.outer(np.cos(turn), np.sin(tilt)), np.outer(np.sin(turn), np.sin(tilt))
    z = np.outer(np.ones_like(turn), np.cos(tilt))
    ax.plot_wireframe(x, y, z, color="0.85", linewidth=0.4, rcount=13, ccount=9, zorder=0)
