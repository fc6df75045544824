"""Plots of the cosine similarities of features, and of the dimensions that they fill."""

import math
from itertools import pairwise

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor
from torch.nn.functional import normalize

from redunet._checks import Array, as_samples
from redunet._labels import as_labels
from redunet.inspection.style import class_style, given_or_new, literal

# Number of values that are in memory at once when all shifts are compared.
BLOCK = 2**24

# Largest numbers of samples that reports show, per class and in all.
SHOWN = 30
SHOWN_IN_ALL = 300

# With more classes than this, singular values of single classes are grey and have no names.
NAMED_CLASSES = 20


def shown_rows(labels: np.ndarray) -> np.ndarray:
    """Rows of the first samples of each class: up to 30 of each, and about 300 in all."""
    classes = np.unique(labels)
    count = min(SHOWN, max(2, SHOWN_IN_ALL // len(classes)))
    return np.sort(np.concatenate([np.flatnonzero(labels == c)[:count] for c in classes]))


@torch.no_grad()
def similarity_over_shifts(Z: Tensor) -> Tensor:
    """Largest absolute cosine similarity of each pair over all cyclic shifts of one sample.

    Parameters
    ----------
    Z : Tensor of shape (m, C, *spatial)
        Samples of unit norm.

    Returns
    -------
    Tensor of shape (m, m)
    """
    shape, axes = Z.shape[2:], tuple(range(2, Z.ndim))
    V = torch.fft.rfftn(Z, dim=axes).flatten(2)
    layout = (*shape[:-1], shape[-1] // 2 + 1)
    largest = []
    for part in V.split(max(1, BLOCK // (len(Z) * math.prod(shape)))):
        crossed = torch.einsum("acf,bcf->abf", part, V.conj()).unflatten(2, layout)
        correlation = torch.fft.irfftn(crossed, s=shape, dim=axes)  # at all shifts
        largest.append(correlation.flatten(2).abs().amax(2))
    return torch.cat(largest)


def plot_similarity(
    Z: Array, labels: Array, *, shift_invariant: bool = False, ax: Axes | None = None
) -> Axes:
    """Draw a heat map of absolute cosine similarities for all pairs of samples, sorted by class.

    Parameters
    ----------
    Z : array-like or Tensor of shape (m, …)
    labels : array-like or Tensor of shape (m,)
    shift_invariant : bool
        Whether the similarity of a pair is the largest one over all cyclic shifts of one of the two
        samples, which must then have shape (m, C, *spatial). If a sample is shifted, its features
        in a network on signals are shifted too, so only this similarity remains the same.
    ax : matplotlib Axes, optional
        Axes to draw on; by default those of a new figure.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If all shifts are to be compared, but the samples have no spatial axes.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Figures 16(a), (b), (e) and (f).
    """
    Z, labels = as_samples(Z, name="Z"), as_labels(labels, len(Z))
    if shift_invariant and Z.ndim < 3:
        raise ValueError(f"signals have shape (m, C, *spatial), got {tuple(Z.shape)}")
    V = normalize(Z.detach().flatten(1)).cpu()
    similarity = similarity_over_shifts(V.view(Z.shape)) if shift_invariant else (V @ V.T).abs()
    ax, order = given_or_new(ax), np.argsort(labels, kind="stable")
    classes, counts = np.unique(labels, return_counts=True)
    edges = np.concatenate([[0], np.cumsum(counts)])
    image = ax.imshow(
        similarity.numpy()[np.ix_(order, order)],
        vmin=0,
        vmax=1,
        cmap="Blues",
        extent=(0, len(labels), len(labels), 0),
        interpolation="antialiased",
    )
    ax.figure.colorbar(image, ax=ax, label="|cosine similarity|", shrink=0.85)
    centres = [(start + stop) / 2 for start, stop in pairwise(edges)]
    upright = max(map(len, map(str, classes))) > 3
    names = list(map(literal, classes))
    ax.set_xticks(centres, names, rotation=90 if upright else 0)
    ax.set_yticks(centres, names)
    ax.tick_params(length=0)
    for edge in edges[1:-1]:
        ax.axhline(edge, color="0.7", linewidth=0.4)
        ax.axvline(edge, color="0.7", linewidth=0.4)
    ax.set(xlabel="class", ylabel="class", title="Similarity of features")
    return ax


def plot_singular_values(Z: Array, labels: Array, *, ax: Axes | None = None) -> Axes:
    """Plot the singular values of all samples together, and of each class.

    The number of large singular values is the number of dimensions that the samples fill. More than
    20 classes are grey.

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
    Z, labels = as_samples(Z, name="Z").detach().flatten(1).cpu(), as_labels(labels, len(Z))
    classes = np.unique(labels)
    lines, named = [], len(classes) <= NAMED_CLASSES
    for number, label in enumerate(classes):
        values = torch.linalg.svdvals(Z[labels == label])
        lines += ax.plot(np.arange(1, len(values) + 1), values, color="0.6", linewidth=1)
        if named:
            lines[-1].set(**class_style(number), markersize=4, markevery=0.15)
    names = list(map(literal, classes)) if named else ["single classes"]
    values = torch.linalg.svdvals(Z)
    whole = ax.plot(np.arange(1, len(values) + 1), values, color="black", linewidth=2)
    ax.set(xlabel="component", ylabel="singular value", title="Singular values")
    ax.set_ylim(0, None, auto=None)  # further curves on the same axes may be higher
    # Names are given together with their lines, because a label that begins with "_" is left out.
    ax.legend(
        [*lines[: len(names)], *whole],
        [*names, "all"],
        title="class" if named else None,
        frameon=False,
        ncols=2,
        handlelength=1.5,
        columnspacing=1.0,
    )
    return ax
