"""Images that show what features mean: those in a class's main directions, and nearest ones."""

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import FigureBase
from torch import Tensor
from torch.nn.functional import normalize

from redunet._checks import Array, as_labels, as_samples
from redunet.inspection.plots.similarity import cosine_similarity


def plot_principal_images(
    X: Array,
    Z: Array,
    labels: Array,
    *,
    label: object = None,
    components: int = 10,
    images: int = 10,
    figure: FigureBase | None = None,
) -> np.ndarray:
    """Images whose features are most coherent with the principal directions of their class.

    A row for each class, and in it the one image nearest to each of its directions; or, with
    ``label``, a row for each direction of that class, and in it the images nearest to it.

    Parameters
    ----------
    X : array-like or Tensor of shape (m, H, W), (m, 1, H, W) or (m, 3, H, W)
        Images; values from 0 to 1 where they have colours.
    Z : array-like or Tensor of shape (m, …)
        Their features.
    labels : array-like or Tensor of shape (m,)
    label : optional
        One of the labels.
    components : int
        Principal directions, at most.
    images : int
        Images of each direction, at most; only with ``label``.
    figure : matplotlib Figure or SubFigure, optional
        Where to draw; by default a new figure.

    Returns
    -------
    numpy array of matplotlib Axes, of shape (classes, components) or (components, images)

    Raises
    ------
    ValueError
        If no sample has the ``label``, or ``X`` are not images.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Figure 20; with ``label``, Figure 13.
    """
    X, Z, labels = _as_images(X), as_samples(Z, name="Z").detach().flatten(1), as_labels(labels)
    if label is None:
        names = np.unique(labels)
        rows = [_coherent(Z, labels == name, components)[:, 0] for name in names]
        titles = [f"class {name}" for name in names]
    else:
        if label not in labels:
            raise ValueError(f"no sample has label {label!r}; labels are {np.unique(labels)}")
        rows = list(_coherent(Z, labels == label, components)[:, :images])
        titles = [f"class {label}, direction {number}" for number in range(1, len(rows) + 1)]
    axes = _grid(figure, len(rows), max(map(len, rows)))
    for row, chosen, title in zip(axes, rows, titles, strict=True):
        _draw_row(row, X[chosen], title)
    return axes


def plot_nearest_images(
    query: tuple[Array, Array],
    others: tuple[Array, Array],
    *,
    images: int = 9,
    figure: FigureBase | None = None,
) -> np.ndarray:
    """Images, framed, and beside each the images whose features are most coherent with its own.

    With all shifts of a test image against all shifts of training images this shows equivariance:
    the nearest ones are shifted as the image itself is.

    Parameters
    ----------
    query : tuple of images (q, H, W) or (q, C, H, W), and features (q, …)
        C is 1 or 3.
    others : tuple of images (m, …) and features (m, …)
        Where to look for the nearest.
    images : int
        How many nearest ones to draw, at most.
    figure : matplotlib Figure or SubFigure, optional
        Where to draw; by default a new figure.

    Returns
    -------
    numpy array of matplotlib Axes, of shape (q, 1 + images)

    Raises
    ------
    ValueError
        If the first of a pair are not images.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Figure 30.
    """
    found, candidates = _as_images(query[0]), _as_images(others[0])
    similarity = cosine_similarity(query[1], others[1])
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :images]
    axes = _grid(figure, len(found), 1 + nearest.shape[1])
    for row, image, chosen in zip(axes, found, nearest, strict=True):
        _draw_row(row, np.concatenate([image[None], candidates[chosen]]))
        row[0].spines[:].set(visible=True, color="#D55E00", linewidth=2)
    axes[0, 0].set_title("image", fontsize="small")
    if nearest.shape[1]:
        axes[0, 1].set_title("nearest", fontsize="small")
    return axes


def _coherent(Z: Tensor, members: np.ndarray, components: int) -> np.ndarray:
    """Samples of a class by |cos| with each principal direction, descending: (components, m_j)."""
    places = np.flatnonzero(members)
    Z = Z[torch.as_tensor(places, device=Z.device)].double()
    directions = torch.linalg.svd(Z, full_matrices=False).Vh[:components]
    coherence = (directions @ normalize(Z).T).abs()
    return places[coherence.argsort(dim=1, descending=True, stable=True).cpu().numpy()]


def _as_images(X: Array) -> np.ndarray:
    """``(m, H, W)`` of grey images, ``(m, H, W, 3)`` of coloured ones."""
    X = as_samples(X, name="X").detach().cpu()
    if X.ndim == 4 and X.shape[1] in (1, 3):
        return (X[:, 0] if X.shape[1] == 1 else X.movedim(1, -1)).numpy()
    if X.ndim == 3:
        return X.numpy()
    shape = tuple(X.shape)
    raise ValueError(f"images have shape (m, H, W), (m, 1, H, W) or (m, 3, H, W), got {shape}")


def _grid(figure: FigureBase | None, rows: int, columns: int) -> np.ndarray:
    """Axes without ticks and frames."""
    if figure is None:
        figure = plt.figure(figsize=(0.7 * columns + 1.2, 0.75 * rows + 0.3), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    return axes


def _draw_row(row: np.ndarray, images: np.ndarray, name: str = "") -> None:
    """Images from the left; what is left of the row stays empty."""
    for ax, image in zip(row, images, strict=False):
        ax.imshow(image, cmap="gray_r" if image.ndim == 2 else None)
    row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize="small")
