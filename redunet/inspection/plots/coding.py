"""Plots of clustering by lossy coding: the merges, and the coding length on the way."""

from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from scipy.cluster.hierarchy import dendrogram

from redunet._checks import check_count
from redunet.inspection.axes import given_or_new
from redunet.inspection.palette import PALETTE, class_colors

# Colour of the merges that were not made.
ABOVE = "#999999"

# With more leaves than this, their labels are turned.
HORIZONTAL_LABELS = 20


class Merged(Protocol):
    """The attributes of a fitted :class:`redunet.LossyCodingClustering` that are drawn."""

    labels_: np.ndarray
    n_clusters_: int
    initial_labels_: np.ndarray
    lengths_: np.ndarray
    linkage_: np.ndarray
    threshold_: float


def plot_merging(clustering: Merged, *, max_leaves: int = 20, ax: Axes | None = None) -> Axes:
    """Draw the merges of a clustering as a dendrogram.

    The dashed line is the height of a merge that neither shortens nor lengthens the code. Merges
    below it have the colour of their cluster. The grey merges above it would lengthen the code, and
    do not belong to the clustering.

    Parameters
    ----------
    clustering : LossyCodingClustering
        A clustering that has been fitted.
    max_leaves : int
        Largest number of leaves. The lowest merges are not drawn if there are more. The labels of
        the leaves are their numbers of samples.
    ax : matplotlib Axes, optional
        Axes to draw on; by default those of a new figure.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If the clustering began with one cluster, or ``max_leaves`` is below 2.
    """
    max_leaves = check_count(2, max_leaves=max_leaves)
    if len(clustering.linkage_) == 0:
        raise ValueError("the clustering began with one cluster, so there are no merges to draw")
    ax = given_or_new(ax)
    sizes, colors = _nodes(clustering)
    drawn: dict[str, Any] = dendrogram(
        clustering.linkage_,
        p=max_leaves,
        truncate_mode="lastp",
        leaf_label_func=lambda node: str(sizes[node]),
        link_color_func=lambda node: colors[node],
        leaf_rotation=0 if max_leaves <= HORIZONTAL_LABELS else 90,
        ax=ax,
    )
    for text, leaf in zip(ax.get_xticklabels(), drawn["leaves"], strict=True):
        text.set_color(colors[leaf])
    line: dict[str, Any] = {"color": "black", "linestyle": "--", "linewidth": 1}
    ax.axhline(clustering.threshold_, label="merges above lengthen the code", **line)
    ax.set_ylim(0, 1.15 * ax.get_ylim()[1])  # room for the legend
    ax.legend(frameon=False, loc="upper right")
    count = clustering.n_clusters_
    title = f"{count} cluster{'s' if count > 1 else ''} below the line"
    ax.set(xlabel="samples of each leaf", ylabel="height [nats]", title=title)
    return ax


def _nodes(clustering: Merged) -> tuple[np.ndarray, list[str]]:
    """Number of samples and colour of each node of the dendrogram."""
    initial, merges = clustering.initial_labels_, int(clustering.lengths_.argmin())
    k = len(clustering.lengths_)
    _, first = np.unique(initial, return_index=True)
    palette = [to_hex(color) for color in class_colors(clustering.n_clusters_)]
    colors = [palette[label] for label in clustering.labels_[first]]
    sizes = np.append(np.bincount(initial), np.zeros(k - 1, dtype=int))
    for step, (a, b) in enumerate(clustering.linkage_[:, :2].astype(int)):
        sizes[k + step] = sizes[a] + sizes[b]
        colors.append(colors[a] if step < merges else ABOVE)
    return sizes, colors


def plot_coding_length(clustering: Merged, *, ax: Axes | None = None) -> Axes:
    """Plot the coding length over the number of clusters, with its minimum.

    Parameters
    ----------
    clustering : LossyCodingClustering
        A clustering that has been fitted.
    ax : matplotlib Axes, optional
        Axes to draw on; by default those of a new figure.

    Returns
    -------
    matplotlib Axes
    """
    ax = given_or_new(ax)
    lengths, count = clustering.lengths_, clustering.n_clusters_
    ax.plot(range(len(lengths), 0, -1), lengths, color=PALETTE[0])
    label = f"minimum at {count} cluster{'s' if count > 1 else ''}"
    ax.plot(count, lengths.min(), "o", color=PALETTE[1], label=label)
    ax.set(xscale="log", xlabel="number of clusters", ylabel="coding length [nats]")
    ax.xaxis.set_major_formatter("{x:.0f}")
    ax.set_title("Coding length of the segmentations")
    ax.legend(frameon=False)
    return ax
